# SPDX-License-Identifier: Apache-2.0
"""Ten kinds of clothes on grey images: LeNet-5 on Fashion-MNIST."""

from pathlib import Path

from codeq_train.config import BudgetConfig, QuantConfig
from codeq_train.recipes import models
from codeq_train.recipes.datasets import fashion_mnist
from codeq_train.recipes.recipe import Recipe


def fashion(directory: Path) -> Recipe:
    """A quarter of an hour on one core, 7 KiB of weights and tables.

    Parameters
    ----------
    directory : Path
        With the files that `datasets.fashion_mnist` reads.
    """
    dataset = fashion_mnist.load(directory)
    return Recipe(
        name="fashion",
        dataset=dataset,
        network=lambda: models.lenet(len(dataset.labels)),
        config=QuantConfig(tables="compact", budgets=BudgetConfig(weights="7K")),
        float_epochs=12,
        quantized_epochs=12,
        frozen_epochs=3,
        batch_size=128,
        float_lr=4e-3,
        quantized_lr=2e-3,
        weight_decay=0.02,
    )
