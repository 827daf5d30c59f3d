# SPDX-License-Identifier: Apache-2.0
"""Forward rules and closed-form gradients of fake quantization, against autograd."""

import numpy as np
import pytest
import torch
from torch import Tensor

from codeq_train.autograd import (
    at_least,
    bounded_round_ste,
    quantize_activation,
    quantize_weight,
    round_half_away,
    weight_index,
    weight_step,
)


def straight_through(x: Tensor, rounded: Tensor) -> Tensor:
    """`rounded` with the gradient of `x`."""
    return x + (rounded - x).detach()


def weight_by_autograd(w: Tensor, top_value: Tensor, top: Tensor, gap: Tensor) -> Tensor:
    """The quantizer written with elementary operations, straight-through where it rounds."""
    step = top_value / (top + gap)
    offset = w.abs() / step - gap
    sign = torch.sign(w).detach()
    index = straight_through(offset, torch.ceil(offset - 0.5).clamp(min=0))
    kept = (index.detach() > 0).to(w.dtype)
    inside = sign * step * (index + gap * kept)
    # the top level stands at R whatever top and gap are
    clipped = w.abs() > top_value + 0.5 * step
    return torch.where(clipped, sign * top_value, inside)


def weights(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.normal(size=shape))


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(("top", "gap"), [(1.0, 0.0), (3.0, 2.0), (7.0, 1.0), (127.0, 0.0)])
def test_weight_gradients_equal_those_of_autograd(
    rng: np.random.Generator, per_channel: bool, top: float, gap: float
) -> None:
    """The fused backward pass must train exactly what the formula says."""
    w = weights(rng, 4, 5, 3).requires_grad_()
    shape = (4, 1, 1) if per_channel else (1,)
    value = torch.from_numpy(rng.uniform(0.8, 1.6, shape)).requires_grad_()
    levels = [torch.tensor(n, dtype=torch.float64, requires_grad=True) for n in (top, gap)]
    grad = weights(rng, 4, 5, 3)

    expected = torch.autograd.grad(
        weight_by_autograd(w, value, *levels), [w, value, *levels], grad, allow_unused=True
    )
    actual = torch.autograd.grad(
        quantize_weight(w, value, *levels, None), [w, value, *levels], grad
    )

    lsq = (w.numel() * (top + gap)) ** -0.5  # LSQ scales the gradient of the range
    for by_autograd, fused, scale in zip(expected, actual, (1, lsq, 1, 1), strict=True):
        assert torch.allclose(by_autograd * scale, fused)


def test_clipped_weights_have_no_say_in_width_and_gap() -> None:
    """The paper's code has a spurious term there that blows up in very sparse layers."""
    w = torch.tensor([[3.0, -2.0]], requires_grad=True)
    top, gap = (torch.tensor(n, requires_grad=True) for n in (3.0, 1.0))

    quantize_weight(w, torch.ones(1), top, gap, None).sum().backward()

    assert [0.0, 0.0] == w.grad.flatten().tolist()
    assert (0.0, 0.0) == (float(top.grad), float(gap.grad))


def test_zeros_are_exactly_the_weights_inside_the_dead_zone(rng: np.random.Generator) -> None:
    """The gap prunes by magnitude at (gap + 1/2) steps, ties included."""
    step, top, gap = torch.tensor(0.25), torch.tensor(7.0), torch.tensor(2.0)
    threshold = 2.5 * 0.25
    w = torch.cat([weights(rng, 500).float(), torch.tensor([threshold, -threshold, 0.0])])

    index = weight_index(w, step, top, gap, None)

    assert torch.equal(w.abs() <= threshold, index == 0)


def test_levels_are_the_integer_gap_grid() -> None:
    """Decoders compute index + gap · sign(index); any other level could not be deployed."""
    w = torch.linspace(-2, 2, 4001)
    value, top, gap = torch.ones(1), torch.tensor(3.0), torch.tensor(2.0)

    levels = torch.unique(quantize_weight(w, value, top, gap, None)) / weight_step(value, top, gap)

    assert [-5, -4, -3, 0, 3, 4, 5] == levels.tolist()


