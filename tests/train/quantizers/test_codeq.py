# SPDX-License-Identifier: Apache-2.0
"""CoDeQ: what is learned, how far it may go, and what its penalty sees."""

import math

import pytest
import torch

from codeq_train.config import LayerConfig
from codeq_train.quantizers import LSQ, CoDeQ


def codeq(weight: torch.Tensor, **fields: object) -> CoDeQ:
    return CoDeQ(weight, LayerConfig(**fields))


def set_gap(quantizer: CoDeQ, gap: float) -> None:
    with torch.no_grad():
        quantizer.phi.fill_(math.log(math.expm1(gap)))


def set_width(quantizer: CoDeQ, bits: float) -> None:
    share = (bits - quantizer.min_bits) / (quantizer.max_bits - quantizer.min_bits)
    with torch.no_grad():
        quantizer.psi.fill_(math.log(share / (1 - share)))


@pytest.fixture
def weight() -> torch.Tensor:
    return torch.randn(8, 40, generator=torch.Generator().manual_seed(1))


def test_training_starts_on_the_ordinary_grid(weight: torch.Tensor) -> None:
    """Without penalty the first step must be plain LSQ, not a half-pruned network."""
    config = LayerConfig(bits=4)
    start, uniform = CoDeQ(weight, config), LSQ(weight, config)

    assert (4, 0) == (start.bits, int(start.gap()))
    assert torch.equal(uniform.levels(weight).codes, start.levels(weight).codes)


@pytest.mark.parametrize("gap", [1, 2, 5])
def test_a_wider_gap_prunes_more_and_keeps_the_top_level(weight: torch.Tensor, gap: int) -> None:
    """The gap is what buys sparsity; the range must not shrink with it."""
    quantizer = codeq(weight, bits=4)
    before = quantizer.levels(weight)
    set_gap(quantizer, gap)

    after = quantizer.levels(weight)

    assert gap == after.gap
    assert (after.codes == 0).sum() > (before.codes == 0).sum()
    assert torch.allclose(7 * before.scale, (7 + gap) * after.scale)


def test_levels_never_leave_int8(weight: torch.Tensor) -> None:
    """gap + top index above 127 has no multiplier operand."""
    quantizer = codeq(weight, bits=8, learn_bits=False)
    set_gap(quantizer, 40.0)

    assert 0 == quantizer.levels(weight).gap

    quantizer = codeq(weight, bits=7, learn_bits=False)
    set_gap(quantizer, 90.0)

    assert 127 - 63 == quantizer.levels(weight).gap


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7])
def test_every_width_between_the_limits_can_be_learned(weight: torch.Tensor, bits: int) -> None:
    """3, 5, 6 and 7 bits are stored as exactly that many."""
    quantizer = codeq(weight, bits=8)
    set_width(quantizer, bits + 0.2)  # the limits themselves are never quite reached

    levels = quantizer.levels(weight)

    assert bits == levels.bits
    assert 2 ** (bits - 1) - 1 >= int(levels.codes.abs().max())


def test_a_fixed_width_stays(weight: torch.Tensor) -> None:
    """learn_bits=False is a promise about the stored width."""
    quantizer = codeq(weight, bits=5, learn_bits=False)
    with torch.no_grad():
        quantizer.psi.fill_(-9.0)

    assert 5 == quantizer.levels(weight).bits
    assert not quantizer.psi.requires_grad


def test_the_estimated_density_follows_the_exact_one(weight: torch.Tensor) -> None:
    """A penalty that does not see the zeros steers to another size than the one stored."""
    quantizer = codeq(weight, bits=4)
    for gap in (1, 2, 4, 8):
        set_gap(quantizer, gap)
        _, density = quantizer.rate(weight)
        exact = float((quantizer.levels(weight).codes != 0).float().mean())

        assert abs(float(density.detach()) - exact) < 0.05


def test_pressure_on_density_widens_the_gap_and_on_width_narrows_it(weight: torch.Tensor) -> None:
    """Both gradients must have the sign that makes the model smaller."""
    quantizer = codeq(weight, bits=6)
    set_width(quantizer, 5)
    width, density = quantizer.rate(weight)

    (by_density,) = torch.autograd.grad(density, quantizer.phi, retain_graph=True)
    (by_width,) = torch.autograd.grad(width, quantizer.psi)

    assert by_density < 0 < by_width


def test_freezing_fixes_zeros_width_and_gap(weight: torch.Tensor) -> None:
    """After it only values move: a stable last phase."""
    quantizer = codeq(weight, bits=4)
    set_gap(quantizer, 2)
    before = quantizer.levels(weight)
    quantizer.freeze(weight)
    moved = weight + 0.5 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(2))

    after = quantizer.levels(moved)

    assert torch.equal(before.codes == 0, after.codes == 0)
    assert (before.bits, before.gap) == (after.bits, after.gap)
    assert not any(p.requires_grad for p in (quantizer.phi, quantizer.psi))
