# SPDX-License-Identifier: Apache-2.0
"""The fixed-width baseline."""

import pytest
import torch

from codeq_train.config import LayerConfig
from codeq_train.quantizers import LSQ


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_it_is_round_and_clamp(bits: int) -> None:
    """The baseline must be the textbook quantizer, or comparisons with it mean nothing."""
    weight = torch.randn(300, 1, generator=torch.Generator().manual_seed(bits)).reshape(3, 100)
    quantizer = LSQ(weight, LayerConfig(quantizer="lsq", bits=bits, per_channel=False))
    step, top = quantizer.step(weight), 2 ** (bits - 1) - 1

    expected = step * torch.round(weight / step).clamp(-top, top)

    assert torch.equal(expected, quantizer(weight).detach())


def test_freezing_leaves_a_dense_layer_free() -> None:
    """Its zeros are levels like any other."""
    weight = torch.randn(3, 30, generator=torch.Generator().manual_seed(0))
    quantizer = LSQ(weight, LayerConfig(quantizer="lsq", bits=3))
    quantizer.freeze(weight)

    assert quantizer.mask is None
    assert (quantizer.levels(weight + 0.5).codes != quantizer.levels(weight).codes).any()
