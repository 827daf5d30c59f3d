# SPDX-License-Identifier: Apache-2.0
"""Factors of few bits and biases of few bytes: what training rounds is what the compiler stores."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from codeq_compile import passes
from codeq_compile.numerics import narrow_multiplier, quantize_multiplier
from codeq_train import export, freeze, integer_distance, parse_config, projected_bytes
from codeq_train.tables import storable_bias, storable_factors
from tests.train.nets import ConvNet, Residual, images, prepared, randomize_batchnorm


@given(st.floats(1e-6, 1e6), st.integers(3, 20))
@example(8192.999999999884, 13)  # its 31 bits are those of 8193, which is a tie
def test_factors_are_those_of_the_compiler(factor: float, bits: int) -> None:
    """Trained for one factor, executed with another: a bias on every channel. [N2.3]"""
    multiplier, exponent = narrow_multiplier(*quantize_multiplier(factor), bits)

    (ours,) = storable_factors(torch.tensor([factor], dtype=torch.float64), bits)

    assert multiplier * 2.0 ** (exponent - 31) == float(ours)


@given(st.lists(st.integers(-(2**30), 2**30), min_size=1, max_size=8), st.sampled_from((8, 16)))
def test_biases_share_a_power_of_two_and_fit(starts: list[int], bits: int) -> None:
    """One value that does not fit makes the table of the whole layer wider. [N4.4]"""
    start = torch.tensor(starts, dtype=torch.float64)

    stored = storable_bias(start, bits, torch.zeros(len(starts)))

    unit = max(1.0, 2.0 ** (float(start.abs().max()).__int__().bit_length() - bits + 1))
    worst = float((stored - start).abs().max())
    assert worst <= unit
    common = 0
    for value in stored.long().tolist():
        common |= value
    shift = (common & -common).bit_length() - 1 if common else 0
    assert max(abs(v) >> shift for v in stored.long().tolist()) < 1 << (bits - 1)


def test_a_bias_is_never_coarser_than_the_output() -> None:
    """Eight bits for a bias of a million output steps would round it by thousands of them."""
    start = torch.tensor([1_000_000.0, 3.0])

    fine = storable_bias(start, 8, torch.tensor([0.001, 0.001]))
    coarse = storable_bias(start, 8, torch.tensor([0.0001, 0.0001]))

    assert 0.0 == float(coarse[1])
    assert abs(float(fine[0]) - 1_000_000) <= 16


@pytest.mark.parametrize(("make", "shape"), [(ConvNet, (2, 9, 9)), (Residual, (3, 8, 8))])
@pytest.mark.parametrize("constant", [False, True])
def test_the_trained_model_is_the_one_with_compact_tables(
    make: type, shape: tuple[int, ...], constant: bool
) -> None:
    """A factor of 5 bits is off by up to 3 %: unknown to training, it would cost accuracy."""
    net = make()
    randomize_batchnorm(net)
    if not constant:  # a channel whose gamma is 0 has a factor far below all others
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.data[0] = -0.7
    x = images(64, *shape)
    model = prepared(net, x, config=parse_config({"tables": "compact"}))
    freeze(model)

    distances = integer_distance(model, x)

    assert max(distance.steps for distance in distances) <= 1
    requants = [node.params.requant for node in passes.run(export(model)).nodes if node.weights]
    assert constant or {1} == {requant.c_params()["multiplier_bytes"] for requant in requants}
    assert constant or {1, 2} >= {requant.c_params()["bias_bytes"] for requant in requants}


@pytest.mark.slow
def test_compact_tables_are_smaller() -> None:
    """Else nobody should pay for them."""
    sizes = []
    for tables in ("wide", "narrow", "compact"):
        torch.manual_seed(0)
        net = ConvNet()
        model = prepared(net, images(16, 2, 9, 9), config=parse_config({"tables": tables}))
        sizes.append(projected_bytes(model))

    assert sizes[0] > sizes[1] > sizes[2]


def test_gradients_pass_through_the_rounding() -> None:
    """Scales and biases go on learning in the last phase."""
    net = ConvNet()
    model = prepared(net, images(16, 2, 9, 9), config=parse_config({"tables": "compact"}))
    freeze(model)

    model(images(16, 2, 9, 9)).square().sum().backward()

    norms = [layer.norm for layer in model.weighted() if layer.norm is not None]
    assert norms
    assert all(n.gamma.grad is not None and n.gamma.grad.abs().sum() > 0 for n in norms)
    assert all(n.beta.grad is not None and n.beta.grad.abs().sum() > 0 for n in norms)
