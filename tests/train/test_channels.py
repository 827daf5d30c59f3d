# SPDX-License-Identifier: Apache-2.0
"""Channels that go together, and the RAM that is won by them."""

import torch

from codeq_train import QuantizedModel
from codeq_train.channels import ChannelSet, channel_sets, fewest_channels, pruning_layers
from codeq_train.limits import exact
from tests.train.nets import branches


def sets_of(model: QuantizedModel) -> list[ChannelSet]:
    found = exact(model)
    return channel_sets(model, found.source, found.plan)


def names(found: ChannelSet) -> list[tuple[str, tuple[int, ...]]]:
    return [(layer.origin.name, channels) for layer, channels in found.members]


def test_what_a_sum_adds_leaves_together() -> None:
    """A channel of one branch alone would leave the sum as large as it was."""
    sets = [names(found) for found in sets_of(branches())]

    assert sorted(([("stem", (n,)), ("back", (n,))] for n in range(8)), key=str) == sorted(
        (found for found in sets if found[0][0] == "stem"), key=str
    )
    # neither what the caller gets, nor what stands where the arena has room
    assert {"stem", "back", "middle"} == {name for found in sets for name, _ in found}


def test_the_bytes_of_a_set_are_what_the_compiler_saves() -> None:
    """The order of pruning is by them, and so is how many go at once."""
    ours = branches()
    before = exact(ours)
    found = [each for each in sets_of(ours) if names(each)[0][0] == "middle"][:4]
    for each in found:
        each.prune()
    saved = before.plan.memory.lower_bound - exact(ours).plan.memory.lower_bound

    assert [144.0] * 4 == [each.ram_bytes for each in found]
    # scratch becomes smaller with the tensors
    assert 4 * 144 <= saved


def test_what_the_loss_feels_least_for_its_bytes_comes_first() -> None:
    """Otherwise RAM costs more accuracy than it must."""
    ours = branches()
    for layer in pruning_layers(ours):
        relevance = layer.quantizer.channels._relevance
        relevance.mean.copy_(torch.rand(layer.channels) + 0.01)
    sets = sets_of(ours)
    by_bytes = [each.importance / each.ram_bytes for each in sets]
    (stem, back) = (
        layer.quantizer.channels
        for layer, _ in next(each.members for each in sets if len(each.members) == 2)
    )
    sums = (stem.importance + back.importance).tolist()

    assert sorted(by_bytes) == by_bytes
    assert all(
        abs(each.importance - sums[each.members[0][1][0]]) < 1e-6
        for each in sets
        if len(each.members) == 2
    )


def test_a_layer_keeps_its_last_channel() -> None:
    """No kernel computes nothing."""
    ours = branches()
    stem = next(ours.weighted())
    stem.quantizer.prune_channels(range(7))
    (last,) = (each for each in sets_of(ours) if names(each)[0] == ("stem", (7,)))

    assert last.is_last
    assert not any(each.is_last for each in sets_of(branches()))


def test_what_the_caller_reads_keeps_its_channels() -> None:
    """A class without scores is no smaller network."""
    names = {layer.origin.name for layer in pruning_layers(branches())}

    assert {"stem", "middle", "back", "left", "right"} == names


def test_a_look_at_the_fewest_channels_changes_nothing() -> None:
    """It only tells whether training can succeed."""
    ours = branches(back={"structure": "none"})
    before = exact(ours)
    state = {name: value.clone() for name, value in ours.state_dict().items()}
    with fewest_channels(ours):
        fewest = exact(ours)

    assert fewest.amounts["ram"] < before.amounts["ram"]
    assert "back" not in {layer.origin.name for layer in pruning_layers(ours)}
    assert state.keys() == ours.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in ours.state_dict().items())
