# SPDX-License-Identifier: Apache-2.0
"""Every op as ONNX: onnxruntime gives the simulation's integers but for a step, and it comes back.

The cases are those of the ops themselves.
"""

import importlib
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="runs what is exported here")

from onnx import checker, load_from_string

from codeq_compile import passes
from codeq_compile.errors import UnsupportedOp
from codeq_compile.export.onnx import WRITERS, dumps
from codeq_compile.export.onnx.operators import function_of, onnx_axis, onnx_shape
from codeq_compile.frontends.onnx.elementwise import FUNCTIONS
from codeq_compile.frontends.onnx.schema import OPSETS
from codeq_compile.ir import Graph, Weights
from codeq_compile.ir.op import Array, op_kinds
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.lut import tabulate
from codeq_compile.ops.softmax import Softmax
from codeq_compile.simulate import simulate
from tests.graphs import Case, one_op_graph, random_inputs, s8, s16
from tests.onnx_author import session
from tests.onnx_oracle import imported, outputs

CASES = [
    case
    for kind in sorted(WRITERS)
    for case in importlib.import_module(f"tests.compile.ops.test_{kind}").CASES
]
COUNTS = Counter(case.op.kind for case in CASES)
FEW = 12
"""One of so many cases is among the fast tests, and all of ops that have no more."""
NO_ORT = {"empty-windows", "empty-windows-c9", "dilation-same", "dilation-same-c9"}
"""Windows that lie in the padding: legal here, refused by onnxruntime."""


def is_fast(number: int, case: Case) -> bool:
    return number % FEW == 0 or COUNTS[case.op.kind] <= FEW


def in_onnx(graph: Graph, name: str, array: Array) -> Array:
    """Samples of a tensor in the order and shape of the file."""
    return array.transpose(0, 3, 1, 2) if len(graph.tensors[name].shape) == 3 else array


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case,
            id=f"{case.op.kind}-{case.name}",
            marks=[] if is_fast(number, case) else [pytest.mark.slow],
        )
        for number, case in enumerate(CASES)
    ],
)
def test_an_op_is_exported_and_comes_back(case: Case) -> None:
    """In steps of the output: values in the middle between two may go either way."""
    graph = case.graph()
    data = dumps(graph)
    given = dict(case.data())
    samples = {
        name: in_onnx(graph, name, graph.tensors[name].grid.dequantize(q))
        for name, q in given.items()
    }
    expected = in_onnx(graph, "y", simulate(passes.run(graph), given)["y"])

    again = outputs(imported(data), samples)
    np.testing.assert_array_equal(expected, next(iter(again.values())).reshape(expected.shape))

    checker.check_model(load_from_string(data), full_check=case.name not in NO_ORT)
    if case.name not in NO_ORT:
        (real,) = session(data).run(None, samples)
        grid = graph.tensors["y"].grid
        ours, step = (expected, 1.0) if grid is None else (grid.dequantize(expected), grid.scale)
        assert np.abs(ours - real.reshape(ours.shape)).max() / step < 1.01


def test_every_op_is_exported_or_refused_by_name() -> None:
    """A new op must not be forgotten."""
    assert {"convert", "softmax16", "svdf"} == set(op_kinds()) - set(WRITERS)


def test_what_onnx_does_not_have_is_refused_all_at_once() -> None:
    """State and elements of 16 bits."""
    case = importlib.import_module("tests.compile.ops.test_convert").CASES[2]

    with pytest.raises(UnsupportedOp) as caught:
        dumps(one_op_graph(case.op, [s16(4)], case.output))

    assert ['layer "layer": ONNX has no operator for convert', 'tensor "x0" is s16[4]'] == [
        reason.partition(": only")[0] for reason in caught.value.reasons
    ]


@pytest.mark.parametrize("bits", [5, 13])
def test_rounded_factors_are_exported_as_they_are(bits: int, rng: np.random.Generator) -> None:
    """Models that codeq trained have factors of one or two bytes; onnxruntime must see the same."""
    weights = Weights(
        codes=rng.integers(-127, 128, (9, 20)).astype(np.int8),
        bits=8,
        scale=rng.uniform(0.01, 0.03, 9).astype(np.float32),
    )
    graph = one_op_graph(Linear(multiplier_bits=bits), [s8(20)], weights=weights)
    samples = random_inputs(rng, graph, 50)
    expected = simulate(passes.run(graph), samples)["y"]
    data = dumps(graph)
    reals = {name: graph.tensors[name].grid.dequantize(q) for name, q in samples.items()}

    again = imported(data)
    grid = graph.tensors["y"].grid
    found = grid.quantize(session(data).run(None, reals)[0])

    assert bits == again.graph.nodes[0].op.multiplier_bits
    np.testing.assert_array_equal(expected, outputs(again, reals)["y"][:, 0])
    assert np.abs(expected.astype(int) - found).max() <= 1
    assert np.mean(expected != found) < 0.05


@pytest.mark.parametrize("name", ["Sigmoid", "Tanh", "HardSwish", "Softplus", "Silu"])
def test_a_table_is_called_by_its_name(name: str) -> None:
    """Netron then shows a function, and not 256 numbers."""
    x, y = s8(4), s8(4, scale=0.02)
    sigmoid = FUNCTIONS["Sigmoid"]
    function = FUNCTIONS.get(name, lambda v: v * sigmoid(v))
    table = tabulate(function, x.grid, y.grid)

    assert name == function_of(table, x, y)
    table[200] ^= 1
    assert function_of(table, x, y) is None


def test_a_temperature_is_a_product(rng: np.random.Generator) -> None:
    """ONNX's softmax has none."""
    graph = one_op_graph(Softmax(beta=0.5), [s8(12)])
    samples = random_inputs(rng, graph, 20)
    expected = graph.tensors["y"].grid.dequantize(simulate(passes.run(graph), samples)["y"])

    (found,) = session(dumps(graph)).run(
        None, {"x0": graph.tensors["x0"].grid.dequantize(samples["x0"])}
    )

    assert np.abs(expected - found).max() < 1.01 / 256


def test_images_count_their_channels_first() -> None:
    """As everybody expects of ONNX; other tensors keep their axes."""
    assert ((1, 3, 6, 5), (1, 6, 5), (1, 5)) == tuple(
        onnx_shape(shape) for shape in ((6, 5, 3), (6, 5), (5,))
    )
    assert [2, 3, 1] == [onnx_axis(axis, 3) for axis in range(3)]
    assert [1, 2] == [onnx_axis(axis, 2) for axis in range(2)]


def test_the_exported_version_is_one_that_is_read() -> None:
    """A file of ours that we refuse would be absurd."""
    from codeq_compile.export.onnx.document import OPSET

    assert OPSET in OPSETS
