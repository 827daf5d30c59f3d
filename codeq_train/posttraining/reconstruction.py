# SPDX-License-Identifier: Apache-2.0
"""What one layer has to reproduce: its float outputs, from inputs that are quantized already.

Source: asymmetric reconstruction of AdaRound, arXiv:2004.10568, section 3.4.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from codeq_train.layers import Conv, Input, Weighted
from codeq_train.model import QuantizedModel
from codeq_train.posttraining.levels import as_rows, groups_of

Batch = tuple[Tensor, ...]
_DAMPING = 0.01
"""Share of the mean diagonal that is added to a Gram matrix: as in GPTQ, arXiv:2210.17323."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """A layer of the quantized model, its float twin, and what reaches both.

    Parameters
    ----------
    layer, twin : Weighted
    inputs : sequence of tensors
        Of the layer, a batch each: outputs of the quantized layers before it.
    targets : sequence of tensors
        Float outputs of the twin for the same samples, before its activation.
    """

    layer: Weighted
    twin: Weighted
    inputs: Sequence[Tensor]
    targets: Sequence[Tensor]

    @torch.no_grad()
    def error(self) -> float:
        """Root mean square difference of the outputs, after the activation, in output steps."""
        assert self.layer.grid is not None
        total, count = 0.0, 0
        for x, z in zip(self.inputs, self.targets, strict=True):
            difference = self.layer(x) - z.clamp(*self.layer.limits)
            total += float(difference.double().square().sum())
            count += difference.numel()
        return math.sqrt(total / max(count, 1)) / self.layer.grid.grid().scale


@torch.no_grad()
def walk(
    model: QuantizedModel, reference: QuantizedModel, batches: Sequence[Batch]
) -> Iterator[Task]:
    """Both networks side by side: each layer with weights, before its outputs are computed.

    Whatever is done to a layer reaches the inputs of those that follow.  Only tensors that are
    still needed are kept.

    Parameters
    ----------
    model, reference : QuantizedModel
        With the same layers; `reference` does not quantize.
    batches : sequence of tuples of float tensors
        One tensor an input of the model.
    """
    last = {name: layer for layer in model.layers for name in layer.origin.inputs}
    ours: list[dict[str, Tensor]] = [{} for _ in batches]
    theirs: list[dict[str, Tensor]] = [{} for _ in batches]
    place = {layer.origin.name: number for number, layer in enumerate(model.inputs)}
    for layer, twin in zip(model.layers, reference.layers, strict=True):
        name, sources = layer.origin.name, layer.origin.inputs
        targets = None
        if isinstance(layer, Weighted) and isinstance(twin, Weighted):
            targets = [twin.compute(values[sources[0]]) for values in theirs]
            inputs = [values[sources[0]] for values in ours]
            yield Task(layer=layer, twin=twin, inputs=inputs, targets=targets)
        for number, batch in enumerate(batches):
            if isinstance(layer, Input):
                ours[number][name] = layer(batch[place[name]])
                theirs[number][name] = batch[place[name]]
                continue
            ours[number][name] = layer(*[ours[number][source] for source in sources])
            theirs[number][name] = (
                targets[number].clamp(*twin.limits)
                if targets is not None
                else twin(*[theirs[number][source] for source in sources])
            )
            for source in {source for source in sources if last[source] is layer}:
                del ours[number][source], theirs[number][source]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Regression:
    """A sample of what a layer sees at single places, its weights as rows.

    ``output = gain · (patch · weight) + bias``, a group of channels at a time.

    Parameters
    ----------
    patches : float tensor of shape (groups, places, taps)
    targets : float tensor of shape (groups, places, outputs)
        Float outputs without bias and gain; of a channel without gain what its weights give.
    weight : float tensor of shape (groups, outputs, taps)
    gain, bias : float tensors of shape (groups, 1, outputs)
    """

    patches: Tensor
    targets: Tensor
    weight: Tensor
    gain: Tensor
    bias: Tensor

    def normal(self, *, centred: bool) -> tuple[Tensor, Tensor]:
        """Second moment of the patches, and the weights that reproduce the targets best.

        Parameters
        ----------
        centred : bool
            About the mean: for a layer whose bias takes care of it afterwards.

        Returns
        -------
        gram : float tensor of shape (groups, taps, taps)
            Damped, so that it is positive definite.
        optimum : float tensor of shape (groups, outputs, taps)
            Least squares, damped towards the float weights.
        """
        x, missing = self.patches, self.targets - self.patches @ self.weight.mT
        if centred:
            x = x - x.mean(1, keepdim=True)
            missing = missing - missing.mean(1, keepdim=True)
        places = x.shape[1]
        gram = x.mT @ x / places
        diagonal = gram.diagonal(dim1=1, dim2=2)
        tiny = torch.finfo(x.dtype).eps
        damping = _DAMPING * diagonal.mean(1, keepdim=True).clamp(min=tiny)
        gram = gram + torch.diag_embed(damping.expand_as(diagonal))
        shift = torch.linalg.solve(gram, x.mT @ missing / places)
        return gram, self.weight + shift.mT


@torch.no_grad()
def regression(task: Task, *, places: int, generator: torch.Generator) -> Regression:
    """`task` at up to `places` random places of all samples."""
    layer, twin = task.layer, task.twin
    groups = groups_of(layer)
    gain, bias = (value.detach().reshape(groups, 1, -1) for value in twin.folded())
    quota = -(-places // len(task.inputs))
    patches, targets = [], []
    for x, z in zip(task.inputs, task.targets, strict=True):
        rows, outputs = _patches(layer, x), _places(layer, z)
        count = rows.shape[1]
        if count > quota:
            # drawn on the CPU: the same seed chooses the same places on every device
            chosen = torch.randperm(count, generator=generator)[:quota].to(rows.device)
            rows, outputs = rows[:, chosen], outputs[:, chosen]
        patches.append(rows)
        targets.append(outputs)
    x, z = torch.cat(patches, 1), torch.cat(targets, 1)
    weight = as_rows(layer, twin.weight.detach())
    alive = gain.abs() > torch.finfo(gain.dtype).tiny ** 0.5
    own = (z - bias) / torch.where(alive, gain, torch.ones_like(gain))
    return Regression(
        patches=x,
        targets=torch.where(alive, own, x @ weight.mT),
        weight=weight,
        gain=gain,
        bias=bias,
    )


def _patches(layer: Weighted, x: Tensor) -> Tensor:
    """What each output place reads: tensor of shape (groups, places, taps)."""
    if not isinstance(layer, Conv):
        return x.reshape(1, -1, x.shape[-1])
    window = layer.window
    x = window.pad(x)
    flat = x.dim() == 3
    columns = F.unfold(
        x.unsqueeze(2) if flat else x,
        kernel_size=(1, *window.kernel) if flat else window.kernel,
        dilation=(1, *window.dilation) if flat else window.dilation,
        stride=(1, *window.stride) if flat else window.stride,
    )
    grouped = columns.reshape(len(x), layer.groups, -1, columns.shape[-1])
    return grouped.permute(1, 0, 3, 2).flatten(1, 2)


def _places(layer: Weighted, z: Tensor) -> Tensor:
    """Outputs in the same order: tensor of shape (groups, places, outputs)."""
    if not isinstance(layer, Conv):
        return z.reshape(1, -1, z.shape[-1])
    grouped = z.reshape(len(z), layer.groups, -1, math.prod(z.shape[2:]))
    return grouped.permute(1, 0, 3, 2).flatten(1, 2)
