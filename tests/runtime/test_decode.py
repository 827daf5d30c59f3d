# SPDX-License-Identifier: Apache-2.0
"""packing/*.py and decode/*.h are twins: C decodes what Python packs and reads not a byte more."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeq_compile.ir import Packed, Weights
from codeq_compile.kernels import rows
from codeq_compile.numerics import Int8Array
from codeq_compile.packing import CODECS, pack
from tests.graphs import random_weights
from tests.runtime.binding import Buffers, Runtime

LEVELS = {1: (-1, 1), 2: (-5, 0, 3), 3: (0, 4, -4, 9, 120), 7: tuple(range(-64, 64))}

Decode = Callable[[Packed, tuple[int, int]], tuple[Int8Array, int]]


@pytest.fixture(scope="module")
def decode(runtime: Runtime, library: Path) -> Decode:
    """Weights (rows, row) that C decodes from a stream, and how many bytes of it were read."""
    ffi = runtime.ffi
    text = (Path(__file__).parent / "c" / "shims.h").read_text()
    ffi.cdef("\n".join(re.findall(r"^int32_t shim_decode[^;]*;", text, re.MULTILINE)))
    shims = ffi.dlopen(str(library))
    libc = ffi.dlopen(None)

    def call(packed: Packed, shape: tuple[int, int]) -> tuple[Int8Array, int]:
        with Buffers(ffi, libc, guard=64) as buffers:
            levels = ffi.NULL
            if packed.levels is not None:
                levels = buffers.place(np.array(packed.levels, np.int8).tobytes())
            weights = ffi.new(
                "struct cq_weights *",
                {
                    "data": ffi.cast("uint8_t *", buffers.place(packed.data, misaligned=True)),
                    "levels": ffi.cast("int8_t *", levels),
                    "bytes": len(packed.data),
                    "gap": packed.gap,
                    "run_bits": packed.run_bits,
                },
            )
            out = ffi.cast("int8_t *", buffers.place(bytes(shape[0] * shape[1])))
            function = getattr(shims, f"shim_decode_{packed.packing}")
            used = function(weights, packed.bits, *shape, out)
            buffers.assert_intact()
            decoded = np.frombuffer(ffi.buffer(out, shape[0] * shape[1])[:], np.int8)
        return decoded.reshape(shape), used

    return call


def check(decode: Decode, weights: Weights, packing: str) -> None:
    packed = pack(weights, packing)

    values, used = decode(packed, weights.codes.shape)

    np.testing.assert_array_equal(weights.values, values)
    assert len(packed.data) == used


@pytest.mark.parametrize("zeros", [0.0, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("packing", CODECS)
def test_c_decodes_what_python_packs(rng, decode, packing, bits, zeros):
    """A weight that decodes wrongly is a wrong model; a byte read too much, a fault. [F3]"""
    for height, row in [(1, 1), (1, 7), (3, 5), (7, 9), (5, 255), (2, 256), (3, 257), (2, 700)]:
        for gap, levels in [(0, None), (9, None), (0, LEVELS.get(bits))]:
            if (bits == 1 and levels is None) or (bits == 8 and levels is not None):
                continue
            if levels is None and (1 << (bits - 1)) - 1 + gap > 127:
                continue
            shape = (height, row)
            weights = random_weights(rng, shape, bits=bits, zeros=zeros, gap=gap, levels=levels)
            if CODECS[packing].applies(weights):
                check(decode, weights, packing)


@pytest.mark.parametrize("packing", ["dense", "bitmask", "rle"])
def test_the_lowest_8_bit_weight_survives(decode, packing):
    """Imported 8-bit models may hold -128, which no narrower grid has."""
    codes = np.array([[-128, 0, 127, -1], [0, 0, -128, 1]], np.int8)
    weights = Weights(codes=codes, bits=8, scale=np.ones(1, np.float32))

    check(decode, weights, packing)


@pytest.mark.parametrize("packing", ["dense", "bitmask", "rle"])
def test_8_bit_weights_with_a_gap_are_not_used_as_they_stand(decode, packing):
    """Bytes in flash are the weights only without a gap; with one they must be decoded."""
    codes = np.array([[-100, 0, 100, -1], [0, 0, 1, 7]], np.int8)
    weights = Weights(codes=codes, bits=8, scale=np.ones(1, np.float32), gap=27)

    check(decode, weights, packing)


@pytest.mark.parametrize("run_bits", range(1, 9))
def test_every_width_of_a_run_field_decodes(decode, run_bits):
    """Runs of exactly an escape, one less and one more, each width of the run field in turn."""
    escape = (1 << run_bits) - 1
    runs = [0, escape - 1, escape, escape + 1, 2 * escape, 2 * escape + 1, 3]
    row = [code for k, run in enumerate(runs) for code in [0] * run + [k + 1]] + [0] * (escape + 2)
    codes = np.array([row], np.int8)
    fields: list[tuple[int, int]] = []
    for k, run in enumerate(runs):
        fields += [(escape, run_bits)] * (run // escape) + [(run % escape, run_bits), (k + 1, 5)]
    fields += [(escape, run_bits)] * -(-(escape + 2) // escape)
    stream = sum(
        value << sum(width for _, width in fields[:i]) for i, (value, _) in enumerate(fields)
    )
    data = stream.to_bytes(-(-sum(width for _, width in fields) // 8), "little")

    values, used = decode(Packed(packing="rle", bits=5, data=data, run_bits=run_bits), codes.shape)

    np.testing.assert_array_equal(codes, values)
    assert len(data) == used


@pytest.mark.slow
@settings(max_examples=80)
@given(data=st.data(), bits=st.integers(2, 8), packing=st.sampled_from(sorted(CODECS)))
def test_any_codes_survive_the_round_trip(decode, data, bits, packing):
    """Patterns that nobody thought of: Hypothesis looks for the weights that break a decoder."""
    top = (1 << (bits - 1)) - 1
    height, row = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 300))
    code = st.integers(-top, top) | st.just(0)
    codes = data.draw(st.lists(code, min_size=height * row, max_size=height * row))
    weights = Weights(
        codes=np.array(codes, np.int8).reshape(height, row),
        bits=bits,
        scale=np.ones(1, np.float32),
        gap=data.draw(st.integers(0, 127 - max(map(abs, codes)))),
    )
    if CODECS[packing].applies(weights):
        check(decode, weights, packing)


def test_every_codec_has_a_decoder_of_the_same_name():
    """A codec without its twin could be chosen for a layer that no kernel can read."""
    assert set(CODECS) == {kernel.packing for kernel in rows() if kernel.packing}
