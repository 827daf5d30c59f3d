# SPDX-License-Identifier: Apache-2.0
"""A recipe of seconds for sweeps, and a worker on it: ``python sweeping.py DIR STORAGE MARK``."""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from codeq_compile.ir import Grid
from codeq_train.config import QuantConfig
from codeq_train.recipes import recipe as recipes
from codeq_train.recipes.data import Dataset, Samples
from codeq_train.recipes.recipe import Recipe, Trained
from codeq_train.sweep import Plan, Point, Sweep, open_storage

PLAN = Plan(methods=("codeq", "magnitude"), weights=(400,), seeds=(0, 1), heartbeat=1)


def tiny() -> Recipe:
    """Which of three sums of 12 inputs is the largest: a linear layer, ReLU and another one."""
    random = torch.Generator().manual_seed(0)
    x = torch.randint(-64, 64, (192, 12), generator=random) / 32.0
    y = x.reshape(-1, 3, 4).sum(2).argmax(1)
    train, validation, test = (
        Samples(x=x[part], y=y[part]) for part in (slice(0, 128), slice(128, 160), slice(160, 192))
    )
    return Recipe(
        name="tiny",
        dataset=Dataset(
            labels=("a", "b", "c"),
            grid=Grid(scale=1 / 32, zero_point=0),
            train=train,
            validation=validation,
            test=test,
            draw=lambda index: train.x[index],
        ),
        network=lambda: nn.Sequential(nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3)),
        config=QuantConfig(),
        float_epochs=2,
        quantized_epochs=3,
        frozen_epochs=1,
        batch_size=32,
        float_lr=1e-2,
        quantized_lr=1e-2,
        weight_decay=0.0,
    )


def work(directory: Path, storage: str, mark: Path) -> None:
    """A worker that notes in `mark` when it begins and when it ends a run."""

    def note(what: str, recipe: Recipe, seed: int) -> None:
        with mark.open("a", encoding="utf-8") as file:
            config = recipe.config
            point = Point(
                method=config.weights.quantizer, weights=config.budgets.weights, seed=seed
            )
            file.write(f"{what} {point.name}\n")

    def noting(recipe: Recipe, *, seed: int, **rest: Any) -> Trained:
        note("begin", recipe, seed)
        trained = recipes.train(recipe, seed=seed, **rest)
        note("end", recipe, seed)
        return trained

    torch.set_num_threads(1)
    storage_opened = open_storage(storage, heartbeat=PLAN.heartbeat)
    Sweep(tiny(), PLAN, directory, storage_opened, train=noting).run()


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
