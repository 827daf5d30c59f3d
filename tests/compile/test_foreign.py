# SPDX-License-Identifier: Apache-2.0
"""The goldens against TFLite Micro's reference kernels: golden and C could be wrong together."""

import importlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from codeq_compile.ir import Graph
from codeq_compile.ops.add import Add
from codeq_compile.ops.avgpool2d import AvgPool2D
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.mean import Mean
from codeq_compile.ops.mul import Mul
from codeq_compile.ops.requantize import Requantize
from codeq_compile.ops.softmax import Softmax
from codeq_compile.simulate import simulate
from tests.graphs import (
    Case,
    fitting_grid,
    grid,
    lowered,
    one_op_graph,
    random_bias,
    random_inputs,
    random_weights,
    s8,
)

pytest.importorskip("tflite_micro", reason="needs the package tflite-micro, the foreign witness")

from tests import tflite

# Cases of each op that TFLite can express: a converter that declined more would hide errors.
EXPRESSIBLE = {
    "conv2d": 100,
    "dwconv2d": 70,
    "linear": 90,
    "add": 20,
    "mul": 18,
    "avgpool2d": 8,
    "maxpool2d": 8,
    "mean": 20,
    "pad": 10,
    "concat": 7,
    "reshape": 3,
    "softmax": 18,
    "argmax": 7,
    "requantize": 15,
    "upsample2d": 7,
}
GRAPHS_PER_OP = 25


@pytest.mark.parametrize("kind", EXPRESSIBLE)
def test_the_cases_of_an_op_give_the_bytes_of_the_foreign_kernel(kind):
    """An imported TFLite model must give the answers that its author measured."""
    cases: list[Case] = importlib.import_module(f"tests.compile.ops.test_{kind}").CASES
    compared = 0
    for case in cases:
        data = case.data()
        try:
            foreign = tflite.run(case.graph(), data)
        except tflite.NotExpressibleError:
            continue
        compared += 1

        np.testing.assert_array_equal(
            foreign, simulate(lowered(case.graph()), data)["y"], err_msg=case.name
        )

    assert compared >= EXPRESSIBLE[kind]


def _image(rng: np.random.Generator):
    h, w, c = (int(n) for n in rng.integers(1, 9, 3))
    return s8(h, w, c, scale=_scale(rng), zero_point=_zero(rng))


def _zero(rng: np.random.Generator) -> int:
    return int(rng.integers(-128, 128))


def _scale(rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(1e-4), np.log(10))))


def _weighted(rng: np.random.Generator, op, x, shape: tuple[int, ...]) -> Graph:
    weights = random_weights(
        rng,
        shape,
        bits=int(rng.integers(2, 9)),
        zeros=float(rng.choice([0.0, 0.5, 0.9])),
        per_channel=bool(rng.integers(2)),
    )
    bias = random_bias(rng, weights) if rng.integers(2) else None
    output = fitting_grid(x, weights, zero_point=_zero(rng))
    six = output.zero_point + round(6.0 / output.scale)  # never a tie: the scale is random
    relu, relu6 = (output.zero_point, 127), (output.zero_point, min(six, 127))
    op = replace(op, clamp=((-128, 127), relu, relu6)[rng.integers(3)])
    return one_op_graph(op, [x], output, weights=weights, bias=bias)


def _conv2d(rng: np.random.Generator) -> Graph:
    x = _image(rng)
    c = x.shape[2]
    groups = int(rng.choice([g for g in range(1, c + 1) if c % g == 0]))
    kernel, stride = rng.integers(1, 4, 2).tolist(), rng.integers(1, 4, 2).tolist()
    padding = tflite.same_padding(x.shape[:2], kernel, stride)
    op = Conv2D(stride=tuple(stride), padding=padding, groups=groups)
    return _weighted(rng, op, x, (groups * int(rng.integers(1, 9)), *kernel, c // groups))


def _dwconv2d(rng: np.random.Generator) -> Graph:
    x = _image(rng)
    kernel, stride = rng.integers(1, 4, 2).tolist(), (int(rng.integers(1, 4)),) * 2
    op = DWConv2D(stride=stride, padding=tflite.same_padding(x.shape[:2], kernel, stride))
    return _weighted(rng, op, x, (x.shape[2] * int(rng.integers(1, 4)), *kernel))


def _linear(rng: np.random.Generator) -> Graph:
    inputs, outputs = (int(n) for n in rng.integers(1, 300, 2))
    x = s8(inputs, scale=_scale(rng), zero_point=_zero(rng))
    return _weighted(rng, Linear(), x, (outputs, inputs))


def _add(rng: np.random.Generator) -> Graph:
    a, b = (s8(97, scale=_scale(rng), zero_point=_zero(rng)) for _ in range(2))
    output = grid((a.scale + b.scale) * rng.uniform(0.3, 1.2), _zero(rng))
    return one_op_graph(Add(), [a, b], output)


def _mul(rng: np.random.Generator) -> Graph:
    a, b = (s8(97, scale=_scale(rng), zero_point=_zero(rng)) for _ in range(2))
    output = grid(a.scale * b.scale * rng.uniform(5, 150), _zero(rng))
    return one_op_graph(Mul(), [a, b], output)


def _mean(rng: np.random.Generator) -> Graph:
    x = _image(rng)
    return one_op_graph(Mean(), [x], grid(x.scale * rng.uniform(0.2, 1.5), _zero(rng)))


def _avgpool2d(rng: np.random.Generator) -> Graph:
    x = _image(rng)
    kernel = tuple(int(rng.integers(1, n + 1)) for n in x.shape[:2])
    stride = tuple(rng.integers(1, 4, 2).tolist())
    return one_op_graph(AvgPool2D(kernel=kernel, stride=stride), [x])


def _requantize(rng: np.random.Generator) -> Graph:
    x = s8(256, scale=_scale(rng), zero_point=_zero(rng))
    output = grid(x.scale * np.exp(rng.uniform(-3, 3)), _zero(rng))
    clamp = (output.zero_point if rng.integers(2) else -128, 127)
    return one_op_graph(Requantize(clamp=clamp), [x], output)


def _softmax(rng: np.random.Generator) -> Graph:
    return one_op_graph(Softmax(), [s8(int(rng.integers(1, 100)), scale=_scale(rng))])


RANDOM: dict[str, Callable[[np.random.Generator], Graph]] = {
    "conv2d": _conv2d,
    "dwconv2d": _dwconv2d,
    "linear": _linear,
    "add": _add,
    "mul": _mul,
    "mean": _mean,
    "avgpool2d": _avgpool2d,
    "requantize": _requantize,
    "softmax": _softmax,
}


@pytest.mark.parametrize("kind", RANDOM)
def test_random_layers_give_the_bytes_of_the_foreign_kernel(rng, kind):
    """Grids that nobody thought of are the ones that imported models have."""
    for number in range(GRAPHS_PER_OP):
        graph = RANDOM[kind](rng)
        data = random_inputs(rng, graph, 4)

        np.testing.assert_array_equal(
            tflite.run(graph, data),
            simulate(lowered(graph), data)["y"],
            err_msg=f"graph {number}: {graph.nodes[0].op} {graph.tensors}",
        )
