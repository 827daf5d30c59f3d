# SPDX-License-Identifier: Apache-2.0
"""How short the weights of a layer could be: their entropy, beside which a stream is judged."""

import math

import numpy as np

from codeq_compile.ir.types import Weights


def entropy_bytes(weights: Weights) -> int:
    """Bytes below which no code of single weights goes, rounded up.

    ``n · Σ p·log2(1 / p) / 8`` with the shares `p` of the layer's own integers: the zeroth-order
    entropy of Shannon (1948), without the table that a decoder needs to know the shares. A packing
    that stores runs (rle, bitmask, gap) can be shorter where zeros stand together.
    """
    counts = np.unique(weights.values, return_counts=True)[1]
    bits = float((counts * np.log2(counts.sum() / counts)).sum())
    return math.ceil(bits / 8)
