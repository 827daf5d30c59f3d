# SPDX-License-Identifier: Apache-2.0
"""A small reference training loop, and evaluation in float, fake-quantized and in integers."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from codeq_compile.ir import Graph
from codeq_compile.passes import run as lower
from codeq_compile.simulate import simulate, trace
from codeq_train.cost import layer_costs, mean_bits, mean_sparsity
from codeq_train.export import convert, to_graph_inputs
from codeq_train.layers import Input
from codeq_train.layout import Layout
from codeq_train.model import QuantizedModel
from codeq_train.optim import parameter_groups
from codeq_train.prepare import freeze
from codeq_train.regularizer import regularizer

_TEACHER_SHARE = 0.5
_TEMPERATURE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What `fit` reports after each epoch.

    Parameters
    ----------
    number, epochs : int
        Number of this epoch, from 1, and of all.
    loss : float
        Mean task loss over the epoch's samples, without the penalty.
    accuracy : float
        On the validation set, or on the training batches where there is none; in [0, 1].
    mean_bits, sparsity : float
        Averages over all weights.
    flash_bytes : int
        Weights and tables as they would be stored now; 0 for a float model.
    frozen : bool
        The last phase has begun.
    """

    number: int
    epochs: int
    loss: float
    accuracy: float
    mean_bits: float = 32.0
    sparsity: float = 0.0
    flash_bytes: int = 0
    frozen: bool = False


def seed_everything(seed: int) -> None:
    """Seed torch, numpy and Python, and let torch flush denormals, which slow dead channels."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_flush_denormal(True)


def fit(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    epochs: int,
    batch_size: int = 64,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    validation: tuple[Tensor, Tensor] | None = None,
    freeze_epochs: int = 0,
    augment: Callable[[Tensor], Tensor] | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    teacher: nn.Module | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    seed: int = 0,
) -> None:
    """Train a classifier with AdamW and one cosine cycle; float and prepared models alike.

    Parameters
    ----------
    model : nn.Module
        Ordinary module, or `QuantizedModel`: then the regularizer joins the loss.
    x : float tensor of shape (samples, ...)
    y : int64 tensor of shape (samples,)
    epochs, batch_size : int
    lr, weight_decay : float
        Peak learning rate; decay of weights only.
    validation : tuple of tensors (x, y), optional
        For the reported accuracy.
    freeze_epochs : int
        Length of the last phase, in which zeros, widths and BatchNorm are fixed.
    augment : callable, optional
        Applied to each training batch; may make inputs of indices into the data.
    loss : callable
        Of (outputs, targets), a mean over the batch.
    teacher : nn.Module, optional
        Trained float model; half of the loss is then the distance from its outputs.
    on_epoch : callable, optional
        Called after each epoch.
    seed : int
        Of the order of samples and everything else that is random.
    """
    seed_everything(seed)
    quantized = isinstance(model, QuantizedModel)
    groups = (
        parameter_groups(model, lr=lr, weight_decay=weight_decay)
        if isinstance(model, QuantizedModel)
        else [{"params": list(model.parameters()), "lr": lr, "weight_decay": weight_decay}]
    )
    optimizer = torch.optim.AdamW(groups)
    steps = epochs * -(-len(x) // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order = torch.Generator().manual_seed(seed)
    for number in range(1, epochs + 1):
        if isinstance(model, QuantizedModel) and number == epochs - freeze_epochs + 1:
            freeze(model)
        model.train()
        total, correct = 0.0, 0
        for batch in torch.split(torch.randperm(len(x), generator=order), batch_size):
            if len(batch) == 1:
                continue  # BatchNorm has no statistics of one sample
            inputs = x[batch] if augment is None else augment(x[batch])
            outputs = model(inputs)
            task = loss(outputs, y[batch])
            if teacher is not None:
                task = torch.lerp(task, _distance(outputs, teacher, inputs), _TEACHER_SHARE)
            penalty = regularizer(model) if isinstance(model, QuantizedModel) else 0.0
            optimizer.zero_grad(set_to_none=True)
            (task + penalty).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += float(task.detach()) * len(batch)
            correct += int((outputs.detach().argmax(1) == y[batch]).sum())
        accuracy = correct / len(x) if validation is None else evaluate(model, *validation)
        if on_epoch is not None:
            on_epoch(
                _epoch(
                    model,
                    Epoch(number=number, epochs=epochs, loss=total / len(x), accuracy=accuracy),
                    frozen=quantized and number > epochs - freeze_epochs,
                )
            )


def _distance(outputs: Tensor, teacher: nn.Module, inputs: Tensor) -> Tensor:
    """Divergence from the teacher's softened outputs. Source: Hinton et al., arXiv:1503.02531."""
    target = F.log_softmax(predict(teacher, inputs) / _TEMPERATURE, dim=1)
    ours = F.log_softmax(outputs / _TEMPERATURE, dim=1)
    divergence = F.kl_div(ours, target, reduction="batchmean", log_target=True)
    return divergence * _TEMPERATURE**2


