# SPDX-License-Identifier: Apache-2.0
"""Sets of pictures: what trains, what validates, and what a network sees of a byte."""

import numpy as np
import torch

from codeq_compile.ir import Grid
from codeq_train.recipes.datasets import pictures

GRID = Grid(scale=1 / 64, zero_point=-8)


def batch(rng: np.random.Generator, count: int) -> pictures.Batch:
    pixels = rng.integers(0, 256, (count, 4, 5, 3)).astype(np.uint8)
    return pixels, (np.arange(count) % 2).astype(np.uint8)


def test_one_image_of_twenty_of_each_class_validates(rng: np.random.Generator) -> None:
    """An image that trains must not validate too, and both sets need every class."""
    training, test = batch(rng, 80), batch(rng, 6)

    found = pictures.dataset(("even", "odd"), GRID, training, test, moved=1)

    assert (76, 4, 6) == (len(found.train), len(found.validation), len(found.test))
    assert [0, 0, 1, 1] == sorted(found.validation.y.tolist())
    together = torch.cat([found.train.x, found.validation.x]).flatten(1)
    real = GRID.scale * (training[0].astype(np.float32) - 128 - GRID.zero_point)
    expected = torch.from_numpy(real.transpose(0, 3, 1, 2).reshape(80, -1))
    assert sorted(map(tuple, expected.tolist())) == sorted(map(tuple, together.tolist()))


def test_drawn_images_lie_on_the_grid(rng: np.random.Generator) -> None:
    """The device knows no other inputs: moves and mirrors make none."""
    found = pictures.dataset(("even", "odd"), GRID, batch(rng, 40), batch(rng, 2), moved=2)
    drawn = found.draw(torch.arange(len(found.train)))

    assert drawn.shape == found.train.x.shape
    integers = drawn / GRID.scale + GRID.zero_point
    assert torch.equal(integers, integers.round())
