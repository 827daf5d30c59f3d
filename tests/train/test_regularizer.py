# SPDX-License-Identifier: Apache-2.0
"""The penalty: per layer or towards a target, silent once the model is frozen."""

import torch
from torch import nn

from codeq_train import (
    BudgetConfig,
    LayerConfig,
    QuantConfig,
    freeze,
    parameter_groups,
    prepare,
    projected_bytes,
    regularizer,
)
from tests.train.nets import ConvNet, images


def net(**fields: object) -> nn.Module:
    torch.manual_seed(0)
    return prepare(ConvNet(), images(16, 2, 9, 9), QuantConfig(**fields))  # type: ignore[arg-type]


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


def test_a_target_in_bytes_is_met() -> None:
    """The user's flash budget is the one number that has to be given."""
    ours = net(budgets=BudgetConfig(weights=260))
    before = projected_bytes(ours)
    groups = parameter_groups(ours, lr=1e-3, dead_zone_lr=0.05, bits_lr=0.05)
    optimizer = torch.optim.Adam(groups)
    for _ in range(250):
        optimizer.zero_grad()
        regularizer(ours).backward()
        optimizer.step()

    assert before > 400
    assert 180 < projected_bytes(ours) <= 265


def test_evaluating_the_penalty_does_not_move_the_budget() -> None:
    """Validation must not count as training steps."""
    ours = net(budgets=BudgetConfig(weights=300)).eval()
    regularizer(ours)

    assert 0 == int(ours.budget.steps)


def test_a_frozen_model_has_no_penalty() -> None:
    """Nothing that it could move is free any more."""
    ours = net(budgets=BudgetConfig(weights=100), weights=LayerConfig(bits=4, lambda_bit=1.0))
    freeze(ours)

    assert 0.0 == float(regularizer(ours))


def test_uniform_layers_take_no_part() -> None:
    """They have nothing to learn from it."""
    ours = net(weights=LayerConfig(quantizer="lsq", lambda_bit=1.0, lambda_dz=1.0))

    assert 0.0 == float(regularizer(ours))
