# SPDX-License-Identifier: Apache-2.0
"""int8 grids of activations: initialised from data, then learned (LSQ+), or fixed by the op.

A grid of fewer bits is an int8 grid of which only 2^bits neighbouring integers are used: the limits
that every layer has anyway keep values there, so that the kernels need nothing new.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from codeq_compile.errors import InputError
from codeq_compile.ir import Grid
from codeq_compile.numerics import round_half_away
from codeq_train.autograd import bounded_ste, quantize_activation

Limits = tuple[float, float]
"""Real limits of a fused activation; infinite where there is none."""

NO_LIMITS: Limits = (-math.inf, math.inf)

_ZERO_POINT_UNIT = 0.125
"""Zero points are learned in eighths of the grid: one learning rate suits them and scales."""
_SAMPLE = 1 << 16
_CANDIDATES = 24
_COVERED = 0.9998
"""Share of the values that the grid reaches where a percentile chooses it."""

Ranges = Literal["mse", "absmax", "percentile"]
"""How calibration chooses a grid: least squared error, all values, or nearly all."""


class ActivationQuantizer(nn.Module):
    """One int8 grid, ``real = scale · (q - zero_point)``; several tensors may share it. [N3.1]

    Parameters
    ----------
    non_negative : bool
        Every value on the grid is >= 0: the zero point is -128 and not learned.
    learn : bool
        Learn scale and zero point after calibration.
    fixed : Grid, optional
        The op dictates this grid (softmax, sigmoid, tanh), or the user knows the input's.
    bits : int, 2..8
        Values take one of 2^bits integers: from -128 on where they are never negative, around 0
        otherwise.
    """

    def __init__(
        self,
        *,
        non_negative: bool = False,
        learn: bool = True,
        fixed: Grid | None = None,
        bits: int = 8,
    ) -> None:
        super().__init__()
        self.non_negative = non_negative
        self.bits = bits
        self.low = -128 if non_negative else -(1 << (bits - 1))
        self.high = self.low + (1 << bits) - 1
        self._zero_unit = _ZERO_POINT_UNIT * (1 << bits)
        self.fixed = fixed
        self.enabled = True
        learn = learn and fixed is None
        scale, zero = (
            (fixed.scale, fixed.zero_point) if fixed else (1.0, -128 if non_negative else 0)
        )
        self.log_scale = nn.Parameter(torch.tensor(scale).log(), requires_grad=learn)
        self.zero = nn.Parameter(
            torch.tensor(zero / self._zero_unit), requires_grad=learn and not non_negative
        )
        self._observed: list[Tensor] | None = None

    def scale(self) -> Tensor:
        """Step of the grid: 0-d float32 tensor, exactly what export stores."""
        if self.fixed is not None:
            return self.log_scale.new_tensor(self.fixed.scale)
        return self.log_scale.exp()

    def zero_point(self) -> Tensor:
        """Zero point in steps, not yet rounded: 0-d tensor; beyond a limit it can still return."""
        return bounded_ste(self.zero * self._zero_unit, self.low, self.high)

    def grid(self) -> Grid:
        """The grid that export stores."""
        return Grid(
            scale=float(self.scale().detach()),
            zero_point=math.floor(float(self.zero_point().detach()) + 0.5),
        )

    def clamp(self, limits: Limits) -> tuple[int, int]:
        """Integer limits of a fused activation on this grid, rounded half away as in TFLite.

        They leave none but the grid's 2^bits integers.
        """
        grid = self.grid()
        low, high = (
            limit if math.isinf(limit) else grid.zero_point + round_half_away(limit / grid.scale)
            for limit in limits
        )
        return int(min(max(low, self.low), self.high)), int(max(min(high, self.high), self.low))

    def forward(self, x: Tensor, limits: Limits = NO_LIMITS) -> Tensor:
        """Fake-quantized `x`, limited."""
        if not self.rounds:
            limited = x if limits == NO_LIMITS else x.clamp(*limits)
            if self._observed is not None:
                self._observed.append(_sample(limited))
            return limited
        low, high = self.clamp(limits)
        top = (1 << (self.bits - 1)) - 1
        return quantize_activation(x, self.scale(), self.zero_point(), low, high, top)

    @property
    def rounds(self) -> bool:
        """Whether values are put on the grid now."""
        return self.enabled and self._observed is None

    def observe(self) -> None:
        """Let values pass as they are, and remember a sample of them, until `settle`."""
        self._observed = []

    def settle(self, ranges: Ranges = "mse") -> None:
        """Choose the grid for what was observed since `observe`."""
        observed, self._observed = self._observed, None
        if observed and self.fixed is None:
            self._fit(torch.cat(observed), ranges)

    @torch.no_grad()
    def _fit(self, values: Tensor, ranges: Ranges) -> None:
        """Scale and zero point for `values`, of shape (n,)."""
        if not torch.isfinite(values).all():
            raise InputError("calibration met values that are not finite: check data and weights")
        smallest, largest = _ends(values, _COVERED if ranges == "percentile" else 1.0)
        low = 0.0 if self.non_negative else min(smallest, 0.0)
        high = max(largest, 0.0)
        if high - low < 1e-6:
            high = low + 1.0
        best = (math.inf, 1.0, 0)
        fractions = torch.linspace(0.2, 1.0, _CANDIDATES).tolist() if ranges == "mse" else [1.0]
        for fraction in fractions:
            scale = (high - low) * fraction / (self.high - self.low)
            nearest = round(min(max(self.low - low * fraction / scale, self.low), self.high))
            zero = self.low if self.non_negative else nearest
            q = (values / scale).round_().clamp_(self.low - zero, self.high - zero)
            error = float((q.mul_(scale) - values).square_().sum())
            best = min(best, (error, scale, zero))
        _, scale, zero = best
        self.log_scale.fill_(math.log(scale))
        self.zero.fill_(zero / self._zero_unit)


def _ends(values: Tensor, covered: float) -> tuple[float, float]:
    """Smallest and largest of the inner share `covered` of the values."""
    outside = int((1.0 - covered) / 2 * values.numel())
    low = values.kthvalue(outside + 1).values
    high = values.kthvalue(values.numel() - outside).values
    return float(low), float(high)


def _sample(x: Tensor) -> Tensor:
    """At most `_SAMPLE` values; a fixed stride, so that the same data gives the same grid."""
    values = x.detach().reshape(-1).float()
    return values[:: -(-values.numel() // _SAMPLE)].clone()
