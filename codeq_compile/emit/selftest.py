# SPDX-License-Identifier: Apache-2.0
"""The vectors of `<name>_selftest.c`: samples, and what the simulation makes of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codeq_compile.emit import format as c
from codeq_compile.emit.c import Model, Port, Table
from codeq_compile.ir.op import Array, CArray
from codeq_compile.simulate import simulate


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One sample.

    Parameters
    ----------
    number : int
        From 1.
    arrays : list of Table
        Every input, then every expected output.
    call : list of str
        Lines that run the model on it.
    comparisons : list of str
        Arguments of ``is_equal`` for every output.
    """

    number: int
    arrays: list[Table]
    call: list[str]
    comparisons: list[str]


def vectors(model: Model, samples: Mapping[str, Array]) -> list[Vector]:
    """A vector for every sample.

    Parameters
    ----------
    model : Model
    samples : mapping of str to int array of shape (samples, *tensor shape)
        By input name.
    """
    expected = simulate(model.graph, samples)
    count = len(next(iter(samples.values())))
    return [
        _vector(
            model,
            number=index + 1,
            inputs=[samples[port.tensor][index] for port in model.inputs],
            outputs=[expected[port.tensor][index] for port in model.outputs],
        )
        for index in range(count)
    ]


def _vector(model: Model, *, number: int, inputs: list[Array], outputs: list[Array]) -> Vector:
    given = [_table(port, number, data) for port, data in zip(model.inputs, inputs, strict=True)]
    expected = [
        _table(port, number, data) for port, data in zip(model.outputs, outputs, strict=True)
    ]
    arguments = [
        *(table.symbol for table in given),
        *(port.identifier for port in model.outputs),
        "arena",
        "state",
    ]
    return Vector(
        number=number,
        arrays=[*given, *expected],
        call=c.call(f"{c.INDENT}status = {model.name}_run", arguments, ";"),
        comparisons=[
            f"{port.identifier}, {table.symbol}, sizeof {table.symbol}"
            for port, table in zip(model.outputs, expected, strict=True)
        ],
    )


def _table(port: Port, number: int, data: Array) -> Table:
    array = CArray(
        name=port.identifier, c_type=port.type.dtype.c_type, data=np.ascontiguousarray(data).ravel()
    )
    return Table(symbol=f"{port.direction}_{number}_{port.identifier}", array=array)
