# SPDX-License-Identifier: Apache-2.0
"""Ways through a tensor in memory: what ops that move elements share."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codeq_compile.ir.op import CValue
from codeq_compile.ir.types import Shape

MAX_AXES = 4
"""Nested loops of a walk in C."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """Nested loops that read a tensor; the innermost comes last.

    Parameters
    ----------
    start : int
        First element.
    extent, stride : tuple of int
        Of each loop: how often, and elements from one turn to the next.
    """

    extent: Shape
    stride: Shape
    start: int = 0

    def c_params(self) -> Mapping[str, CValue]:
        """`struct cq_walk`."""
        missing = MAX_AXES - len(self.extent)
        return {
            "start": self.start,
            "extent": (1,) * missing + self.extent,
            "stride": (0,) * missing + self.stride,
        }


def strides(shape: Shape) -> Shape:
    """Elements between neighbours on each axis of a tensor in memory order.

    >>> strides((2, 3, 4))
    (12, 4, 1)
    """
    return (*np.cumprod(shape[:0:-1])[::-1].tolist(), 1)
