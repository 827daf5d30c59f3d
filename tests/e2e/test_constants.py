# SPDX-License-Identifier: Apache-2.0
"""Operands that are the same for every sample: from the file through passes and plan into C."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import codeq_compile
from codeq_compile import ir, passes
from codeq_compile.ir import Graph
from codeq_compile.ops.add import Add
from codeq_compile.ops.concat import Concat
from codeq_compile.ops.extremum import Extremum
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.mul import Mul
from codeq_compile.ops.prelu import PReLU
from codeq_compile.ops.sub import Sub
from codeq_compile.simulate import simulate, trace
from tests.graphs import grid, random_inputs, random_weights, s8
from tests.strategies import GraphBuilder


@pytest.fixture
def graph() -> Graph:
    """Constants as operands and joined; four channels of the first layer are 0."""
    rng = np.random.default_rng(3)
    builder = GraphBuilder(rng, "constants")
    weights = random_weights(rng, (12, 20))
    codes = weights.codes.copy()
    codes[2:6] = 0
    x = builder.input(s8(20))
    hidden = builder.add(Linear(), x, weights=replace(weights, codes=codes))
    scaled = builder.add(Mul(), hidden, builder.constant(s8(12, scale=0.02)), output=grid(0.2, 5))
    shifted = builder.add(Add(), scaled, builder.constant(s8(12)), output=grid(0.2, -9))
    bent = builder.add(PReLU(), shifted, builder.constant(s8(12, scale=0.01)), output=grid(0.2, 3))
    less = builder.add(Sub(), bent, builder.constant(s8(12)), output=grid(0.3, 1))
    most = builder.add(Extremum(largest=True), less, builder.constant(builder.tensors[less]))
    joined = builder.add(Concat(), most, builder.constant(builder.tensors[most]))
    return builder.graph(builder.add(Linear(), joined, weights=random_weights(rng, (5, 24))))


def test_constants_survive_the_file(graph: Graph, tmp_path: Path) -> None:
    """The library's own `.cq` is what `codeq check` simulates. [F9]"""
    ir.save(graph, tmp_path / "model.cq")

    again = ir.load(tmp_path / "model.cq")

    assert graph.constants.keys() == again.constants.keys()
    for name, array in graph.constants.items():
        np.testing.assert_array_equal(array, again.constants[name])
    assert ir.serial.digest(graph) == ir.serial.digest(again)


def test_constants_are_shown(graph: Graph) -> None:
    """A graph printed without them has operands from nowhere."""
    assert "c0: s8[12] = constant" in ir.show(graph)


def test_passes_keep_the_outputs(graph: Graph, rng: np.random.Generator) -> None:
    """A channel that leaves takes its part of a constant with it."""
    inputs = random_inputs(rng, graph, 8)
    native, literal = passes.run(graph), passes.run(graph, "literal")

    (name,) = graph.outputs
    np.testing.assert_array_equal(simulate(literal, inputs)[name], simulate(native, inputs)[name])
    assert trace(literal, inputs).keys() == graph.tensors.keys() - graph.constants.keys()


def test_the_c_reads_them_from_flash(graph: Graph, tmp_path: Path) -> None:
    """In the arena they would cost RAM and would have to be written before each call."""
    made = codeq_compile.compile(graph, tmp_path / "library", target="host")

    assert 0 == codeq_compile.check(tmp_path / "library").bytes_differing
    assert {"constant"} == {
        made.plan.memory.places[name].kind for name in made.plan.graph.constants
    }
    weights = (tmp_path / "library" / "constants_weights.c").read_text(encoding="ascii")
    assert "const int8_t constants_l02_operand[" in weights
