# SPDX-License-Identifier: Apache-2.0
"""Weights written out by hand."""

from collections.abc import Sequence

import numpy as np

from codeq_compile.ir import Weights


def row(
    codes: Sequence[int],
    *,
    bits: int,
    gap: int = 0,
    levels: tuple[int, ...] | None = None,
    rows: int = 1,
) -> Weights:
    """Weights with these codes, in order, in `rows` rows."""
    return Weights(
        codes=np.array(codes, np.int8).reshape(rows, -1),
        bits=bits,
        scale=np.ones(1, np.float32),
        gap=gap,
        levels=levels,
    )
