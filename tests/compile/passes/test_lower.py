# SPDX-License-Identifier: Apache-2.0
"""Grids become integers."""

import numpy as np
import pytest

from codeq_compile.errors import ModelError
from codeq_compile.ops.requantize import Requantize, RequantizeParams
from codeq_compile.passes.lower import lower
from tests.graphs import grid, s8
from tests.strategies import GraphBuilder


def test_every_node_gets_its_integers(rng: np.random.Generator) -> None:
    """Simulation, packing and C read the same ones."""
    builder = GraphBuilder(rng)
    y = builder.add(Requantize(), builder.input(s8(3)), output=grid(0.1, 5))
    graph = builder.graph(y)
    lowered = lower(graph)

    assert (False, True) == (graph.is_lowered, lowered.is_lowered)
    assert isinstance(lowered.nodes[0].params, RequantizeParams)


def test_all_layers_that_cannot_be_lowered_are_named_at_once(rng: np.random.Generator) -> None:
    """One run, all faults: calibration is repeated once."""
    builder = GraphBuilder(rng)
    builder.input(s8(3))
    names = ("first", "second")
    bad = [builder.add(Requantize(), "x0", output=grid(1e-12, 5), name=name) for name in names]

    with pytest.raises(ModelError, match=r'(?s)N2\.2.*layer "first".*N2\.2.*layer "second"'):
        lower(builder.graph(*bad))
