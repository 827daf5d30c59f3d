# SPDX-License-Identifier: Apache-2.0
"""The vectors of `<name>_selftest.c`: samples, and what the simulation makes of them."""

import hashlib
from collections.abc import Mapping

import numpy as np

from codeq_compile.emit import format as c
from codeq_compile.emit.c import Model
from codeq_compile.ir import Graph
from codeq_compile.ir.op import Array
from codeq_compile.simulate import simulate

SAMPLES = 2
"""Vectors where the caller gives none."""

Vector = dict[str, list[str]]
"""Rows of the initialiser of every input and expected output, by identifier."""


def vectors(model: Model, samples: Mapping[str, Array] | None) -> list[Vector]:
    """A vector for every sample.

    Parameters
    ----------
    model : Model
    samples : mapping of str to int array of shape (samples, *tensor shape), optional
        By input name.
    """
    if samples is None:
        samples = _random_samples(model.graph)
    tensors = {**samples, **simulate(model.graph, samples)}
    count = len(samples[model.graph.inputs[0]])
    return [
        {
            port.identifier: c.rows(
                tensors[port.tensor][index].ravel(), port.type.dtype.c_type, indent=3
            )
            for port in model.ports
        }
        for index in range(count)
    ]


def _random_samples(graph: Graph) -> dict[str, Array]:
    """Samples from a hash function: the same with every version of numpy."""
    samples: dict[str, Array] = {}
    for name in graph.inputs:
        kind = graph.tensors[name]
        data = hashlib.shake_256(name.encode()).digest(SAMPLES * kind.bytes)
        array = np.frombuffer(data, kind.dtype.numpy.newbyteorder("<"))
        samples[name] = array.astype(kind.dtype.numpy).reshape(SAMPLES, *kind.shape)
    return samples
