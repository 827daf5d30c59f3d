# SPDX-License-Identifier: Apache-2.0
"""Relevance propagation through prepared models, against sums written out by hand."""

import sys
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codeq_compile.errors import InputError, ToolError
from codeq_train import LayerConfig, QuantConfig, QuantizedModel, freeze, prepare, update_relevance
from codeq_train.lrp import weight_relevance
from codeq_train.quantizers import ECQ
from tests.train.nets import ConvNet, Residual, images

LRP = QuantConfig(weights=LayerConfig(quantizer="ecq", bits=8, strength=0.0, relevance="lrp"))
needs_captum = pytest.mark.skipif(
    find_spec("captum") is None, reason="relevances by propagation are the extra `lrp`"
)


def ready(model: nn.Module, x: Tensor) -> QuantizedModel:
    torch.manual_seed(0)
    return prepare(model, x, LRP)


def classes(x: Tensor) -> Tensor:
    return torch.arange(len(x)) % 3


def share(z: Tensor, targets: Tensor, scores: Tensor) -> Tensor:
    """What each output weight's product is multiplied by: 1 / z for the true class."""
    return F.one_hot(targets, z.shape[1]) / z * scores.gather(1, targets[:, None]) / len(z)


@needs_captum
def test_two_linear_layers_give_what_a_hand_computation_gives() -> None:
    """R_w is weight · input · R / z, summed over the batch; R comes from the layer above."""
    torch.manual_seed(1)
    x = images(16, 5)
    ours = ready(nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)), x)
    found = weight_relevance(ours, x, classes(x))

    first, second = ours.eval().weighted()
    with torch.no_grad():
        x = ours.layers[0](x)
        low, high = (layer.quantizer(layer.weight) for layer in (first, second))
        z = F.linear(x, low, first.bias)
        hidden = first.finish(z)
        top = F.linear(hidden, high, second.bias)
        ratio = share(top, classes(x), second.finish(top))
        by_hidden = hidden * (ratio @ high)
        expected = {
            "2": ratio.T @ hidden * second.weight,
            "0": (by_hidden / z).T @ x * first.weight,
        }

    for name, value in expected.items():
        assert torch.allclose(value.abs(), found[name], atol=1e-3 * float(found[name].max()))


@needs_captum
def test_convolutions_pass_relevance_on_by_their_positive_products() -> None:
    """z+ with the merged BatchNorm: a negative gamma turns the weights that count."""
    torch.manual_seed(2)
    x = images(8, 2, 1, 1).abs()
    model = nn.Sequential(
        nn.Conv2d(2, 4, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(4, 6, 1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6, 3, bias=False),
    )
    with torch.no_grad():
        model[3].weight.copy_(torch.tensor([1.0, -2.0, 0.5, -0.5, 1.5, -1.0]))
        model[3].running_var.fill_(0.7)
    ours = ready(model, x)
    found = weight_relevance(ours, x, classes(x))

    below, middle, head = ours.eval().weighted()
    with torch.no_grad():
        x = ours.layers[0](x).flatten(1)
        w = [layer.quantizer(layer.weight).flatten(1) for layer in (below, middle, head)]
        gain, bias = middle.folded()
        w[1] = w[1] * gain[:, None]
        hidden = below.finish(F.linear(x, w[0]))
        upper = middle.finish(F.linear(hidden, w[1], bias))
        top = F.linear(upper, w[2])
        by_upper = upper * (share(top, classes(x), head.finish(top)) @ w[2])
        positive = w[1].clamp(min=0.0)
        by_hidden = hidden * ((by_upper / (hidden @ positive.T + 1e-9)) @ positive)
        z = F.linear(x, w[0])
        expected = ((by_hidden / z).T @ x * below.weight.flatten(1)).abs()

    assert bool((upper[:, gain < 0] > 0).any())
    assert expected.max() > 0
    assert torch.allclose(expected, found["0"].flatten(1), atol=1e-3 * float(expected.max()))


@needs_captum
@pytest.mark.parametrize(("net", "shape"), [(ConvNet(), (8, 2, 9, 9)), (Residual(), (8, 3, 8, 8))])
def test_every_layer_gets_relevances_and_the_model_stays_as_it_is(
    net: nn.Module, shape: tuple[int, ...]
) -> None:
    """Pools, residuals and depthwise layers included; nothing of training may be touched."""
    x = images(*shape)
    ours = ready(net, x)
    before = {name: value.clone() for name, value in ours.state_dict().items()}

    found = weight_relevance(ours, x, classes(x))

    for layer in ours.weighted():
        value = found[layer.origin.name]
        assert value.shape == layer.weight.shape
        assert bool(torch.isfinite(value).all())
        assert value.max() > 0.0
    assert ours.training
    assert all(torch.equal(before[name], value) for name, value in ours.state_dict().items())
    assert all(parameter.grad is None for parameter in ours.parameters())


def means(model: QuantizedModel) -> list[Tensor]:
    found = []
    for layer in model.weighted():
        assert isinstance(layer.quantizer, ECQ)
        assert layer.quantizer.assignment.relevance is not None
        found.append(layer.quantizer.assignment.relevance.mean.clone())
    return found


@needs_captum
def test_one_call_a_step_feeds_all_quantizers_now_and_then() -> None:
    """Propagation costs three passes: every step would double the training time."""
    x = images(8, 2, 9, 9)
    ours = ready(ConvNet(), x)

    update_relevance(ours, x, classes(x))
    first = means(ours)
    for _ in range(19):
        update_relevance(ours, 2.0 * x, classes(x))
    same = means(ours)
    update_relevance(ours, 2.0 * x, classes(x))
    later = means(ours)

    assert all(value.max() > 0 for value in first)
    assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, later, strict=True))


@needs_captum
def test_a_frozen_model_needs_no_relevance() -> None:
    """Zeros are fixed."""
    x = images(8, 2, 9, 9)
    ours = ready(ConvNet(), x)
    freeze(ours)

    update_relevance(ours, x, classes(x))

    assert all(0 == int(value.max()) for value in means(ours))


@needs_captum
def test_outputs_that_are_no_scores_are_refused() -> None:
    """Relevance starts at the score of a class; an autoencoder has none."""
    x = images(8, 2, 5, 5)
    ours = ready(nn.Conv2d(2, 3, 1), x)

    with pytest.raises(InputError, match="fisher or taylor"):
        update_relevance(ours, x, classes(x))


def test_without_captum_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ImportError from the depths helps nobody."""
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    x = images(8, 5)

    with pytest.raises(ToolError, match=r"codeq-mcu\[lrp\]"):
        update_relevance(ready(nn.Linear(5, 3), x), x, classes(x))


def test_without_such_layers_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop calls it always: no import, no pass, no demands on the outputs."""
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    x = images(8, 2, 5, 5)

    update_relevance(prepare(nn.Conv2d(2, 3, 1), x), x, classes(x))
