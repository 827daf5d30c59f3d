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


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_the_step_has_the_gradient_of_lsq(bits: int, per_channel: bool) -> None:
    """Equation 3: the rounding residual inside, the limits outside, times 1 / sqrt(N Q).

    The learned parameter is the logarithm of the range ``Q · step``: its gradient is that of the
    step, times the step.
    """
    weight = torch.randn(6, 50, generator=torch.Generator().manual_seed(bits))
    quantizer = LSQ(weight, LayerConfig(quantizer="lsq", bits=bits, per_channel=per_channel))
    grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(9))
    latent = weight.clone().requires_grad_()
    (quantizer(latent) * grad).sum().backward()
    step, top = quantizer.step(weight), 2.0 ** (bits - 1) - 1.0
    v = weight / step

    by_step = torch.where(
        v >= top + 0.5, top, torch.where(v <= -top - 0.5, -top, torch.round(v) - v)
    )
    expected = (grad * by_step).sum_to_size(step.shape) / (weight.numel() * top) ** 0.5 * step

    assert quantizer.log_range is not None
    assert latent.grad is not None
    assert torch.allclose(expected, quantizer.log_range.grad, rtol=1e-3, atol=1e-5)
    assert torch.equal(latent.grad, torch.where(v.abs() < top + 0.5, grad, 0.0))


def test_freezing_leaves_a_dense_layer_free() -> None:
    """Its zeros are levels like any other."""
    weight = torch.randn(3, 30, generator=torch.Generator().manual_seed(0))
    quantizer = LSQ(weight, LayerConfig(quantizer="lsq", bits=3))
    quantizer.freeze(weight)

    assert quantizer.mask is None
    assert (quantizer.levels(weight + 0.5).codes != quantizer.levels(weight).codes).any()
