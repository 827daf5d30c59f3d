# SPDX-License-Identifier: Apache-2.0
"""Measures the cycles of each layer on a real board, with the core's own counter."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codeq_compile.build import firmware, tools
from codeq_compile.build import run as boards
from codeq_compile.build.firmware import App
from codeq_compile.build.tools import Tool
from codeq_compile.check import require_success
from codeq_compile.errors import InputError, ToolError
from codeq_compile.profile.subject import Subject

WITHOUT_COUNTER = frozenset({"cortex-m0"})
"""Cores whose architecture has no counter of cycles."""

WHOLE = 0
"""Number of the whole call among the layers, which count from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTiming:
    """A layer.

    Parameters
    ----------
    index : int
        As in the C files, from 1.
    name, op, kernel : str
    macs : int
        Of one inference, when nothing is skipped.
    cycles : int
        From the end of the layer before to this one's, with a call of the hook that reads them.
    """

    index: int
    name: str
    op: str
    kernel: str
    macs: int
    cycles: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Of one library on one real board.

    Parameters
    ----------
    name : str
        The library's.
    target, core : str
    compiler, optimization : str
        What built the firmware.
    samples : int
    fewest, most : int
        Cycles of a call, over all samples, of the code as it ships.
    layers : tuple of LayerTiming
        Of the sample with the most, in a second run with a hook behind each layer.
    """

    name: str
    target: str
    core: str
    compiler: str
    optimization: str
    samples: int
    fewest: int
    most: int
    layers: tuple[LayerTiming, ...] = field(repr=False)


def time(directory: Path, subject: Subject) -> Timing:
    """Measure the cycles of an emitted library on a real board.

    The whole call is measured as it ships, the layers with a second image that reads the counter
    behind each.

    Parameters
    ----------
    directory : Path
        What `emit` wrote.
    subject : Subject
        On a real board.

    Raises
    ------
    InputError
        The board's core has no counter of cycles.
    Mismatch
        The C reports an error.
    ToolError
        A compiler, pyOCD or the board is missing, or its counter stands still.
    """
    library, board = subject.library, subject.board
    if board.core in WITHOUT_COUNTER:
        raise InputError(f"a {board.core} does not count cycles: {board.name} has no times")
    compiler = tools.arm_cc()
    (totals,) = _cycles(directory, subject, compiler, "cycles", [WHOLE])
    numbers = [layer.index for layer in library.layers]
    cycles = _cycles(directory, subject, compiler, "layer_cycles", numbers)
    worst = int(np.argmax(totals))
    return Timing(
        name=library.name,
        target=board.name,
        core=board.core,
        compiler=f"{compiler.name} {compiler.version}",
        optimization=firmware.OPTIMIZATION,
        samples=len(totals),
        fewest=int(totals.min()),
        most=int(totals.max()),
        layers=tuple(
            LayerTiming(
                index=layer.index,
                name=layer.name,
                op=layer.op,
                kernel=layer.kernel,
                macs=subject.macs(layer),
                cycles=int(each[worst]),
            )
            for layer, each in zip(library.layers, cycles, strict=True)
        ),
    )


def _cycles(
    directory: Path, subject: Subject, compiler: Tool, app: App, numbers: list[int]
) -> NDArray[np.int64]:
    """Cycles of each layer of `numbers` and each sample: int64 array (layers, samples)."""
    board = subject.board
    image = firmware.build(directory, board, compiler=compiler, app=app)
    result = boards.run(image, subject.rows, traced=len(subject.rows))
    require_success(subject.library, board, result)
    table = np.zeros((len(numbers), len(subject.rows)), np.int64)
    for record in result.trace:
        if record.layer in numbers:
            row = numbers.index(record.layer)
            # a layer of a stream has a record for each call
            table[row, record.sample] += int.from_bytes(record.data, "little")
    if not table.all():
        raise ToolError(
            f"{board.name} counts no cycles: its core lacks the counter, or is emulated"
        )
    return table
