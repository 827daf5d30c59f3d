# SPDX-License-Identifier: Apache-2.0
"""Fake quantization with closed-form gradients: each forward rule beside its gradient rule.

Rounding is straight-through: its derivative is taken as 1.  Everything is fused into few passes,
because training on a CPU is bound by memory traffic over the activations.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def round_half_away(x: Tensor) -> Tensor:
    """Nearest integer, ties away from zero. [N2.1]"""
    return torch.copysign(torch.floor(x.abs() + 0.5), x)


class BoundedSTE(Function):
    """``clamp(x, low, high)``; gradient 1, but 0 where it would push x further out."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.low, ctx.high = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        # gradient descent moves x against grad
        outward = ((x >= ctx.high) & (grad < 0)) | ((x <= ctx.low) & (grad > 0))
        return grad.masked_fill(outward, 0.0), None, None


class AtLeast(Function):
    """``maximum(x, low)``; gradient 1, but 0 where it would push x further down."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: Tensor) -> Tensor:
        ctx.save_for_backward(x, low)
        return torch.maximum(x, low)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x, low = ctx.saved_tensors
        return grad.masked_fill((x <= low) & (grad > 0), 0.0), None


class BoundedRoundSTE(BoundedSTE):
    """``clamp(round(x), low, high)``; gradient of `BoundedSTE`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        BoundedSTE.forward(ctx, x, low, high)
        return torch.floor(x + 0.5).clamp(low, high)


class QuantizeActivation(Function):
    """int8 fake quantization of a tensor with learned scale and zero point (LSQ+).

    Forward, with ``z = round(zero_point)``::

        q = clamp(floor(x / scale + 1/2) + z, low, high)        y = scale · (q - z)

    Backward, with inside = ``low - z < x / scale < high - z``::

        dy/dx = inside
        dy/dscale = (y - inside · x) / scale
        dy/dzero_point = -scale · (1 - inside)

    Source: LSQ (arXiv:1902.08153, eq. 3) and LSQ+ (arXiv:2004.09576, eq. 4), the offset in steps.
    Both parameter gradients are scaled by ``1 / sqrt(elements · top)`` as LSQ does, with top = 127
    for 8 bits.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, zero_point: Tensor, low: int, high: int, top: int
    ) -> Tensor:
        step, zero = float(scale), int(torch.floor(zero_point + 0.5))
        bounds = (low - zero, high - zero)
        y = x.div(step).add_(0.5).floor_().clamp_(*bounds).mul_(step)
        ctx.save_for_backward(x, y)
        ctx.step, ctx.bounds, ctx.top = step, bounds, top
        return y

    @staticmethod
    def backward(
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None, None, None, None]:
        x, y = ctx.saved_tensors
        low, high = (bound * ctx.step for bound in ctx.bounds)
        # one vectorised pass: grad where low < x < high, else 0
        grad_x = torch.ops.aten.hardtanh_backward(grad, x, low, high)
        weight = (x.numel() * ctx.top) ** -0.5
        grad_scale = grad_zero = None
        if ctx.needs_input_grad[1]:
            total = _dot(grad, y) - _dot(grad_x, x)
            grad_scale = total * (weight / ctx.step)
        if ctx.needs_input_grad[2]:
            grad_zero = (grad_x.sum() - grad.sum()) * (weight * ctx.step)
        return grad_x, grad_scale, grad_zero, None, None, None


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Sum of products, in the order of memory: a copy of channels-last images costs a third."""
    if all(each.dim() == 4 and each.stride(1) == 1 for each in (a, b)):
        a, b = a.permute(0, 2, 3, 1), b.permute(0, 2, 3, 1)
    return torch.dot(a.reshape(-1), b.reshape(-1))


def weight_step(top_value: Tensor, top: Tensor, gap: Tensor) -> Tensor:
    """Real value of one integer level: the top level ``top + gap`` stands at `top_value`."""
    return top_value / (top + gap)


def weight_index(w: Tensor, step: Tensor, top: Tensor, gap: Tensor, mask: Tensor | None) -> Tensor:
    """Index i on the integer-gap grid, as a float tensor of w's shape. [N3.4]

    ``|i| = clamp(ceil(|w| / step - gap - 1/2), 0, top)``, so that i is 0 exactly for
    ``|w| <= (gap + 1/2) · step``.  With a mask (1 = kept), pruned weights stay 0 and kept ones
    stay at least at the first level.
    """
    magnitude = torch.ceil(w.abs().div(step).sub_(gap + 0.5))
    magnitude = magnitude.clamp_(min=0) if mask is None else magnitude.clamp_(min=1).mul_(mask)
    return torch.minimum(magnitude, top).mul_(torch.sign(w))


