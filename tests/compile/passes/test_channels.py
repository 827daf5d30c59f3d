# SPDX-License-Identifier: Apache-2.0
"""Which channels belong together, and layers with some of them."""

import numpy as np
import pytest

from codeq_compile.ir import Graph, Node, Op, op_kinds
from codeq_compile.ops.argmax import Argmax
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.softmax import Softmax
from codeq_compile.passes.channels import links, mixes, restricted, tied
from tests.graphs import one_op_graph, random_weights, s8

PAIR = (np.array([0, 1]), np.array([1, 2]))


def _conv(rng: np.random.Generator, groups: int, per_channel: bool = True) -> Graph:
    weights = random_weights(rng, (6, 1, 1, 4 // groups), per_channel=per_channel)
    return one_op_graph(
        Conv2D(groups=groups),
        [s8(2, 2, 4)],
        weights=weights,
        bias=np.arange(6, dtype=np.int32),
    )


def test_what_is_tied_has_one_number() -> None:
    """Across several layers, and through channels that two links share."""
    numbers = tied({"a": 2, "b": 3, "c": 3}, [("b", "c", PAIR), ("a", "b", PAIR)])

    # a0-b1, a1-b2, b0-c1, b1-c2: b1 joins a0 and c2
    assert numbers["a"][0] == numbers["b"][1] == numbers["c"][2]
    assert numbers["a"][1] == numbers["b"][2]
    assert numbers["b"][0] == numbers["c"][1]
    assert 4 == len({int(n) for array in numbers.values() for n in array})


def test_tensors_without_ties_have_numbers_of_their_own() -> None:
    """A graph of convolutions only has no links at all."""
    numbers = tied({"a": 2, "b": 2}, [])

    assert 4 == len({*numbers["a"].tolist(), *numbers["b"].tolist()})


@pytest.mark.parametrize("op", [Softmax(), Argmax()], ids=["softmax", "argmax"])
def test_what_looks_at_all_channels_keeps_them(op: Op) -> None:
    """A softmax without one of its scores gives other probabilities."""
    graph = one_op_graph(op, [s8(4)])

    assert links(graph, graph.nodes[0]) is None


def test_a_new_op_keeps_its_channels() -> None:
    """Until somebody says how its channels hang together; nothing is assumed of it."""

    class Unknown(Softmax):
        pass

    graph = one_op_graph(Softmax(), [s8(4)])
    node = Node(name="layer", op=Unknown(), inputs=("x0",), output="y")

    assert links(graph, node) is None
    assert not mixes(node)


def test_groups_tie_their_inputs_and_outputs(rng: np.random.Generator) -> None:
    """Group 1 of 2: inputs 2 and 3, outputs 3 to 5."""
    graph = _conv(rng, 2)
    (link,) = links(graph, graph.nodes[0]) or ()
    numbers = tied({"x": 4, "y": 6}, [("x", "y", link)])

    assert numbers["x"][[0, 0, 2, 2]].tolist() == numbers["x"].tolist()
    assert numbers["x"][[0, 0, 0, 2, 2, 2]].tolist() == numbers["y"].tolist()
    assert numbers["x"][0] != numbers["x"][2]


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_restricted_layer_has_the_weights_of_its_channels(
    per_channel: bool, rng: np.random.Generator
) -> None:
    """A scale or a bias of another channel is a wrong model."""
    node = _conv(rng, 1, per_channel).nodes[0]
    x, y = np.array([True, False, True, True]), np.array([0, 1, 0, 0, 1, 0], bool)
    result = restricted(node, {"x0": x, "y": y})

    assert node.weights is not None
    assert result.weights is not None
    assert result.bias is not None
    np.testing.assert_array_equal(node.weights.codes[[1, 4]][..., [0, 2, 3]], result.weights.codes)
    scale = node.weights.scale[[1, 4]] if per_channel else node.weights.scale
    np.testing.assert_array_equal(scale, result.weights.scale)
    assert [1, 4] == result.bias.tolist()


def test_every_op_was_thought_of() -> None:
    """Whoever adds an op decides here whether dead channels may leave through it."""
    opaque = {"argmax", "softmax", "softmax16", "svdf", "transpose", "slice"}
    thought_of = opaque | {
        *("conv2d", "dwconv2d", "linear", "add", "mul", "maxpool2d", "avgpool2d", "mean"),
        *("sub", "extremum", "prelu", "convert"),
        *("requantize", "lut", "pad", "concat", "reshape", "upsample2d"),
    }

    assert thought_of == set(op_kinds())
