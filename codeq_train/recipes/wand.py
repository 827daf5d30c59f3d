# SPDX-License-Identifier: Apache-2.0
"""Spells of a magic wand: five gestures, from acceleration and turn rate."""

from pathlib import Path

from codeq_train.config import BudgetConfig, QuantConfig
from codeq_train.recipes import models
from codeq_train.recipes.datasets import magic_wand
from codeq_train.recipes.recipe import Recipe


def wand(directory: Path) -> Recipe:
    """A minute on one core, 1.75 KiB of weights and tables.

    Parameters
    ----------
    directory : Path
        With the files that `datasets.magic_wand` reads.
    """
    dataset = magic_wand.load(directory)
    return Recipe(
        name="wand",
        dataset=dataset,
        network=lambda: models.wand_net(len(dataset.labels)),
        config=QuantConfig(tables="compact", budgets=BudgetConfig(weights="1.75K")),
        float_epochs=200,
        quantized_epochs=200,
        frozen_epochs=50,
        batch_size=20,
        float_lr=5e-3,
        quantized_lr=2e-3,
        weight_decay=0.02,
    )
