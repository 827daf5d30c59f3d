# SPDX-License-Identifier: Apache-2.0
"""What a legal graph is."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from codeq_compile.errors import ModelError
from codeq_compile.ir import DType, Graph, Node, TensorType, verify
from codeq_compile.ops.add import Add
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.lut import Lut
from codeq_compile.ops.requantize import Requantize
from codeq_compile.ops.reshape import Reshape
from tests.graphs import grid, random_weights, s8
from tests.strategies import GraphBuilder, graphs


@pytest.fixture
def graph(rng: np.random.Generator) -> Graph:
    """x0 of 6 → linear "fc" → 4 → requantize "out"."""
    builder = GraphBuilder(rng)
    layer = random_weights(rng, (4, 6))
    fc = builder.add(Linear(), builder.input(s8(6)), weights=layer, name="fc")
    return builder.graph(builder.add(Requantize(), fc, name="out"))


Change = Callable[[Graph], Graph]


def first(**changes: Any) -> Change:
    """Change fields of the first node."""
    return lambda g: replace(g, nodes=(replace(g.nodes[0], **changes), *g.nodes[1:]))


def last(**changes: Any) -> Change:
    """Change fields of the last node."""
    return lambda g: replace(g, nodes=(*g.nodes[:-1], replace(g.nodes[-1], **changes)))


def tensor(name: str, kind: TensorType) -> Change:
    """Another type for a tensor, or one more tensor."""
    return lambda g: replace(g, tensors={**g.tensors, name: kind})


def whole(**changes: Any) -> Change:
    """Change fields of the graph."""
    return lambda g: replace(g, **changes)


BAD: list[tuple[Change, str]] = [
    (whole(name="Net"), '"Net" is not a lower-case C identifier'),
    (whole(name="a\n"), "is not a lower-case C identifier"),
    (whole(name=""), "is not a lower-case C identifier"),
    (whole(inputs=()), "needs inputs"),
    (whole(inputs=("x0", "x0")), "needs inputs with distinct names"),
    (whole(outputs=()), "needs outputs"),
    (whole(outputs=("out.out", "out.out")), "needs outputs with distinct names"),
    (whole(outputs=("nothing",)), 'output "nothing" is never written'),
    (whole(outputs=("x0",)), 'output "x0" is an input'),
    (whole(labels=("cat", "")), "'' is empty or not printable"),
    (first(name="out"), '2 layers are called "out"'),
    (first(name="a\x1b[31m"), "not printable"),
    (first(inputs=("out.out",)), 'layer "fc" reads "out.out" before it exists'),
    (first(inputs=()), 'layer "fc" reads nothing'),
    (first(inputs=("x0", "x0")), 'linear-C1: .*layer "fc"'),
    (first(output="out.out"), 'layer "out" writes "out.out" a second time'),
    (first(output="other"), 'tensor "other" has no type'),
    (first(weights=None), 'layer "fc": linear needs weights'),
    (first(op=Requantize(), bias=np.zeros(4, np.int32)), "requantize has no weights"),
    (first(bias=np.zeros(4, np.float32)), "bias is int32, not float32"),
    (first(bias=np.zeros(3, np.int32)), 'linear-C3: .*layer "fc"'),
    (first(table=np.zeros(256, np.int8)), "linear has no table"),
    (last(op=Lut()), "lut needs table"),
    (last(op=Lut(), table=np.zeros(255, np.int8)), "lut-C2"),
    (last(bias=np.zeros(4, np.int32)), "requantize has no bias"),
    (last(op=Reshape(shape=(5,))), "reshape-C2"),
    (last(op=Reshape(shape=(2, 2))), r'layer "out" makes s8\[2,2\], but "out.out" is s8\[4\]'),
    (tensor("out.out", s8(5)), r'makes s8\[4\], but "out.out" is s8\[5\]'),
    (tensor("spare", s8(5)), 'tensor "spare" is never written'),
    (tensor("x0", s8(0)), r"illegal shape \[0\]"),
    (tensor("x0", s8(-6)), r"illegal shape \[-6\]"),
    (tensor("x0", s8()), r"illegal shape \[\]"),
    (tensor("x0", s8(1 << 21)), "illegal shape"),
    (tensor("x0", s8(1 << 15, 1 << 15)), "has 1073741824 elements"),
    (tensor("x0", TensorType(shape=(6,))), "an s8 tensor needs a grid"),
    (tensor("x0", replace(s8(6), dtype=DType.S32)), "its grid has 8 bits"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message for _, message in BAD])
def test_an_illegal_graph_is_told_with_the_reason(
    graph: Graph, change: Change, message: str
) -> None:
    """What is let through would fail in a pass, in C, or on the device."""
    with pytest.raises(ModelError, match=f"not legal:(?s:.*){message}"):
        verify(change(graph))


def test_a_legal_graph_is_returned_as_it_is(graph: Graph) -> None:
    """So that the call can stand in an expression."""
    assert graph is verify(graph)


def test_an_op_that_fixes_its_grid_is_obeyed(rng: np.random.Generator) -> None:
    """A reshape cannot change a scale: nothing would compute it."""
    builder = GraphBuilder(rng)
    y = builder.add(Reshape(shape=(6, 1)), builder.input(s8(6)), name="r")
    builder.tensors[y] = replace(builder.tensors[y], grid=grid(0.5, 0))

    with pytest.raises(ModelError, match=r'layer "r": reshape fixes the grid of its output'):
        builder.graph(y)


def test_all_problems_are_told_at_once(graph: Graph) -> None:
    """One round trip to the training machine, not five."""
    broken = last(inputs=("gone",))(first(inputs=("lost",))(graph))

    with pytest.raises(ModelError) as caught:
        verify(broken)
    assert 2 == str(caught.value).count("before it exists")


@given(graphs())
def test_what_the_ops_build_is_legal(graph: Graph) -> None:
    """`verify` must not be stricter than the shape rules."""
    assert graph is verify(graph)
    assert all(isinstance(node, Node) for node in graph.nodes)


def with_constant(array: np.ndarray, readers: int = 1) -> Graph:
    """A sum with a constant."""
    x, y = s8(2, 4), s8(2, 4, scale=0.1)
    tensors = {"x": x, "c": s8(4)} | {f"y{i}": y for i in range(readers)}
    nodes = tuple(
        Node(name=f"add{i}", op=Add(), inputs=("x", "c"), output=f"y{i}") for i in range(readers)
    )
    outputs = tuple(node.output for node in nodes)
    return Graph(
        name="net",
        tensors=tensors,
        inputs=("x",),
        outputs=outputs,
        nodes=nodes,
        constants={"c": array},
    )


def viewed() -> Graph:
    """A constant behind a reshape."""
    graph = with_constant(np.arange(4, dtype=np.int8))
    view = Node(name="v", op=Reshape(shape=(1, 4)), inputs=("c",), output="v")
    (add,) = graph.nodes
    return replace(
        graph,
        tensors={**graph.tensors, "v": s8(1, 4)},
        nodes=(view, replace(add, inputs=("x", "v"))),
    )


def test_a_constant_stands_for_a_tensor_that_nobody_writes() -> None:
    """A folded normalization adds one number a channel, the same for every sample."""
    graph = with_constant(np.arange(4, dtype=np.int8))

    assert graph is verify(graph)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (with_constant(np.arange(3, dtype=np.int8)), r'"c" holds int8 \[3\], and its type is'),
        (with_constant(np.arange(4, dtype=np.int32)), '"c" holds int32'),
        (with_constant(np.arange(4, dtype=np.int8), readers=2), '"c" is read 2 times'),
        (with_constant(np.arange(4, dtype=np.int8), readers=0), '"c" is read 0 times'),
        (replace(with_constant(np.arange(4, dtype=np.int8)), outputs=("c",)), "is a constant"),
        (viewed(), '"c" is viewed'),
    ],
    ids=["shape", "dtype", "two readers", "no reader", "output", "view"],
)
def test_a_constant_that_is_none_is_refused(graph: Graph, message: str) -> None:
    """A table of the wrong size would be read past its end."""
    with pytest.raises(ModelError, match=message):
        verify(graph)
