# SPDX-License-Identifier: Apache-2.0
"""The simulation of whole graphs: order, branches, and inputs that do not fit."""

import tracemalloc

import numpy as np
import pytest

from codeq_compile.errors import InputError
from codeq_compile.ir import Graph, Node, verify
from codeq_compile.ops.add import Add
from codeq_compile.ops.argmax import Argmax
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.mean import Mean
from codeq_compile.ops.requantize import Requantize
from codeq_compile.simulate import simulate, trace
from tests.graphs import lowered, random_inputs, random_weights, s8

IMAGE = s8(4, 4, 3)


def _branches(rng) -> Graph:
    """Two inputs, a residual, and three outputs of which one is read again."""
    wide = s8(4, 4, 3, scale=0.4, zero_point=6)
    return lowered(
        verify(
            Graph(
                name="branches",
                tensors={
                    "a": IMAGE,
                    "b": s8(3, scale=0.02),
                    "conv": wide,
                    "sum": s8(4, 4, 3, scale=0.3),
                    "fine": IMAGE,
                    "mean": s8(3, scale=0.2),
                    "class": Argmax().infer(
                        Node(name="class", op=Argmax(), inputs=("mean",), output="class"), (s8(3),)
                    ),
                },
                inputs=("a", "b"),
                outputs=("class", "sum", "conv"),
                nodes=(
                    Node(
                        name="conv",
                        op=Conv2D(padding=(1, 1, 1, 1)),
                        inputs=("a",),
                        output="conv",
                        weights=random_weights(rng, (3, 3, 3, 3)),
                    ),
                    Node(name="plus", op=Add(), inputs=("conv", "b"), output="sum"),
                    Node(name="fine", op=Requantize(), inputs=("sum",), output="fine"),
                    Node(name="mean", op=Mean(keep_dims=False), inputs=("fine",), output="mean"),
                    Node(name="class", op=Argmax(), inputs=("mean",), output="class"),
                ),
            )
        )
    )


def test_outputs_are_those_of_the_trace_in_the_graphs_order(rng):
    """Freeing tensors early must not lose one that is an output or read again."""
    graph = _branches(rng)
    inputs = random_inputs(rng, graph, 5)

    outputs, tensors = simulate(graph, inputs), trace(graph, inputs)

    assert list(graph.outputs) == list(outputs)
    assert ["a", "b", "conv", "sum", "fine", "mean", "class"] == list(tensors)
    for name, array in outputs.items():
        np.testing.assert_array_equal(tensors[name], array)


def test_every_tensor_has_the_type_of_the_graph(rng):
    """The test harness compares raw bytes: shape and dtype must be those of the C buffers."""
    graph = _branches(rng)

    for name, array in trace(graph, random_inputs(rng, graph, 2)).items():
        kind = graph.tensors[name]

        assert (kind.dtype.numpy, (2, *kind.shape)) == (array.dtype, array.shape)


def test_samples_of_a_batch_do_not_influence_each_other(rng):
    """Accuracy is measured in batches, devices run one sample at a time."""
    graph = _branches(rng)
    inputs = random_inputs(rng, graph, 7)

    together = simulate(graph, inputs)["sum"]

    for i in range(7):
        one = {name: array[i : i + 1] for name, array in inputs.items()}
        np.testing.assert_array_equal(together[i : i + 1], simulate(graph, one)["sum"])


def test_inputs_are_left_as_they_were(rng):
    """Users run the same array again."""
    graph = _branches(rng)
    inputs = random_inputs(rng, graph, 3)
    before = {name: array.copy() for name, array in inputs.items()}

    simulate(graph, inputs)

    for name, array in before.items():
        np.testing.assert_array_equal(array, inputs[name])


def test_an_empty_batch_gives_empty_outputs(rng):
    """Filtering a data set down to nothing is not an error."""
    graph = _branches(rng)

    assert (0, 4, 4, 3) == simulate(graph, random_inputs(rng, graph, 0))["sum"].shape


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.pop("b"), r'"b" is missing: an int8 array of shape \(batch, 3\)'),
        (lambda x: x.update(c=x["a"]), r'"c" is not an input of branches; it has a, b'),
        (lambda x: x.update(a=x["a"][:, 0]), r'"a" must be an int8 .*\(batch, 4, 4, 3\), not int8'),
        (lambda x: x.update(a=x["a"][0]), r"not int8 \[4, 4, 3\]"),
        (lambda x: x.update(a=x["a"].astype(np.float32)), r"not float32 \[2, 4, 4, 3\]"),
        (lambda x: x.update(a=np.int8(3)), r"not int8 \[\]"),
        (lambda x: x.update(b=x["b"][:1]), r"differ in their number of samples.*'a': 2, 'b': 1"),
    ],
)
def test_an_input_that_does_not_fit_is_named(rng, change, message):
    """A transposed or float array must be an error that says what is wanted, not a wrong answer."""
    graph = _branches(rng)
    inputs = random_inputs(rng, graph, 2)
    change(inputs)

    with pytest.raises(InputError, match=message):
        simulate(graph, inputs)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_batch_but_for_its_outputs(rng):
    """A test set of thousands of images is simulated in one call."""
    graph = _branches(rng)
    inputs = random_inputs(rng, graph, 200_000)
    output_bytes = sum(200_000 * graph.tensors[name].bytes for name in graph.outputs)

    tracemalloc.start()
    simulate(graph, inputs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # outputs twice, as blocks and joined; a block is a million elements, int64 in some ops
    assert peak < 2 * output_bytes + 8 * 8 * 2**20
