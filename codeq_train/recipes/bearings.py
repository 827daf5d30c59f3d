# SPDX-License-Identifier: Apache-2.0
"""A motor's bearing: sound, or which of nine faults, at a load never trained on."""

from pathlib import Path

from codeq_train.config import BudgetConfig, QuantConfig
from codeq_train.recipes import models
from codeq_train.recipes.datasets import cwru
from codeq_train.recipes.recipe import Recipe


def bearings(directory: Path) -> Recipe:
    """A few minutes on one core, 2 KiB of weights and tables.

    Parameters
    ----------
    directory : Path
        With the files that `datasets.cwru` reads.
    """
    dataset = cwru.load(directory)
    return Recipe(
        name="bearings",
        dataset=dataset,
        network=lambda: models.bearing_net(len(dataset.labels)),
        config=QuantConfig(tables="compact", budgets=BudgetConfig(weights="2K")),
        float_epochs=60,
        quantized_epochs=60,
        frozen_epochs=15,
        batch_size=64,
        float_lr=5e-3,
        quantized_lr=2e-3,
        weight_decay=0.02,
    )
