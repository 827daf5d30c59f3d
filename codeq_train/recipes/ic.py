# SPDX-License-Identifier: Apache-2.0
"""The image classifier of MLPerf Tiny: ResNet-8 on CIFAR-10."""

from pathlib import Path

from codeq_train.config import BudgetConfig, QuantConfig
from codeq_train.recipes import models
from codeq_train.recipes.datasets import cifar10
from codeq_train.recipes.recipe import Recipe


def ic(directory: Path) -> Recipe:
    """About an hour and a half on one core, 22 KiB of weights and tables.

    Parameters
    ----------
    directory : Path
        With the files that `datasets.cifar10` reads.
    """
    dataset = cifar10.load(directory)
    return Recipe(
        name="ic",
        dataset=dataset,
        network=lambda: models.resnet8(len(dataset.labels)),
        config=QuantConfig(budgets=BudgetConfig(weights="22K")),
        float_epochs=32,
        quantized_epochs=30,
        frozen_epochs=9,
        batch_size=128,
        float_lr=6e-3,
        quantized_lr=1e-3,
        weight_decay=0.02,
        channels_last=True,
    )
