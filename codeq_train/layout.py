# SPDX-License-Identifier: Apache-2.0
"""Where the elements of a torch tensor stand in the compiled model's memory.

torch keeps channels first, the IR last.  Instead of transposing, every tensor carries its order:
reshapes do not change it, permutations relabel it, and layers with weights adapt to it.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
Order = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """One sample of a tensor in memory.

    Parameters
    ----------
    shape : tuple of int
        Torch shape of the sample.
    order : int array of shape (elements,)
        Index into the flattened torch sample, for each position in memory.
    """

    shape: Shape
    order: Order = field(repr=False)

    def reshaped(self, shape: Shape) -> "Layout":
        """The same elements under another torch shape."""
        return replace(self, shape=shape)

    def permuted(self, axes: Shape) -> "Layout":
        """After torch's `permute` of the sample's axes: memory stays as it is."""
        old = np.arange(len(self.order)).reshape(self.shape).transpose(axes)
        new_index = np.argsort(old.ravel())
        return Layout(shape=old.shape, order=new_index[self.order])

    @property
    def is_plain(self) -> bool:
        """Memory is in torch's own order."""
        return bool((self.order == np.arange(len(self.order))).all())

    @property
    def is_image(self) -> bool:
        """Channels last: (c, h, w) stands as (h, w, c), (c, length) as (length, c)."""
        return len(self.shape) in (2, 3) and bool((self.order == image(self.shape).order).all())

    def same_order(self, other: "Layout") -> bool:
        return self.shape == other.shape and bool((self.order == other.order).all())


def plain(shape: Shape) -> Layout:
    """torch's own order."""
    return Layout(shape=shape, order=np.arange(math.prod(shape)))


def image(shape: Shape) -> Layout:
    """Channels last, for a sample of shape (c, h, w) or (c, length)."""
    index = np.arange(math.prod(shape)).reshape(shape)
    return Layout(shape=shape, order=np.moveaxis(index, 0, -1).ravel())


def image_shape(shape: Shape) -> Shape:
    """IR shape (h, w, c) of a torch sample (c, h, w) or (c, length)."""
    return (shape[1], shape[2], shape[0]) if len(shape) == 3 else (1, shape[1], shape[0])


def candidates(shape: Shape) -> list[Layout]:
    """Orders in which a model may take an input, the preferred one first."""
    if len(shape) not in (2, 3):
        return [plain(shape)]
    last, first = image(shape), plain(shape)
    return [last] if last.same_order(first) else [last, first]


def ir_shape(layout: Layout) -> Shape:
    """IR shape of a tensor that nothing constrains: an image where it is one."""
    return image_shape(layout.shape) if layout.is_image else layout.shape
