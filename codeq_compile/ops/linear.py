# SPDX-License-Identifier: Apache-2.0
"""Fully connected layer along the last axis.  Spec: NUMERICS.md §linear."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from codeq_compile.errors import SpecViolation
from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, CValue, Op, register
from codeq_compile.ir.types import Packed, Range, TensorType
from codeq_compile.numerics import Int8Array
from codeq_compile.ops import swar
from codeq_compile.ops.base import (
    CHUNK,
    Pair,
    Requant,
    align4,
    c_weights,
    check_clamp,
    decoded_bytes,
    make_requant,
    panel_bytes,
    row_bytes,
    single,
    weighted_bound,
)
from codeq_compile.ops.bounds import accumulators
from codeq_compile.ops.products import blas_dtype, blocks
from codeq_compile.ops.trips import (
    LANES,
    MAX_TILE,
    QUAD,
    WORD,
    Trips,
    WeightRows,
    at_words,
    ceil,
    chunk_lengths,
    clamped,
    copies,
    fills,
    helium_product,
    is_short,
    list_counts,
    loaded,
    pairs_of_word,
    portable_product,
    short_quads,
    slow_quads,
    swar_product,
    tiles,
    times,
    total,
    widened,
    windowed,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinearParams:
    """Integers of one fully connected layer; `weights` is int8 of shape (out, in)."""

    weights: Int8Array = field(repr=False)
    requant: Requant


@register("linear")
@dataclass(frozen=True, slots=True, kw_only=True)
class Linear(Op[LinearParams]):
    """Product of the last axis with int8 weights (out, in); other axes are kept. [linear-C1]

    Parameters
    ----------
    clamp : tuple of int (min, max), default (-128, 127)
        Output limits of a fused activation.
    multiplier_bits : int, default 31
        Top bits that multipliers keep: with 13 or 5 a factor is two bytes or one. [N2.3] [N4.4]
    float32_product : bool, default False
        The product of input and weight scale is rounded to float32, as TFLite did until 2026.
        [linear-C8]
    """

    clamp: Pair = (-128, 127)
    multiplier_bits: int = 31
    float32_product: bool = False

    has_weights = True
    packings = ("dense", "ternary", "bitmask", "rle", "gap", "csr", "huffman")

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output (..., out features).

        Raises
        ------
        SpecViolation
            `[linear-C1]` input, `[linear-C2]` weights, `[linear-C3]` bias, `[linear-C4]` clamp.
        """
        x = single("linear-C1", inputs)
        assert node.weights is not None
        shape = node.weights.codes.shape
        if len(shape) != 2 or shape[1] != x.shape[-1]:
            raise SpecViolation(
                "linear-C2",
                f"weights {list(shape)} must be (out features, {x.shape[-1]}) for input {x}: "
                "flatten the input, or export the layer again",
            )
        if node.bias is not None and node.bias.shape != shape[:1]:
            raise SpecViolation("linear-C3", "one bias an output feature is needed")
        check_clamp("linear-C4", self.clamp)
        return TensorType(shape=(*x.shape[:-1], shape[0]))

    def lower(self, node: Node, inputs: tuple[TensorType, ...], output: TensorType) -> LinearParams:
        assert node.weights is not None
        return LinearParams(
            weights=node.weights.values,
            requant=make_requant(
                weights=node.weights,
                bias=node.bias,
                input_type=inputs[0],
                output_type=output,
                clamp=self.clamp,
                multiplier_bits=self.multiplier_bits,
                float32_product=self.float32_product,
            ),
        )

    def simulate(self, params: LinearParams, *inputs: Array) -> Int8Array:
        """Golden of `cq_linear_*`. [linear-C1]"""
        (x,) = inputs
        out_features, in_features = params.weights.shape
        dtype = blas_dtype(params.weights)
        requantized = params.requant.prepare(self.accumulator_bound(params), 1)
        columns: Array = params.weights.astype(dtype).T
        rows = x.reshape(-1, in_features)
        result = np.empty((len(rows), out_features), np.int8)
        for block in blocks(len(rows), max(in_features, out_features)):
            products: Array = rows[block].astype(dtype) @ columns
            requantized(products[:, None], result[block][:, None])
        return result.reshape(*x.shape[:-1], out_features)

    def c_params(
        self,
        params: LinearParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        out_features, in_features = params.weights.shape
        return {
            "rows": inputs[0].elements // in_features,
            "in_features": in_features,
            "out_features": out_features,
            "weights": c_weights(packed),
            "requant": params.requant.c_params(),
        }

    def families(self, params: LinearParams) -> tuple[str, ...]:
        return ("linear_sparse", "linear")

    def macs(self, params: LinearParams, output: TensorType) -> int:
        return output.elements * int(params.weights.shape[1])

    def scratch_bytes(
        self,
        params: LinearParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str = "ref",
    ) -> int:
        """Decoded weights: a chunk of a row, or a panel of rows. [linear-C5] [linear-C6]"""
        if family == "linear_sparse":
            return _sparse_scratch_bytes(params, packed)
        if isa == "dsp":
            return _dsp_scratch_bytes(params, packed)
        out_features, in_features = map(int, params.weights.shape)
        if isa == "mve":
            return panel_bytes(packed, in_features, out_features)
        if isa == "swar":
            assert packed is not None, "an op with weights is emitted after packing"
            rows = inputs[0].elements // in_features
            if rows == 1 and _reads_fields(packed, in_features):
                return _fields_bytes(packed.bits, in_features) + CHUNK
            if rows == 1:  # [linear-C7]
                return swar.pair_bytes(in_features) + row_bytes(packed, in_features)
            return swar.product_bytes(packed, in_features, rows)
        return row_bytes(packed, in_features)

    def trips(
        self,
        params: LinearParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str,
    ) -> Trips:
        rows = WeightRows.of(packed, params.weights)
        vectors = inputs[0].elements // rows.length
        if family == "linear_sparse":
            return _SPARSE_TRIPS[isa](rows, vectors, params.requant)
        if isa == "dsp":
            return _dsp_trips(rows, vectors, params.requant)
        if isa == "mve":
            return helium_product(rows, vectors, params.requant)
        if isa == "swar":
            if vectors == 1 and _reads_fields(rows.packed, rows.length):
                return _swar_fields_trips(rows, params.requant)
            tiling = tiles(vectors, swar.tile_vectors(rows.length, vectors))
            product = (
                swar_product(rows, tiling, params.requant)
                if vectors > 1
                else _swar_vector_trips(rows, params.requant)
            )
            return total(product, widened(vectors, rows.length, rows.length))
        return portable_product(rows, tiles(vectors, MAX_TILE), params.requant)

    def output_range(
        self,
        params: LinearParams,
        ranges: tuple[Range, ...],
        inputs: tuple[TensorType, ...],
        output: TensorType,
    ) -> Range:
        return params.requant.output_range(accumulators(params.requant, params.weights, *ranges))

    def accumulator_bound(self, params: LinearParams) -> Array:
        return weighted_bound(params.requant, params.weights)


def _reads_fields(packed: Packed | None, length: int) -> bool:
    """Whether a dsp kernel multiplies with fields where they stand: linear_dsp.c."""
    assert packed is not None, "an op with weights is emitted after packing"
    if packed.packing != "dense" or packed.bits == 8 or length * packed.bits % 8:
        return False
    if packed.levels is not None:
        return packed.bits == 1
    return packed.gap == 0 or packed.bits == 2


def _fields_bytes(bits: int, length: int) -> int:
    """A vector of 16 bits a value, filled up to steps of fields."""
    step = _field_step(bits)
    return 2 * step * ceil(length, step)


def _field_step(bits: int) -> int:
    """Weights of a step of such a kernel; CQ_FIELD_STEP of runtime_c."""
    return 32 if bits == 1 else 16


def _fields_widened(bits: int, length: int) -> Trips:
    """A vector in such pairs as fields are, in whole groups and at its end: fields.h."""
    apart = 16 // bits if 16 % bits == 0 else 8
    whole = length // (2 * apart) * apart
    pairs = _fields_bytes(bits, length) // WORD
    return {"vectors of fields": 1, "pairs widened": whole, "pairs at ends widened": pairs - whole}


def _sparse_scratch_bytes(params: LinearParams, packed: Packed | None) -> int:
    """A vector and minus it in 16 bits each where records are signs. [linear-C9]"""
    assert packed is not None, "an op with weights is emitted after packing"
    has_signs = packed.packing == "csr" and packed.bits == 2
    return 4 * align4(int(params.weights.shape[1])) if has_signs else 0


def _dsp_scratch_bytes(params: LinearParams, packed: Packed | None) -> int:
    """A vector of 16 bits a value, then four decoded chunks. [linear-C6]"""
    assert packed is not None, "an op with weights is emitted after packing"
    length = int(params.weights.shape[1])
    if _reads_fields(packed, length):
        return _fields_bytes(packed.bits, length)
    return 2 * align4(length) + (CHUNK * 4 if decoded_bytes(packed, 1) else 0)


def _dsp_trips(rows: WeightRows, vectors: int, requant: Requant) -> Trips:
    """linear_dsp.c: four rows where they stand, or a chunk of each decoded."""
    quads = ceil(rows.count, QUAD)
    is_whole = rows.count >= QUAD
    if _reads_fields(rows.packed, rows.length):
        return times(_dsp_fields_trips(rows, requant), vectors)
    read = QUAD * quads if is_whole else rows.count
    lengths = [rows.length] if rows.are_bytes and is_whole else chunk_lengths(rows.length)
    dots = quads if is_whole else rows.count
    words = sum(length // 4 for length in lengths)
    # a pair of steps is one turn of the loop
    odd = sum(length // 4 % 2 for length in lengths)
    rest = rows.length % 4
    short = short_quads(requant, 0, rows.count)
    return times(
        total(
            times(total(rows.decoded(), rows.sought(CHUNK)), read / rows.count),
            clamped(requant, rows.count),
            loaded(requant, quads, once=1),
            slow_quads(requant, quads - short, rows.count),
            {
                "vectors": 1,
                "words widened": ceil(rows.length, 4),
                "quads": quads,
                "chunks": 0 if rows.are_bytes and is_whole else quads * len(lengths),
                "rows met": read * len(lengths) * (not is_whole and rows.are_bytes),
                "dots" if is_whole else "dots alone": dots * len(lengths),
                "words" if is_whole else "words alone": dots * words,
                "odd words": dots * odd * is_whole,
                "ends" if is_whole else "ends alone": dots * (rest > 0),
                "weights of ends": dots * (QUAD if is_whole else 1) * rest,
                "quads short": short,
            },
        ),
        vectors,
    )


def _dsp_fields_trips(rows: WeightRows, requant: Requant) -> Trips:
    """fields_dsp.h: four rows of fields where they stand."""
    bits, step = rows.packed.bits, _field_step(rows.packed.bits)
    quads = ceil(rows.count, QUAD)
    short = short_quads(requant, 0, rows.count)
    full, rest = divmod(rows.length, step)
    filled = full + (rest > 0)
    # fewer than four rows are read one by one, and each four times
    is_whole = rows.count >= QUAD
    firsts = [min(row, rows.count - QUAD) for row in range(0, rows.count, QUAD)]
    last = [row + QUAD - 1 for row in firsts] if is_whole else list(range(rows.count))
    row_bits = rows.length * bits
    ends = sum(row * row_bits + filled * step * bits > rows.count * row_bits for row in last)
    return total(
        clamped(requant, rows.count),
        loaded(requant, quads, once=1),
        slow_quads(requant, quads - short, rows.count),
        {
            **_fields_widened(bits, rows.length),
            "quads": quads,
            "dots of fields": (len(last) - ends) * ceil(filled * step, CHUNK)
            + ends * ceil(full * step, CHUNK),
            "ends of fields": ends,
            "weights of ends of fields": ends * QUAD * rest,
            "rows alone of fields": 0 if is_whole else rows.count,
            "quads short": short,
            # two rows at a time
            f"steps of {bits} bits": len(last) * QUAD // 2 * filled,
        },
    )


def _sparse_dsp_trips(rows: WeightRows, vectors: int, requant: Requant) -> Trips:
    """rows_dsp.h: rows of one block with one short factor, or sums and then their outputs."""
    tables = requant.c_params()
    is_shared = len(requant.multiplier) == 1
    short = is_short(requant)
    blocks = ceil(rows.length, _block_length(rows.packed))
    is_plain = (
        blocks == 1
        and rows.packed.gap == 0
        and is_shared
        and tables["bias_bytes"] == 2
        and bool(short[0])
    )
    if is_plain:
        own: dict[str, float] = {"rows, plain": rows.count}
    else:
        once = int(short.sum())
        narrow = loaded(requant, rows.count, once=0)["factors loaded, narrow"]
        own = {
            "blocks of sums": ceil(rows.count, _SUMS),
            "sums": rows.count,
            "sums of biases not of 2 bytes": rows.count * (tables["bias_bytes"] != 2),
            "blocks of rows": rows.count * blocks,
            "short outputs": once * is_shared,
            "long outputs": (rows.count - once) * is_shared,
            "short outputs, each a factor": once * (not is_shared),
            "long outputs, each a factor": (rows.count - once) * (not is_shared),
            "outputs of narrow factors": narrow,
        }
    return total(
        clamped(requant, vectors * rows.count),
        times(total({"vectors": 1}, own, _dsp_records(rows)), vectors),
    )


def _dsp_records(rows: WeightRows) -> Trips:
    """gap_dsp.h, csr_dsp.h: what is done with records for one vector."""
    if rows.packed.packing == "gap":
        words = _block_words(rows.packed)
        return {
            "blocks of gaps": len(words),
            "stream bytes": WORD * int(words.sum()),
            "blocks of odd words": int((words % 2).sum()),
        }
    counts = list_counts(rows.packed)
    if rows.packed.bits == 2:
        long = counts[counts > _CASES_OF_SIGNS] - _CASES_OF_SIGNS
        return {
            "words widened": ceil(rows.length, WORD),
            "lists of signs": len(counts),
            "lists with signs": int((counts > 0).sum()),
            "nonzeros as signs": int(counts.sum()),
            "eights of long lists": int((-(-long // 8)).sum()),
        }
    passes = -(-counts // _CASES_OF_PAIRS)
    return {
        "lists of codes": len(counts),
        "lists with codes": int((counts > 0).sum()),
        f"nonzeros of {rows.packed.bits} bits": 2 * int(counts.sum()),
        "words of codes": int((-(-counts // pairs_of_word(rows.packed))).clip(min=1).sum()),
        "further passes": int((passes - 1).clip(min=0).sum()),
    }


_SUMS, _SWAR_SUMS = 32, 16
"""CQ_LINEAR_BLOCK of outputs_dsp.h and of outputs_swar.h."""
_CASES_OF_SIGNS, _CASES_OF_PAIRS = 20, 16
"""Records, and pairs of them, that csr_dsp.h has cases for."""


def _block_length(packed: Packed) -> int:
    """Inputs of a block of records. [F10] [F12]"""
    return CHUNK // 2 if (packed.packing, packed.bits) == ("csr", 2) else CHUNK


def _sparse_swar_trips(rows: WeightRows, vectors: int, requant: Requant) -> Trips:
    """linear_sparse_swar.c: a row at a time, the records of a block a word at a time."""
    return times(total(_swar_outputs(requant, rows.count), _swar_records(rows)), vectors)


def _swar_records(rows: WeightRows) -> Trips:
    """linear_sparse_swar.c, csr_swar.h: what is done with records for one vector."""
    if rows.packed.packing == "gap":
        return _records(rows)
    counts = list_counts(rows.packed)
    own = {"vectors": 1, "rows": rows.count}
    if rows.packed.bits == 2:
        return own | {
            "inputs widened": rows.length,
            "lists of signs": len(counts),
            "nonzeros as signs": int(counts.sum()),
            "fours of signs": int((counts // 4).sum()),
        }
    words, left = np.divmod(counts, pairs_of_word(rows.packed))
    return own | {
        "lists": len(counts),
        "lists of codes": int((counts > 0).sum()),
        f"nonzeros of {rows.packed.bits} bits": 2 * int(counts.sum()),
        f"words of {rows.packed.bits} bits": int(words.sum()),
        "words of short groups": int((left > 0).sum()),
        "pairs of short groups": int(left.sum()),
    }


def _sparse_mve_trips(rows: WeightRows, vectors: int, requant: Requant) -> Trips:
    """linear_sparse_mve.c: 16 records at a time."""
    fours, left = divmod(rows.count, QUAD)
    own = {
        "fours": fours,
        "outputs left": left,
        "turns": int(-(-_block_words(rows.packed) * WORD // LANES).sum()),
    }
    return total(
        loaded(requant, vectors * fours, once=1), times(total(_records(rows), own), vectors)
    )


_SPARSE_TRIPS = {"dsp": _sparse_dsp_trips, "swar": _sparse_swar_trips, "mve": _sparse_mve_trips}


def _records(rows: WeightRows) -> Trips:
    """What every kernel does with a gap stream for one vector."""
    words = _block_words(rows.packed)
    return {
        "vectors": 1,
        "rows": rows.count,
        "chunks": len(words),
        "chunks with records": int((words > 0).sum()),
        "stream bytes": WORD * int(words.sum()),
    }


def _block_words(packed: Packed) -> Array:
    """Words of each block of a gap stream, whose number stands at its end. [F10]"""
    words: list[int] = []
    left = len(packed.data)
    while left > 0:
        words.append(packed.data[-1 - len(words)])
        left -= 1 + 4 * words[-1]
    return np.array(words)


def _swar_fields_trips(rows: WeightRows, requant: Requant) -> Trips:
    """fields_swar.h: rows at words from where they stand, ends and other rows from a copy."""
    bits, step = rows.packed.bits, _field_step(rows.packed.bits)
    full, rest = divmod(rows.length, step)
    steps = full + (rest > 0)
    row_at = rows.length * bits // 8 * np.arange(rows.count)
    is_word = row_at % WORD == 0
    # what is copied begins behind the whole steps of a row that stands at a word
    pieces = [
        (row_at[is_word == at_word] + first * bits // 8, min(CHUNK, rows.length - first))
        for at_word, begin in ((True, full * step), (False, 0))
        for first in range(begin, rows.length, CHUNK)
    ]
    return total(
        _swar_outputs(requant, rows.count),
        *(
            total(
                copies(np.zeros_like(at), at, count * bits // 8),
                fills(np.full_like(at, count * bits // 8), -count % step * bits // 8),
            )
            for at, count in pieces
        ),
        {
            **_fields_widened(bits, rows.length),
            "rows of fields": rows.count,
            "dots of fields": int(is_word.sum()) * (full > 0) + sum(len(at) for at, _ in pieces),
            f"steps of {bits} bits": rows.count * steps,
        },
    )


def _swar_outputs(requant: Requant, features: int) -> Trips:
    """outputs_swar.h: the outputs of one vector."""
    is_shared = len(requant.multiplier) == 1
    own = total(
        loaded(requant, features, once=1),
        {"blocks of outputs": ceil(features, _SWAR_SUMS)},
    )
    return total(
        # nothing but the decoder and what stores is shared with tiles of several vectors
        {f"{name}, one vector": each for name, each in own.items()},
        windowed(requant, 0, 1, features) if is_shared else {},
    )


def _swar_vector_trips(rows: WeightRows, requant: Requant) -> Trips:
    """linear_swar.c with one vector: every weight meets one input."""
    lengths = [rows.length] if rows.are_bytes else chunk_lengths(rows.length)
    aligned = at_words(rows.length) if rows.are_bytes else 1.0
    sixteens = aligned * sum(length // 16 for length in lengths)
    odd = aligned * sum(length // 16 % 2 for length in lengths)
    words = sum(length // 4 for length in lengths)
    is_direct = rows.are_bytes and rows.length % 16 == 0
    own = {
        "rows of words" if is_direct else "rows": rows.count,
        "pieces": 0 if rows.are_bytes else rows.count * len(lengths),
        "pieces with a rest": rows.count
        * sum(1.0 - aligned * (length % 16 == 0) for length in lengths),
        "pairs of sixteens": rows.count * (sixteens - odd) / 2,
        "odd sixteens": rows.count * odd,
        "fours": rows.count * (words - 4 * sixteens),
        "ends": rows.count * (rows.length % 4 > 0),
    }
    return total(
        rows.decoded(),
        rows.sought(CHUNK),
        _swar_outputs(requant, rows.count),
        {f"{name}, one vector": each for name, each in own.items()},
    )
