# SPDX-License-Identifier: Apache-2.0
"""Sums, products and tables on the device, against torch."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from codeq_compile.errors import UnsupportedOp
from codeq_train import QuantizedModel, export, integer_distance
from tests.train.capture.test_activations import FUNCTIONS
from tests.train.nets import images, prepared


@pytest.fixture(scope="module")
def all_functions() -> QuantizedModel:
    """Every function of one value on the same input, each an output of its own."""

    def apply(x: Tensor) -> dict[str, Tensor]:
        return {f"f{n}": function(x.clone()) for n, function in enumerate(FUNCTIONS)}

    return prepared(apply, images(64, 5))


@pytest.mark.slow
def test_tables_hold_each_function_in_float64(all_functions: QuantizedModel) -> None:
    """All 256 values, rounded to the output's grid; never a float32 function of some machine."""
    graph = export(all_functions)
    (name,) = graph.inputs
    x = graph.tensors[name]
    real = torch.from_numpy(x.scale * (np.arange(-128, 128) - x.zero_point))

    for n, function in enumerate(FUNCTIONS):
        node = graph.producer(f"f{n}")
        grid = graph.tensors[f"f{n}"].grid
        assert node is not None
        assert grid is not None

        assert np.array_equal(grid.quantize(function(real.clone()).numpy()), node.table), function


def test_tables_agree_with_training(all_functions: QuantizedModel) -> None:
    """float32 against float64 may differ by one step where a value falls between two."""
    distances = integer_distance(all_functions, images(64, 5))

    assert len(distances) == len(FUNCTIONS) + 1
    assert max(d.steps for d in distances) <= 1
    assert max(d.share for d in distances) <= 0.02


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (lambda a, b: a + b, [(8, 3, 4, 5), (8, 3, 4, 5)]),
        (lambda a, b: F.relu(a + b), [(8, 3, 4, 5), (8, 3, 4, 5)]),
        (lambda a, b: a - b, [(8, 6), (8, 6)]),
        (lambda a, b: a * b, [(8, 3, 4, 5), (8, 3, 4, 5)]),
        (lambda a, b: a * torch.sigmoid(b), [(8, 3, 4, 5), (8, 3, 1, 1)]),
        (lambda a, b: b + a, [(8, 3, 7), (8, 3, 1)]),
        (lambda a, b: a.flatten(1) + b.flatten(1), [(8, 3, 4, 5), (8, 3, 4, 5)]),
        (lambda a, b: torch.softmax(a + b, 1), [(8, 3, 4, 5), (8, 3, 4, 5)]),
        (lambda a, b: torch.softmax(a * b, -1), [(8, 12), (8, 12)]),
    ],
)
def test_arithmetic_of_two_tensors_is_one_step_from_its_integers(
    function: Callable[[Tensor, Tensor], Tensor], shapes: list[tuple[int, ...]]
) -> None:
    """Also where one value a channel is repeated, and behind a flatten."""
    inputs = [images(*shape, seed=n) for n, shape in enumerate(shapes)]

    distances = integer_distance(prepared(function, *inputs), *inputs)

    assert max(d.steps for d in distances) <= 1


def test_a_function_without_a_value_is_refused() -> None:
    """1/0 has no byte in a table."""
    with pytest.raises(UnsupportedOp, match=r"no finite value at 0"):
        prepared(lambda x: torch.pow(x, -1.0), images(8, 4).abs())


def test_operands_that_stand_differently_are_refused() -> None:
    """Adding (c, h, w) to a transposed tensor would mix elements."""

    def mixed(a: Tensor, b: Tensor) -> Tensor:
        return F.max_pool2d(a, 1) + F.max_pool2d(b, 1).transpose(2, 3)

    with pytest.raises(UnsupportedOp, match="do not stand alike"):
        prepared(mixed, images(2, 3, 4, 4), images(2, 3, 4, 4))


@pytest.mark.slow
def test_argmax_counts_as_torch_does() -> None:
    """Over the channels of an image, and over a vector."""
    x = images(4, 3, 4, 5)
    per_pixel = export(prepared(lambda x: torch.argmax(torch.tanh(x), 1), x))
    vector = export(prepared(lambda x: torch.argmax(torch.tanh(x), 1), images(4, 7)))

    assert (4, 5) == per_pixel.tensors["output"].shape
    assert (1,) == vector.tensors["output"].shape
    assert "s32" == vector.tensors["output"].dtype

    with pytest.raises(UnsupportedOp, match="positions would be permuted"):
        prepared(lambda x: torch.argmax(F.max_pool2d(x, 1).flatten(1), 1), x)
    with pytest.raises(UnsupportedOp, match="over the channels"):
        prepared(lambda x: torch.softmax(F.max_pool2d(x, 1), 3), x)
