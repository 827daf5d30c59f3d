# SPDX-License-Identifier: Apache-2.0
"""Channels leave for good, and what the loss feels of each is known."""

import pytest
import torch
from torch import nn

from codeq_train import LayerConfig, QuantConfig
from codeq_train.quantizers.pruning import ChannelPruning
from tests.train.nets import images, prepared


@pytest.mark.parametrize(("shape", "axis"), [((5, 3, 4, 2), 1), ((5, 3, 4), 1), ((5, 3), -1)])
def test_importance_is_the_channels_part_in_the_loss_to_first_order(
    shape: tuple[int, ...], axis: int
) -> None:
    """The sum of output times gradient, squared: what the loss would lose without the channel."""
    torch.manual_seed(0)
    ours, y = ChannelPruning(torch.zeros(3, 7)), torch.randn(shape, requires_grad=True)
    factors = torch.randn(shape)
    watched = ours.watch(y, axis)
    (watched * factors).sum().backward()
    others = [n for n in range(len(shape)) if n != axis % len(shape)]
    by_hand = (y * factors).sum(others).detach().square()

    assert torch.equal(y, watched)
    assert torch.equal(factors, y.grad)
    assert torch.allclose(by_hand / by_hand.sum(), ours.importance / ours.importance.sum())


def test_a_channel_that_left_does_not_come_back() -> None:
    """Neither by training nor from a checkpoint."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3))
    config = QuantConfig(weights=LayerConfig(structure="channel"))
    ours = prepared(net, images(8, 2, 9, 9), config=config).train()
    conv = next(ours.weighted())
    with torch.no_grad():
        conv.norm.beta.fill_(1.0)
    conv.quantizer.prune_channels([1, 3])
    fresh = prepared(net, images(8, 2, 9, 9), config=config)
    fresh.load_state_dict(ours.state_dict())
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.1)
    for _ in range(3):
        ours(images(8, 2, 9, 9)).square().mean().backward()
        optimizer.step()

    for each in (conv, next(fresh.weighted())):
        y = each.compute(images(4, 2, 9, 9))

        assert [True, False, True, False] == (y != 0).any(3).any(2).any(0).tolist()
        assert [True, False, True, False] == (each.levels().codes != 0).flatten(1).any(1).tolist()
        assert [1.0, 0.0, 1.0, 0.0] == each.quantizer.channels.kept.tolist()
    assert (conv.quantizer.channels.importance[[1, 3]] == 0).all()
    assert (conv.quantizer.channels.importance[[0, 2]] > 0).all()
