# SPDX-License-Identifier: Apache-2.0
"""The penalty: per layer or towards a target, silent once the model is frozen."""

import pytest
import torch
from torch import nn

from codeq_train import (
    BudgetConfig,
    LayerConfig,
    QuantConfig,
    QuantizedModel,
    freeze,
    parameter_groups,
    prepare,
    regularizer,
)
from codeq_train.budget import MEASURE_EVERY
from codeq_train.cost import estimate, instructions
from codeq_train.limits import exact
from tests.train.nets import ConvNet, images


def net(**fields: object) -> QuantizedModel:
    torch.manual_seed(0)
    return prepare(ConvNet(), images(16, 2, 9, 9), QuantConfig(**fields))


def test_without_factors_and_target_there_is_no_penalty() -> None:
    """The default config is plain quantization-aware training."""
    assert 0.0 == float(regularizer(net()))


def test_factors_are_per_weight_of_the_layer() -> None:
    """The same factor must mean the same for a large and a small layer."""
    ours = net(weights=LayerConfig(bits=4, lambda_bit=1.0))
    penalty = regularizer(ours)

    assert torch.isclose(torch.tensor(4 / 8), penalty)

    ours = net(layers={"stem": {"lambda_bit": 1.0, "bits": 4}})

    assert torch.isclose(torch.tensor(144 / (144 + 72 + 96 + 36) * 4 / 8), regularizer(ours))


def test_density_is_penalised_by_its_own_factor() -> None:
    """lambda_dz buys zeros, lambda_bit width."""
    ours = net(weights=LayerConfig(bits=4, lambda_dz=1.0))
    regularizer(ours).backward()
    stem = next(ours.weighted())

    assert stem.quantizer.phi.grad < 0
    assert 0.0 < float(regularizer(ours).detach()) <= 1.0


@pytest.mark.slow
def test_the_last_estimate_is_within_one_percent() -> None:
    """What the gradient followed is what the linker stores: layer by layer, at the last step."""
    ours = net(budgets=BudgetConfig(weights=300))
    optimizer = torch.optim.Adam(parameter_groups(ours, dead_zone_lr=0.05))
    for _ in range(2 * MEASURE_EVERY):
        optimizer.zero_grad()
        regularizer(ours).backward()
        optimizer.step()
    sizes = torch.stack([estimate(layer).weight_bytes for layer in ours.weighted()])
    predicted = ours.budget.amounts(sizes, torch.zeros(4))["weights"]
    uncorrected = sizes.sum() + ours.budget.tables

    assert abs(float(predicted.detach()) / exact(ours).amounts["weights"] - 1) < 0.01
    assert abs(float(uncorrected.detach()) / exact(ours).amounts["weights"] - 1) < 0.02


def test_the_last_estimate_of_instructions_is_the_compilers() -> None:
    """What the gradient followed is what `codeq compile --explain` shows, layers without weights
    included: at the last count, to the rounding of float32.
    """
    ours = net(budgets=BudgetConfig(instructions=1000), weights=LayerConfig(bits=4))
    optimizer = torch.optim.Adam(parameter_groups(ours, dead_zone_lr=0.05))
    for _ in range(MEASURE_EVERY):
        optimizer.zero_grad()
        regularizer(ours).backward()
        optimizer.step()
    assert ours.budget.wants_measure
    regularizer(ours)
    found = [
        instructions(estimate(layer), prices)
        for layer, prices in zip(ours.weighted(), ours.budget.prices, strict=True)
    ]
    work = torch.stack(found)
    predicted = ours.budget.amounts(torch.zeros(4), work)["instructions"]
    uncorrected = work.sum() + ours.budget.other_instructions
    expected = exact(ours).amounts["instructions"]

    assert expected == pytest.approx(float(predicted.detach()), rel=1e-6)
    assert expected == pytest.approx(float(uncorrected.detach()), rel=0.05)


def test_quantizers_with_a_strength_are_steered() -> None:
    """They have no gradient to follow."""
    ours = net(budgets=BudgetConfig(weights=200), weights=LayerConfig(quantizer="lsq"))
    told: list[float] = []
    for layer in ours.weighted():
        layer.quantizer.steer = told.append
    for _ in range(MEASURE_EVERY + 1):
        regularizer(ours)

    assert 2 * 4 == len(told)
    assert pytest.approx(exact(ours).amounts["weights"] / 199 - 1, rel=1e-3) == told[-1]


def test_a_quantizer_of_two_layers_is_steered_once() -> None:
    """Tied weights would otherwise take double steps towards the budget, and overshoot."""
    shared = nn.Linear(8, 8)
    config = QuantConfig(budgets=BudgetConfig(weights=40), weights=LayerConfig(quantizer="ecq"))
    ours = prepare(nn.Sequential(shared, nn.ReLU(), shared), images(16, 8), config)
    first, second = ours.weighted()
    told: list[float] = []
    first.quantizer.steer = told.append
    regularizer(ours)

    assert first.quantizer is second.quantizer
    assert 1 == len(told)


def test_evaluating_the_penalty_does_not_move_the_budget() -> None:
    """Validation must not count as training steps."""
    ours = net(budgets=BudgetConfig(weights=300)).eval()
    regularizer(ours)

    assert 0 == int(ours.budget.steps)


def test_a_frozen_model_has_no_penalty() -> None:
    """Nothing that it could move is free any more."""
    ours = net(budgets=BudgetConfig(weights=400), weights=LayerConfig(bits=4, lambda_bit=1.0))
    freeze(ours)

    assert 0.0 == float(regularizer(ours))


def test_uniform_layers_take_no_part() -> None:
    """They have nothing to learn from it."""
    ours = net(weights=LayerConfig(quantizer="lsq", lambda_bit=1.0, lambda_dz=1.0))

    assert 0.0 == float(regularizer(ours))


@pytest.mark.slow
def test_widths_stay_once_the_last_aim_is_reached() -> None:
    """One that wavers between 4 and 5 bits makes the size jump by a quarter of the layer."""
    ours = net(budgets=BudgetConfig(weights=200))  # nothing is left that could be spent
    ours.budget.schedule(10)  # six steps of descent
    widths = []
    for _ in range(8):
        regularizer(ours).backward()
        for layer in ours.weighted():
            torch.nn.init.constant_(layer.quantizer.psi, 3.0 - len(widths))
        widths.append([layer.quantizer.bits for layer in ours.weighted()])
    other = net(budgets=BudgetConfig(weights=200))
    other.load_state_dict(ours.state_dict())

    assert widths[4] > widths[5] == widths[6] == widths[7]
    # in training with several processes, all wait for the gradient of every parameter
    assert all(layer.quantizer.psi.grad is not None for layer in ours.weighted())
    assert widths[7] == [layer.quantizer.bits for layer in other.weighted()]
