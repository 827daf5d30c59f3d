# SPDX-License-Identifier: Apache-2.0
"""`check` compares everything, and whatever differs is found, placed and reproducible."""

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from codeq_compile import manifest
from codeq_compile.check import TRACED, CheckResult, TargetCheck, check, run
from codeq_compile.errors import InputError, Mismatch, ModelError
from codeq_compile.ir import Graph
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.passes import run as lower
from codeq_compile.simulate import simulate
from tests.boards import EMULATED, each, found, tools
from tests.graphs import one_op_graph, random_inputs, random_weights, s8
from tests.libraries import emitted, hostile, renamed, rows, small_conv

GRAPHS: tuple[Callable[[], Graph], ...] = (small_conv, hostile)

Edit = Callable[[re.Match[str]], str]


def edit(path: Path, pattern: str, change: Edit) -> None:
    """Replace the first match of a pattern in a file."""
    text = path.read_text()
    edited = re.sub(pattern, change, text, count=1, flags=re.DOTALL)
    assert text != edited
    path.write_text(edited)


def flip_lowest_bit(match: re.Match[str]) -> str:
    return f"{match[1]}0x{int(match[2], 16) ^ 1:02x}"


def add_one(match: re.Match[str]) -> str:
    return f"{match[1]}{int(match[2]) + 1}"


FIRST_WEIGHT = r"(_l02_weights\[\d+\] [^=]*= \{\n +)0x([0-9a-f]{2})"
FIRST_EXPONENT = r"(_l02_exponent\[\d+\] [^=]*= \{\n +)(-?\d+)"


@pytest.mark.parametrize("graph", GRAPHS)
def test_an_untouched_library_agrees_in_every_byte_of_every_tensor(
    graph: Callable[[], Graph], tmp_path: Path
) -> None:
    """The promise of the project; the count says how much was looked at."""
    library = emitted(graph(), tmp_path)

    result = check(tmp_path, samples=3)

    samples = 3 + 2  # the two extremes
    compared = samples * library.output_bytes + TRACED * library.trace_bytes
    expected = TargetCheck(
        target="host",
        samples=samples,
        traced=TRACED,
        bytes_compared=compared,
        bytes_differing=0,
        stack_bytes=None,
    )
    assert CheckResult(name=library.name, targets=(expected,), changed=()) == result
    assert (compared, 0) == (result.bytes_compared, result.bytes_differing)


@pytest.mark.parametrize(
    ("pattern", "change"),
    [(FIRST_WEIGHT, flip_lowest_bit), (FIRST_EXPONENT, add_one)],
    ids=["weight", "exponent"],
)
def test_one_changed_constant_is_a_mismatch(pattern: str, change: Edit, tmp_path: Path) -> None:
    """A bit that tips over in flash or in an editor changes what the device decides."""
    emitted(small_conv(), tmp_path)
    edit(tmp_path / "small_weights.c", pattern, change)

    with pytest.raises(Mismatch) as caught:
        check(tmp_path)

    message = str(caught.value)
    assert 4 == caught.value.exit_code
    assert 'first: layer l02 linear "head" (cq_linear_s8_w2' in message
    assert f"reproduce: codeq check {tmp_path} --on host --samples 16" in message
    assert "changed since it was emitted: small_weights.c" in message


def test_the_first_difference_names_sample_element_and_both_values(tmp_path: Path) -> None:
    """From there on it is a matter of minutes; without it, of days."""
    graph = small_conv()
    emitted(graph, tmp_path)
    # the second class gets what it should, plus one
    add = "    head_out[1] = (int8_t)(head_out[1] ^ 1);\n    CQ_TRACE(2"
    edit(tmp_path / "small.c", r"    CQ_TRACE\(2", lambda _: add)
    inputs = {"x0": np.full((1, 6, 5, 3), 9, np.int8)}
    score = int(simulate(lower(graph), inputs)["head.out"][0, 1])

    with pytest.raises(Mismatch) as caught:
        check(tmp_path, inputs=inputs)

    where = "sample 0, element [1]"
    assert f"{where}: the simulation gives {score}, the C gives {score ^ 1}" in str(caught.value)
    assert "2 of 126 bytes differ" in str(caught.value)  # the layer's output is the model's


def test_a_difference_beyond_the_traced_samples_is_traced_too(tmp_path: Path) -> None:
    """The layer must be named also where only a late sample meets the fault."""
    graph = small_conv()
    emitted(graph, tmp_path)
    fault = (
        "    for (int i = 0; i < 120 && x0[0] == 77; i++) {\n"
        "        t01[i] = (int8_t)~t01[i];\n    }\n    CQ_TRACE(1"
    )
    edit(tmp_path / "small.c", r"    CQ_TRACE\(1", lambda _: fault)
    inputs = {"x0": np.zeros((9, 6, 5, 3), np.int8)}
    inputs["x0"][7] = 77

    with pytest.raises(
        Mismatch, match=r'layer l01 conv2d "stem" .*, sample 7, element \[0, 0, 0\]'
    ):
        check(tmp_path, inputs=inputs)


def test_an_error_of_the_c_is_a_mismatch(tmp_path: Path) -> None:
    """A status that is not CQ_OK is not what the simulation does."""
    emitted(small_conv(), tmp_path)
    edit(tmp_path / "small.c", r"return CQ_OK;", lambda _: "return CQ_ERROR_ARGUMENT;")

    with pytest.raises(Mismatch, match="ended with status -1: an argument was NULL"):
        check(tmp_path)


def test_an_edit_that_changes_nothing_is_only_told(tmp_path: Path) -> None:
    """A comment is no mismatch, but the reader of a report should know."""
    emitted(small_conv(), tmp_path)
    edit(tmp_path / "small.c", r"Do not edit", lambda _: "Edited")

    result = check(tmp_path)

    assert (0, ("small.c",)) == (result.bytes_differing, result.changed)


