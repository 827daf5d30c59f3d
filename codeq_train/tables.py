# SPDX-License-Identifier: Apache-2.0
"""What the tables of a layer can hold: factors of few bits, biases of few bytes. [N2.3] [N4.4]

Training in the last phase and export round through the same functions, so that they agree.
"""

import torch
from torch import Tensor

from codeq_train.autograd import round_half_away


def storable_factors(factor: Tensor, bits: int) -> Tensor:
    """The nearest factors whose multipliers have `bits` bits; 0 stays 0. [N2.3]

    Rounded twice, as the compiler does: to a multiplier of 31 bits first, then to a narrow one. A
    factor just below the middle of two narrow ones would otherwise go down here and up there.

    Parameters
    ----------
    factor : float tensor of shape (channels,)
        Not negative.
    bits : int
    """
    for width in (31, bits):
        mantissa, exponent = torch.frexp(factor)
        scale = float(1 << width)
        factor = torch.ldexp(torch.floor(mantissa * scale + 0.5) / scale, exponent)
    return factor


def storable_bias(start: Tensor, bits: int, output_steps: Tensor) -> Tensor:
    """Starts of accumulators as multiples of the power of two with which all have `bits` bits.

    Where that power is more than one step of the output in any channel, twice as many bits are
    taken: a bias must not cost what the weights were trained for. [N4.4]

    Parameters
    ----------
    start : float tensor of shape (channels,)
        In steps of the accumulator, the input's zero point folded in. [N4.1]
    bits : int
    output_steps : float tensor of shape (channels,)
        One step of the accumulator in steps of the output.
    """
    largest = start.abs().max().clamp(min=1.0)
    for width in (bits, 2 * bits):
        excess = torch.ceil(torch.log2(largest / ((1 << (width - 1)) - 1)))
        unit = torch.exp2(excess.clamp(min=0.0))
        if (unit * output_steps).max() <= 1.0:
            break
    return round_half_away(start / unit) * unit
