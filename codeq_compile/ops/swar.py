# SPDX-License-Identifier: Apache-2.0
"""Scratch of the swar kernels: inputs and weights as pairs of 16 bits.  C: product_swar.h."""

import math

from codeq_compile.ir.types import Packed
from codeq_compile.ops.base import CHUNK, decoded_bytes

TILE_BYTES = 2048
"""Bound of a tile of vectors, unless MIN_TILE are longer; CQ_SWAR_TILE_BYTES of runtime_c."""
MIN_TILE, MAX_TILE = 4, 32
"""CQ_SWAR_MIN_TILE and CQ_SWAR_MAX_TILE."""
SUMS = 64
"""Sums that a depthwise kernel collects; CQ_SWAR_SUMS."""
STEP = 8
"""Inputs of a loop step: vectors and rows are filled up to a multiple."""
ROWS = 4
"""Weight rows at a time."""


def pair_bytes(length: int) -> int:
    """A vector as pairs."""
    return 2 * STEP * math.ceil(length / STEP)


def tile_vectors(length: int, vectors: int) -> int:
    """Vectors that share one decoding of the weights."""
    most = max(MIN_TILE, min(MAX_TILE, TILE_BYTES // pair_bytes(length)))
    return _even_part(vectors, most)


def piece(length: int) -> int:
    """Weights of a row that are held as pairs at a time: all of them, or whole steps. [F3]"""
    return length if length <= CHUNK else STEP * math.ceil(_even_part(length, CHUNK) / STEP)


def product_bytes(packed: Packed | None, length: int, vectors: int, gathered: int = 0) -> int:
    """Scratch of a matrix product: a tile, the row cache, sums, a decoded piece. [conv2d-C10]

    Parameters
    ----------
    packed : Packed
    length : int
        Of vectors and rows.
    vectors : int
        In all.
    gathered : int
        Values of one vector that is copied together before; it lies where the cache is later.
    """
    part, tile = piece(length), tile_vectors(length, vectors)
    sums = 4 * ROWS * tile
    room = ROWS * pair_bytes(part) + sums + decoded_bytes(packed, part)
    return tile * pair_bytes(length) + max(room, pair_bytes(gathered) // 2)


def _even_part(whole: int, most: int) -> int:
    """As few parts as are not larger than `most`, about equally large: the size of one."""
    return math.ceil(whole / math.ceil(whole / most))
