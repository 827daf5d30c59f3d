# SPDX-License-Identifier: Apache-2.0
"""The ordinary symmetric grid of fixed width with a learned step (LSQ)."""

from torch import Tensor

from codeq_train.config import LayerConfig
from codeq_train.quantizers.grid import GridQuantizer


class LSQ(GridQuantizer):
    """``ŵ = step · clamp(round(w / step), -Q, Q)``, ``Q = 2^(bits-1) - 1``.

    Source: LSQ, arXiv:1902.08153, with the range ``Q · step`` as the learned parameter.
    """

    def __init__(self, weight: Tensor, config: LayerConfig) -> None:
        super().__init__(weight, config)
        self.fixed_top: Tensor
        self.register_buffer("fixed_top", weight.new_tensor(float((1 << (config.bits - 1)) - 1)))

    def top(self) -> Tensor:
        return self.fixed_top

    def gap(self) -> Tensor:
        return self.fixed_top.new_zeros(())

    def rate(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        codes = self.levels(weight).codes
        return weight.new_tensor(float(self.bits)), (codes != 0).to(weight.dtype).mean()

    def freeze(self, weight: Tensor) -> None:
        """Nothing: neither zeros nor widths are what this quantizer is for."""
