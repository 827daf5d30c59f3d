# SPDX-License-Identifier: Apache-2.0
"""Budgets are met from the last phase on: cut to, kept in, used up, or refused with reasons."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from codeq_compile import compile, passes
from codeq_compile.build import tools
from codeq_compile.errors import DoesNotFit
from codeq_train import (
    BudgetConfig,
    LayerConfig,
    QuantConfig,
    QuantizedModel,
    export,
    freeze,
    parameter_groups,
    prepare,
    projected_bytes,
    regularizer,
)
from codeq_train.budget import MARGIN
from codeq_train.channels import alive_channels, channel_sets, pruning_layers
from codeq_train.cost import planned, snapshot
from codeq_train.landing import _gain_of_a_bit, land, spend
from codeq_train.limits import check_budgets, exact, exceeded
from codeq_train.recipes import models
from tests.boards import found
from tests.train.nets import branches, images, limited, prepared


def trained(steps: int = 160, **limits: int) -> QuantizedModel:
    """A toy that learned the sign of its images' mean under budgets, frozen at the end."""
    ours = limited(**limits)
    ours.budget.schedule(steps)
    x = images(128, 2, 9, 9)
    y = (x.mean((1, 2, 3)) > 0).long()
    optimizer = torch.optim.Adam(parameter_groups(ours, dead_zone_lr=0.05, bits_lr=0.05))
    for step in range(steps):
        batch = slice(32 * (step % 4), 32 * (step % 4 + 1))
        loss = nn.functional.cross_entropy(ours(x[batch]), y[batch]) + regularizer(ours)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    freeze(ours)
    return ours


def sparse_clips_net(**limits: int) -> QuantizedModel:
    """The keyword network in the last phase, with 1:4 zeros and small channels in two layers."""
    torch.manual_seed(0)
    network = models.ds_cnn()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() == 4 and parameter.shape[2:] == (1, 1):
                parameter[:6] *= 0.15
    config = QuantConfig(
        weights=LayerConfig(bits=4, learn_bits=False),
        layers={f"block{n}.pw*": {"structure": "1:4"} for n in (3, 4)},
        budgets=BudgetConfig(**limits),
    )
    ours = prepared(network, images(4, 1, 49, 10), config=config)
    for layer in ours.weighted():
        layer.quantizer.freeze(layer.weight)
        layer.use_running_statistics = True
    return ours


def alive(model: QuantizedModel) -> list[int]:
    """How many channels each layer that prunes them has left."""
    return [len(alive_channels(layer)) for layer in pruning_layers(model)]


def least_ram() -> int:
    """What `branches` needs with all its channels, in the leanest plan."""
    return planned(passes.run(snapshot(branches(ram=None))), BudgetConfig(ram=1)).ram_bytes


def test_channels_leave_until_the_ram_is_enough_and_no_longer() -> None:
    """What an arena of fewer bytes takes is accuracy."""
    limit = int(0.8 * least_ram())
    ours = branches(ram=limit)
    before = exact(ours)
    largest = max(each.ram_bytes for each in channel_sets(ours, before.source, before.plan))

    done = land(ours)

    assert done is not None
    assert least_ram() == done.before["ram"]
    assert limit - 2 * largest < done.after["ram"] <= limit
    assert done.after["ram"] == exact(ours).amounts["ram"]
    assert 0 < done.cut
    assert sum(alive(ours)) < sum(alive(branches(ram=limit)))
    assert 0 == land(ours).cut


def test_more_than_half_of_the_channels_do_not_leave_at_once() -> None:
    """What is left would be another network, and the last phase too short for it."""
    ours = branches(ram=int(0.25 * least_ram()))
    state = {name: value.clone() for name, value in ours.state_dict().items()}

    with pytest.raises(DoesNotFit, match="more than the budget of"):
        land(ours)
    assert all(torch.equal(value, state[name]) for name, value in ours.state_dict().items())


def test_ram_that_channels_have_yet_to_free_keeps_no_bits_from_others() -> None:
    """Widths are settled once: what is not given then is never given."""
    ours = branches(ram=int(0.8 * least_ram()), weights=100_000)
    quantizers = [layer.quantizer for layer in ours.weighted()]
    for quantizer in quantizers:
        quantizer.settle(3)

    assert "ram" in exceeded(ours, exact(ours))
    assert len(quantizers) == spend(ours)


