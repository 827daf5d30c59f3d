# SPDX-License-Identifier: Apache-2.0
"""Five weights of {-1, 0, 1} in one byte, 1.6 bits each.  Spec: FORMATS.md [F6]."""

import math

import numpy as np

from codeq_compile.errors import ModelError
from codeq_compile.ir.types import Packed, Shape, Weights
from codeq_compile.numerics import Int8Array
from codeq_compile.packing.base import Codec

PER_BYTE = 5
_DIGITS = 3 ** np.arange(PER_BYTE)
_CODES = 3**PER_BYTE


class Ternary(Codec):
    """``sum (w_k + 1)·3^k`` a byte, k = 0 first; missing weights of the last byte are -1. [F6]"""

    name = "ternary"
    label = "F6"
    needs = "a 2-bit grid with gap 0"

    def applies(self, weights: Weights) -> bool:
        return weights.is_ternary

    def pack(self, weights: Weights) -> Packed:
        # the filling is the digit 0, i.e. weight -1: a stream has one form only
        digits = np.zeros(-(-weights.codes.size // PER_BYTE) * PER_BYTE, np.uint8)
        digits[: weights.codes.size] = weights.codes.ravel() + 1
        data = (digits.reshape(-1, PER_BYTE) @ _DIGITS).astype(np.uint8).tobytes()
        return Packed(packing=self.name, bits=weights.bits, data=data)

    def unpack(self, packed: Packed, shape: Shape) -> Int8Array:
        count = math.prod(shape)
        expected = -(-count // PER_BYTE)
        if len(packed.data) != expected:
            raise ModelError(
                f"{count} ternary weights take {expected} bytes, not {len(packed.data)}"
            )
        if (packed.bits, packed.gap, packed.levels) != (2, 0, None):
            raise ModelError("a ternary stream belongs to a 2-bit grid with gap 0")
        data = np.frombuffer(packed.data, np.uint8)
        if data.size and data.max() >= _CODES:
            raise ModelError(f"a byte of ternary weights is {data.max()}, above {_CODES - 1}")
        digits = (data[:, None] // _DIGITS % 3).ravel()
        if digits[count:].any():
            raise ModelError("the last byte of ternary weights is not filled with zeros")
        return (digits[:count].astype(np.int8) - 1).astype(np.int8)
