# SPDX-License-Identifier: Apache-2.0
"""Weights on a coarser grid, each error made up for by the weights that are rounded after it."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array
from codeq_compile.ir.types import Weights
from codeq_compile.numerics import INT32_MAX, INT32_MIN
from codeq_compile.ops.base import Pair
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.products import padded

Float64Array = NDArray[np.float64]

PLACES = 1 << 13
"""Output places of a layer that its rounding looks at."""
_LONGEST = 2048
"""Weights of a row; longer ones are rounded to the nearest: the covariance would take too long."""
_DAMPING = 0.01
"""Share of the mean curvature that is added to each weight's own."""
_SHRINKINGS = np.linspace(0.3, 1.0, 15)
"""Ends of a grid that are tried, as shares of the largest weight."""
_SPARSE = 0.3
"""With more zeros a layer keeps them: a packing stores them for nothing."""


def can_be_coarser(node: Node) -> bool:
    """Whether this module knows what the node multiplies its weights with."""
    return isinstance(node.op, Conv2D | DWConv2D | Linear)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """What a layer met in the samples.

    Parameters
    ----------
    gram : float64 array of shape (groups, row, row)
        Mean products of inputs, from the zero point on, of the weights of a row.
    mean : float64 array of shape (groups, row)
        Mean inputs.
    """

    gram: Float64Array = field(repr=False)
    mean: Float64Array = field(repr=False)

    @classmethod
    def of(cls, node: Node, x: Array, zero_point: int, rng: np.random.Generator) -> "Seen":
        """From inputs of shape (samples, …), at some of the output's places."""
        patches = _patches(node, x, zero_point, rng)
        if patches.shape[2] > _LONGEST:
            square = np.square(patches).mean(axis=1)
            gram = square[:, :, None] * np.eye(patches.shape[2])
        else:
            gram = patches.transpose(0, 2, 1) @ patches / patches.shape[1]
        return cls(gram=gram, mean=patches.mean(axis=1))


