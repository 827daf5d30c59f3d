# SPDX-License-Identifier: Apache-2.0
"""Torch inputs as the integers that a compiled model takes."""

import numpy as np
import torch
from numpy.typing import NDArray

from codeq_compile.ir import Graph


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
    """
    arrays = {}
    for name, x in zip(graph.inputs, inputs, strict=True):
        axes = graph.provenance.get(f"axes of {name}", "")
        kind = graph.tensors[name]
        array = x.detach().cpu().numpy()
        if axes:
            array = array.transpose(0, *(int(n) + 1 for n in axes.split()))
        assert kind.grid is not None
        arrays[name] = kind.grid.quantize(array).reshape(len(array), *kind.shape)
    return arrays
