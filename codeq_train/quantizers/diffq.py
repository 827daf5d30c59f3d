# SPDX-License-Identifier: Apache-2.0
"""DiffQ: widths are learned through noise as large as the rounding error, without straight-through.

While training, weights are not rounded but disturbed, and the size of the disturbance is a smooth
function of the width; evaluation rounds.  The grid is symmetric here and has an exact zero, and one
group is one layer: a layer has one width in flash, because a kernel that changed it between
weights would spend more on decoding than it saves.
Source: DiffQ, arXiv:2104.09987, section 4; written from its equations.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from codeq_train.autograd import bounded_round_ste
from codeq_train.config import LayerConfig
from codeq_train.quantizers.base import soft_density
from codeq_train.quantizers.grid import GridQuantizer

_GAUSSIAN_DEVIATION = 0.5
"""In steps, as published: sqrt(3) times that of a rounding error."""


class DiffQ(GridQuantizer):
    """``w̃ = clamp(w, -R, R) + step · noise`` until `freeze`, then the ordinary grid.

    ``step = R / (2^(b - 1) - 1)``, ``b = min + (max - min) · sigmoid(psi)``.  The noise is uniform
    in [-1/2, 1/2], the true rounding error of a fine grid, or gaussian.  It comes from torch's
    generator of the weight's device.  Evaluation and `freeze` use b rounded.
    """

    learned: ClassVar[Mapping[str, str]] = {"psi": "bits"}
    learns_size = True

    def __init__(self, weight: Tensor, config: LayerConfig) -> None:
        super().__init__(weight, config)
        self.min_bits, self.max_bits = config.min_bits, config.bits
        self.noise = config.noise
        self.learn_bits = config.learn_bits and self.min_bits < self.max_bits
        # 0.95 of the way up still rounds to the largest width and has a usable slope
        self.psi = nn.Parameter(torch.tensor(3.0), requires_grad=self.learn_bits)

    def soft_width(self) -> Tensor:
        """Width before it is rounded: 0-d tensor, differentiable."""
        if not self.learn_bits:
            return self.psi.new_tensor(float(self.max_bits))
        return self.min_bits + (self.max_bits - self.min_bits) * torch.sigmoid(self.psi)

    def top(self) -> Tensor:
        width = bounded_round_ste(self.soft_width(), self.min_bits, self.max_bits)
        return torch.exp2(width - 1.0) - 1.0

    def gap(self) -> Tensor:
        return self.psi.new_zeros(())

    def forward(self, weight: Tensor) -> Tensor:
        if not self.training or self.mask is not None:
            return super().forward(weight)
        reach = self._differentiable_range(weight)
        step = reach / (torch.exp2(self.soft_width() - 1.0) - 1.0)
        return weight.clamp(-reach, reach) + step * self._noise(weight)

    def rate(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Width, not rounded, and the share of weights that round to a level other than 0.

        Few bits have wide steps and many zeros: the density, too, falls with the width.
        """
        width = self.soft_width()
        step = self.top_value(weight).detach() / (torch.exp2(width - 1.0) - 1.0)
        return width, soft_density(weight, 0.5 * step, step)

    @torch.no_grad()
    def freeze(self, weight: Tensor) -> None:
        """Round the width and fix it, with the zeros; from here on gradients are straight-through.

        Below 4 bits noise is a poor model of rounding: the network has to see the true levels.
        """
        super().freeze(weight)
        self.psi.requires_grad_(False)

    def _differentiable_range(self, weight: Tensor) -> Tensor:
        """R; where it is the largest magnitude, the weight that has it gets the gradient."""
        if self.log_range is not None:
            return self.log_range.exp()
        magnitude = weight.abs()
        largest = magnitude.flatten(1).amax(1) if self.per_channel else magnitude.amax()
        return torch.maximum(largest.reshape(self.range_shape), self._absmax(weight))

    def _noise(self, weight: Tensor) -> Tensor:
        """In steps: tensor of the weights' shape."""
        if self.noise == "gaussian":
            return torch.randn_like(weight).mul_(_GAUSSIAN_DEVIATION)
        return torch.rand_like(weight).sub_(0.5)
