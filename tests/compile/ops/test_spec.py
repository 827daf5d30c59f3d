# SPDX-License-Identifier: Apache-2.0
"""docs/NUMERICS.md and the ops: every op has its section, and every example is true."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codeq_compile import ops
from codeq_compile.ir import op as op_module
from codeq_compile.ir import op_kinds
from codeq_compile.ops.requantize import Requantize
from codeq_compile.simulate import simulate
from tests import spec
from tests.graphs import grid, lowered, one_op_graph, random_inputs, s8


def test_every_op_has_a_section_and_every_section_an_op():
    """A rule that a reader cannot find is no rule."""
    assert sorted(spec.sections()) == sorted(op_kinds())


@pytest.mark.parametrize("kind", sorted(spec.sections()))
def test_a_section_has_the_headings_of_all_others(kind):
    """A reader who knows one op's section finds her way in the next."""
    text = spec.sections()[kind]

    positions = [text.find(f"**{heading}**") for heading in spec.HEADINGS]

    assert -1 not in positions
    assert positions == sorted(positions)


@pytest.mark.parametrize("kind", sorted(spec.sections()))
def test_the_example_of_a_section_is_what_the_golden_computes(kind):
    """People check their own implementation against these examples."""
    example = spec.example(spec.sections()[kind])

    assert example.graph.nodes[0].op.kind == kind
    np.testing.assert_array_equal(example.output, simulate(example.graph, example.inputs)["y"])


def test_the_template_of_an_op_is_an_op(rng, monkeypatch):
    """The first thing a newcomer copies must run: here it is a change of grid."""
    monkeypatch.setattr(op_module, "_REGISTRY", dict(op_module._REGISTRY))
    source = (Path(ops.__file__).parent / "TEMPLATE.py.txt").read_text()
    scope: dict[str, Any] = {"__name__": "template"}

    exec(compile(source, "TEMPLATE.py.txt", "exec"), scope)

    graphs = [
        lowered(one_op_graph(op, [s8(3, 4)], grid(0.07, 5)))
        for op in (scope["Template"](), Requantize())
    ]
    x = random_inputs(rng, graphs[0], 4)
    np.testing.assert_array_equal(*(simulate(graph, x)["y"] for graph in graphs))
    c = [
        list(node.op.c_params(node.params, graph.input_types(node), graph.tensors["y"], None))
        for graph in graphs
        for node in graph.nodes
    ]
    assert c[0] == c[1]
