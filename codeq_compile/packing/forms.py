# SPDX-License-Identifier: Apache-2.0
"""The other ways to write the integers of a layer: a narrower grid, a gap, a table. [N3.5]"""

from dataclasses import replace

import numpy as np

from codeq_compile.ir.types import Weights


def forms(weights: Weights) -> tuple[Weights, ...]:
    """All ways to write a layer's integers that could be shorter, the given one first.

    Only int8 weights as importers bring them, on a grid of 8 bits without a gap, have others; a
    narrower grid was chosen by whoever trained it.

    Exact: a layer computes with `Weights.values` and the scale of one integer, and with nothing
    else of its weights. All forms have these values and this scale: a grid of b bits with gap g
    holds every w with ``g < |w| <= g + 2^(b-1) - 1``, and 0, as ``i = w - g·sign(w)``, which
    [N3.4] undoes; a table holds them because it lists them.
    """
    if (weights.bits, weights.gap) != (8, 0):
        return (weights,)
    return (weights, *_narrower_grids(weights), *_table(weights))


def _narrower_grids(weights: Weights) -> tuple[Weights, ...]:
    """The narrowest grid without a gap, and the one with the largest gap."""
    values = weights.values.astype(np.int16)
    magnitudes = np.abs(values[values != 0])
    if not magnitudes.size or magnitudes.max() > 127:
        # -128 is on no other grid, and a layer of zeros is one bit wide in a table
        return ()
    narrower = []
    for gap in sorted({0, int(magnitudes.min()) - 1}):
        bits = (int(magnitudes.max()) - gap).bit_length() + 1
        if bits < weights.bits:
            codes = (values - gap * np.sign(values)).astype(np.int8)
            narrower.append(replace(weights, codes=codes, bits=bits, gap=gap))
    return tuple(narrower)


def _table(weights: Weights) -> tuple[Weights, ...]:
    levels, codes = np.unique(weights.values, return_inverse=True)
    bits = max(1, (len(levels) - 1).bit_length())
    if bits >= weights.bits:
        return ()
    return (
        replace(
            weights,
            codes=codes.reshape(weights.codes.shape).astype(np.int8),
            bits=bits,
            levels=tuple(levels.tolist()),
        ),
    )
