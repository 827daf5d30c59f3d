# SPDX-License-Identifier: Apache-2.0
"""Accuracy in float, fake-quantized and in integers, and the distance between the last two."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from codeq_compile.errors import InputError
from codeq_compile.ir import Graph
from codeq_compile.passes import run as lower
from codeq_compile.simulate import simulate, trace
from codeq_train.export import convert, to_graph_inputs
from codeq_train.layers import Input
from codeq_train.layout import Layout
from codeq_train.model import QuantizedModel

BATCH = 256

Data = Tensor | Dataset[tuple[Tensor, Tensor]] | DataLoader[tuple[Tensor, Tensor]]
"""Inputs of shape (samples, ...) beside their targets; or both in a Dataset or a DataLoader."""

Accuracy = dict[str, float]
"""`accuracy` is the share of samples, `balanced` the mean over the classes; in [0, 1]."""

Measure = Callable[[NDArray[np.generic], NDArray[np.generic]], Accuracy]
"""Figures of merit, larger is better, of outputs (float or int8) against targets."""


def accuracy(outputs: NDArray[np.generic], targets: NDArray[np.generic]) -> Accuracy:
    """Of one row of scores a sample, against its class.

    Parameters
    ----------
    outputs : array of shape (samples, ...)
    targets : int array of shape (samples,)
    """
    right = outputs.reshape(len(targets), -1).argmax(1) == targets
    shares = [right[targets == each].mean() for each in np.unique(targets)]
    return {"accuracy": float(right.mean()), "balanced": float(np.mean(shares))}


def pairs(data: Data, targets: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of (inputs, targets) in order.

    Raises
    ------
    InputError
        A tensor comes without targets.
    """
    if isinstance(data, Tensor):
        if targets is None:
            raise InputError("a tensor of inputs needs its targets")
        yield from zip(torch.split(data, BATCH), torch.split(targets, BATCH), strict=True)
    else:
        yield from data if isinstance(data, DataLoader) else DataLoader(data, batch_size=BATCH)


@torch.no_grad()
def predict(model: nn.Module, x: Tensor, *, batch_size: int = BATCH) -> Tensor:
    """Outputs in evaluation mode: tensor of shape (samples, ...); the model's mode is kept."""
    was_training = model.training
    model.eval()
    outputs = torch.cat([model(batch) for batch in torch.split(x, batch_size)])
    model.train(was_training)
    return outputs


def evaluate(model: nn.Module, x: Data, y: Tensor | None = None) -> float:
    """Share of samples whose largest output is their class, in [0, 1]; evaluation mode."""
    return float_figures(model, x, y)["accuracy"]


def integer_accuracy(graph: Graph, x: Data, y: Tensor | None = None) -> float:
    """Accuracy of the compiled integers, in [0, 1]: the figure that the device will show.

    Raises
    ------
    InputError
        `graph` is not what `export` gives.
    """
    return integer_figures(graph, x, y)["accuracy"]


def float_figures(
    model: nn.Module, x: Data, y: Tensor | None = None, *, measure: Measure = accuracy
) -> Accuracy:
    """What `measure` says of any module, fake-quantized or not, in float32."""
    device = next(model.parameters()).device
    return _measured(lambda batch: predict(model, batch.to(device)).cpu().numpy(), x, y, measure)


def integer_figures(
    graph: Graph, x: Data, y: Tensor | None = None, *, measure: Measure = accuracy
) -> Accuracy:
    """What `measure` says of the compiled integers."""
    lowered = _lowered(graph)
    return _measured(lambda batch: _simulated(graph, lowered, batch), x, y, measure)


def _measured(
    outputs_of: Callable[[Tensor], NDArray[np.generic]],
    x: Data,
    y: Tensor | None,
    measure: Measure,
) -> Accuracy:
    outputs, targets = [], []
    for inputs, expected in pairs(x, y):
        outputs.append(outputs_of(inputs))
        targets.append(expected.cpu().numpy())
    return measure(np.concatenate(outputs), np.concatenate(targets))


def integer_outputs(graph: Graph, x: Tensor, *, batch_size: int = BATCH) -> NDArray[np.int8]:
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
    lowered = _lowered(graph)
    return np.concatenate(
        [_simulated(graph, lowered, batch) for batch in torch.split(x, batch_size)]
    )


def _lowered(graph: Graph) -> Graph:
    if not isinstance(graph, Graph):
        raise InputError(
            f"integers are those of an exported graph, not of a {type(graph).__name__}: "
            "give what export(model) returns"
        )
    return lower(graph)


def _simulated(graph: Graph, lowered: Graph, x: Tensor) -> NDArray[np.int8]:
    return simulate(lowered, to_graph_inputs(graph, x))[graph.outputs[0]]


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
