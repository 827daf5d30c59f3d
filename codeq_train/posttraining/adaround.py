# SPDX-License-Identifier: Apache-2.0
"""Learn for each weight whether to round it up or down, from what the layer must reproduce.

Source: AdaRound, arXiv:2004.10568, eq. 21 to 25: a rectified sigmoid between the two levels, and a
regularizer whose exponent falls until every weight has decided.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from codeq_train.activations import Limits
from codeq_train.posttraining.levels import LevelSet
from codeq_train.posttraining.reconstruction import Regression

_STRETCH = 0.1
"""How far the sigmoid reaches beyond 0 and 1, so that it gets there: zeta - 1 = -gamma."""
_EXPONENTS = (20.0, 2.0)
_TINY = 1e-30
_WARM_UP = 0.2
"""Share of the iterations that are free of the regularizer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaRound:
    """How long and how hard to learn.

    Parameters
    ----------
    iterations : int
        Of Adam.
    places : int
        Output places in each of them.
    lr : float
    decisiveness : float
        Weight of the regularizer, the reconstruction error of nearest rounding being 1.
    """

    iterations: int = 1000
    places: int = 512
    lr: float = 2e-2
    decisiveness: float = 0.3

    @torch.no_grad()
    def round(
        self,
        regression: Regression,
        weight: Tensor,
        levels: LevelSet,
        limits: Limits,
        *,
        centred: bool,
        generator: torch.Generator,
    ) -> Tensor:
        """One of the two levels beside each weight.

        Parameters
        ----------
        regression : Regression
        weight : float tensor of shape (groups, outputs, taps)
            What is rounded.
        levels : LevelSet
        limits : tuple of float
            Of the activation: beyond them errors do not count.
        centred : bool
            Channels' mean errors do not count: biases are corrected afterwards.
        generator : torch.Generator
            On the CPU; draws the places.

        Returns
        -------
        float tensor of the weights' shape
            Whole levels.
        """
        lower, upper = levels.neighbours(weight)
        share = (weight / levels.step - lower) / (upper - lower).clamp(min=1.0)
        patches, offset = regression.patches, regression.bias
        target = regression.targets * regression.gain + regression.bias
        if centred:
            patches, offset = patches - patches.mean(1, keepdim=True), target.mean(1, keepdim=True)
        target = target.clamp(*limits)

        def missed(rounded: Tensor, places: slice | Tensor) -> Tensor:
            outputs = patches[:, places] @ (rounded * levels.step).mT * regression.gain + offset
            return (outputs.clamp(*limits) - target[:, places]).square().mean()

        unit = missed(levels.nearest(weight), slice(None)).clamp(min=_TINY)
        logits = _inverse(share.clamp(0.0, 1.0)).requires_grad_()
        optimizer = torch.optim.Adam([logits], lr=self.lr)
        for number in range(self.iterations):
            chosen = self._draw(target.shape[1], generator).to(target.device)
            with torch.enable_grad():
                up = rectified_sigmoid(logits)
                loss = missed(lower + (upper - lower) * up, chosen) / unit
                progress = (number / self.iterations - _WARM_UP) / (1 - _WARM_UP)
                if progress > 0:
                    loss = loss + self.decisiveness * indecision(up, progress)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
        return torch.where(logits >= 0.0, upper, lower)

    def _draw(self, count: int, generator: torch.Generator) -> Tensor:
        # on the CPU: the same seed chooses the same places on every device
        return torch.randint(count, (min(self.places, count),), generator=generator)


def rectified_sigmoid(logits: Tensor) -> Tensor:
    """``clamp(sigmoid(V) · (zeta - gamma) + gamma, 0, 1)``. Source: eq. 23."""
    return (torch.sigmoid(logits) * (1 + 2 * _STRETCH) - _STRETCH).clamp(0.0, 1.0)


def indecision(up: Tensor, progress: float) -> Tensor:
    """Mean of ``1 - |2 h - 1|^beta``; beta falls along a cosine. Source: eq. 24.

    Parameters
    ----------
    up : float tensor
        h, in [0, 1].
    progress : float, in (0, 1]
    """
    start, end = _EXPONENTS
    exponent = end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
    return (1 - (2 * up - 1).abs() ** exponent).mean()


def _inverse(share: Tensor) -> Tensor:
    inner = (share + _STRETCH) / (1 + 2 * _STRETCH)
    return torch.log(inner / (1 - inner))
