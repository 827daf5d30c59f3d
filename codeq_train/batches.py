# SPDX-License-Identifier: Apache-2.0
"""Batches of tensors, data sets and loaders: shuffled, shared out among processes, resumable."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from codeq_compile.errors import InputError
from codeq_train.checkpoint import State
from codeq_train.evaluate import Data


def make_batches(
    x: Data,
    y: Tensor | None,
    *,
    batch_size: int,
    augment: Callable[[Tensor], Tensor] | None,
    seed: int,
    rank: int,
    processes: int,
) -> "Batches":
    """Batches of the user's data for this process.

    Parameters
    ----------
    x : float tensor of shape (samples, ...), Dataset or DataLoader
    y : int64 tensor of shape (samples,), optional
        With a tensor `x`.
    batch_size : int
        Of all processes together.
    augment : callable, optional
    seed : int
        Of the order of samples.
    rank, processes : int
        Which process this is, from 0, and of how many.

    Raises
    ------
    InputError
        The data are too few, do not belong together, or are not shared out among the processes.
    """
    if isinstance(x, DataLoader):
        if processes > 1 and not isinstance(x.sampler, DistributedSampler):
            raise InputError(
                "with many processes a DataLoader needs a DistributedSampler; a Dataset does not: "
                "fit shares it out itself"
            )
        return Batches(x, x.generator, augment)
    if isinstance(x, Tensor) and (y is None or len(x) != len(y)):
        raise InputError("a tensor of inputs needs a target for each sample")
    generator = torch.Generator().manual_seed(seed)
    order = _Order(
        len(x),  # type: ignore[arg-type]  # a Dataset that is shuffled has a length
        batch_size,
        generator,
        rank=rank,
        processes=processes,
    )
    if isinstance(x, Tensor):
        assert y is not None
        return Batches(_Indexed(x, y, order), generator, augment)
    loader = DataLoader(x, batch_sampler=order)  # type: ignore[arg-type]  # a tensor of positions
    return Batches(loader, generator, augment)


class Batches:
    """One epoch of this process's batches at each iteration.

    Parameters
    ----------
    source : iterable of (inputs, targets), with a length
    generator : torch.Generator, optional
        That decides the order of the source.
    augment : callable, optional
    """

    def __init__(
        self,
        source: "DataLoader[tuple[Tensor, Tensor]] | _Indexed",
        generator: torch.Generator | None,
        augment: Callable[[Tensor], Tensor] | None,
    ) -> None:
        self._source, self._generator, self._augment = source, generator, augment
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._source)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        sampler = getattr(self._source, "sampler", None)
        if isinstance(sampler, DistributedSampler):
            sampler.set_epoch(self._epoch)
        self._epoch += 1
        for inputs, targets in self._source:
            yield inputs if self._augment is None else self._augment(inputs), targets

    def state(self) -> State:
        """Of what decides the order of the epochs to come."""
        generator = None if self._generator is None else self._generator.get_state()
        return {"epoch": self._epoch, "generator": generator}

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        self._epoch = state["epoch"]
        if self._generator is not None:
            self._generator.set_state(state["generator"])


class _Order:
    """Shuffled positions of samples, batch by batch: all processes draw the same and share it."""

    def __init__(
        self,
        samples: int,
        batch_size: int,
        generator: torch.Generator,
        *,
        rank: int,
        processes: int,
    ) -> None:
        if min(samples, batch_size) < 2 * processes:
            raise InputError(
                f"{samples} samples in batches of {batch_size} are too few for {processes} "
                "process(es): BatchNorm needs two samples in each"
            )
        self._samples, self._batch_size, self._generator = samples, batch_size, generator
        self._rank, self._processes = rank, processes

    def __len__(self) -> int:
        return -(-self._samples // self._batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        order = torch.randperm(self._samples, generator=self._generator)
        for batch in torch.split(order, self._batch_size):
            if len(batch) >= 2 * self._processes:  # BatchNorm has no statistics of one sample
                yield batch[self._rank :: self._processes]


class _Indexed:
    """Batches of two tensors in the order of `_Order`."""

    def __init__(self, x: Tensor, y: Tensor, order: _Order) -> None:
        self._x, self._y, self._order = x, y, order

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return ((self._x[index], self._y[index]) for index in self._order)
