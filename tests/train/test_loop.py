# SPDX-License-Identifier: Apache-2.0
"""The reference loop: seeded, reported, evaluated in float, fake-quantized and in integers."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from codeq_train import (
    BudgetConfig,
    Epoch,
    LayerConfig,
    QuantConfig,
    evaluate,
    export,
    fit,
    integer_accuracy,
    integer_outputs,
    predict,
    prepare,
    projected_bytes,
)
from tests.train.nets import ConvNet, images


@pytest.fixture(scope="module")
def task() -> tuple[Tensor, Tensor]:
    """Which third of the image holds the bright patch."""
    x = 0.3 * images(180, 2, 9, 9)
    y = torch.arange(180) % 3
    for sample, place in enumerate(y.tolist()):
        x[sample, :, 3 * place : 3 * place + 3] += 1.0
    return x, y


class Rows(nn.Module):
    """A convolution as wide as the image, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 6, (3, 9), stride=(3, 1)), nn.BatchNorm2d(6)
        self.head = nn.Linear(18, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.norm(self.conv(x))).flatten(1))


@pytest.fixture(scope="module")
def trained(task: tuple[Tensor, Tensor]) -> tuple[nn.Module, list[Epoch]]:
    torch.manual_seed(0)
    ours = prepare(
        Rows(), task[0], QuantConfig(weights=LayerConfig(bits=4), budgets=BudgetConfig(weights=260))
    )
    epochs: list[Epoch] = []
    fit(ours, *task, epochs=8, lr=1e-2, freeze_epochs=3, validation=task, on_epoch=epochs.append)
    return ours.eval(), epochs


def test_a_prepared_model_learns(
    trained: tuple[nn.Module, list[Epoch]], task: tuple[Tensor, Tensor]
) -> None:
    """Weights, grids, gap and width move together, and the task is solved."""
    assert evaluate(trained[0], *task) > 0.95


def test_the_integers_are_as_accurate_as_the_fake_quantized_model(
    trained: tuple[nn.Module, list[Epoch]], task: tuple[Tensor, Tensor]
) -> None:
    """The figure that the device will show."""
    graph = export(trained[0])
    scores = integer_outputs(graph, task[0], batch_size=50)

    assert (180, 3) == scores.shape
    assert integer_accuracy(graph, *task) == np.mean(scores.argmax(1) == task[1].numpy())
    assert abs(integer_accuracy(graph, *task) - evaluate(trained[0], *task)) <= 0.01


def test_each_epoch_is_reported(trained: tuple[nn.Module, list[Epoch]]) -> None:
    """The progress bar shows loss, accuracy, bits, sparsity and flash."""
    model, epochs = trained

    assert [*range(1, 9)] == [epoch.number for epoch in epochs]
    assert [False] * 5 + [True] * 3 == [epoch.frozen for epoch in epochs]
    assert projected_bytes(model) == epochs[-1].flash_bytes  # type: ignore[arg-type]
    assert epochs[-1].loss < epochs[0].loss
    assert 2.0 <= epochs[-1].mean_bits <= 4.0
    assert 0.0 <= epochs[-1].sparsity < 1.0


def test_the_same_seed_gives_the_same_model(task: tuple[Tensor, Tensor]) -> None:
    """A result that cannot be repeated cannot be compared."""

    def run(seed: int) -> Tensor:
        torch.manual_seed(0)
        ours = prepare(Rows(), task[0][:60], QuantConfig())
        fit(ours, *task, epochs=1, seed=seed)
        return predict(ours, task[0][:4])

    assert torch.equal(run(3), run(3))
    assert not torch.equal(run(3), run(4))


def test_samples_come_in_the_same_order_whatever_else_is_random(
    task: tuple[Tensor, Tensor],
) -> None:
    """Two networks that are compared must have seen the same batches."""

    def batches(draws: int) -> list[Tensor]:
        seen = []

        def augment(x: Tensor) -> Tensor:
            torch.rand(draws)
            seen.append(x)
            return x

        fit(nn.Sequential(nn.Flatten(), nn.Linear(162, 3)), *task, epochs=2, augment=augment)
        return seen

    assert all(torch.equal(a, b) for a, b in zip(batches(1), batches(7), strict=True))


def test_float_models_go_through_the_same_loop(task: tuple[Tensor, Tensor]) -> None:
    """The baseline must be trained alike."""
    torch.manual_seed(0)
    model, epochs = ConvNet(), []
    fit(model, *task, epochs=2, on_epoch=epochs.append, augment=lambda x: x * 1.01)

    assert [(32.0, 0.0, 0)] * 2 == [(e.mean_bits, e.sparsity, e.flash_bytes) for e in epochs]


def test_evaluation_keeps_the_mode(task: tuple[Tensor, Tensor]) -> None:
    """Validation between epochs must not switch off Dropout for the rest of training."""
    model = ConvNet().train()
    evaluate(model, *task)

    assert model.training
