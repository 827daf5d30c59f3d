# SPDX-License-Identifier: Apache-2.0
"""Models that remember: their state is the caller's, from the plan to the emitted C."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

import codeq_compile
from codeq_compile.build import tools
from codeq_compile.build.host import STRICT_FLAGS
from codeq_compile.ir import Graph
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.svdf import Svdf
from codeq_compile.simulate import simulate
from tests.graphs import grid, random_inputs, random_weights, s8, s16
from tests.strategies import GraphBuilder


@pytest.fixture
def graph() -> Graph:
    """Two layers with state, of 8 and of 16 bits, and one without between them."""
    rng = np.random.default_rng(4)
    builder = GraphBuilder(rng, "remember")

    def weights(outputs: int, inputs: int):
        return random_weights(rng, (outputs, inputs), per_channel=False)

    x = builder.input(s8(20, scale=0.05))
    first = Svdf(rank=1, state_scale=float(np.float32(0.4)), state_zero=-7)
    time = builder.constant(s8(9, 5, scale=0.01, zero_point=0))
    hidden = builder.add(first, x, time, weights=weights(9, 20), output=grid(0.1, 3))
    hidden = builder.add(Linear(), hidden, weights=weights(8, 9))
    second = Svdf(rank=2, state_scale=float(np.float32(0.001)))
    time = builder.constant(s16(8, 6, scale=3e-5))
    return builder.graph(
        builder.add(second, hidden, time, weights=weights(8, 8), output=grid(0.01, 0))
    )


def test_the_library_gives_the_integers_of_a_sequence(graph: Graph, tmp_path: Path) -> None:
    """Samples are consecutive inferences, on both sides."""
    made = codeq_compile.compile(graph, tmp_path / "library", target="host")

    assert 0 == codeq_compile.check(tmp_path / "library", samples=30).bytes_differing
    assert 4 * -(-9 * 5 // 4) + 2 * 8 * 6 == made.manifest.state_bytes == made.report.ram.state
    assert made.plan.ram_bytes >= made.plan.arena_bytes + made.manifest.state_bytes


def test_the_header_says_whose_the_state_is(graph: Graph, tmp_path: Path) -> None:
    """Two calls at once need two states, which the arena alone does not say."""
    name = "remembered_for_a_very_long_time"
    codeq_compile.compile(graph, tmp_path / "library", target="host", name=name)

    header = (tmp_path / "library" / f"{name}.h").read_text()
    prose = [line for line in header.splitlines() if line.startswith(" *")]
    assert "different arenas and states may run at the same time" in " ".join(
        line.removeprefix(" * ") for line in prose
    )
    assert max(map(len, prose)) <= 100


@pytest.mark.qemu
@pytest.mark.slow
@pytest.mark.parametrize("board", ["microbit", "mps2_an386", "mps3_an547"])
def test_boards_remember_as_the_simulation_does(graph: Graph, board: str, tmp_path: Path) -> None:
    """Elements of 16 bits at odd addresses would fault on the smallest core."""
    codeq_compile.compile(graph, tmp_path / "library", target=board)

    assert 0 == codeq_compile.check(tmp_path / "library", [board], samples=8).bytes_differing


PROGRAM = """
#include "remember.h"

static struct remember_arena arena;
static uint32_t state[REMEMBER_STATE_BYTES / 4];
static int8_t x[REMEMBER_X0_ELEMENTS] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
static int8_t first[REMEMBER_SVDF2_OUT_ELEMENTS], second[REMEMBER_SVDF2_OUT_ELEMENTS];

static int differ(void)
{
    int count = 0;
    for (int i = 0; i < REMEMBER_SVDF2_OUT_ELEMENTS; i++) {
        count += first[i] != second[i];
    }
    return count;
}

int main(void)
{
    if (remember_run(x, first, &arena, NULL) != CQ_ERROR_ARGUMENT) {
        return 1;
    }
    remember_reset(state);
    if (remember_run(x, first, &arena, state) != CQ_OK ||
        remember_run(x, second, &arena, state) != CQ_OK || !differ()) {
        return 2;
    }
    remember_reset(state);
    if (remember_run(x, second, &arena, state) != CQ_OK || differ()) {
        return 3;
    }
    return remember_selftest(second, &arena, state) == 0 ? 0 : 4;
}
"""


def test_a_program_resets_keeps_and_may_not_leave_out_the_state(
    graph: Graph, tmp_path: Path
) -> None:
    """This is how an application calls it; every step has an exit code of its own."""
    codeq_compile.compile(graph, tmp_path / "library", target="host")
    (tmp_path / "main.c").write_text(PROGRAM, encoding="ascii")
    library = tmp_path / "library"
    sources = [*library.glob("*.c"), *library.glob("runtime/src/**/*.c"), tmp_path / "main.c"]
    includes = [f"-I{library}", f"-I{library / 'runtime' / 'include'}"]
    command = [*tools.host_cc().command, "-std=c99", *STRICT_FLAGS, *includes]

    subprocess.run([*command, *map(str, sources), "-o", str(tmp_path / "main")], check=True)

    assert 0 == subprocess.run([str(tmp_path / "main")], check=False).returncode


def test_a_simulation_is_one_sequence_whatever_its_length(
    graph: Graph, rng: np.random.Generator
) -> None:
    """Blocks of samples must not forget at their seams."""
    from codeq_compile import passes

    lowered = passes.run(graph)
    inputs = random_inputs(rng, graph, 40)

    whole = simulate(lowered, inputs)
    part = simulate(lowered, {name: array[:25] for name, array in inputs.items()})

    for name, array in part.items():
        np.testing.assert_array_equal(whole[name][:25], array)
