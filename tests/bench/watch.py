# SPDX-License-Identifier: Apache-2.0
"""How much the people matter, and the variation of training windows: the watch recipe's accuracy.

    OMP_NUM_THREADS=1 python tests/bench/watch.py

Two people held out of P1 to P8, one for the choice of nothing (validation), five trained on; the
demo's own test people have no part in it.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from codeq_train.recipes import recipe as recipes
from codeq_train.recipes.data import Dataset
from codeq_train.recipes.datasets import watch
from codeq_train.recipes.demo import demo

PEOPLE = (*watch.TRAIN, *watch.VALIDATION)
PAIRS = (("P1", "P2"), ("P3", "P4"), ("P5", "P6"), ("P7", "P8"))


def split(held_out: tuple[str, str]) -> Dataset:
    """The pair tests, the first of the others validates."""
    validation, *train = (person for person in PEOPLE if person not in held_out)
    return watch.load(train=train, validation=(validation,), test=held_out)


def accuracies(data: Dataset, seed: int) -> tuple[float, float]:
    """Of the demo's network on the test people of `data`: in float, and of its integers."""
    recipe = replace(demo(), dataset=data)
    trained = recipes.train(recipe, seed=seed, on_progress=lambda _: None)
    found = recipes.stages(trained, data.test)
    return found["float"]["accuracy"], found["integer"]["accuracy"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| held out | float | integers | float, windows as recorded |")
    print("|---|---|---|---|")
    rows = []
    for pair in PAIRS:
        data = split(pair)
        plain = replace(data, draw=lambda index, x=data.train.x: x[index])
        recorded, _ = accuracies(plain, arguments.seed)
        rows.append((*accuracies(data, arguments.seed), recorded))
        print(_row(" ".join(pair), rows[-1]), flush=True)
    print(_row("mean", [sum(column) / len(PAIRS) for column in zip(*rows, strict=True)]))


def _row(name: str, values: Sequence[float]) -> str:
    return f"| {name} | " + " | ".join(f"{value:.1%}" for value in values) + " |"


if __name__ == "__main__":
    main()