def rounded(node: Node, seen: Seen, bits: int) -> tuple[Node, float]:
    """The node with weights of fewer bits, and the mean square error of its accumulators.

    Rounding to the nearest on a grid of the best width for each channel, where every error is made
    up for by the weights that follow in the row, as the inputs' covariance says.  The bias gives
    back what the outputs move on average.  Source: GPTQ, Frantar et al. 2023, equations 2 and 3.

    Parameters
    ----------
    node : Node
        With weights of more bits.
    seen : Seen
    bits : int
        From 2 on.

    Returns
    -------
    Node
        Quantized, not lowered: one scale a channel.
    float
        In units of the old accumulators, squared.
    """
    assert node.weights is not None
    old = node.weights
    groups = len(seen.mean)
    weight = old.values.reshape(groups, len(old.codes) // groups, -1).astype(np.float64)
    held = weight == 0 if old.zeros >= _SPARSE else np.zeros(weight.shape, bool)
    top = (1 << (bits - 1)) - 1
    scale = np.broadcast_to(old.scale, len(old.codes)).astype(np.float64)
    step = _steps(weight, seen.gram, top)
    # the grid is that of the float32 scale that is stored
    stored = (scale.reshape(step.shape) * step).astype(np.float32)
    step = stored / scale.reshape(step.shape)
    codes = _with_feedback(weight, seen.gram, step, top, held)
    moved = codes * step[..., None] - weight
    error = np.einsum("grj,gjk,grk->", moved, seen.gram, moved) / len(old.codes)
    bias = np.zeros(len(old.codes)) if node.bias is None else node.bias.astype(np.float64)
    bias -= np.einsum("grj,gj->gr", moved, seen.mean).ravel()
    weights = Weights(
        codes=codes.reshape(old.codes.shape).astype(np.int8), bits=bits, scale=stored.ravel()
    )
    bias = np.clip(np.rint(bias / step.ravel()), INT32_MIN, INT32_MAX).astype(np.int32)
    return replace(node, weights=weights, bias=bias, params=None), float(error)


def _steps(weight: Float64Array, gram: Float64Array, top: int) -> Float64Array:
    """Old integers a step, of each channel, with the least error of rounding to the nearest."""
    curvature = gram.diagonal(axis1=1, axis2=2)[:, None]
    largest = np.maximum(np.abs(weight).max(axis=2), 1.0)
    best: Float64Array = largest / top
    least = np.full(largest.shape, np.inf)
    for share in _SHRINKINGS:
        step = share * largest / top
        nearest = _nearest(weight, step[..., None], top) * step[..., None]
        error = (curvature * np.square(nearest - weight)).sum(axis=2)
        best, least = np.where(error < least, step, best), np.minimum(error, least)
    return best


def _nearest(weight: Float64Array, step: Float64Array, top: int) -> Float64Array:
    nearest: Float64Array = np.clip(np.rint(weight / step), -top, top)
    return nearest


def _with_feedback(
    weight: Float64Array, gram: Float64Array, step: Float64Array, top: int, held: NDArray[np.bool_]
) -> Float64Array:
    """Codes, the columns rounded in order."""
    row = weight.shape[2]
    mean = gram.diagonal(axis1=1, axis2=2).mean(axis=1)
    damped = gram + np.maximum(_DAMPING * mean, 1e-6)[:, None, None] * np.eye(row)
    if row > _LONGEST:
        return np.where(held, 0.0, _nearest(weight, step[..., None], top))
    # rows of the factor are what an error in a column is worth in those behind it
    factor = np.linalg.cholesky(np.linalg.inv(damped)).transpose(0, 2, 1)
    left, codes = weight.copy(), np.zeros_like(weight)
    for column in range(row):
        code = _nearest(left[:, :, column], step, top)
        codes[:, :, column] = np.where(held[:, :, column], 0.0, code)
        error = (left[:, :, column] - codes[:, :, column] * step) / factor[:, None, column, column]
        left[:, :, column + 1 :] -= error[..., None] * factor[:, None, column, column + 1 :]
    return codes


def _patches(node: Node, x: Array, zero_point: int, rng: np.random.Generator) -> Float64Array:
    """Inputs of some output places, from the zero point on: (groups, places, weights of a row)."""
    assert node.weights is not None
    if isinstance(node.op, Linear):
        rows = x.reshape(-1, x.shape[-1])
        chosen = rng.permutation(len(rows))[:PLACES]
        return rows[chosen][None].astype(np.float64) - zero_point
    op = node.op
    assert isinstance(op, Conv2D | DWConv2D)
    groups = op.groups if isinstance(op, Conv2D) else x.shape[3]
    windows = _windows(op, x, node.weights.codes.shape[1:3], zero_point)
    batch, high, wide = windows.shape[:3]
    each = min(high * wide, -(-PLACES // batch))
    found = []
    for sample in windows:
        places = rng.permutation(high * wide)[:each]
        met = sample[places // wide, places % wide]  # (places, channels, kh, kw)
        found.append(met.reshape(each, groups, -1, *met.shape[2:]).transpose(1, 0, 3, 4, 2))
    patches = np.concatenate(found, axis=1)
    return patches.reshape(groups, batch * each, -1).astype(np.float64) - zero_point


def _windows(op: Conv2D | DWConv2D, x: Array, kernel: tuple[int, ...], zero_point: int) -> Array:
    """A view of the padded image: (samples, output h, output w, channels, kh, kw)."""
    reach: Pair = (
        (kernel[0] - 1) * op.dilation[0] + 1,
        (kernel[1] - 1) * op.dilation[1] + 1,
    )
    image = padded(x, op.padding, zero_point, np.int16)
    return sliding_window_view(image, reach, axis=(1, 2))[
        :, :: op.stride[0], :: op.stride[1], :, :: op.dilation[0], :: op.dilation[1]
    ]
