# SPDX-License-Identifier: Apache-2.0
"""Every weight in its own field of `bits` bits.  Spec: FORMATS.md [F5]."""

import math

from codeq_compile.ir.types import Packed, Shape, Weights
from codeq_compile.numerics import Int8Array
from codeq_compile.packing import bits
from codeq_compile.packing.base import Codec, from_value_fields, value_fields


class Dense(Codec):
    """Fields of 1 to 8 bits, back to back. [F5]"""

    name = "dense"
    label = "F5"

    def pack(self, weights: Weights) -> Packed:
        return Packed(
            packing=self.name,
            bits=weights.bits,
            data=bits.to_bytes(bits.split(value_fields(weights), weights.bits)),
            gap=weights.gap,
            levels=weights.levels,
        )

    def unpack(self, packed: Packed, shape: Shape) -> Int8Array:
        count = math.prod(shape)
        stream = bits.from_bytes(packed.data)
        fields = bits.take(stream, 0, count, packed.bits)
        bits.check_end(stream, count * packed.bits)
        return from_value_fields(fields, packed)
