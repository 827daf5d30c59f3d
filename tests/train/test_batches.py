# SPDX-License-Identifier: Apache-2.0
"""What the loop trains on: the same batches from tensors, data sets and loaders."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from codeq_compile.errors import InputError
from codeq_train import fit
from tests.train.nets import Rows, bright_thirds


@pytest.fixture(scope="module")
def task() -> tuple[Tensor, Tensor]:
    return bright_thirds()


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


@pytest.mark.parametrize("kind", ["dataset", "loader"])
def test_a_data_set_is_trained_on_as_its_tensors_are(
    kind: str, task: tuple[Tensor, Tensor]
) -> None:
    """A user's data rarely are two tensors."""

    def run(*data: Any) -> list[Tensor]:
        torch.manual_seed(0)
        model = Rows()
        fit(model, *data, epochs=2, batch_size=32)
        return list(model.parameters())

    dataset = TensorDataset(*task)
    given: Any = dataset
    if kind == "loader":
        order = torch.Generator().manual_seed(0)
        given = DataLoader(dataset, batch_sampler=_SameOrder(len(dataset), 32, order))

    for ours, theirs in zip(run(*task), run(given), strict=True):
        assert torch.equal(ours, theirs)


class _SameOrder(torch.utils.data.Sampler[list[int]]):
    """The user's own sampler, which happens to shuffle as `fit` does."""

    def __init__(self, samples: int, batch_size: int, generator: torch.Generator) -> None:
        self._samples, self._batch_size, self._generator = samples, batch_size, generator

    def __len__(self) -> int:
        return -(-self._samples // self._batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(self._samples, generator=self._generator)
        return (batch.tolist() for batch in order.split(self._batch_size))


def test_too_few_samples_are_refused(task: tuple[Tensor, Tensor]) -> None:
    """BatchNorm has no statistics of one sample."""
    with pytest.raises(InputError, match="too few"):
        fit(Rows(), task[0][:1], task[1][:1], epochs=1)
    with pytest.raises(InputError, match="a target for each sample"):
        fit(Rows(), task[0], task[1][:5], epochs=1)
