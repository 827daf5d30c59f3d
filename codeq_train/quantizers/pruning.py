# SPDX-License-Identifier: Apache-2.0
"""Output channels that leave a layer one by one, those first that the loss feels least."""

import torch
from torch import Tensor, nn

from codeq_train.quantizers.relevance import Relevance


class ChannelPruning(nn.Module):
    """Which output channels of a layer are left, and how much the loss feels each.

    Importance is the mean of ``(output · gradient)²``, a channel's part in the loss to first order,
    as the gradient of a factor of 1 after the layer.
    Source: Molchanov et al., arXiv:1906.10771, eq. 8, with gates.

    Parameters
    ----------
    weight : float tensor of shape (out_channels, ...)

    Attributes
    ----------
    kept : float buffer of shape (out_channels,)
        1 for channels that are left, else 0.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        ones = torch.ones(len(weight), device=weight.device)
        self.kept: Tensor
        self.register_buffer("kept", ones)
        self._relevance = Relevance(ones, "fisher")

    @property
    def importance(self) -> Tensor:
        """Of each channel, of shape (out_channels,); 0 of those that are gone."""
        return self._relevance.mean * self.kept

    @torch.no_grad()
    def prune(self, channels: list[int]) -> None:
        """Take these channels out for good."""
        # not in place: a forward pass that is under way needs the old ones for its gradient
        self.kept = self.kept.index_fill(0, torch.tensor(channels), 0.0)

    def shaped(self, weight: Tensor) -> Tensor:
        """`kept` beside a weight of shape (out_channels, ...)."""
        return self.kept.reshape(-1, *[1] * (weight.dim() - 1))

    def watch(self, y: Tensor, axis: int) -> Tensor:
        """`y`, whose gradient is observed by channel along `axis`."""
        if not y.requires_grad:
            return y
        gate = torch.ones_like(self.kept, requires_grad=True)
        self._relevance.watch(gate, gate)
        return y * gate.reshape(-1, *[1] * (y.dim() - 1 - axis % y.dim())).to(y.dtype)
