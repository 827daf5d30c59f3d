# SPDX-License-Identifier: Apache-2.0
"""Quantization without labels: one call from a float network to exact integers."""

import copy
import functools
import inspect
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import codeq_compile
from codeq_compile.errors import DoesNotFit, InputError, ModelError
from codeq_train import (
    BudgetConfig,
    LayerConfig,
    QuantConfig,
    QuantizedModel,
    export,
    integer_distance,
    predict,
    projected_bytes,
    to_graph_inputs,
)
from codeq_train.posttraining import AdaRound, LayerResult, Rounding, quantize
from tests.train.nets import ConvNet, Residual, images, randomize_batchnorm

QUICK = AdaRound(iterations=80, places=128)


def lsq(bits: int) -> QuantConfig:
    return QuantConfig(weights=LayerConfig(quantizer="lsq", bits=bits))


def limited(limit: int) -> QuantConfig:
    return QuantConfig(budgets=BudgetConfig(weights=limit))


def smooth(count: int, channels: int, size: int, *, seed: int) -> Tensor:
    """Images whose neighbouring pixels are alike, as those of sensors are."""
    return 2 * F.avg_pool2d(images(count, channels, size + 4, size + 4, seed=seed), 5, 1)


@functools.cache
def float_net() -> nn.Module:
    torch.manual_seed(0)
    net = ConvNet()
    randomize_batchnorm(net)
    return net.eval()


@functools.cache
def data() -> tuple[Tensor, ...]:
    return smooth(64, 2, 9, seed=1).split(32)


@functools.cache
def quantized(
    bits: int, rounding: Rounding | AdaRound = "error_feedback", *, correct: bool = True
) -> tuple[QuantizedModel, list[LayerResult]]:
    """The network at one width, and what is said of its layers."""
    found: list[LayerResult] = []
    model = quantize(
        float_net(),
        data(),
        lsq(bits),
        rounding=rounding,
        bias_correction=correct,
        on_layer=found.append,
    )
    return model, found


@functools.cache
def full_bytes() -> int:
    return projected_bytes(quantize(float_net(), data()))


def distance(ours: nn.Module) -> float:
    """Relative squared error of the outputs on inputs that calibration has not seen."""
    x = smooth(200, 2, 9, seed=7)
    expected = predict(float_net(), x)
    return float((predict(ours, x) - expected).square().sum() / expected.square().sum())


def test_no_argument_takes_labels() -> None:
    """Whoever has no labels, or may not use them, must see at a glance that none are needed."""
    assert not {"y", "labels", "targets", "loss"} & set(inspect.signature(quantize).parameters)


@pytest.mark.slow
@pytest.mark.parametrize("rounding", ["nearest", "error_feedback", QUICK])
def test_no_layer_is_worse_than_with_nearest_rounding(rounding: Rounding | AdaRound) -> None:
    """What is learned on a sample of places must hold on all calibration data, or be dropped."""
    for result in quantized(3, rounding)[1]:
        assert result.error_after <= result.error_before * 1.001, result


@pytest.mark.slow
@pytest.mark.parametrize("bits", [3, 4])
def test_each_technique_adds_to_nearest_rounding(bits: int) -> None:
    """At few bits this is the difference between a network that works and one that does not."""
    nearest = distance(quantized(bits, "nearest", correct=False)[0])
    corrected = distance(quantized(bits, "nearest")[0])
    learned = distance(quantized(bits, QUICK)[0])
    compensated = distance(quantized(bits, "error_feedback")[0])

    assert corrected < 0.9 * nearest
    assert learned < 0.9 * nearest
    assert compensated < corrected


@pytest.mark.slow
def test_the_integers_are_those_that_were_chosen(tmp_path: Path) -> None:
    """A rounding decision that export does not repeat was made for nothing."""
    ours, _ = quantized(3)
    graph = export(ours)
    codeq_compile.compile(graph, tmp_path / "net", target="host")
    inputs = to_graph_inputs(graph, data()[0])

    assert 0 == codeq_compile.check(tmp_path / "net", ["host"], inputs).bytes_differing
    assert max(each.steps for each in integer_distance(ours, data()[0])) <= 1
    for layer in ours.weighted():
        assert torch.equal(layer.quantizer(layer.weight), layer.weight)


