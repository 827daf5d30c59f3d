# SPDX-License-Identifier: Apache-2.0
"""How sharply the loss bends along each layer's weights: traces of its Hessian and Fisher matrix.

Both are taken of the float model in evaluation mode: a rounded function has no second derivative.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from codeq_compile.errors import InputError
from codeq_train.layers import Scale, Weighted
from codeq_train.model import QuantizedModel

Batch = tuple[Tensor, Tensor]
"""(inputs, targets), each with a leading batch dimension."""
Loss = Callable[[Tensor, Tensor], Tensor]
"""Of (outputs, targets): a mean over the batch."""


def hessian_traces(
    model: QuantizedModel, batches: Iterable[Batch], loss: Loss, *, probes: int = 4, seed: int = 0
) -> dict[str, float]:
    """Trace of each layer's block of the Hessian, ``E[vᵀ H v]`` over random signs v.

    Each layer has its own probes: with one vector for all, the blocks between two layers, of which
    only the mean is 0, drown the flat layers in noise.
    Source: Hutchinson's estimator, as HAWQ-V2 (arXiv:1911.03852) uses it.

    Parameters
    ----------
    model : QuantizedModel
        It is not changed.
    batches : iterable of (inputs, targets)
    loss : callable
        Twice differentiable, a mean over the batch.
    probes : int
        Sign vectors a layer and batch.
    seed : int
        Of the signs.

    Returns
    -------
    dict of str to float
        By layer name; of layers that share their weights the first.  Negative ones are possible.
    """
    generator = torch.Generator().manual_seed(seed)
    with _as_float(model):
        weights = _weights(model)
        traces = dict.fromkeys(weights, 0.0)
        count = 0
        for x, y in batches:
            value = loss(model(x), y)
            gradients = torch.autograd.grad(value, list(weights.values()), create_graph=True)
            for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
                for _ in range(probes if gradient.requires_grad else 0):  # linear: nothing bends
                    signs = _signs(weight, generator)
                    along = (gradient * signs).sum()
                    (product,) = torch.autograd.grad(
                        along, weight, retain_graph=True, materialize_grads=True
                    )
                    traces[name] += float((signs * product).sum()) * len(x)
            count += probes * len(x)
        _require(count)
    return {name: trace / count for name, trace in traces.items()}


def fisher_traces(model: QuantizedModel, batches: Iterable[Batch], loss: Loss) -> dict[str, float]:
    """Trace of each layer's block of the empirical Fisher matrix: mean squared gradient a sample.

    Never negative, and near the Hessian's where the model predicts well.  The loss of the whole
    batch is differentiated, so that weights of classes count as they do in training.

    Parameters
    ----------
    model : QuantizedModel
        With one output; it is not changed.
    batches : iterable of (inputs, targets)
    loss : callable
        Differentiable, a mean over the batch.

    Returns
    -------
    dict of str to float
        By layer name; of layers that share their weights the first.
    """
    with _as_float(model):
        weights = _weights(model)
        traces = dict.fromkeys(weights, 0.0)
        count = 0
        for x, y in batches:
            with torch.no_grad():
                outputs = model(x)
            outputs.requires_grad_(True)
            (pull,) = torch.autograd.grad(loss(outputs, y), outputs)
            for sample, own in zip(torch.split(x, 1), torch.split(pull * len(x), 1), strict=True):
                gradients = torch.autograd.grad(model(sample), list(weights.values()), own)
                for name, gradient in zip(weights, gradients, strict=True):
                    traces[name] += float(gradient.square().sum())
            count += len(x)
        _require(count)
    return {name: trace / count for name, trace in traces.items()}


def _weights(model: QuantizedModel) -> dict[str, Tensor]:
    """Weights that a quantizer rounds, by the first layer that has them."""
    found: dict[int, tuple[str, Tensor]] = {}
    for layer in model.weighted():
        if not isinstance(layer, Scale):
            found.setdefault(id(layer.weight), (layer.origin.name, layer.weight))
    return dict(found.values())


def _signs(weight: Tensor, generator: torch.Generator) -> Tensor:
    # drawn on the CPU: the same seed gives the same signs on every device
    bits = torch.randint(0, 2, weight.shape, generator=generator)
    return (2 * bits - 1).to(weight)


def _require(samples: int) -> None:
    if not samples:
        raise InputError("the loss's curvature needs samples: `batches` is empty")


@contextlib.contextmanager
def _as_float(model: QuantizedModel) -> Iterator[None]:
    """Without fake quantization, in evaluation mode, with a gradient for all weights; then back."""
    layers = [layer for layer in model.layers if isinstance(layer, Weighted)]
    grids = {layer.grid for layer in model.layers if layer.grid is not None}
    enabled = [layer.enabled for layer in layers]
    rounding = {grid: grid.enabled for grid in grids}
    wanted = [layer.weight.requires_grad for layer in layers]
    was_training = model.training
    model.eval()
    for layer in layers:
        layer.enabled = False
        layer.weight.requires_grad_(True)
    for grid in grids:
        grid.enabled = False
    try:
        with torch.enable_grad():
            yield
    finally:
        for layer, was_enabled, had_gradient in zip(layers, enabled, wanted, strict=True):
            layer.enabled = was_enabled
            layer.weight.requires_grad_(had_gradient)
        for grid, was_enabled in rounding.items():
            grid.enabled = was_enabled
        model.train(was_training)
