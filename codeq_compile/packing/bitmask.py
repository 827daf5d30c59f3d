# SPDX-License-Identifier: Apache-2.0
"""One mask bit a weight, then the non-zeros.  Spec: FORMATS.md [F7]."""

import math

import numpy as np

from codeq_compile.ir.types import Packed, Shape, Weights
from codeq_compile.numerics import Int8Array
from codeq_compile.packing import bits
from codeq_compile.packing.base import (
    Codec,
    from_nonzero_fields,
    nonzero_bits,
    nonzero_fields,
)


class Bitmask(Codec):
    """Mask of the whole layer, filled up to a byte, then a field for each set bit. [F7]"""

    name = "bitmask"
    label = "F7"

    def pack(self, weights: Weights) -> Packed:
        mask = bits.to_bytes(weights.values.ravel() != 0)
        width = nonzero_bits(weights.bits, weights.levels)
        return Packed(
            packing=self.name,
            bits=weights.bits,
            data=mask + bits.to_bytes(bits.split(nonzero_fields(weights), width)),
            gap=weights.gap,
            levels=weights.levels,
        )

    def unpack(self, packed: Packed, shape: Shape) -> Int8Array:
        count = math.prod(shape)
        mask_bytes = -(-count // 8)
        mask_stream = bits.from_bytes(packed.data[:mask_bytes])
        mask = bits.take(mask_stream, 0, count, 1) != 0
        bits.check_end(mask_stream, count)
        stream = bits.from_bytes(packed.data[mask_bytes:])
        width, nonzeros = nonzero_bits(packed.bits, packed.levels), int(mask.sum())
        fields = bits.take(stream, 0, nonzeros, width)
        bits.check_end(stream, nonzeros * width)
        values = np.zeros(count, np.int8)
        values[mask] = from_nonzero_fields(fields, packed)
        return values
