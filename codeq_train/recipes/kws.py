# SPDX-License-Identifier: Apache-2.0
"""The keyword spotter of MLPerf Tiny: DS-CNN, ten words, silence and everything else."""

from pathlib import Path

from codeq_train.config import BudgetConfig, QuantConfig
from codeq_train.recipes import models
from codeq_train.recipes.datasets import speech_commands
from codeq_train.recipes.recipe import Recipe


def kws(directory: Path) -> Recipe:
    """At most 25 minutes on two cores, 15 KiB of weights and tables.

    Parameters
    ----------
    directory : Path
        With the files that `datasets.speech_commands` reads.
    """
    dataset = speech_commands.load(directory)
    return Recipe(
        name="kws",
        dataset=dataset,
        network=lambda: models.ds_cnn(len(dataset.labels)),
        config=QuantConfig(budgets=BudgetConfig(weights="15K"), tables="compact"),
        float_epochs=30,
        quantized_epochs=35,
        frozen_epochs=10,
        batch_size=100,
        float_lr=4e-3,
        quantized_lr=2e-3,
        weight_decay=0.02,
        class_weighting=0.25,
    )
