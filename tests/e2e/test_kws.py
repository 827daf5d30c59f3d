# SPDX-License-Identifier: Apache-2.0
"""The keyword spotter that `codeq train kws` made: its promises on accuracy, size and exactness."""

from pathlib import Path

import pytest

import codeq_compile
from codeq_compile.build import tools
from codeq_compile.ir import Graph, load
from codeq_train import to_graph_inputs
from codeq_train.recipes.datasets import speech_commands
from codeq_train.recipes.recipe import Samples, integer_accuracy
from tests.boards import EMULATED, each, emulator_of, found

MODEL = Path(__file__).parents[1] / "golden" / "models" / "kws.cq"
"""Written by a command of docs/RESULTS.md: training takes too long for a test."""


@pytest.fixture(scope="module")
def graph() -> Graph:
    return load(MODEL)


@pytest.fixture(scope="module")
def clips(shared: Path) -> Samples:
    return speech_commands.load(shared / "data" / "kws").test


def test_the_integers_spot_keywords(graph: Graph, clips: Samples) -> None:
    """91.5 % of the clips of unknown speakers, and 86 % where every class counts alike."""
    reached = integer_accuracy(graph, clips)

    assert reached["accuracy"] >= 0.915
    assert reached["balanced"] >= 0.86


def test_the_library_has_at_most_7_kib_of_weights_and_tables(graph: Graph, tmp_path: Path) -> None:
    """8 bits dense are 22 KB of weights alone; the compiler refuses what is above the limit."""
    library = tmp_path / "kws"
    compiled = codeq_compile.compile(graph, library, target="mps2_an386", weights=7 * 1024)

    assert compiled.report.flash.weights + compiled.report.flash.tables <= 7 * 1024
    assert compiled.report.weights > 22_000


@pytest.mark.slow
def test_every_test_clip_gives_the_simulations_bytes(
    graph: Graph, clips: Samples, tmp_path: Path
) -> None:
    """One clip that sounds different on the device would be one too many."""
    codeq_compile.compile(graph, tmp_path / "kws", target="mps2_an386")
    inputs = to_graph_inputs(graph, clips.x)
    result = codeq_compile.check(tmp_path / "kws", ["host"], inputs)

    assert 1500 == result.targets[0].samples
    assert 0 == result.bytes_differing


@pytest.mark.slow
@pytest.mark.qemu
@pytest.mark.parametrize("board", each(EMULATED))
def test_real_clips_give_the_simulations_bytes_on_every_core(
    board: str, graph: Graph, clips: Samples, tmp_path: Path
) -> None:
    """Each core has its own kernels, and each must hear the same."""
    found(tools.arm_cc)
    emulator_of(board)
    codeq_compile.compile(graph, tmp_path / "kws", target=board)
    inputs = to_graph_inputs(graph, clips.x[::75])
    result = codeq_compile.check(tmp_path / "kws", [board], inputs)

    assert 20 == result.targets[0].samples
    assert 0 == result.bytes_differing
