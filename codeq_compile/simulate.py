# SPDX-License-Identifier: Apache-2.0
"""Runs a lowered graph in integers: what the emitted C must equal, byte for byte."""

from collections.abc import Mapping

import numpy as np

from codeq_compile.errors import InputError
from codeq_compile.ir.graph import Graph
from codeq_compile.ir.op import Array

_BLOCK_ELEMENTS = 1 << 20
"""Of the largest tensor of a block of samples: bounds the memory of a simulation."""


def simulate(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs of a lowered graph.

    Parameters
    ----------
    graph : Graph
        Lowered: `codeq_compile.passes.run` has run on it.
    inputs : mapping of str to int8 array of shape (batch, *tensor shape)
        One array for every graph input, all with the same batch. A model with state takes them as
        consecutive inferences, the first one after a reset.

    Returns
    -------
    dict of str to int8 or int32 array of shape (batch, *tensor shape)
        In the order of `graph.outputs`.

    Raises
    ------
    InputError
        An array is missing, unknown, or of the wrong dtype, shape or batch.
    """
    arrays = _checked(graph, inputs)
    step = max(1, _BLOCK_ELEMENTS // max(kind.elements for kind in graph.tensors.values()))
    batch = len(arrays[graph.inputs[0]])
    if any(node.op.state_bytes(node.params) for node in graph.nodes):
        step = max(batch, 1)  # what a layer remembers must not end with a block
    parts = [
        _run(graph, {name: array[start : start + step] for name, array in arrays.items()})
        for start in range(0, max(batch, 1), step)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in graph.outputs}


def _run(graph: Graph, tensors: dict[str, Array]) -> dict[str, Array]:
    """The graph's outputs for one block of samples; other tensors go when they were last read."""
    tensors = tensors | _constants(graph, len(tensors[graph.inputs[0]]))
    last_use = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}
    for index, node in enumerate(graph.nodes):
        tensors[node.output] = node.op.simulate(node.params, *(tensors[n] for n in node.inputs))
        for name in {*node.inputs, node.output} - {*graph.outputs}:
            if last_use.get(name, -1) <= index:
                del tensors[name]
    return tensors


def trace(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Every tensor of a lowered graph: the inputs, then each node's output in execution order.

    Parameters, shapes and errors are those of `simulate`.
    """
    tensors = _checked(graph, inputs)
    constants = _constants(graph, len(tensors[graph.inputs[0]]))
    for node in graph.nodes:
        operands = (constants[n] if n in constants else tensors[n] for n in node.inputs)
        tensors[node.output] = node.op.simulate(node.params, *operands)
    return tensors


def _constants(graph: Graph, batch: int) -> dict[str, Array]:
    """The constants as every sample meets them."""
    return {
        name: np.broadcast_to(array, (batch, *array.shape))
        for name, array in graph.constants.items()
    }


def _checked(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The inputs in the graph's order, if they fit it."""
    assert graph.is_lowered, "passes.run comes before simulate"
    unknown = sorted(inputs.keys() - set(graph.inputs))
    if unknown:
        raise InputError(
            f'"{unknown[0]}" is not an input of {graph.name}; it has {", ".join(graph.inputs)}'
        )
    checked = {}
    for name in graph.inputs:
        kind = graph.tensors[name]
        wanted = f"{kind.dtype.numpy} array of shape (batch, {', '.join(map(str, kind.shape))})"
        if name not in inputs:
            raise InputError(f'input "{name}" is missing: an {wanted} is expected')
        array = np.asarray(inputs[name])
        if array.dtype != kind.dtype.numpy or array.shape[1:] != kind.shape or array.ndim == 0:
            raise InputError(
                f'input "{name}" must be an {wanted}, not {array.dtype} {list(array.shape)}'
            )
        checked[name] = array
    batches = {name: len(array) for name, array in checked.items()}
    if len(set(batches.values())) > 1:
        raise InputError(f"the inputs differ in their number of samples: {batches}")
    return checked