@pytest.mark.slow
def test_a_limit_on_bytes_is_met_and_nearly_used() -> None:
    """The user names the bytes; widths, gaps and zeros are our business."""
    limit = int(0.6 * full_bytes())
    ours = quantize(float_net(), data(), limited(limit))

    assert 0.9 * limit < projected_bytes(ours) <= limit
    assert len({layer.levels().bits for layer in ours.weighted()}) > 1


@pytest.mark.slow
def test_fewer_bytes_cost_accuracy() -> None:
    """Bytes that buy nothing are thrown away first: above half of them the error is noise."""
    most, some, few = (
        distance(quantize(float_net(), data(), limited(int(share * full_bytes()))))
        for share in (0.5, 0.35, 0.25)
    )

    assert 1.05 * most < some < 0.5 * few


@pytest.mark.slow
def test_a_limit_that_nothing_meets_says_what_is_left() -> None:
    """Tables have a size that no rounding changes."""
    with pytest.raises(DoesNotFit, match="bytes of weights and tables are left, 20 are given"):
        quantize(float_net(), data()[:1], limited(20))


def test_the_same_seed_gives_the_same_network() -> None:
    """A result that cannot be repeated cannot be shipped."""
    first = quantized(3, QUICK)[0].state_dict()
    second = quantize(float_net(), data(), lsq(3), rounding=QUICK).state_dict()

    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_float_network_is_not_touched() -> None:
    """Several settings are tried on one trained network."""
    net = copy.deepcopy(float_net())
    quantize(net, data(), lsq(2), rounding="nearest")

    for name, value in float_net().state_dict().items():
        assert torch.equal(value, net.state_dict()[name])


def test_residual_networks_are_quantized() -> None:
    """Sums take what both branches give, errors of both included."""
    torch.manual_seed(1)
    net = Residual()
    randomize_batchnorm(net)
    batches = list(smooth(64, 3, 8, seed=2).split(32))
    found: list[LayerResult] = []
    ours = quantize(net.eval(), batches, lsq(4), on_layer=found.append)
    x = smooth(64, 3, 8, seed=3)
    error = (predict(ours, x) - predict(net, x)).square().sum() / predict(net, x).square().sum()

    assert ["first", "second", "head"] == [result.name for result in found]
    assert float(error) < 0.02


def test_layers_that_share_weights_keep_one_set_of_levels() -> None:
    """The second use must not round what the first has rounded."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(torch.relu(self.layer(x)))

    torch.manual_seed(0)
    ours = quantize(Twice(), [images(64, 6)], lsq(3))
    first, second = ours.weighted()

    assert first.weight is second.weight
    assert first.quantizer is second.quantizer
    assert first.bias is not second.bias
    assert max(each.steps for each in integer_distance(ours, images(64, 6))) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("ranges", ["learned", "absmax"])
def test_every_kind_of_range_keeps_its_codes(per_channel: bool, ranges: str) -> None:
    """The largest magnitude changes when its weight is rounded down."""
    config = LayerConfig(quantizer="lsq", bits=3, per_channel=per_channel, range=ranges)
    ours = quantize(float_net(), data()[:1], QuantConfig(weights=config))

    for layer in ours.weighted():
        assert len(layer.levels().scale) == (layer.channels if per_channel else 1)
        assert torch.equal(layer.quantizer(layer.weight), layer.weight)


@pytest.mark.slow
def test_what_only_training_can_do_is_refused() -> None:
    """A setting that is silently ignored costs an afternoon."""
    with pytest.raises(InputError, match="chooses its levels while it trains"):
        quantize(float_net(), data(), QuantConfig(weights=LayerConfig(quantizer="diffq")))
    with pytest.raises(InputError, match="budget for flash"):
        quantize(float_net(), data(), QuantConfig(budgets=BudgetConfig(flash="20K")))
    with pytest.raises(InputError, match="`batches` is empty"):
        quantize(float_net(), [])
    with pytest.raises(ModelError, match="already prepared"):
        quantize(quantized(3)[0], data())


def test_one_tensor_of_inputs_is_one_batch() -> None:
    """What everybody tries first is `quantize(net, inputs)`."""
    inputs = torch.cat(data())
    as_tensor, as_batch = (
        quantize(float_net(), each, lsq(4), rounding="nearest").state_dict()
        for each in (inputs, [inputs])
    )

    assert all(torch.equal(value, as_batch[name]) for name, value in as_tensor.items())
