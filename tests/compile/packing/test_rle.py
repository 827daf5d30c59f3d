# SPDX-License-Identifier: Apache-2.0
"""The rle codec. [F8]"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from codeq_compile.errors import ModelError
from codeq_compile.ir import Weights
from codeq_compile.ir.types import Packed
from codeq_compile.packing import entropy_bytes, pack, unpack
from codeq_compile.packing.rle import RUN_BITS, best_run_bits, run_field_bits, zero_runs
from tests.compile.packing.layers import row
from tests.graphs import random_weights
from tests.strategies import weights


def test_the_drawing_in_formats_is_what_is_written() -> None:
    """People write decoders from the drawing. [F8]"""
    packed = pack(row([0, 0, 3, 0, 0, 0, 0, -1, 0, 0], bits=4), "rle")

    assert (2, bytes([0xCE, 0xFD])) == (packed.run_bits, packed.data)


@given(weights())
def test_the_width_of_runs_is_the_best_one(layer: Weights) -> None:
    """Another width would be larger, and another choice among equals another file. [F8]"""
    runs, trailing = zero_runs(layer.values.ravel())
    sizes = [run_field_bits(runs, trailing, run_bits) for run_bits in RUN_BITS]

    assert sizes.index(min(sizes)) + 1 == best_run_bits(runs, trailing)


def test_runs_may_cross_rows_and_be_longer_than_any_field() -> None:
    """1000 zeros before one weight: escapes, then the rest. [F8]"""
    codes = np.zeros(1200, np.int8)
    codes[1000] = 1
    layer = row(codes.tolist(), bits=4, rows=24)
    packed = pack(layer, "rle")

    assert 8 == packed.run_bits  # 3 escapes, 235, value, 1 escape: 5 * 8 + 4 bits
    assert bytes([255, 255, 255, 1000 - 3 * 255, 0xF1, 0x0F]) == packed.data
    np.testing.assert_array_equal(layer.values, unpack(packed, (24, 50)))


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("zeros", [0.7, 0.8, 0.9, 0.95, 0.98])
def test_a_rice_code_of_runs_would_save_little(bits: int, zeros: float) -> None:
    """FORMATS says why a run is a field, which is read in one step, and how near the shortest
    stream of zeros that are independent is to their entropy. [F8]
    """
    layer = random_weights(np.random.default_rng(0), (64, 576), bits=bits, zeros=zeros)
    runs, trailing = zero_runs(layer.values.ravel())
    stream = pack(layer, "rle")
    assert stream.run_bits is not None
    values = 8 * stream.bytes - run_field_bits(runs, trailing, stream.run_bits)
    rice = values + min(int(((runs >> k) + 1 + k).sum()) for k in range(8))

    assert 8 * stream.bytes <= 1.08 * rice
    assert stream.bytes <= 1.08 * entropy_bytes(layer)


def test_damaged_records_are_refused() -> None:
    """A run that leads out of the layer would write past its row in RAM. [F8]"""
    cases = [
        (Packed(packing="rle", bits=8, data=b"\x00", run_bits=2), "damaged"),  # value cut off
        (Packed(packing="rle", bits=4, data=b"\x06", run_bits=3), "a run leaves the 4 weights"),
        (Packed(packing="rle", bits=4, data=b"", run_bits=3), "truncated: 0 of 4"),
        (Packed(packing="rle", bits=4, data=b"\x00", run_bits=0), "1 to 8 bits, not 0"),
    ]
    for packed, message in cases:
        with pytest.raises(ModelError, match=message):
            unpack(packed, (1, 4))


def test_a_stream_with_another_width_of_runs_is_another_stream() -> None:
    """run_bits belongs to the stream: with a wrong one nothing may be decoded by luck."""
    layer = row([0, 0, 3, 0, 0, 0, 0, -1, 0, 0], bits=4)
    packed = pack(layer, "rle")

    for run_bits in set(RUN_BITS) - {packed.run_bits}:
        with pytest.raises(ModelError):
            unpack(replace(packed, run_bits=run_bits), (1, 10))
