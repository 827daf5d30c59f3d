# SPDX-License-Identifier: Apache-2.0
"""Sums and products, with tensors and with numbers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from codeq_compile.errors import UnsupportedOp
from codeq_train.capture import capture
from codeq_train.layers import Add, Mul, Unary
from tests.train.nets import Function, images


def run(function: Callable[..., Tensor], *inputs: Tensor) -> tuple[list[str], Tensor]:
    """Kinds of the layers, and what they compute."""
    layers = capture(Function(function), inputs).layers
    values = {}
    given = list(inputs)
    for layer in layers:
        names = layer.origin.inputs
        values[layer.origin.name] = layer(*[values[n] for n in names] if names else [given.pop(0)])
    kinds = [type(n).__name__ for n in layers if type(n).__name__ != "Input"]
    return kinds, values[layers[-1].origin.name]


HALF = torch.tensor(0.5)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + 1.5,
        lambda x: 2 - x,
        lambda x: x - 0.25,
        lambda x: torch.add(x, 2.0, alpha=3),
        lambda x: x * 0.5,
        lambda x: 0.5 * x,
        lambda x: x / 4,
        lambda x: x * HALF,
        lambda x: torch.mul(x, -1),
    ],
)
def test_arithmetic_with_a_number_is_a_function_of_one_value(
    function: Callable[[Tensor], Tensor],
) -> None:
    """On the device a table of 256 bytes, exact for any constant."""
    x = images(6, 5)

    kinds, result = run(function, x)

    assert [Unary.__name__] == kinds
    assert torch.allclose(function(x), result)


@pytest.mark.parametrize(
    ("function", "kinds"),
    [
        (lambda a, b: a + b, [Add.__name__]),
        (lambda a, b: a * b, [Mul.__name__]),
        (lambda a, b: a - b, [Unary.__name__, Add.__name__]),
        (lambda a, b: torch.add(a, b, alpha=2), [Unary.__name__, Add.__name__]),
    ],
)
def test_arithmetic_of_two_tensors(
    function: Callable[[Tensor, Tensor], Tensor], kinds: list[str]
) -> None:
    """A difference is the sum with the negated tensor."""
    a, b = images(6, 5), images(6, 5, seed=1)

    found, result = run(function, a, b)

    assert kinds == found
    assert torch.allclose(function(a, b), result)


def test_the_operand_that_repeats_comes_second() -> None:
    """The integer layer reads its second input again and again, never the first."""
    gate, image = images(2, 3, 1, 1), images(2, 3, 4, 4, seed=1)
    layers = capture(Function(lambda a, b: a * b), (gate, image)).layers

    names = [layer.origin.name for layer in layers]
    assert (names[1], names[0]) == layers[-1].origin.inputs


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda a, b: a / b, "division by an activation"),
        (lambda a, b: torch.cat([a, b * 0.0 + torch.ones(5)], 1), "constant tensor"),
    ],
)
def test_arithmetic_without_an_integer_form_is_refused(
    function: Callable[[Tensor, Tensor], Tensor], message: str
) -> None:
    """With what to write instead."""
    with pytest.raises(UnsupportedOp, match=message):
        run(function, images(2, 5), images(2, 5))


def test_a_learned_factor_is_refused_in_favour_of_batchnorm() -> None:
    """A parameter outside a layer with weights has no place on the device."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.ones(5))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.factor

    with pytest.raises(UnsupportedOp, match="use BatchNorm"):
        capture(Scaled(), (images(2, 5),))