def test_a_mask_keeps_zeros_and_only_zeros() -> None:
    """In the last phase no weight may appear or vanish any more."""
    w = torch.tensor([0.9, 0.01, -0.01, -0.9])
    mask = torch.tensor([0.0, 1.0, 1.0, 1.0])
    w.requires_grad_()

    quantized = quantize_weight(w, torch.ones(1), torch.tensor(3.0), torch.tensor(1.0), mask)
    quantized.sum().backward()

    assert [0.0, 0.5, -0.5, -1.0] == quantized.tolist()
    assert [0.0, 1.0, 1.0, 1.0] == w.grad.tolist()


@pytest.mark.parametrize(("low", "high"), [(-128, 127), (-128, 40)])
@pytest.mark.parametrize("zero", [-128.0, -3.4, 50.0])
def test_activation_gradients_equal_those_of_autograd(
    rng: np.random.Generator, low: int, high: int, zero: float
) -> None:
    """Scale and zero point must move as LSQ+ says, clipped values included."""
    x = torch.from_numpy(rng.normal(0.0, 8.0, (6, 50))).requires_grad_()
    scale = torch.tensor(0.07, dtype=torch.float64, requires_grad=True)
    zero_point = torch.tensor(zero, dtype=torch.float64, requires_grad=True)
    grad = weights(rng, 6, 50)
    z = straight_through(zero_point, torch.floor(zero_point + 0.5))
    steps = x / scale + z
    q = straight_through(steps, torch.floor(steps + 0.5))
    # LSQ: no gradient through values beyond the outermost levels
    clipped = torch.where(steps >= high, high, torch.where(steps <= low, low, q))
    expected = torch.autograd.grad((clipped - z) * scale, [x, scale, zero_point], grad)

    actual = torch.autograd.grad(
        quantize_activation(x, scale, zero_point, low, high), [x, scale, zero_point], grad
    )

    lsq = (x.numel() * 127) ** -0.5
    assert torch.allclose(expected[0], actual[0])
    assert torch.allclose(expected[1] * lsq, actual[1])
    assert torch.allclose(expected[2] * lsq, actual[2])


def test_rounding_is_half_away_from_zero_as_in_the_integers() -> None:
    """torch.round goes to even and would put every second tie of a bias one step off."""
    assert [-3.0, -1.0, 1.0, 3.0] == round_half_away(torch.tensor([-2.5, -0.5, 0.5, 2.5])).tolist()


def test_a_bounded_value_can_only_move_inward() -> None:
    """A width pushed against its limit must neither drift beyond it nor stick to it."""
    x = torch.tensor([9.0, 9.0, 1.0, 1.0, 5.2], requires_grad=True)

    rounded = bounded_round_ste(x, 2.0, 8.0)
    rounded.backward(torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0]))

    assert [8.0, 8.0, 2.0, 2.0, 5.0] == rounded.tolist()
    assert [1.0, 0.0, 0.0, -1.0, 1.0] == x.grad.tolist()


def test_at_least_moves_what_it_holds_up_only_away_from_its_limit() -> None:
    """A step below the smallest that integers have may grow again, and must not shrink further."""
    x = torch.tensor([3.0, 3.0, 1.0, 1.0, 2.0, 2.0], requires_grad=True)
    low = torch.full((6,), 2.0, requires_grad=True)

    held = at_least(x, low)
    held.backward(torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0]))

    assert [3.0, 3.0, 2.0, 2.0, 2.0, 2.0] == held.tolist()
    assert [1.0, -1.0, 0.0, -1.0, 0.0, -1.0] == x.grad.tolist()
    assert low.grad is None


def test_at_least_is_autograds_maximum_where_it_does_not_hold(rng: np.random.Generator) -> None:
    """Everywhere else training must notice nothing of it."""
    x = weights(rng, 50).requires_grad_()
    low, grad = weights(rng, 50), weights(rng, 50)
    (expected,) = torch.autograd.grad(torch.maximum(x, low), x, grad)

    (actual,) = torch.autograd.grad(at_least(x, low), x, grad)

    inside = (x > low).detach()
    assert torch.equal(torch.maximum(x, low), at_least(x, low))
    assert torch.equal(expected[inside], actual[inside])
    assert torch.equal(grad.clamp(max=0.0)[~inside], actual[~inside])
