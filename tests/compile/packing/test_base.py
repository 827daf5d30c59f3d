# SPDX-License-Identifier: Apache-2.0
"""What all codecs promise: the weights come back, and only one stream stands for them. [F2]"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from codeq_compile.errors import ModelError, SpecViolation
from codeq_compile.ir import Weights
from codeq_compile.ir.types import Packed
from codeq_compile.packing import CODECS, applicable, pack, unpack
from tests.graphs import random_weights
from tests.strategies import weights

ALL = tuple(CODECS)


@given(weights())
def test_every_codec_gives_the_weights_back(layer: Weights) -> None:
    """A wrong weight in flash is a wrong model. [F2]"""
    for name in applicable(layer, ALL):
        restored = unpack(pack(layer, name), layer.codes.shape)

        assert restored.dtype == np.int8
        np.testing.assert_array_equal(layer.values, restored)


@given(weights(), st.sampled_from(ALL), st.data())
def test_a_changed_stream_is_refused_or_holds_other_weights(
    layer: Weights, name: str, data: st.DataObject
) -> None:
    """Equal weights must be equal bytes: else hashes and 'nothing changed' mean nothing. [F2]"""
    assume(name in applicable(layer, [name]))
    # two positions with one level are two ways to write it: the table's fault, not the stream's
    assume(layer.levels is None or len(set(layer.levels)) == len(layer.levels))
    packed = pack(layer, name)
    damaged = bytearray(packed.data)
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))

    try:
        restored = unpack(replace(packed, data=bytes(damaged)), layer.codes.shape)
    except ModelError:
        return
    assert not np.array_equal(layer.values, restored)


@given(weights(), st.sampled_from(ALL))
def test_a_truncated_or_longer_stream_is_refused(layer: Weights, name: str) -> None:
    """A decoder that runs past the end reads another layer's weights. [F2]"""
    assume(name in applicable(layer, [name]))
    packed = pack(layer, name)

    with pytest.raises(ModelError):
        unpack(replace(packed, data=packed.data[:-1]), layer.codes.shape)
    with pytest.raises(ModelError):
        unpack(replace(packed, data=packed.data + b"\x00"), layer.codes.shape)


@given(st.binary(max_size=12), weights(), st.sampled_from(ALL), st.integers(0, 9))
def test_no_bytes_at_all_crash_a_decoder(
    data: bytes, layer: Weights, name: str, run_bits: int
) -> None:
    """A damaged file must be told as such, never as an IndexError."""
    packed = Packed(
        packing=name,
        bits=layer.bits,
        data=data,
        gap=layer.gap,
        levels=layer.levels,
        run_bits=run_bits,
    )

    try:
        restored = unpack(packed, layer.codes.shape)
    except ModelError:
        return
    assert layer.codes.shape == restored.shape


@pytest.mark.parametrize("zeros", [0.0, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("bits", range(1, 9))
def test_sizes_are_what_formats_says(bits: int, zeros: float, rng: np.random.Generator) -> None:
    """The table in FORMATS.md is what people plan their flash with. [F2]"""
    layer = random_weights(
        rng, (7, 53), bits=bits, zeros=zeros, levels=(0, 5) if bits == 1 else None
    )
    n, nonzeros = layer.codes.size, int(np.count_nonzero(layer.values))
    width = 1 if bits == 2 else bits
    expected = {
        "dense": (n * bits + 7) // 8,
        "ternary": (n + 4) // 5,
        "bitmask": (n + 7) // 8 + (nonzeros * width + 7) // 8,
        "rle": min(_rle_bytes(layer, run_bits, width) for run_bits in range(1, 9)),
        "gap": sum(1 + 4 * -(-records // 4) for records in _records(layer, bits)),
    }

    for name in applicable(layer, expected):
        packed = pack(layer, name)

        assert expected[name] == len(packed.data)
        assert len(packed.data) + len(layer.levels or ()) == packed.bytes


def _rle_bytes(layer: Weights, run_bits: int, width: int) -> int:
    """Counted record by record. [F8]"""
    escape = (1 << run_bits) - 1
    size = run = 0
    for value in layer.values.ravel():
        if value == 0:
            run += 1
        else:
            size += (run // escape + 1) * run_bits + width
            run = 0
    return (size + -(-run // escape) * run_bits + 7) // 8


def _records(layer: Weights, bits: int) -> list[int]:
    """Of each row, those that only skip among them, counted weight by weight. [F10]"""
    reach = max(1, (1 << (8 - bits)) - 1)
    records = []
    for row in layer.values:
        records.append(0)
        distance = 1
        for value in row:
            records[-1] += 1 + (distance - 1) // reach if value else 0
            distance = 1 if value else distance + 1
    return records


def test_ternary_is_for_ternary_weights_only(rng: np.random.Generator) -> None:
    """Asking for a packing that cannot hold the weights is told, with the rule. [F6]"""
    for layer in (
        random_weights(rng, (2, 8), bits=4),
        random_weights(rng, (2, 8), bits=2, gap=1),
        random_weights(rng, (2, 8), bits=2, levels=(-1, 0, 1)),
    ):
        assert not {"ternary"} & set(applicable(layer, ALL))
        with pytest.raises(SpecViolation, match=r"F6: .*use dense"):
            pack(layer, "ternary")
    assert ALL == applicable(random_weights(rng, (2, 8), bits=2), ALL)


def test_an_unknown_codec_is_told_with_the_known_ones(rng: np.random.Generator) -> None:
    """A name from a newer version must not end in a KeyError."""
    layer = random_weights(rng, (2, 8))

    with pytest.raises(SpecViolation, match=r'no packing "tans".*dense, ternary, bitmask, rle'):
        pack(layer, "tans")
    with pytest.raises(ModelError, match='no decoder for packing "tans"'):
        unpack(Packed(packing="tans", bits=4, data=b""), (2, 8))


def test_codes_outside_the_grid_are_refused() -> None:
    """C would compute with a weight that no simulation has seen. [N3.3]"""
    cases = [
        (Packed(packing="dense", bits=4, data=b"\x08"), "holds -8"),
        (Packed(packing="dense", bits=8, data=b"\x80", gap=1), "holds -128"),
        (Packed(packing="dense", bits=8, data=b"\x7f", gap=1), "outside"),
        (Packed(packing="dense", bits=2, data=b"\x03", levels=(0, 1, 2)), "outside its table"),
        (Packed(packing="bitmask", bits=4, data=b"\x01\x00"), "stores a zero"),
    ]
    for packed, message in cases:
        with pytest.raises(ModelError, match=message):
            unpack(packed, (1, 1))
