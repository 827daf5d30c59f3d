# SPDX-License-Identifier: Apache-2.0
"""The symmetric integer grid: its range, its step and its width."""

import pytest
import torch

from codeq_train.config import LayerConfig
from codeq_train.quantizers import LSQ, CoDeQ


@pytest.mark.parametrize("range_", ["learned", "absmax"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_the_top_level_stands_at_the_range(range_: str, per_channel: bool) -> None:
    """Export stores the step: range and width must give the same one."""
    weight = torch.randn(5, 40, generator=torch.Generator().manual_seed(0))
    config = LayerConfig(bits=4, range=range_, per_channel=per_channel)
    quantizer = CoDeQ(weight, config)

    levels = quantizer.levels(weight * 100.0)  # all of it beyond the range, if that is learned

    assert quantizer.bits == levels.bits
    top = (2 ** (levels.bits - 1) - 1 + levels.gap) * levels.scale
    expected = quantizer.top_value(weight * 100.0).detach().flatten()
    assert torch.allclose(expected, top, rtol=1e-6)
    largest = levels.dequantize().abs()
    assert torch.equal(largest.flatten(1).amax(1) if per_channel else largest.amax()[None], top)


def test_the_initial_range_beats_absmax() -> None:
    """Few outliers must not set the step of all other weights."""
    weight = torch.cat([torch.randn(1, 500), torch.tensor([[9.0]])], dim=1)

    def error(range_: str) -> float:
        quantizer = LSQ(weight, LayerConfig(bits=3, range=range_))
        return float((quantizer(weight) - weight).square().sum().detach())

    assert error("learned") < 0.5 * error("absmax")
