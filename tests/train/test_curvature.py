# SPDX-License-Identifier: Apache-2.0
"""Estimated traces against the true Hessian and the true gradients of single samples."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codeq_compile.errors import InputError
from codeq_train import QuantizedModel
from codeq_train.curvature import Batch, fisher_traces, hessian_traces
from tests.train.nets import convnet, images, prepared

Loss = Callable[[Tensor, Tensor], Tensor]


class Small(nn.Module):
    """Two linear layers with a kink between them: 18 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Linear(4, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.relu(self.first(x)))


@pytest.fixture
def small() -> tuple[nn.Module, QuantizedModel, list[Batch]]:
    torch.manual_seed(1)
    net = Small()
    batches = [(images(n, 3, seed=n), torch.arange(n) % 2) for n in (6, 4)]
    return net, prepared(net, images(16, 3)), batches


def true_trace(net: nn.Module, name: str, batches: list[Batch], loss: Loss) -> float:
    """Of the loss over all samples, by torch's exact Hessian of one weight."""
    x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
    weight = net.get_submodule(name).weight.detach()

    def value(w: Tensor) -> Tensor:
        return loss(torch.func.functional_call(net, {f"{name}.weight": w}, (x,)), y)

    hessian = torch.autograd.functional.hessian(value, weight)
    return float(hessian.reshape(weight.numel(), -1).trace())


def test_the_estimated_trace_is_that_of_the_true_hessian(
    small: tuple[nn.Module, QuantizedModel, list[Batch]],
) -> None:
    """Widths follow it: an estimate of something else would favour the wrong layers."""
    net, model, batches = small
    traces = hessian_traces(model, batches, F.cross_entropy, probes=400)

    assert ["first", "second"] == list(traces)
    for name, trace in traces.items():
        # random signs: the off-diagonal entries average out like 1/sqrt(800)
        assert true_trace(net, name, batches, F.cross_entropy) == pytest.approx(trace, rel=0.1)


def test_one_probe_is_exact_where_the_hessian_is_diagonal() -> None:
    """With signs, unlike Gaussian vectors, the diagonal itself adds no noise."""
    net = nn.Linear(4, 2, bias=False)
    x = torch.eye(4)
    model = prepared(net, images(16, 4))
    (trace,) = hessian_traces(model, [(x, torch.zeros(4, 2))], F.mse_loss, probes=1).values()

    # the mean over 4 samples and 2 outputs of (w·x)²: 2/8 for each of 8 weights
    assert 8 * 2 / 8 == pytest.approx(trace)


def weighted_loss(outputs: Tensor, y: Tensor) -> Tensor:
    """Classes that count differently: the mean of a batch is no mean of single samples' losses."""
    return F.cross_entropy(outputs, y, weight=torch.tensor([1.0, 3.0]))


@pytest.mark.parametrize("loss", [F.cross_entropy, weighted_loss])
def test_the_fisher_trace_is_the_mean_squared_gradient_of_single_samples(
    small: tuple[nn.Module, QuantizedModel, list[Batch]], loss: Loss
) -> None:
    """The square of a batch's gradient would shrink with the batch size."""
    net, model, batches = small
    expected = dict.fromkeys(("first", "second"), 0.0)
    for x, y in batches:
        counts = torch.tensor([1.0, 3.0])[y] if loss is weighted_loss else torch.ones(len(y))
        for i in range(len(x)):
            own = F.cross_entropy(net(x[i : i + 1]), y[i : i + 1]) * counts[i] / counts.mean()
            net.zero_grad()
            own.backward()
            for name in expected:
                expected[name] += float(net.get_submodule(name).weight.grad.square().sum()) / 10

    for name, trace in fisher_traces(model, batches, loss).items():
        assert expected[name] == pytest.approx(trace, rel=1e-4)


@pytest.mark.parametrize("estimate", [hessian_traces, fisher_traces])
def test_the_model_is_left_as_it_was(
    estimate: Callable[[QuantizedModel, list[Batch], Loss], dict[str, float]],
) -> None:
    """Training goes on with the same model."""
    model = convnet().train()
    x = images(4, 2, 9, 9)
    model.body.stem.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    estimate(model, [(x, torch.arange(4) % 3)], F.cross_entropy)

    assert model.training
    assert not model.body.stem.weight.requires_grad
    assert all(layer.enabled for layer in model.weighted())
    assert all(layer.grid is None or layer.grid.enabled for layer in model.layers)
    for name, value in model.state_dict().items():
        assert torch.equal(before[name], value), name


@pytest.mark.parametrize("estimate", [hessian_traces, fisher_traces])
def test_no_samples_are_refused(
    estimate: Callable[[QuantizedModel, list[Batch], Loss], dict[str, float]],
) -> None:
    """An exhausted generator must not become widths of no meaning."""
    with pytest.raises(InputError, match="empty"):
        estimate(convnet(), [], F.cross_entropy)