def _epoch(model: nn.Module, plain: Epoch, *, frozen: bool) -> Epoch:
    if not isinstance(model, QuantizedModel):
        return plain
    costs = layer_costs(model)
    return Epoch(
        number=plain.number,
        epochs=plain.epochs,
        loss=plain.loss,
        accuracy=plain.accuracy,
        mean_bits=mean_bits(costs),
        sparsity=mean_sparsity(costs),
        flash_bytes=sum(cost.weight_bytes + cost.table_bytes for cost in costs),
        frozen=frozen,
    )


@torch.no_grad()
def predict(model: nn.Module, x: Tensor, *, batch_size: int = 256) -> Tensor:
    """Outputs in evaluation mode: tensor of shape (samples, ...); the model's mode is kept."""
    was_training = model.training
    model.eval()
    outputs = torch.cat([model(batch) for batch in torch.split(x, batch_size)])
    model.train(was_training)
    return outputs


def evaluate(model: nn.Module, x: Tensor, y: Tensor, *, batch_size: int = 256) -> float:
    """Share of samples whose largest output is their class, in [0, 1]; evaluation mode."""
    return float((predict(model, x, batch_size=batch_size).argmax(1) == y).double().mean())


def integer_outputs(graph: Graph, x: Tensor, *, batch_size: int = 256) -> NDArray[np.int8]:
    """First output of an exported graph, computed in integers.

    Parameters
    ----------
    graph : Graph
        From `export`.
    x : float tensor of shape (samples, ...)
        In torch's layout, for a model with one input.

    Returns
    -------
    int8 array of shape (samples, *output shape)
    """
    lowered = lower(graph)
    first = graph.outputs[0]
    return np.concatenate(
        [
            simulate(lowered, to_graph_inputs(graph, batch))[first]
            for batch in torch.split(x, batch_size)
        ]
    )


def integer_accuracy(graph: Graph, x: Tensor, y: Tensor, *, batch_size: int = 256) -> float:
    """Accuracy of the compiled integers, in [0, 1]: the figure that the device will show."""
    scores = integer_outputs(graph, x, batch_size=batch_size)
    return float(np.mean(scores.reshape(len(x), -1).argmax(1) == y.cpu().numpy()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """How far the fake-quantized values of one layer are from its integers.

    Parameters
    ----------
    layer : str
    steps : int
        Largest difference, in steps of the layer's output grid.
    share : float
        Of values that differ at all, in [0, 1].
    """

    layer: str
    steps: int
    share: float


@torch.no_grad()
def integer_distance(model: QuantizedModel, *inputs: Tensor) -> list[Distance]:
    """Compare each layer of a prepared model with its integers, given the same integer inputs.

    Torch rounds float32 sums, the integers are exact, and table multipliers have 16 or 31 bits: a
    value close to the middle between two steps may be rounded the other way.  Errors do not add up
    here: every layer starts from the integers before it.

    Parameters
    ----------
    model : QuantizedModel
    inputs : float tensors of shape (batch, ...)

    Returns
    -------
    list of Distance
        One a layer that has a grid, in execution order.
    """
    was_training = model.training
    model.eval()
    converted, orders = convert(model)
    graph = lower(converted, "literal")
    integers = trace(graph, to_graph_inputs(graph, *inputs))
    tensors = {name: name for name in graph.inputs} | {n.name: n.output for n in graph.nodes}
    values: dict[str, Tensor] = {}
    distances = []
    for layer, real in model.run(*inputs, values=values):
        name = layer.origin.name
        if layer.grid is None or name not in tensors:
            continue
        grid = layer.grid.grid()
        if isinstance(layer, Input):
            q = torch.from_numpy(
                grid.quantize(inputs[graph.inputs.index(name)].cpu().numpy())
            ).double()
        else:
            q = _as_torch(integers[tensors[name]], orders[name], real)
        steps = (real.double() / grid.scale + grid.zero_point - q).abs().round()
        values[name] = (q - grid.zero_point).float() * grid.scale
        distances.append(
            Distance(layer=name, steps=int(steps.max()), share=float((steps > 0).double().mean()))
        )
    model.train(was_training)
    return distances


def _as_torch(q: NDArray[np.int8], layout: Layout, like: Tensor) -> Tensor:
    """Integers as they stand in memory, in the order and shape of a torch tensor."""
    flat = np.empty((len(q), len(layout.order)))
    flat[:, layout.order] = q.reshape(len(q), -1)
    return torch.from_numpy(flat).reshape(like.shape)
