# SPDX-License-Identifier: Apache-2.0
"""Relevance of weights (ECQ^x): what the network needs is not pruned only because it is small.

The cost of the level zero is multiplied by ``2 · rho^beta``, rho being the weight's relevance
relative to the layer's largest: irrelevant weights are pruned although they are larger, relevant
ones stay although they are smaller.  Source: ECQ^x, arXiv:2109.04236.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

Kind = Literal["fisher", "taylor", "lrp"]

_DECAY = {"fisher": 0.99, "taylor": 0.99, "lrp": 0.1}
"""Of the running mean; ECQ^x weighs the past relevances by 0.1."""

_GIVEN_UP = 0.1
"""Share of all weights that relevance may take from the zeros; `p` of ECQ^x."""

_LRP_PERIOD = 20
"""Training steps between two propagations of relevance."""


class Relevance(nn.Module):
    """Running relevance of one layer's weights.

    Parameters
    ----------
    weight : float tensor of shape (out_channels, ...)
    kind : {"fisher", "taylor", "lrp"}
        Mean of ``gradient²``, of ``|weight · gradient|``, or what `codeq_train.lrp` finds.

    Attributes
    ----------
    mean : float buffer of the weights' shape
        All 0 as long as nothing was observed.
    """

    def __init__(self, weight: Tensor, kind: Kind) -> None:
        super().__init__()
        self.kind = kind
        self.mean: Tensor
        self.calls: Tensor
        self.register_buffer("mean", torch.zeros_like(weight, requires_grad=False))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64, device=weight.device))

    def watch(self, quantized: Tensor, weight: Tensor) -> None:
        """Observe the gradient that will reach the fake-quantized weights.

        The saliency takes the latent weight: a pruned one would be irrelevant for ever otherwise.
        """
        if self.kind == "lrp" or not quantized.requires_grad:
            return
        latent = weight.detach()
        fisher = self.kind == "fisher"

        def observe(gradient: Tensor) -> None:
            self.observe(gradient.square() if fisher else (gradient * latent).abs())

        quantized.register_hook(observe)  # type: ignore[no-untyped-call]  # torch leaves it untyped

    @torch.no_grad()
    def observe(self, relevance: Tensor) -> None:
        """Let the running mean follow, unless a gradient overflowed; the same in all processes."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(relevance)
        sound = torch.isfinite(relevance).all()
        followed = torch.lerp(relevance.to(self.mean.dtype), self.mean, _DECAY[self.kind])
        self.mean.copy_(torch.where(sound, followed, self.mean))

    def is_due(self) -> bool:
        """Count a training step; True when it is time to propagate relevance again."""
        self.calls += 1
        return (int(self.calls) - 1) % _LRP_PERIOD == 0

    def rho(self) -> Tensor:
        """Relevance in [0, 1], relative to the layer's largest; 1/2 where nothing was observed."""
        largest = self.mean.max()
        return torch.where(largest > 0, self.mean / largest, torch.full_like(self.mean, 0.5))

    @torch.no_grad()
    def prune(self, zero_cost: Tensor, other_cost: Tensor) -> Tensor:
        """Which weights are zero: those with ``2 · rho^beta · zero_cost <= other_cost``.

        Each weight is pruned from its own beta on, ``ln(other / (2 · zero)) / ln rho``, so that
        the search of ECQ^x is a look into the sorted list of them.  It starts from
        ``ln 0.5 / ln mean(rho)`` (at most 1), which leaves a weight of mean relevance as it is,
        and takes the nearest beta for which the share of zeros is in ``[s - 0.1, s]``, s being
        their share without relevance.  Where s itself is below 0.1 the interval is ``[0, s]``; in
        the published code relevance is off then.

        Parameters
        ----------
        zero_cost, other_cost : float tensors of the weights' shape
            Cost of zero and of the best other level.

        Returns
        -------
        bool tensor of the weights' shape
        """
        rho = self.rho()
        # both ends of the logarithm's range would divide 0 by 0
        log_rho = rho.clamp(1e-12, 1.0 - 1e-6).log()
        pruned_from = (other_cost / (2.0 * zero_cost)).log() / log_rho
        ordered = torch.cat([pruned_from.new_tensor([-math.inf]), pruned_from.flatten().sort()[0]])
        most = (zero_cost <= other_cost).sum()
        least = (most - int(_GIVEN_UP * rho.numel())).clamp(min=0)
        start = (math.log(0.5) / rho.mean().clamp(1e-12, 1.0 - 1e-6).log()).clamp(max=1.0)
        beta = start.clamp(ordered[least], ordered[most])
        return pruned_from <= beta
