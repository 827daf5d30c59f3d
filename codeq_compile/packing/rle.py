# SPDX-License-Identifier: Apache-2.0
"""Runs of zeros and the weights between them.  Spec: FORMATS.md [F8]."""

import math

import numpy as np
from numpy.typing import NDArray

from codeq_compile.errors import ModelError
from codeq_compile.ir.types import Packed, Shape, Weights
from codeq_compile.numerics import Int8Array
from codeq_compile.packing import bits
from codeq_compile.packing.base import (
    Codec,
    from_nonzero_fields,
    nonzero_bits,
    nonzero_fields,
)

RUN_BITS = range(1, 9)

Runs = NDArray[np.int64]
Places = NDArray[np.int64]


class Rle(Codec):
    """Records of a run field and, unless the field is an escape, a value field. [F8]"""

    name = "rle"
    label = "F8"

    def pack(self, weights: Weights) -> Packed:
        runs, trailing = zero_runs(weights.values.ravel())
        width = nonzero_bits(weights.bits, weights.levels)
        run_bits = best_run_bits(runs, trailing)
        return Packed(
            packing=self.name,
            bits=weights.bits,
            data=_stream(runs, trailing, nonzero_fields(weights), run_bits, width),
            gap=weights.gap,
            levels=weights.levels,
            run_bits=run_bits,
        )

    def unpack(self, packed: Packed, shape: Shape) -> Int8Array:
        count = math.prod(shape)
        if packed.run_bits not in RUN_BITS:
            raise ModelError(f"run fields of rle weights have 1 to 8 bits, not {packed.run_bits}")
        stream = bits.from_bytes(packed.data)
        width = nonzero_bits(packed.bits, packed.levels)
        places, starts, end = _walk(stream, count, packed.run_bits, width)
        bits.check_end(stream, end)
        fields = bits.join(stream[np.add.outer(starts, np.arange(width))])
        values = np.zeros(count, np.int8)
        values[places] = from_nonzero_fields(fields, packed)
        return values


def zero_runs(values: Int8Array) -> tuple[Runs, int]:
    """Zeros before each non-zero: int64 array of shape (non-zeros,); and zeros after the last."""
    places = np.flatnonzero(values)
    runs = np.diff(places, prepend=-1) - 1
    return runs, len(values) - int(places[-1] if places.size else -1) - 1


def best_run_bits(runs: Runs, trailing: int) -> int:
    """Width of the run field that makes the shortest stream; the narrowest of equals."""
    return min(RUN_BITS, key=lambda run_bits: run_field_bits(runs, trailing, run_bits))


def run_field_bits(runs: Runs, trailing: int, run_bits: int) -> int:
    """Bits of all run fields, escapes included; the value fields come on top."""
    escape = (1 << run_bits) - 1
    return run_bits * (int((runs // escape).sum()) + len(runs) + -(-trailing // escape))


def _stream(runs: Runs, trailing: int, values: bits.Fields, run_bits: int, width: int) -> bytes:
    escape = (1 << run_bits) - 1
    # a record for each non-zero, standing behind the escapes of its run
    ends = np.cumsum(runs // escape + 1)
    records = (int(ends[-1]) if len(ends) else 0) + -(-trailing // escape)
    run_fields = np.full(records, escape, np.uint8)
    value_fields = np.zeros(records, np.uint8)
    run_fields[ends - 1] = runs % escape
    value_fields[ends - 1] = values
    both = np.hstack([bits.split(run_fields, run_bits), bits.split(value_fields, width)])
    is_stored = np.ones(both.shape, bool)
    is_stored[run_fields == escape, run_bits:] = False
    return bits.to_bytes(both[is_stored])


def _walk(stream: bits.Bits, count: int, run_bits: int, width: int) -> tuple[Places, Places, int]:
    """Place of each non-zero, bit where its value field starts, and bit where the stream ends."""
    # with the field at every bit known, one step a record is all that is left for the loop
    run_at = bits.at_every_bit(stream, run_bits).tolist()
    escape = (1 << run_bits) - 1
    places: list[int] = []
    starts: list[int] = []
    position = covered = 0
    while covered < count:
        if position >= len(run_at):
            raise ModelError(f"packed weights are truncated: {covered} of {count} are there")
        run = run_at[position]
        position += run_bits
        covered += run
        if run == escape:
            continue
        if covered >= count or position + width > len(stream):
            raise ModelError(f"packed weights are damaged: a run leaves the {count} weights")
        places.append(covered)
        starts.append(position)
        position += width
        covered += 1
    return np.array(places, np.int64), np.array(starts, np.int64), position
