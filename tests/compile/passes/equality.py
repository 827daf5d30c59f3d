# SPDX-License-Identifier: Apache-2.0
"""How a pass is checked: the outputs of the graph keep every integer."""

import numpy as np

from codeq_compile import passes
from codeq_compile.ir import Graph, verify
from codeq_compile.passes import Pass
from codeq_compile.simulate import simulate
from tests.graphs import random_inputs


def assert_same_outputs(before: Graph, after: Graph) -> None:
    """Both graphs, lowered as they are, agree on random and extreme samples, names included."""
    inputs = random_inputs(np.random.default_rng(0), before, batch=4)
    expected = simulate(passes.run(before, "literal"), inputs)
    actual = simulate(passes.run(after, "literal"), inputs)

    assert list(expected) == list(actual)
    for name, array in expected.items():
        assert before.tensors[name] == after.tensors[name]
        np.testing.assert_array_equal(array, actual[name])


def applied(step: Pass, graph: Graph) -> Graph:
    """The verified result of a pass that kept the outputs' integers."""
    result = verify(step(graph))
    assert_same_outputs(graph, result)
    return result


def kinds(graph: Graph) -> list[str]:
    """Ops of the graph in order."""
    return [node.op.kind for node in graph.nodes]
