# SPDX-License-Identifier: Apache-2.0
"""How much an error at the output of each layer moves the model's outputs; no labels are needed.

The squared gradient of randomly signed outputs: Hutchinson's estimate of the outputs' own
Gauss-Newton matrix, its diagonal over a layer's channels.  With the second moment of the layer's
inputs it is the Kronecker-factored curvature of BRECQ's objective (arXiv:2102.05426, section 3.2).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from codeq_train.layers import ArgMax, Conv, Layer
from codeq_train.model import QuantizedModel
from codeq_train.posttraining.reconstruction import Batch

_FLOOR = 1e-4
"""Least sensitivity of a channel, of its layer's mean: a sample of data is not all data."""


def output_sensitivity(
    reference: QuantizedModel, batches: Sequence[Batch], *, generator: torch.Generator
) -> dict[str, Tensor]:
    """Added to the outputs' relative squared error by an error of 1 at each place of a channel.

    Parameters
    ----------
    reference : QuantizedModel
        Not quantizing, in evaluation mode.
    batches : sequence of tuples of float tensors
    generator : torch.Generator
        On the CPU; draws the signs.

    Returns
    -------
    dict of str to float tensor of shape (channels,)
        By layer name, for layers with weights.  Errors at different places are taken to be
        independent: a channel's values count as often as it has places.
    """
    totals = {
        layer.origin.name: torch.zeros_like(layer.folded()[0]) for layer in reference.weighted()
    }
    count = 0
    for batch in batches:
        count += len(batch[0])
        for name, squares in _squares(reference, batch, generator).items():
            totals[name] += squares
    return {
        name: (total / count).clamp(min=_FLOOR * float(total.mean() / count) or 1.0)
        for name, total in totals.items()
    }


def _squares(
    reference: QuantizedModel, batch: Batch, generator: torch.Generator
) -> dict[str, Tensor]:
    values: dict[str, Tensor] = {}
    with torch.enable_grad():
        for _ in reference.run(*batch, values=values):
            pass
        scored = [values[name].flatten(1) for name in _outputs(reference)]
        # relative to each output's own spread, so that several outputs count alike
        signed = torch.stack(
            [(y * _signs(y, generator)).sum() / _spread(y.detach()) for y in scored]
        )
        layers = list(reference.weighted())
        outputs = [values[layer.origin.name] for layer in layers]
        gradients = torch.autograd.grad(signed.sum(), outputs, allow_unused=True)
    squares = {}
    for layer, y, gradient in zip(layers, outputs, gradients, strict=True):
        if gradient is None:
            continue
        low, high = layer.limits
        inside = (y > low) & (y < high)
        squares[layer.origin.name] = _by_channel(layer, (gradient * inside).square()).sum(1)
    return squares


def _outputs(model: QuantizedModel) -> list[str]:
    """Tensors that the model gives; a position of a maximum stands for the values it is of."""
    layers = {layer.origin.name: layer for layer in model.layers}
    names = []
    for name in model.outputs.values():
        layer = layers[name]
        names.append(layer.origin.inputs[0] if isinstance(layer, ArgMax) else name)
    return names


def _spread(y: Tensor) -> Tensor:
    return (y.var() * y.shape[1]).sqrt().clamp(min=1e-12)


def _signs(y: Tensor, generator: torch.Generator) -> Tensor:
    bits = torch.randint(0, 2, y.shape, generator=generator)
    return (2 * bits - 1).to(y)


def _by_channel(layer: Layer, y: Tensor) -> Tensor:
    axis = 1 if isinstance(layer, Conv) else -1
    return y.detach().movedim(axis, 0).flatten(1)
