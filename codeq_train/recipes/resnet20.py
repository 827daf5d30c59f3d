# SPDX-License-Identifier: Apache-2.0
"""ResNet-20 on CIFAR-10: the network of CoDeQ's experiments, here in integers all the way."""

from pathlib import Path

from codeq_train.config import BudgetConfig, QuantConfig
from codeq_train.recipes import models
from codeq_train.recipes.datasets import cifar10
from codeq_train.recipes.recipe import Recipe


def resnet20(directory: Path) -> Recipe:
    """About two hours on one core, 48 KiB of weights and tables; `paper_codeq` is the paper's form.

    Parameters
    ----------
    directory : Path
        With the files that `datasets.cifar10` reads.
    """
    dataset = cifar10.load(directory)
    return Recipe(
        name="resnet20",
        dataset=dataset,
        network=lambda: models.resnet20(len(dataset.labels)),
        config=QuantConfig(budgets=BudgetConfig(weights="48K")),
        float_epochs=15,
        quantized_epochs=10,
        frozen_epochs=3,
        batch_size=128,
        float_lr=6e-3,
        quantized_lr=2e-3,
        weight_decay=0.02,
        channels_last=True,
    )
