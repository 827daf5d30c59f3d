# SPDX-License-Identifier: Apache-2.0
"""An epoch of each phase of a recipe, from its files to a checked library."""

from dataclasses import replace
from pathlib import Path

from codeq_compile.report.collect import Report
from codeq_train.config import QuantConfig
from codeq_train.recipes import RECIPES
from codeq_train.recipes import recipe as recipes
from codeq_train.recipes.recipe import Samples


def smoke(name: str, data: Path, directory: Path, *, test_samples: int = 24) -> Report:
    """Train the recipe `name` for three epochs, deliver it, and give the report."""
    recipe = RECIPES[name].make(data)
    test = recipe.dataset.test
    few = Samples(x=test.x[:test_samples], y=test.y[:test_samples])
    short = replace(
        recipe,
        dataset=replace(recipe.dataset, test=few),
        config=QuantConfig(),
        float_epochs=1,
        quantized_epochs=2,
        frozen_epochs=1,
    )
    trained = recipes.train(short, seed=0, on_progress=lambda _: None)
    return recipes.deliver(
        short, trained, directory / name, target="host", board_samples=2, command="test"
    )
