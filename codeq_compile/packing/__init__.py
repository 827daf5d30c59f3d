# SPDX-License-Identifier: Apache-2.0
"""Codecs of weights: codes to the bytes that stand in flash, and back.  Spec: docs/FORMATS.md."""

from collections.abc import Iterable

from codeq_compile.errors import ModelError, SpecViolation
from codeq_compile.ir.types import Packed, Shape, Weights
from codeq_compile.numerics import Int8Array
from codeq_compile.packing.base import Codec
from codeq_compile.packing.bitmask import Bitmask
from codeq_compile.packing.csr import Csr
from codeq_compile.packing.dense import Dense
from codeq_compile.packing.entropy import entropy_bytes
from codeq_compile.packing.forms import forms
from codeq_compile.packing.gap import Gap
from codeq_compile.packing.huffman import Huffman
from codeq_compile.packing.rle import Rle
from codeq_compile.packing.ternary import Ternary

CODECS: dict[str, Codec] = {
    codec.name: codec for codec in (Dense(), Ternary(), Bitmask(), Rle(), Gap(), Csr(), Huffman())
}

__all__ = ["CODECS", "Codec", "applicable", "entropy_bytes", "forms", "pack", "unpack"]


def pack(weights: Weights, name: str) -> Packed:
    """Weights as a stream of the codec `name`. [F2]

    Raises
    ------
    SpecViolation
        `[F2]` there is no such codec; `[F6]`, `[F10]` it cannot hold these weights.
    """
    codec = CODECS.get(name)
    if codec is None:
        raise SpecViolation("F2", f'there is no packing "{name}"; there are {", ".join(CODECS)}')
    if not codec.applies(weights):
        raise SpecViolation(
            codec.label,
            f"{name} packing needs {codec.needs}, these weights have {weights.bits} "
            f"bits{' in a table' if weights.levels else f' and gap {weights.gap}'}: use dense",
        )
    return codec.pack(weights)


def unpack(packed: Packed, shape: Shape) -> Int8Array:
    """The integers that the layer multiplies with, equal to `Weights.values` bit for bit. [N3.4]

    Parameters
    ----------
    packed : Packed
    shape : tuple of int
        Of the weights, output channels first.

    Returns
    -------
    int8 array of shape `shape`

    Raises
    ------
    ModelError
        The stream is truncated, too long, or not in the one form that `pack` writes.
    """
    codec = CODECS.get(packed.packing)
    if codec is None or not 1 <= packed.bits <= 8:
        raise ModelError(f'no decoder for packing "{packed.packing}" of {packed.bits} bits')
    return codec.unpack(packed, shape).reshape(shape)


def applicable(weights: Weights, names: Iterable[str]) -> tuple[str, ...]:
    """Those of `names` that can hold these weights, in the given order."""
    return tuple(name for name in names if CODECS[name].applies(weights))
