# SPDX-License-Identifier: Apache-2.0
"""ECQ: an ordinary grid onto which weights are assigned by distance *and* code length.

The dead zone of a CoDeQ comes for free, and the deployed grid knows nothing of it: only which level
a weight takes has changed.  With relevances (`relevance`) it is ECQ^x.
Sources: EC2T (arXiv:2004.01077), ECQ^x (arXiv:2109.04236); written from the equations.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from codeq_train.autograd import apply, weight_step
from codeq_train.config import LayerConfig
from codeq_train.quantizers.base import Levels, WeightQuantizer
from codeq_train.quantizers.entropy import Assignment
from codeq_train.quantizers.lsq import LSQ


class ECQ(LSQ):
    """``ŵ = step · k``, k being the level with the least ``(w / step - k)² + λ · I_k``.

    Zero is taken up to ``|w| = step · (1/2 + λ · (I_1 - I_0) / 2)`` where the levels ±1 are used;
    see `quantizers.entropy` for I and λ, and `Assignment.steer` for how λ finds a budget.

    The grid is symmetric, ``±(2^(bits - 1) - 1)``; the published one has another level on one side,
    which fits no signed integer of that width.  Its step is learned like LSQ's, the published one
    is fixed.  After `freeze` zeros stay zeros, and the others are assigned with the λ · I of then.
    """

    def __init__(self, weight: Tensor, config: LayerConfig) -> None:
        super().__init__(weight, config)
        top = int(self.fixed_top)
        values = torch.arange(-top, top + 1, dtype=weight.dtype, device=weight.device)
        self.values: Tensor
        self.register_buffer("values", values, persistent=False)
        self.assignment = Assignment(weight, config, levels=len(values))
        self.scaled_gradient = config.scaled_gradient

    def forward(self, weight: Tensor) -> Tensor:
        quantized = apply(
            QuantizeAssigned,
            weight,
            self.top_value(weight),
            self.fixed_top,
            self.index(weight),
            self.mask,
            self.scaled_gradient,
        )
        relevance = self.assignment.relevance
        if relevance is not None and self.training and self.mask is None:
            relevance.watch(quantized, weight)
        return quantized

    @torch.no_grad()
    def index(self, weight: Tensor) -> Tensor:
        """k of each weight, from the weights alone: float tensor of their shape."""
        position: Tensor = self.assignment(
            weight / self.step(weight), self.values, factor=self.size_factor, mask=self.mask
        )
        return position.to(weight.dtype) - self.fixed_top

    @torch.no_grad()
    def levels(self, weight: Tensor) -> Levels:
        return Levels(
            codes=self.index(weight).to(torch.int8),
            bits=self.bits,
            scale=self.step(weight).reshape(-1).clone(),
        )

    @torch.no_grad()
    def freeze(self, weight: Tensor) -> None:
        """Fix the set of zeros and what the levels cost."""
        if self.mask is None:
            u = weight / self.step(weight)
            self.assignment.fix(u, self.values, factor=self.size_factor)
        WeightQuantizer.freeze(self, weight)

    def steer(self, excess: float) -> None:
        """See `Assignment.steer`."""
        if self.mask is None:
            self.assignment.steer(excess)


class QuantizeAssigned(Function):
    """``ŵ = step · k``, ``step = R / top``, with levels that were chosen outside.

    Straight-through, for weights inside ``|w| <= R + step/2`` and clipped weights beyond::

        dŵ/dw = 1               clipped too
        dŵ/dR = (ŵ - w) / R     clipped: sign(w)

    Clipped weights keep their gradient, as published: where few weights are left, many of them are
    clipped, and a net whose clipped weights stand still learns worse.  With `scaled` dŵ/dw is
    ``|ŵ|`` where that is not 0, as in the trained ternary nets from which EC2T has it.  The
    published code of ECQ^x multiplies by ŵ itself, so that negative weights walk uphill.  The
    range's gradient is scaled by ``1 / sqrt(weights · top)`` as in LSQ.
    """

    @staticmethod
    def forward(
        ctx: Any,
        w: Tensor,
        top_value: Tensor,
        top: Tensor,
        index: Tensor,
        mask: Tensor | None,
        scaled: bool,
    ) -> Tensor:
        step = weight_step(top_value, top, top.new_zeros(()))
        quantized = step * index
        ctx.save_for_backward(w, quantized, top_value, step)
        ctx.mask, ctx.scaled, ctx.levels = mask, scaled, w.numel() * float(top)
        return quantized

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        w, quantized, top_value, step = ctx.saved_tensors
        if ctx.mask is not None:
            grad = grad * ctx.mask
        inside = w.abs() <= top_value + 0.5 * step
        moved = grad * (quantized - w * inside)
        grad_value = moved.sum_to_size(top_value.shape) / top_value * ctx.levels**-0.5
        if ctx.scaled:
            grad = scale_gradient(grad, quantized)
        return grad, grad_value, None, None, None, None


def scale_gradient(grad: Tensor, quantized: Tensor) -> Tensor:
    """`grad` times the magnitude of the level, times 1 for zero.

    Source: Zhu et al., trained ternary quantization, arXiv:1612.01064, eq. 8.
    """
    magnitude = quantized.abs()
    return grad * torch.where(magnitude > 0, magnitude, 1.0)
