# SPDX-License-Identifier: Apache-2.0
"""The host build: cffi and process give the same, misuse is an error and never a crash."""

from pathlib import Path

import numpy as np
import pytest

from codeq_compile import manifest
from codeq_compile.arrays import Bytes2D, apart, side_by_side
from codeq_compile.build import harness, host, tools
from codeq_compile.errors import InputError, ToolError
from codeq_compile.ir import Graph
from codeq_compile.passes import run as lower
from codeq_compile.simulate import simulate
from tests.boards import found
from tests.graphs import random_inputs
from tests.libraries import emitted, hostile, small_conv


def samples(rng: np.random.Generator, graph: Graph, count: int) -> Bytes2D:
    return side_by_side(graph, graph.inputs, random_inputs(rng, graph, count))


@pytest.mark.parametrize("graph", [small_conv(), hostile()], ids=["small", "hostile"])
@pytest.mark.parametrize("isolate", [False, True], ids=["cffi", "process"])
def test_outputs_are_those_of_the_simulation(
    graph: Graph, isolate: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    """Both ways of calling the C must read and write the same bytes in the same order."""
    emitted(graph, tmp_path)
    inputs = random_inputs(rng, graph, 5)

    result = host.build(tmp_path, isolate=isolate).run(side_by_side(graph, graph.inputs, inputs), 2)

    outputs = apart(graph, graph.outputs, result.outputs)
    for name, expected in simulate(lower(graph), inputs).items():
        assert np.array_equal(expected, outputs[name])
    layers = len(manifest.read(tmp_path).layers)
    assert [(s, i + 1) for s in range(2) for i in range(layers)] == [
        (record.sample, record.layer) for record in result.trace
    ]
    assert not result.statuses.any()


@pytest.mark.slow
def test_sanitizers_find_a_table_that_is_too_short(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """The sanitized build must be able to fail, or its silence says nothing."""
    compiler = tools.host_cc()
    if tools.is_zig(compiler):
        # nothing could fail here
        pytest.skip("the zig package has no AddressSanitizer: apt install gcc")
    graph = small_conv()
    emitted(graph, tmp_path)
    source, header = tmp_path / "small_weights.c", tmp_path / "small_weights.h"
    library = host.build(tmp_path, sanitize=True)
    library.run(samples(rng, graph, 1))
    text = source.read_text()
    size = int(text.partition("small_l02_weights[")[2].partition("]")[0])
    short = text.partition("small_l02_weights[")[2].partition("= {")[2].partition("};")[0]
    source.write_text(
        text.replace(f"small_l02_weights[{size}]", "small_l02_weights[8]").replace(
            short, "\n    0, 0, 0, 0, 0, 0, 0, 0,\n"
        )
    )
    header.write_text(header.read_text().replace(f"weights[{size}]", "weights[8]"))

    with pytest.raises(ToolError) as caught:
        host.build(tmp_path, sanitize=True).run(samples(rng, graph, 1))

    assert "global-buffer-overflow" in caught.value.output


def test_a_write_beside_the_arena_is_reported(tmp_path: Path, rng: np.random.Generator) -> None:
    """A wrong memory plan damages the user's variables, far from the model."""
    graph = small_conv()
    library = emitted(graph, tmp_path)
    header = tmp_path / "small.h"
    macro = "#define SMALL_ARENA_BYTES"
    whole, smaller = f"{macro} {library.arena_bytes}", f"{macro} {library.arena_bytes - 8}"
    header.write_text(header.read_text().replace(whole, smaller))

    result = host.build(tmp_path).run(samples(rng, graph, 1))

    assert [harness.GUARD_STATUS] == result.statuses.tolist()


def test_a_crash_of_edited_c_does_not_take_python_along(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Whoever edits the C and checks it wants a message, not a dead interpreter."""
    graph = small_conv()
    emitted(graph, tmp_path)
    source = tmp_path / "small.c"
    source.write_text(source.read_text().replace(".data = small_l01_weights", ".data = NULL"))

    with pytest.raises(ToolError, match="failed on the host"):
        host.build(tmp_path, isolate=True).run(samples(rng, graph, 1))


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((1, 89), np.uint8), np.zeros((1, 90), np.int8), np.zeros(90, np.uint8)],
    ids=["size", "dtype", "shape"],
)
def test_wrong_inputs_are_refused_before_the_c_is_called(wrong: Bytes2D, tmp_path: Path) -> None:
    """The C reads as many bytes as it was compiled for, whatever it is given."""
    emitted(small_conv(), tmp_path)

    with pytest.raises(InputError, match="takes samples of 90 bytes"):
        host.build(tmp_path).run(wrong)


def test_c_that_traces_other_layers_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    """A trace that is cut short would compare nothing and pass."""
    graph = small_conv()
    emitted(graph, tmp_path)
    source = tmp_path / "small.c"
    source.write_text(source.read_text().replace("    CQ_TRACE(1, t01, 120);\n", ""))

    with pytest.raises(ToolError, match="does not trace the layers"):
        host.build(tmp_path).run(samples(rng, graph, 1), 1)


def test_an_error_of_the_compiler_is_shown(tmp_path: Path) -> None:
    """Without the compiler's own words nobody finds the line."""
    emitted(small_conv(), tmp_path)
    (tmp_path / "small.c").write_text("this is not C\n")

    with pytest.raises(ToolError, match=r"small\.c does not compile(?s:.*)error"):
        host.build(tmp_path)


def test_a_folder_without_a_manifest_is_not_a_library(tmp_path: Path) -> None:
    """The message must say what DIR has to be."""
    with pytest.raises(InputError, match="not an emitted library"):
        host.build(tmp_path)


def test_an_edited_file_is_compiled_again(tmp_path: Path, rng: np.random.Generator) -> None:
    """Objects are shared between libraries: a stale one would check yesterday's C."""
    graph = small_conv()
    emitted(graph, tmp_path)
    inputs = samples(rng, graph, 2)
    before = host.build(tmp_path).run(inputs)
    bits = tmp_path / "runtime/src/decode/bits.h"
    bits.write_text("#error edited\n" + bits.read_text())

    with pytest.raises(ToolError, match="edited"):
        host.build(tmp_path)
    assert not before.statuses.any()


@pytest.mark.slow
def test_zig_gives_the_same_bytes(tmp_path: Path, rng: np.random.Generator) -> None:
    """It is the compiler of everyone who has only Python and pip."""
    zig = found(tools.zig_cc)
    graph = small_conv()
    emitted(graph, tmp_path)
    inputs = samples(rng, graph, 3)

    expected = host.build(tmp_path).run(inputs).outputs
    assert np.array_equal(expected, host.build(tmp_path, compiler=zig).run(inputs).outputs)
