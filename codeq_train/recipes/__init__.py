# SPDX-License-Identifier: Apache-2.0
"""Reproducible training runs on real data: each gives a model, its accuracy and its size."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from codeq_compile.errors import InputError
from codeq_train.recipes import bearings, digits, fashion, ic, kws, resnet20, wand
from codeq_train.recipes.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A recipe that `codeq train` offers.

    Parameters
    ----------
    make : callable
        The recipe, given the folder of its data.
    title : str
        One line for ``--help``.
    files : str
        What the folder must hold.
    full : int
        How many times as long the full schedule is: for a GPU, and for the figures of papers.
    """

    make: Callable[[Path], Recipe]
    title: str
    files: str
    full: int

    def read(self, directory: Path, *, full: bool) -> Recipe:
        """The recipe on the data in `directory`, with its full schedule or the usual one.

        Raises
        ------
        InputError
            The data are not there, or are others.
        """
        try:
            recipe = self.make(directory)
        except InputError as error:
            raise InputError(
                f"{error}\n--data is a folder with {self.files}: "
                "docs/RECIPES.md says where to get it"
            ) from error
        return lengthened(recipe, self.full if full else 1)


RECIPES = {
    "bearings": Entry(
        make=bearings.bearings,
        title="Faults of a motor's bearing at a load never trained on: CWRU vibrations.",
        files="97.mat, 105.mat and so on, or cwru_de12k.npz",
        full=4,
    ),
    "digits": Entry(
        make=digits.digits,
        title="Spoken digits of people never heard in training: DS-CNN.",
        files="<digit>_<speaker>_<take>.wav, or fsdd.npz",
        full=4,
    ),
    "fashion": Entry(
        make=fashion.fashion,
        title="Ten kinds of clothes: LeNet-5 on Fashion-MNIST.",
        files="train-images-idx3-ubyte.gz and the other three",
        full=8,
    ),
    "ic": Entry(
        make=ic.ic,
        title="The image classifier of MLPerf Tiny: ResNet-8 on CIFAR-10.",
        files="cifar-10-batches-py or cifar-10-batches-bin",
        full=6,
    ),
    "kws": Entry(
        make=kws.kws,
        title="The keyword spotter of MLPerf Tiny: DS-CNN on 49x10 MFCC, 12 classes.",
        files="kws_mfcc_i8.npz and kws_train_aug4_i8.npz",
        full=4,
    ),
    "resnet20": Entry(
        make=resnet20.resnet20,
        title="ResNet-20 on CIFAR-10: the network of CoDeQ's experiments, on integers.",
        files="cifar-10-batches-py or cifar-10-batches-bin",
        full=12,
    ),
    "wand": Entry(
        make=wand.wand,
        title="Five gestures with a magic wand.",
        files="<gesture>.csv for each class, or magic_wand_imu.npz",
        full=2,
    ),
}
"""By the name that the command line gives them."""


def lengthened(recipe: Recipe, times: int) -> Recipe:
    """The same recipe with `times` as many epochs of every phase."""
    return replace(
        recipe,
        float_epochs=times * recipe.float_epochs,
        quantized_epochs=times * recipe.quantized_epochs,
        frozen_epochs=times * recipe.frozen_epochs,
    )


def scheduled(recipe: Recipe, epochs: int | None = None, float_epochs: int | None = None) -> Recipe:
    """The same recipe with other epochs in float or on the grids; None leaves them.

    Of those on the grids the frozen ones are in proportion.
    """
    if float_epochs is not None:
        recipe = replace(recipe, float_epochs=float_epochs)
    if epochs is None:
        return recipe
    share = recipe.frozen_epochs / recipe.quantized_epochs
    return replace(recipe, quantized_epochs=epochs, frozen_epochs=max(1, round(epochs * share)))
