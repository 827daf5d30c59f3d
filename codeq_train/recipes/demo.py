# SPDX-License-Identifier: Apache-2.0
"""Physiotherapy exercises from a smartwatch: seven classes, people never seen in training."""

from codeq_train.config import BudgetConfig, QuantConfig
from codeq_train.recipes import models
from codeq_train.recipes.datasets import watch
from codeq_train.recipes.recipe import Recipe


def demo() -> Recipe:
    """At most four minutes on two cores, 6 KiB of weights and tables."""
    dataset = watch.load()
    return Recipe(
        name="watch",
        dataset=dataset,
        network=lambda: models.watch_net(len(dataset.labels)),
        config=QuantConfig(budgets=BudgetConfig(weights="6K")),
        float_epochs=60,
        quantized_epochs=40,
        frozen_epochs=10,
        batch_size=64,
        float_lr=5e-3,
        quantized_lr=2e-3,
        weight_decay=0.02,
    )
