# SPDX-License-Identifier: Apache-2.0
"""Times of real boards, on an emulated one with the same memory map and a counter that ticks."""

import re
import subprocess
from pathlib import Path

import msgspec
import pytest

from codeq_compile import target
from codeq_compile.build import firmware, tools
from codeq_compile.errors import InputError, Mismatch, ToolError
from codeq_compile.profile.subject import Subject, prepare
from codeq_compile.profile.timing import time
from codeq_compile.resources import targets_dir
from codeq_compile.target import Run
from tests.boards import found
from tests.libraries import emitted, rows, small_conv

pytestmark = [pytest.mark.qemu, pytest.mark.slow]

# The n-th reading is n squared: every two of them are another distance apart.
TICKING = """
#include "cycles.h"
static uint32_t readings;
void cycles_enable(void) { readings = 0; }
uint32_t cycles_now(void) { readings++; return readings * readings; }
"""
SAMPLES = 3


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    """A library for a real board, which is emulated here."""
    found(tools.arm_cc)
    found(tools.qemu)
    emitted(small_conv(), tmp_path / "small", "nucleo_f411re")
    return emulated(tmp_path / "small")


def emulated(directory: Path) -> Subject:
    """A library for a board that is not at hand, on one with the same memory map."""
    prepared = prepare(directory, None, None, SAMPLES, 0)
    machine = Run(runner="qemu", machine="netduinoplus2")
    return Subject(
        library=prepared.library,
        graph=prepared.graph,
        board=msgspec.structs.replace(prepared.board, run=machine),
        rows=prepared.rows,
    )


@pytest.fixture
def ticking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Firmware that reads a counter which QEMU does not have."""
    source = tmp_path / "ticking.c"
    source.write_text(TICKING)
    monkeypatch.setattr(firmware, "CYCLE_COUNTER", str(source))


def between(first: int, last: int) -> int:
    """From one reading to another."""
    return last * last - first * first


@pytest.mark.usefixtures("ticking")
def test_the_whole_call_is_read_around_it_and_nowhere_else(
    subject: Subject, tmp_path: Path
) -> None:
    """A hook in a layer would be a part of the time that ships."""
    timing = time(tmp_path / "small", subject)

    # two readings a sample
    calls = [between(2 * sample + 1, 2 * sample + 2) for sample in range(SAMPLES)]
    assert (SAMPLES, min(calls), max(calls)) == (timing.samples, timing.fewest, timing.most)


@pytest.mark.usefixtures("ticking")
def test_layers_are_read_behind_each_and_writing_belongs_to_none(
    subject: Subject, tmp_path: Path
) -> None:
    """What the hook does with the host takes longer than any layer."""
    timing = time(tmp_path / "small", subject)

    # the last sample takes most; a sample reads at its start, twice a layer, and at its end
    layers = len(subject.library.layers)
    start = (SAMPLES - 1) * (2 * layers + 2) + 1
    expected = [between(start + 2 * n, start + 2 * n + 1) for n in range(layers)]
    assert expected == [layer.cycles for layer in timing.layers]
    assert [(e.index, e.name, e.op, e.kernel) for e in subject.library.layers] == [
        (e.index, e.name, e.op, e.kernel) for e in timing.layers
    ]
    assert [subject.macs(e) for e in subject.library.layers] == [e.macs for e in timing.layers]


@pytest.mark.usefixtures("ticking")
def test_a_layer_of_a_stream_has_the_cycles_of_all_its_calls(tmp_path: Path) -> None:
    """Its last row alone would look fast."""
    found(tools.arm_cc)
    found(tools.qemu)
    emitted(rows(), tmp_path / "rows", "nucleo_f411re", stream="auto")
    streamed = emulated(tmp_path / "rows")

    timing = time(tmp_path / "rows", streamed)

    order = streamed.library.order
    start = (SAMPLES - 1) * (2 * len(order) + 2) + 1
    expected = dict.fromkeys((1, 2, 3, 4), 0)
    for n, layer in enumerate(order):
        expected[layer] += between(start + 2 * n, start + 2 * n + 1)
    assert expected == {layer.index: layer.cycles for layer in timing.layers}


def test_a_counter_that_stands_still_is_no_time(subject: Subject, tmp_path: Path) -> None:
    """The emulated board has registers, and zeros in them."""
    with pytest.raises(ToolError, match="nucleo_f411re counts no cycles"):
        time(tmp_path / "small", subject)


def test_a_core_without_a_counter_is_refused(subject: Subject, tmp_path: Path) -> None:
    """Armv6-M has none."""
    small = Subject(
        library=subject.library,
        graph=subject.graph,
        board=msgspec.structs.replace(subject.board, core="cortex-m0"),
        rows=subject.rows,
    )

    with pytest.raises(InputError, match="a cortex-m0 does not count cycles"):
        time(tmp_path / "small", small)


@pytest.mark.usefixtures("ticking")
def test_a_library_that_fails_has_no_times(subject: Subject, tmp_path: Path) -> None:
    """A layer that gives up at once would look fast."""
    source = tmp_path / "small" / "small.c"
    source.write_text(source.read_text().replace("return CQ_OK;", "return CQ_ERROR_ARGUMENT;"))

    with pytest.raises(Mismatch, match="sample 0 ended with status"):
        time(tmp_path / "small", subject)


REGISTERS = {
    "cortex-m3": {0xE000EDFC, 0xE0001000, 0xE0001004, 0xE0001FB0},
    "cortex-m4": {0xE000EDFC, 0xE0001000, 0xE0001004, 0xE0001FB0},
    "cortex-m7": {0xE000EDFC, 0xE0001000, 0xE0001004, 0xE0001FB0},
    "cortex-m33": {0xE000EDFC, 0xE0001000, 0xE0001004, 0xE0001FB0},
    "cortex-m55": {0xE000EDFC, 0xE0003E04, 0xE0003C00, 0xE000307C},
    "cortex-m0": set(),
}
"""DEMCR, and the counter: of the DWT, or of the PMU where that is the architecture's own."""


@pytest.mark.parametrize("board", [name for name in target.names() if name != "host"])
def test_each_core_reads_its_own_counter(board: str) -> None:
    """The M55 has a PMU, the others a DWT; that they count, only silicon can tell."""
    options = target.load(board)
    tool = found(tools.arm_cc)
    if tool.name != "arm-none-eabi-gcc":
        pytest.skip("the flags are those of arm-none-eabi-gcc: apt install gcc-arm-none-eabi")
    common = targets_dir() / "common"
    flags = [*options.build.gcc_flags, *firmware.GCC_FLAGS, "-E", "-P", f"-I{common}"]

    text = subprocess.run(
        [*tool.command, *flags, str(common / "cycles.c")],
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    used = re.findall(r"volatile uint32_t \*\)\((0x\w{8})u\)", text)
    assert REGISTERS[options.core] == {int(address, 16) for address in used}
