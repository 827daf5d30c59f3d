# SPDX-License-Identifier: Apache-2.0
"""A layer with its BatchNorm as integers: codes, scale per channel, bias on the accumulator's grid.

BatchNorm multiplies channel c by ``gain = gamma / sqrt(variance + eps)``.  That factor joins the
weight scale, which requantization applies per channel anyway; a negative one flips the signs of the
channel's codes, because multipliers are positive and the grid is symmetric.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from codeq_compile.ir import Weights
from codeq_compile.numerics import Int32Array
from codeq_train.autograd import round_half_away
from codeq_train.layers import MAX_BIAS, Conv, Weighted
from codeq_train.quantizers import Levels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Folded:
    """What the IR stores of one layer.

    Parameters
    ----------
    kind : {"conv2d", "dwconv2d", "linear"}
    weights : Weights
        Codes in the IR's order: (out, kh, kw, in / groups), (out, kh, kw) or (out, in).
    bias : int32 array of shape (out,)
    """

    kind: str
    weights: Weights
    bias: Int32Array = field(repr=False)


@torch.no_grad()
def fold(layer: Weighted) -> Folded:
    """Integers of `layer` with BatchNorm's running statistics. [N3.3] [N4.1]

    A channel whose gain is so small that its bias leaves the accumulator is constant: its weights
    become 0 and its bias is stored at one output step.
    """
    levels = layer.levels()
    folded_gain, folded_bias = layer.folded()
    stored_gain = layer.stored_gain(folded_gain)
    gain, bias = (value.double().cpu().numpy() for value in (stored_gain, folded_bias))
    x_scale, y_scale = layer.input_grid.grid().scale, _output_scale(layer)
    scale = levels.scale.double().cpu().numpy() * np.abs(gain)
    if layer.norm is None and len(levels.scale) == 1:
        scale = scale[:1]  # the gain is the same everywhere
    stored = scale.astype(np.float32)
    step = x_scale * stored.astype(np.float64)
    constant = np.abs(bias) >= MAX_BIAS * step
    signs = np.where(gain < 0, -1, 1)
    signs[np.broadcast_to(constant, signs.shape)] = 0
    codes, table, bits = _signed(levels, signs.astype(np.int8))
    if constant.any():
        stored = np.where(constant, np.float32(y_scale / x_scale), stored)
        step = x_scale * stored.astype(np.float64)
    steps = torch.from_numpy(bias / step).to(stored_gain.device)
    rounded = round_half_away(steps) if constant.any() else layer.stored_bias(steps, stored_gain)
    kind, arranged = _arranged(layer, codes)
    weights = Weights(codes=arranged, bits=bits, scale=stored, gap=levels.gap, levels=table)
    return Folded(kind=kind, weights=weights, bias=rounded.cpu().numpy().astype(np.int32))


def _signed(
    levels: Levels, signs: NDArray[np.int8]
) -> tuple[NDArray[np.int8], tuple[int, ...] | None, int]:
    """(codes, table, bits) with each channel's levels times its sign, -1, 0 or 1.

    A table that is not symmetric gets the negated levels too where a channel needs them.
    """
    codes = levels.codes.cpu().numpy()
    factor = signs.reshape(-1, *[1] * (codes.ndim - 1))
    if levels.table is None:
        return codes * factor, None, levels.bits
    table = np.unique(np.multiply.outer(np.unique(np.append(signs, 1)), levels.table))
    codes = np.searchsorted(table, factor * np.asarray(levels.table)[codes]).astype(np.int8)
    bits = max(levels.bits, (len(table) - 1).bit_length())
    return codes, tuple(int(level) for level in table), bits


def _output_scale(layer: Weighted) -> float:
    assert layer.grid is not None
    return layer.grid.grid().scale


def _arranged(layer: Weighted, codes: np.ndarray) -> tuple[str, np.ndarray]:
    """Codes of torch's (out, in / groups, k...) in the IR's order; conv1d has height 1."""
    if not isinstance(layer, Conv):
        return "linear", np.ascontiguousarray(codes)
    if codes.ndim == 3:
        codes = codes[:, :, None, :]
    if layer.is_depthwise:
        return "dwconv2d", np.ascontiguousarray(codes[:, 0])
    return "conv2d", np.ascontiguousarray(codes.transpose(0, 2, 3, 1))
