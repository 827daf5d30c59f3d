# SPDX-License-Identifier: Apache-2.0
"""Torch inputs as the integers that a compiled model takes."""

import numpy as np
import torch
from numpy.typing import NDArray

from codeq_compile.errors import InputError
from codeq_compile.ir import Graph
from codeq_compile.ir.types import Shape
from codeq_train.model import check_tensors


def to_graph_inputs(graph: Graph, *inputs: torch.Tensor) -> dict[str, NDArray[np.int8]]:
    """Torch inputs as the int8 arrays that `simulate` and the compiled library take.

    Parameters
    ----------
    graph : Graph
        From `export`.
    inputs : float tensors of shape (batch, ...)
        In the order of the model's arguments.

    Returns
    -------
    dict of str to int8 array of shape (batch, *tensor shape)

    Raises
    ------
    InputError
        An input is no tensor, or their number or a sample's shape is not that of the model.
    """
    check_tensors(inputs, count=len(graph.inputs))
    pairs = zip(graph.inputs, inputs, strict=True)
    return {name: _to_graph_input(graph, name, x) for name, x in pairs}


def _to_graph_input(graph: Graph, name: str, x: torch.Tensor) -> NDArray[np.int8]:
    kind = graph.tensors[name]
    assert kind.grid is not None
    axes = [int(n) + 1 for n in graph.provenance.get(f"axes of {name}", "").split()]
    if axes and x.dim() != len(axes) + 1:
        raise InputError(
            f'input "{name}" must have {len(axes)} dimensions after the batch, '
            f"not the shape {tuple(x.shape)}"
        )
    turned = x.permute(0, *axes) if axes else x
    if _without_ones(turned.shape[1:]) != _without_ones(kind.shape):
        raise InputError(
            f'input "{name}" of shape {tuple(x.shape)} does not give samples of {kind}: '
            "its axes are those of the model that was prepared"
        )
    return kind.grid.quantize(turned.detach().cpu().numpy()).reshape(len(x), *kind.shape)


def _without_ones(shape: Shape) -> Shape:
    return tuple(n for n in shape if n != 1)
