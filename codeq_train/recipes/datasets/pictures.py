# SPDX-License-Identifier: Apache-2.0
"""What sets of pictures have in common: a part of the training images validates."""

import numpy as np
import torch
from numpy.typing import NDArray

from codeq_compile.ir import Grid
from codeq_train.recipes import augment
from codeq_train.recipes.data import Dataset, Samples, held_out

VALIDATION_EVERY = 20
"""One training image of this many validates."""

Batch = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Pixels of shape (n, height, width, channels) and classes of shape (n,)."""


def dataset(
    labels: tuple[str, ...], grid: Grid, training: Batch, test: Batch, *, moved: int
) -> Dataset:
    """Training images split into two sets, drawn with mirror images and moves.

    Parameters
    ----------
    labels : tuple of str
    grid : Grid
        Of ``pixel - 128``.
    training, test : Batch
    moved : int
        Up to this many pixels in each direction.
    """
    pixels, y = training
    validates = held_out(y, every=VALIDATION_EVERY)
    parts = ((pixels[~validates], y[~validates]), (pixels[validates], y[validates]), test)
    images = [
        augment.Images(
            pixels=torch.from_numpy(each),
            scale=grid.scale,
            zero_point=grid.zero_point,
            moved=moved,
        )
        for each, _ in parts
    ]
    train, validation, testing = (
        Samples(x=of.plain(), y=torch.from_numpy(classes.astype(np.int64)))
        for of, (_, classes) in zip(images, parts, strict=True)
    )
    return Dataset(
        labels=labels,
        grid=grid,
        train=train,
        validation=validation,
        test=testing,
        draw=images[0].draw,
    )
