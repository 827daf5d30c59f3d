# SPDX-License-Identifier: Apache-2.0
"""Spoken digits of people never heard in training: the keyword spotter's DS-CNN."""

from pathlib import Path

from codeq_train.config import BudgetConfig, QuantConfig
from codeq_train.recipes import models
from codeq_train.recipes.datasets import spoken_digits
from codeq_train.recipes.recipe import Recipe


def digits(directory: Path) -> Recipe:
    """A few minutes on one core, 10 KiB of weights and tables.

    Parameters
    ----------
    directory : Path
        With the files that `datasets.spoken_digits` reads.
    """
    dataset = spoken_digits.load(directory)
    return Recipe(
        name="digits",
        dataset=dataset,
        network=lambda: models.ds_cnn(len(dataset.labels)),
        config=QuantConfig(tables="compact", budgets=BudgetConfig(weights="10K")),
        float_epochs=40,
        quantized_epochs=30,
        frozen_epochs=10,
        batch_size=100,
        float_lr=4e-3,
        quantized_lr=2e-3,
        weight_decay=0.02,
    )
