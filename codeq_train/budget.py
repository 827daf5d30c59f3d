# SPDX-License-Identifier: Apache-2.0
"""Pressure towards a number of flash bytes, adjusted while training."""

import torch
from torch import Tensor, nn

_MEASURE_EVERY = 50
_MAX_PRESSURE = 100.0


class Budget(nn.Module):
    """Dual ascent on ``bytes <= target``.

    Every step, ``pressure += rate · (bytes / target - 1)``, kept >= 0; the penalty is
    ``pressure · max(bytes / target - 1, 0)``.  The differentiable estimate is set right by an exact
    count now and then.

    Parameters
    ----------
    target : int
        Flash bytes of weights and tables.
    rate : float
        Of the pressure, per step.
    """

    def __init__(self, target: int, rate: float) -> None:
        super().__init__()
        self.target, self.rate = target, rate
        self.pressure: Tensor
        self.correction: Tensor
        self.tables: Tensor
        self.steps: Tensor
        self.register_buffer("pressure", torch.zeros(()))
        self.register_buffer("correction", torch.ones(()))
        self.register_buffer("tables", torch.zeros(()))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @property
    def wants_measure(self) -> bool:
        """True when an exact count is due."""
        return int(self.steps) % _MEASURE_EVERY == 0

    def measure(self, estimate: Tensor, *, weight_bytes: int, table_bytes: int) -> None:
        """Set the estimate right: it stands for `weight_bytes` in truth."""
        self.tables.fill_(float(table_bytes))
        self.correction.copy_(weight_bytes / estimate.detach().clamp(min=1.0))

    def excess(self, estimate: Tensor) -> Tensor:
        """``bytes / target - 1`` for weights of `estimate` bytes: 0-d tensor, differentiable."""
        return (estimate * self.correction + self.tables) / self.target - 1.0

    def step(self, estimate: Tensor) -> None:
        """Adjust the pressure to the distance from the target."""
        self.pressure += self.rate * self.excess(estimate.detach())
        self.pressure.clamp_(0.0, _MAX_PRESSURE)
        self.steps += 1

    def penalty(self, estimate: Tensor) -> Tensor:
        """What to add to the loss: 0-d tensor, differentiable in `estimate`."""
        # no push below the target: what the pressure has piled up must not overshoot it
        return self.pressure.clone() * torch.relu(self.excess(estimate))