def test_a_damaged_model_file_is_told(tmp_path: Path) -> None:
    """Then there is nothing to compare with."""
    emitted(small_conv(), tmp_path)
    model = tmp_path / "small.cq"
    model.write_bytes(model.read_bytes()[:-1] + b"\x01")

    with pytest.raises(ModelError, match="damaged"):
        check(tmp_path)


def test_another_model_file_is_a_mismatch_or_refused(tmp_path: Path) -> None:
    """The library of yesterday beside the model of today must not pass."""
    emitted(small_conv(seed=1), tmp_path)
    emitted(small_conv(seed=2), tmp_path / "other")
    (tmp_path / "small.cq").write_bytes((tmp_path / "other" / "small.cq").read_bytes())

    with pytest.raises(Mismatch, match=r"changed since it was emitted: small\.cq"):
        check(tmp_path)


def test_a_model_file_with_other_tensors_is_refused(tmp_path: Path) -> None:
    """There the layers cannot even be compared."""
    emitted(small_conv(), tmp_path)
    emitted(renamed(small_conv(), {"stem.out": "other"}), tmp_path / "other")
    (tmp_path / "small.cq").write_bytes((tmp_path / "other" / "small.cq").read_bytes())

    with pytest.raises(InputError, match=r'no tensor "stem\.out"'):
        check(tmp_path)


def test_samples_from_a_file_appear_in_the_command_that_reproduces(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """The command must find the same samples."""
    emitted(small_conv(), tmp_path / "library")
    edit(tmp_path / "library" / "small_weights.c", FIRST_WEIGHT, flip_lowest_bit)
    samples = rng.integers(-128, 128, (3, 6, 5, 3)).astype(np.int8)
    np.save(tmp_path / "x.npy", samples)

    with pytest.raises(Mismatch, match=rf"--on host --inputs {tmp_path / 'x.npy'}"):
        check(tmp_path / "library", inputs=tmp_path / "x.npy")


def test_a_library_of_vector_kernels_is_refused_where_there_are_none(tmp_path: Path) -> None:
    """Its C does not link there; the message must say why, not the linker."""
    rng = np.random.default_rng(0)
    weights = random_weights(rng, (4, 1, 1, 8))
    graph = one_op_graph(Conv2D(), [s8(4, 4, 8)], weights=weights)
    emitted(graph, tmp_path, "mps3_an547")

    with pytest.raises(InputError, match="calls mve kernels, which host cannot run"):
        check(tmp_path, ["host"])


@pytest.mark.qemu
@pytest.mark.parametrize("board", each(EMULATED))
@pytest.mark.parametrize("graph", GRAPHS)
def test_a_board_gives_the_same_bytes(
    graph: Callable[[], Graph], board: str, tmp_path: Path
) -> None:
    """Compiled for the board itself, so that its own kernels run."""
    found(tools.arm_cc)
    found(tools.qemu)
    library = emitted(graph(), tmp_path, board)

    result = check(tmp_path, [board], samples=2)

    compared = 4 * (library.output_bytes + library.trace_bytes)
    assert (0, compared) == (result.bytes_differing, result.bytes_compared)
    assert result.targets[0].stack_bytes


def test_a_comparison_of_nothing_is_refused(tmp_path: Path) -> None:
    """No samples would be no differing bytes."""
    library = emitted(small_conv(), tmp_path)
    empty = {port.name: np.zeros((0, *port.shape), np.int8) for port in library.inputs}

    with pytest.raises(InputError, match="at least 1"):
        check(tmp_path, samples=0)
    with pytest.raises(InputError, match="no samples"):
        check(tmp_path, inputs=empty)


def test_run_gives_the_outputs_of_the_c(tmp_path: Path, rng: np.random.Generator) -> None:
    """`codeq run` must show what the device computes, not what it should."""
    graph = hostile()
    emitted(graph, tmp_path)
    inputs = random_inputs(rng, graph, 4)

    outputs = run(tmp_path, "host", inputs)

    expected = simulate(lower(graph), inputs)
    assert list(expected) == list(outputs)
    assert all(np.array_equal(expected[name], outputs[name]) for name in expected)


def test_rows_that_come_one_by_one_are_compared_as_tensors(tmp_path: Path) -> None:
    """A layer of a stream is traced in pieces; each byte counts once, and each is looked at."""
    library = emitted(rows(), tmp_path, stream="auto")

    result = check(tmp_path, samples=1)

    compared = 3 * (library.output_bytes + library.trace_bytes)
    assert (compared, 0) == (result.bytes_compared, result.bytes_differing)


def test_a_wrong_row_is_found_in_its_layer(tmp_path: Path) -> None:
    """The element is that of the tensor, not of the piece."""
    emitted(rows(), tmp_path, stream="auto")
    # the last rows of the depthwise layer see another padding
    edit(
        tmp_path / "rows.c",
        r"(l02_last = \{.*?\.in_zero = )(-?\d+)",
        add_one,
    )

    with pytest.raises(Mismatch, match=r'l02 dwconv2d "depthwise" .*element \[16, '):
        check(tmp_path, samples=1)


def test_a_library_that_traces_other_calls_is_refused(tmp_path: Path) -> None:
    """Rows at other places would be joined to wrong tensors."""
    library = emitted(rows(), tmp_path, stream="auto")
    order = (*library.calls[1:], library.calls[0])
    manifest.write(msgspec.structs.replace(library, calls=order), tmp_path)

    with pytest.raises(InputError, match="does not trace the layers of its manifest"):
        check(tmp_path, samples=1)
