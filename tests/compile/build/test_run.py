# SPDX-License-Identifier: Apache-2.0
"""Runs that end badly give an error that says why; only the right runner is started."""

import msgspec
import numpy as np
import pytest

from codeq_compile import target
from codeq_compile.build import firmware, run, tools
from codeq_compile.errors import InputError, ToolError
from tests.boards import HANG, PROBE, PROBE_BYTES, found, probe, request

pytestmark = pytest.mark.qemu


@pytest.mark.parametrize("emulator", [tools.qemu, tools.unicorn])
def test_firmware_that_hangs_is_stopped(emulator):
    """A test run must end, whatever a kernel does."""
    with pytest.raises(ToolError, match="no end after 1 seconds"):
        run.run(probe("mps2_an386"), request(HANG), emulator=found(emulator), timeout_s=1)


@pytest.mark.parametrize("emulator", [tools.qemu, tools.unicorn])
def test_inputs_that_do_not_fit_behind_the_model_are_refused_on_the_board(emulator):
    """Without the check the output buffer would lie outside RAM, or over the stack."""
    board = target.load("mps2_an386")
    memory = msgspec.structs.replace(board.memory, ram_bytes=0x2000, stack_bytes=0x1DC0)
    image = firmware.link(PROBE, msgspec.structs.replace(board, memory=memory))

    with pytest.raises(ToolError, match="inputs and outputs do not fit into the RAM") as caught:
        run.run(image, request(0), emulator=found(emulator))

    assert 3 == caught.value.status


@pytest.mark.parametrize("emulator", [tools.qemu, tools.unicorn])
def test_firmware_without_its_file_says_so(emulator, tmp_path):
    """Started by hand in another folder, the image must explain itself."""
    with pytest.raises(ToolError, match="it could not use its files") as caught:
        run.execute(probe("mps2_an386"), tmp_path, emulator=found(emulator))

    assert "in.bin cannot be opened" in caught.value.output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"CQIN" + bytes(4), "in.bin is too short"),
        (b"NONE" + bytes(8), "in.bin does not start with CQIN"),
        (b"CQIN" + bytes([2, 0, 0, 0]) + bytes(4) + bytes(PROBE_BYTES), "in.bin is too short"),
    ],
)
@pytest.mark.parametrize("emulator", [tools.qemu, tools.unicorn])
def test_a_damaged_request_is_refused(emulator, content, said, tmp_path):
    """Half a sample must not be run on the bytes of the one before."""
    (tmp_path / "in.bin").write_bytes(content)

    with pytest.raises(ToolError, match="it could not use its files") as caught:
        run.execute(probe("mps2_an386"), tmp_path, emulator=found(emulator))

    assert said in caught.value.output


def test_no_sample_at_all_is_a_run_too():
    """The smallest request is legal."""
    result = run.run(probe("mps2_an386"), np.zeros((0, PROBE_BYTES), np.uint8))

    assert (0, PROBE_BYTES) == result.outputs.shape
    assert () == result.trace


@pytest.mark.parametrize(
    "inputs",
    [
        np.zeros((1, PROBE_BYTES + 1), np.uint8),
        np.zeros(PROBE_BYTES, np.uint8),
        np.zeros((1, PROBE_BYTES), np.int8),
    ],
)
def test_inputs_of_another_size_are_refused_before_anything_starts(inputs):
    """The firmware would read the samples out of step."""
    with pytest.raises(InputError, match="takes samples of 16 bytes"):
        run.run(probe("mps2_an386"), inputs)


def test_results_of_another_size_are_an_error(tmp_path):
    """Half a result must never be compared as a whole one."""
    (tmp_path / "out.bin").write_bytes(b"CQOU" + bytes([1, 0, 0, 0]) + bytes(4 + 4 + 2))

    with pytest.raises(ToolError, match="board wrote 18 bytes of results instead of 19") as caught:
        run.read_results(tmp_path, samples=1, output_bytes=3, who="board", printed="hello")

    assert "hello" == caught.value.output


def test_unicorn_says_which_core_it_cannot_emulate():
    """Who has only pip must learn that the Cortex-M55 needs QEMU."""
    with pytest.raises(ToolError, match=r"mps3_an547 \(cortex-m55\): install qemu-system-arm"):
        run.run(probe("mps3_an547"), request(0), emulator=found(tools.unicorn))


def test_an_emulated_board_cannot_be_flashed():
    """`codeq flash` on it must say so instead of asking pyOCD."""
    with pytest.raises(InputError, match="mps2_an386 is not a real board"):
        run.flash(probe("mps2_an386"))


@pytest.mark.parametrize("board", ["nucleo_f411re", "nrf52840dk"])
def test_flashing_without_a_board_is_a_tool_error(board):
    """Exit code 5 and what to do: install pyOCD, or connect the board."""
    with pytest.raises(ToolError, match=r"pip install pyocd|could not be flashed: is it connected"):
        run.flash(probe(board))


def test_a_real_board_is_not_emulated():
    """A run on the nucleo must not quietly happen in QEMU."""
    with pytest.raises(ToolError, match=r"pip install pyocd|is it connected"):
        run.run(probe("nucleo_f411re"), request(0))


@pytest.mark.parametrize("swallowed", ["\x04", ""])
def test_the_exit_status_is_read_from_what_a_board_prints(swallowed):
    """pyOCD has no exit status of the firmware: a fault on a real board would look like success."""
    printed = f"0001 I log line\nFAULT HardFault\nexit 00000067\n{swallowed}"

    assert ["00000067"] == run.EXIT.findall(printed)
    assert "0001 I log line\nFAULT HardFault\n" == run.EXIT.sub("", printed)
