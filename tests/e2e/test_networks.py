# SPDX-License-Identifier: Apache-2.0
"""The networks that people deploy: compiled, run on this machine, compared in every tensor."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import codeq_compile
from codeq_compile.build import tools
from codeq_compile.ir import Graph, save
from codeq_compile.packing import CODECS
from tests.boards import EMULATED, each, found
from tests.libraries import emitted
from tests.networks import TERNARY, ds_cnn, mobilenet_v1_025, resnet8

Network = Callable[[np.random.Generator], Graph]

NETWORKS = [pytest.param(n, id=n.__name__) for n in (ds_cnn, resnet8, mobilenet_v1_025)]


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_of_mixed_widths_gives_the_integers_of_the_simulation(
    network: Network, tmp_path: Path, rng: np.random.Generator
) -> None:
    """One differing byte in any layer is a model that behaves otherwise on the device."""
    save(network(rng), tmp_path / "model.cq")
    compiled = codeq_compile.compile(tmp_path / "model.cq", tmp_path / "out", target="host")

    result = codeq_compile.check(tmp_path / "out", samples=2)

    outputs = compiled.manifest.output_bytes * 4
    layers = compiled.manifest.trace_bytes * 4
    assert (result.bytes_differing, result.bytes_compared) == (0, outputs + layers)


@pytest.mark.parametrize("packing", CODECS)
def test_every_packing_of_one_network_gives_the_same_outputs(
    packing: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    """Packing trades flash for time, never values; where a layer cannot have it, dense serves."""
    graph = ds_cnn(rng, TERNARY)
    codeq_compile.compile(graph, tmp_path / "out", target="host", packing=packing)

    result = codeq_compile.check(tmp_path / "out", samples=2)

    assert 0 == result.bytes_differing


@pytest.mark.slow
@pytest.mark.qemu
@pytest.mark.parametrize("board", each(EMULATED))
def test_the_keyword_spotter_runs_on_every_core(
    board: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    """Compiled for the core itself: its best kernels, its alignment, its memory."""
    found(tools.arm_cc)
    found(tools.qemu)
    emitted(ds_cnn(rng), tmp_path, board)

    result = codeq_compile.check(tmp_path, [board], samples=1)

    assert 0 == result.bytes_differing
    assert result.targets[0].stack_bytes