@pytest.mark.slow
def test_a_budget_of_ram_is_met_by_learning_with_fewer_channels(tmp_path: Path) -> None:
    """Step by step before the last phase; the library then has no more."""
    torch.manual_seed(0)
    x, limit = images(64, 2, 12, 12), int(0.4 * least_ram())
    labels = (x.mean((1, 2, 3)) > 0).long()
    ours = branches(ram=limit)
    ours.budget.schedule(150)
    optimizer = torch.optim.Adam(parameter_groups(ours, lr=3e-3))
    seen = []
    for step in range(250):
        if step == 150:
            freeze(ours)
        loss = nn.functional.cross_entropy(ours(x), labels) + regularizer(ours)
        seen.append(sum(alive(ours)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    plan = compile(export(ours.eval()), tmp_path / "lib", target="mps2_an386", ram=limit).plan

    assert sorted(seen, reverse=True) == seen
    assert len(set(seen[:150])) > 2
    assert plan.ram_bytes <= limit
    assert float((ours(x).argmax(1) == labels).float().mean()) > 0.9


def sparse(**limits: int) -> QuantizedModel:
    """The keyword spotter, three weights of four 0, before the last phase."""
    torch.manual_seed(0)
    config = QuantConfig(
        weights=LayerConfig(bits=3, structure="1:4"),
        layers={"*dw*": {"bits": 8, "structure": "none"}},
        tables="compact",
        budgets=BudgetConfig(**limits),
    )
    return prepare(models.ds_cnn(), images(4, 1, 49, 10), config)


@pytest.mark.slow
def test_a_budget_in_bytes_is_met_and_used() -> None:
    """The user's flash budget is the one number that has to be given."""
    before = projected_bytes(limited())
    after = exact(trained(weights=320)).amounts["weights"]

    assert before > 450
    assert 250 < after <= 320


@pytest.mark.slow
def test_two_budgets_are_met_at_once() -> None:
    """One that is easy must not hide one that is not."""
    # fewer bytes are more instructions here: so small a layer is read faster where it is dense
    ours = trained(weights=400, instructions=70_000)
    found = exact(ours)

    assert found.amounts["weights"] <= 400
    assert found.amounts["instructions"] <= 70_000
    assert found.amounts["instructions"] == sum(cost.instructions or 0 for cost in found.costs)


def test_what_is_just_outside_is_cut_by_as_little_as_needed() -> None:
    """The least important weights go, and the last phase can make up for it."""
    ours = limited()
    amount = projected_bytes(ours)
    ours = limited(weights=amount - 5)
    nonzero = {layer: layer.levels().codes != 0 for layer in ours.weighted()}
    freeze(ours)

    assert amount - 30 < exact(ours).amounts["weights"] <= amount - 5
    assert all((now.levels().codes[~was] == 0).all() for now, was in nonzero.items())
    assert 0 == land(ours).cut


@pytest.mark.slow
def test_a_small_cut_is_found_where_a_large_one_needs_more_ram() -> None:
    """Channels that die keep layers from working in place."""
    free = exact(sparse_clips_net(weights=100_000, ram=15_000)).amounts
    ours = sparse_clips_net(weights=free["weights"] - 12, ram=15_000)

    done = land(ours)

    assert done is not None
    assert 0 < done.cut
    assert done.after["weights"] <= free["weights"] - 12
    assert done.after["ram"] <= 15_000


def test_a_budget_that_cannot_be_met_is_refused_at_the_last_phase() -> None:
    """With what takes the bytes and what would help; never silently outside."""
    ours = limited(weights=200)
    before = {name: value.clone() for name, value in ours.state_dict().items()}

    with pytest.raises(DoesNotFit) as caught:
        freeze(ours)
    message = str(caught.value)

    for part in ("more than the budget of 200", "tables", "stem (144 weights", "would help"):
        assert part in message
    assert all(torch.equal(before[n], v) for n, v in ours.state_dict().items() if n in before)


@pytest.mark.parametrize(
    "model", [nn.Sequential(nn.AvgPool2d(2), nn.Tanh()), nn.Conv2d(4, 4, 3, groups=4)]
)
def test_a_network_with_nothing_to_cut_is_inside_or_refused(model: nn.Module) -> None:
    """Its tables are all there is, or weights whose zeros save nothing."""
    x = images(8, 4, 8, 8)
    inside = prepare(model, x, QuantConfig(budgets=BudgetConfig(weights="1K")))
    freeze(inside)
    assert 0.0 == float(regularizer(inside))

    outside = prepare(model, x, QuantConfig(budgets=BudgetConfig(weights=10)))
    with pytest.raises(DoesNotFit, match="more than the budget of 10"):
        freeze(outside)


def test_channels_that_die_may_cost_ram() -> None:
    """A layer cannot take the place of an input with other channels: no library would fit."""
    torch.manual_seed(0)
    config = QuantConfig(weights=LayerConfig(bits=2), budgets=BudgetConfig(ram=11_500))
    ours = prepare(models.ds_cnn(), images(4, 1, 49, 10), config)
    needed = exact(ours).amounts["ram"]

    with pytest.raises(DoesNotFit) as caught:
        freeze(ours)
    message = str(caught.value)

    assert f"RAM: {needed}, {needed - 11_500} more than the budget of 11500" in message
    assert "the arena is fullest at layer" in message
    assert "more epochs" not in message
    assert "bytes now" not in message


@pytest.mark.slow
@pytest.mark.parametrize("name", ["weights", "instructions"])
def test_what_the_ram_leaves_no_room_for_is_refused_at_the_last_phase(name: str) -> None:
    """After it the library would not fit, or would be slower than was asked for."""
    ram, generous = 11_500, {"weights": 100_000, "instructions": 100_000_000}
    ours = exact(sparse(**generous, ram=ram))
    free = exact(sparse(**generous))
    assert free.plan.ram_bytes > ram
    limit = free.amounts[name] + 100

    freeze(sparse(**{name: limit}))
    with pytest.raises(DoesNotFit) as caught:
        freeze(sparse(**{name: limit}, ram=ram))
    message = str(caught.value)

    assert f"{ours.amounts[name]}, {ours.amounts[name] - limit} more than the budget of" in message
    assert f"; {free.amounts[name]} if layers had {free.plan.ram_bytes} bytes of RAM" in message
    assert f"{free.plan.ram_bytes - ram} bytes more RAM" in message


def test_the_last_phase_stays_inside_when_tables_grow() -> None:
    """A bias that leaves int8 takes a second byte in every channel."""
    ours = limited(weights=projected_bytes(limited()) + 20)
    freeze(ours)
    inside = exact(ours)
    with torch.no_grad():
        for layer in ours.weighted():
            # larger ones would make constants of channels, which leave
            layer.bias.mul_(3.0) if layer.bias is not None else None
    grown = exact(ours)
    regularizer(ours)

    assert grown.tables > inside.tables
    assert grown.amounts["weights"] > ours.config.budgets.limit("weights")
    check_budgets(ours)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [260, 320, 10_000])
def test_what_is_left_of_a_budget_goes_to_the_layers_that_need_it(limit: int) -> None:
    """A large layer that lost a bit leaves hundreds of bytes, and each could carry accuracy."""
    ours = limited(weights=limit)
    weighted = [
        layer
        for layer in ours.weighted()
        if layer.quantizer.widest > layer.quantizer.bits or layer.quantizer.learn_bits
    ]
    for layer in weighted:
        layer.quantizer.settle(2)
    before = exact(ours).amounts["weights"]

    added = spend(ours)

    after = exact(ours).amounts["weights"]
    widths = [layer.quantizer.bits for layer in weighted]
    assert added == sum(widths) - 2 * len(weighted)
    assert before <= after
    assert after <= limit or added == 0
    if limit == 10_000:
        assert {8} == set(widths)
    one_more = []
    for layer, bits in zip(weighted, widths, strict=True):
        if bits < layer.quantizer.widest:
            layer.quantizer.settle(bits + 1)
            one_more.append(exact(ours).amounts["weights"])
            layer.quantizer.settle(bits)
    assert all(amount > limit * (1 - MARGIN) for amount in one_more)


def test_the_layer_that_the_loss_feels_most_gains_the_first_bit() -> None:
    """Bytes in a layer that nobody notices are wasted."""
    ours = limited(weights=10_000)
    layers = list(ours.weighted())
    for favourite in layers[:2]:
        for layer in layers:
            layer.quantizer.settle(7)
            layer.weight.grad = torch.full_like(layer.weight, 1e-6)
        favourite.weight.grad = torch.full_like(favourite.weight, 1.0)
        gains = [_gain_of_a_bit(layer) for layer in layers]

        assert favourite is layers[gains.index(max(gains))]


def test_ram_that_is_used_up_leaves_the_other_budgets_to_be_spent() -> None:
    """Only what training moves keeps a margin."""
    ram = exact(limited(weights=10_000)).plan.ram_bytes
    ours = limited(weights=10_000, ram=ram)
    assert ram == exact(ours).amounts["ram"]
    ours_layers = [layer.quantizer for layer in ours.weighted()]
    for quantizer in ours_layers:
        quantizer.settle(7)

    assert len(ours_layers) == spend(ours)


def test_nothing_is_cut_for_a_library_that_fits_if_it_is_slow(tmp_path: Path) -> None:
    """What is counted while training goes on is the library of least flash times instructions."""
    found(tools.arm_cc)

    def frozen(flash: int | str) -> QuantizedModel:
        model = limited(flash=flash)
        freeze(model)
        return model

    def values(model: QuantizedModel) -> list[Tensor]:
        return [layer.levels().values() for layer in model.weighted()]

    roomy = frozen("1M")
    limit = exact(roomy).amounts["flash"] - 64
    ours = frozen(limit)
    compiled = compile(export(ours.eval()), tmp_path / "out", target="mps2_an386", flash=limit)

    assert all(map(torch.equal, values(roomy), values(ours)))
    assert exact(ours).amounts["flash"] <= limit
    assert compiled.report.flash.total is not None
    assert compiled.report.flash.total <= limit
