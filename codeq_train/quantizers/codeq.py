# SPDX-License-Identifier: Apache-2.0
"""CoDeQ with an integer gap: dead zone and width are learned, the grid stays one integer grid.

Levels are ``step · (i + gap · sign(i))``; the dead zone is ``|w| <= (gap + 1/2) · step``, so that
widening the gap prunes, and what is pruned costs the deployed layer nothing but a decoder constant.
Source: CoDeQ, arXiv:2512.12981, eq. 10-18; the paper's offset grid is restricted to whole gaps.
"""

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codeq_train.autograd import bounded_round_ste
from codeq_train.config import LayerConfig
from codeq_train.quantizers.base import soft_density
from codeq_train.quantizers.grid import GridQuantizer

MAX_LEVEL = 127
"""int8: gap + top index never exceed it. [N3.3]"""

_INITIAL_GAP = 0.3


class CoDeQ(GridQuantizer):
    """Learned dead zone and learned width.

    ``gap = round(softplus(phi))``, ``bits = round(min + (max - min) · sigmoid(psi))``.
    """

    learned: ClassVar[Mapping[str, str]] = {"phi": "dead_zone", "psi": "bits"}
    learns_size = True

    def __init__(self, weight: Tensor, config: LayerConfig) -> None:
        super().__init__(weight, config)
        self.min_bits, self.max_bits = config.min_bits, config.bits
        # _INITIAL_GAP rounds to 0: training starts on the ordinary grid
        self.phi = nn.Parameter(torch.zeros(()), requires_grad=config.learn_dead_zone)
        self.set_gap(_INITIAL_GAP)
        # 0.95 of the way up still rounds to the largest width and has a usable slope
        self.learn_bits = config.learn_bits and self.min_bits < self.max_bits
        self.psi = nn.Parameter(torch.tensor(3.0), requires_grad=self.learn_bits)
        self.settled: Tensor
        self.register_buffer("settled", torch.zeros(()))  # the width that is kept; 0: none yet

    def width(self) -> Tensor:
        """Whole number of bits in a 0-d tensor, straight-through to `psi`."""
        if not self.learn_bits:
            return self.psi.new_tensor(float(self.max_bits))
        if self.settled:
            # the parameter stays in the graph: other processes wait for its gradient
            return self.settled + 0.0 * self.psi
        span = self.max_bits - self.min_bits
        soft = self.min_bits + span * torch.sigmoid(self.psi)
        return bounded_round_ste(soft, self.min_bits, self.max_bits)

    def top(self) -> Tensor:
        return torch.exp2(self.width() - 1.0) - 1.0

    def gap(self) -> Tensor:
        limit = MAX_LEVEL - float(self.top().detach())
        return bounded_round_ste(F.softplus(self.phi), 0.0, limit)

    @torch.no_grad()
    def set_gap(self, gap: float) -> None:
        """Give the gap a positive value, from which learning goes on."""
        self.phi.fill_(math.log(math.expm1(gap)))

    def rate(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Width and the share of weights beyond the threshold, the threshold's edge softened.

        The density's gradient reaches the gap, the width (wider steps prune more) and weights near
        the threshold; the range is left to the task's gradient.
        """
        width, top = self.width(), self.top()
        # the unrounded gap: between two whole gaps the pull must not vanish
        gap = F.softplus(self.phi).clamp(max=MAX_LEVEL - float(top.detach()))
        step = self.top_value(weight).detach() / (top + gap)
        threshold = (gap + 0.5) * step
        alive = None if self.structure is None else self.alive(weight)
        return width, soft_density(weight, threshold, step, alive)

    @property
    def widest(self) -> int:
        return self.max_bits

    @torch.no_grad()
    def settle(self, bits: int | None = None) -> None:
        self.settled.fill_(self.bits if bits is None else bits)

    @torch.no_grad()
    def freeze(self, weight: Tensor) -> None:
        """Fix the set of zeros, the width and the gap.

        Source: QADS (one straight-through estimator late in training is stable, two are not).
        """
        super().freeze(weight)
        if self.structure is not None:
            self.structure.requires_grad_(False)
        self.phi.requires_grad_(False)
        self.psi.requires_grad_(False)
