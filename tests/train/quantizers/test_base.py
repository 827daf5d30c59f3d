# SPDX-License-Identifier: Apache-2.0
"""What every quantizer promises: export stores exactly what training multiplied with."""

import copy
from itertools import product

import pytest
import torch

from codeq_train.config import LayerConfig
from codeq_train.quantizers import WeightQuantizer, make_quantizer

CONFIGS = (
    [
        LayerConfig(quantizer=quantizer, bits=bits, range=range_, per_channel=per_channel)
        for quantizer, bits, range_, per_channel in product(
            ("codeq", "diffq", "ecq", "lsq", "magnitude"),
            (2, 3, 4, 8),
            ("learned", "absmax"),
            (False, True),
        )
    ]
    + [
        LayerConfig(quantizer="ec2t", per_channel=per_channel, symmetric=symmetric)
        for per_channel, symmetric in product((False, True), (False, True))
    ]
    + [
        LayerConfig(quantizer="codeq_offset", bits=bits, per_channel=per_channel, snap=snap)
        for bits, per_channel, snap in product((2, 3, 4, 7, 8), (False, True), (False, True))
    ]
)


def name(config: LayerConfig) -> str:
    channel = "channel" if config.per_channel else "tensor"
    form = ("" if config.snap else "-real") + ("" if config.symmetric else "-pair")
    return f"{config.quantizer}-w{config.bits}-{config.range}-{channel}{form}"


@pytest.mark.parametrize("config", CONFIGS, ids=name)
def test_stored_levels_are_the_fake_quantized_weights_bit_for_bit(config: LayerConfig) -> None:
    """One ulp between them and the exported model is not the trained one."""
    torch.manual_seed(config.bits)
    weight = torch.randn(6, 4, 3, 3)
    quantizer = make_quantizer(weight, config).eval()

    levels = quantizer.levels(weight)

    assert torch.equal(quantizer(weight), levels.dequantize())
    assert torch.int8 == levels.codes.dtype
    values, top = levels.values(), 2 ** (levels.bits - 1) - 1
    assert int(values.abs().max()) <= (127 if levels.table else top)
    assert len(levels.table or ()) <= 2**levels.bits
    assert (6 if config.per_channel else 1,) == tuple(levels.scale.shape)


@pytest.mark.parametrize("config", CONFIGS, ids=name)
def test_weights_that_are_all_zero_give_no_nan(config: LayerConfig) -> None:
    """A layer that is pruned altogether must not poison the rest of the model."""
    weight = torch.zeros(4, 3, requires_grad=True)
    quantizer = make_quantizer(weight, config)

    quantizer(weight).square().sum().backward()

    gradients = [weight.grad, *(p.grad for p in quantizer.parameters())]
    assert all(torch.isfinite(g).all() for g in gradients if g is not None)
    assert 0 == int(quantizer.levels(weight).values().abs().max())


def test_a_checkpoint_of_the_last_phase_loads_into_a_fresh_quantizer() -> None:
    """The set of zeros is part of the state: without it, pruned weights would come back."""
    weight = torch.randn(5, 7)
    quantizer = make_quantizer(weight, LayerConfig(bits=3))
    fresh: WeightQuantizer = copy.deepcopy(quantizer)
    quantizer.freeze(weight)

    fresh.load_state_dict(quantizer.state_dict())

    assert fresh.mask is not None
    assert torch.equal(quantizer.mask, fresh.mask)