class QuantizeWeight(Function):
    """CoDeQ on an integer grid: ``ŵ = step · (i + gap · sign(i))``, ``step = R / (top + gap)``.

    `R` (the top level's value) is learned or detached; `gap` and `top` arrive as whole numbers
    whose rounding is straight-through outside.  With ``r = ŵ/step - w/step`` for weights inside
    ``|w| <= R + step/2`` (pruned ones too), and clipped weights beyond::

        dŵ/dw    = 1                      clipped: 0
        dŵ/dR    = r / (top + gap)        clipped: sign(w)
        dŵ/dtop  = -step · r/(top + gap)  clipped: 0
        dŵ/dgap  = the same, and for pruned weights another -step · sign(w)

    Source: CoDeQ, arXiv:2512.12981, eq. 10-15, with the offset an integer multiple of the step.
    The top level does not move with gap or top, so that clipped weights have no say in them: the
    paper's code has a spurious term there.  No division by a step occurs in any gradient.  The
    range's gradient is scaled by ``1 / sqrt(weights · levels)`` as in LSQ; those of top and gap are
    the true ones, because the penalty on bytes is weighed against them.
    """

    @staticmethod
    def forward(
        ctx: Any,
        w: Tensor,
        top_value: Tensor,
        top: Tensor,
        gap: Tensor,
        mask: Tensor | None,
    ) -> Tensor:
        step = weight_step(top_value, top, gap)
        index = weight_index(w, step, top, gap, mask)
        quantized = step * (index + gap * torch.sign(index))
        ctx.save_for_backward(w, quantized, top_value, top, gap, step)
        ctx.mask = mask
        return quantized

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        w, quantized, top_value, top, gap, step = ctx.saved_tensors
        levels = top + gap
        inside = w.abs() <= top_value + 0.5 * step
        grad_w = grad * inside
        if ctx.mask is not None:
            grad_w = grad_w * ctx.mask
            grad = grad * ctx.mask
        moved = grad_w * (quantized - w)  # step · r, per weight
        clipped = (grad * quantized).masked_fill(inside, 0.0)
        weight = (w.numel() * float(levels)) ** -0.5
        grad_value = _sum_to(moved + clipped, top_value) / top_value * weight
        grad_top = -moved.sum() / levels
        pruned = (grad_w * step * torch.sign(w)).masked_fill(quantized != 0, 0.0)
        grad_gap = grad_top - pruned.sum()
        return grad_w, grad_value, grad_top, grad_gap, None


def _sum_to(x: Tensor, like: Tensor) -> Tensor:
    return x.sum_to_size(like.shape) if like.dim() else x.sum()


def apply(function: type[Function], *arguments: object) -> Tensor:
    """Call a function that has a gradient of its own."""
    result = function.apply(*arguments)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert isinstance(result, Tensor)
    return result


def bounded_ste(x: Tensor, low: float, high: float) -> Tensor:
    """`x` within [low, high]; see `BoundedSTE`."""
    return apply(BoundedSTE, x, low, high)


def at_least(x: Tensor, low: Tensor) -> Tensor:
    """`x`, but not below `low`; see `AtLeast`."""
    return apply(AtLeast, x, low)


def bounded_round_ste(x: Tensor, low: float, high: float) -> Tensor:
    """Nearest integer in [low, high]; see `BoundedRoundSTE`."""
    return apply(BoundedRoundSTE, x, low, high)


def quantize_activation(
    x: Tensor, scale: Tensor, zero_point: Tensor, low: int, high: int, top: int = 127
) -> Tensor:
    """Fake-quantized activations; see `QuantizeActivation`.

    Parameters
    ----------
    x : float tensor of any shape
    scale, zero_point : 0-d float tensors
        Of the grid; the zero point is rounded here.
    low, high : int
        Limits of q, in [-128, 127].
    top : int
        Largest level of the grid's width, which scales the gradients of the grid.
    """
    return apply(QuantizeActivation, x, scale, zero_point, low, high, top)


def quantize_weight(
    w: Tensor, top_value: Tensor, top: Tensor, gap: Tensor, mask: Tensor | None
) -> Tensor:
    """Fake-quantized weights; see `QuantizeWeight`.

    Parameters
    ----------
    w : float tensor of shape (out_channels, ...)
    top_value : float tensor that broadcasts against `w`
        Real value of the top level, positive.
    top, gap : 0-d float tensors
        Whole numbers.
    mask : float tensor of w's shape, optional
        1 for weights that must not become 0, 0 for those that stay 0.
    """
    return apply(QuantizeWeight, w, top_value, top, gap, mask)
