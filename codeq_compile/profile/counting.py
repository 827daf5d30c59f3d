# SPDX-License-Identifier: Apache-2.0
"""Counts what each layer executes on an emulated board, and estimates its cycles."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from codeq_compile.build import counter, firmware, tools
from codeq_compile.build.counter import Code, Stretch
from codeq_compile.check import require_success
from codeq_compile.errors import ToolError
from codeq_compile.manifest import Manifest
from codeq_compile.profile import cycles
from codeq_compile.profile.cycles import Estimate, Events
from codeq_compile.profile.instructions import CLASSES, Kind, decode
from codeq_compile.profile.subject import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a part of the entry point's call executed.

    Parameters
    ----------
    instructions : int
    classes : dict of str to int
        Instructions by class, all of `instructions.CLASSES`; they add up.
    taken : int
        Times that control went elsewhere than on.
    unaligned : int
        Loads and stores at an address that is no multiple of their size.
    estimate : Estimate
        Of cycles.
    """

    instructions: int
    classes: dict[str, int] = field(repr=False)
    taken: int
    unaligned: int
    estimate: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerProfile:
    """A layer.

    Parameters
    ----------
    index : int
        As in the C files, from 1.
    name, op, kernel : str
    macs : int
        Of one inference, when nothing is skipped.
    part : Part
    """

    index: int
    name: str
    op: str
    kernel: str
    macs: int
    part: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Of one library on one emulated board.

    Parameters
    ----------
    name : str
        The library's.
    target, core : str
    compiler, emulator : str
        What built and ran the firmware.
    optimization : str
        The compiler's level, ``"-O2"``.
    samples : int
    fewest, most : int
        Instructions of a call, over all samples; what follows is of the sample with the most.
    layers : tuple of LayerProfile
    glue : Part
        Of the entry point itself.
    total : Part
        The whole call: layers and glue.
    """

    name: str
    target: str
    core: str
    compiler: str
    optimization: str
    emulator: str
    samples: int
    fewest: int
    most: int
    layers: tuple[LayerProfile, ...] = field(repr=False)
    glue: Part
    total: Part


def count(directory: Path, subject: Subject) -> Profile:
    """Count the instructions of an emitted library on an emulated board: the same every time.

    Parameters
    ----------
    directory : Path
        What `emit` wrote.
    subject : Subject
        On an emulated board.

    Raises
    ------
    Mismatch
        The C reports an error.
    ToolError
        A compiler is missing, or there is no QEMU that takes plugins.
    """
    library, board = subject.library, subject.board
    compiler, emulator = tools.arm_cc(), tools.qemu()
    image = firmware.build(directory, board, compiler=compiler, app="profile")
    counts = counter.count(
        image,
        subject.rows,
        entry=f"{library.name}_run",
        kernels=sorted({layer.kernel for layer in library.layers}),
    )
    require_success(library, board, counts.result)
    totals = [sum(stretch.instructions for stretch in run) for run in counts.runs]
    parts = _Parts(library, counts.code, board.core)
    run = counts.runs[int(np.argmax(totals))]
    calls = parts.calls(run)
    return Profile(
        name=library.name,
        target=board.name,
        core=board.core,
        compiler=f"{compiler.name} {compiler.version}",
        optimization=firmware.OPTIMIZATION,
        emulator=f"{emulator.name} {emulator.version}",
        samples=len(totals),
        fewest=min(totals),
        most=max(totals),
        layers=tuple(
            LayerProfile(
                index=layer.index,
                name=layer.name,
                op=layer.op,
                kernel=layer.kernel,
                macs=subject.macs(layer),
                part=parts.of(calls[layer.index]),
            )
            for layer in library.layers
        ),
        glue=parts.of(parts.glue(run)),
        total=parts.of(run),
    )


class _Parts:
    """Counted stretches → layers, glue and totals."""

    def __init__(self, library: Manifest, code: Code, core: str) -> None:
        self._kernels = {layer.index: layer.kernel for layer in library.layers}
        self._order = library.order
        self._code = code
        self._entry = code.functions[f"{library.name}_run"][0]
        self._model = cycles.model(core)
        self._events = cache(self._events_once)

    def calls(self, run: Sequence[Stretch]) -> dict[int, list[Stretch]]:
        """The stretches of each layer, one a call, by its number.

        Raises
        ------
        ToolError
            The entry point does not call the kernels of the manifest in its order.
        """
        calls = [stretch for stretch in run if stretch.function != self._entry]
        expected = [self._code.functions[self._kernels[n]][0] for n in self._order]
        if expected != [stretch.function for stretch in calls]:
            raise ToolError(
                f"the library calls {len(calls)} kernels, not the {len(expected)} of its manifest "
                "in their order: compile the model again"
            )
        by_layer: dict[int, list[Stretch]] = {number: [] for number in self._kernels}
        for number, stretch in zip(self._order, calls, strict=True):
            by_layer[number].append(stretch)
        return by_layer

    def glue(self, run: Sequence[Stretch]) -> list[Stretch]:
        """What the entry point executes itself."""
        return [stretch for stretch in run if stretch.function == self._entry]

    def of(self, stretches: Iterable[Stretch]) -> Part:
        """What some stretches executed together."""
        kinds: Counter[Kind] = Counter()
        behind: Counter[Kind] = Counter()
        registers = taken = unaligned = 0
        for stretch in stretches:
            unaligned += stretch.unaligned
            for block in stretch.blocks:
                taken += block.taken
                once = self._events(block.start, block.instructions)
                registers += block.times * once.registers
                for kind, count in once.kinds.items():
                    kinds[kind] += block.times * count
                for kind, count in once.behind.items():
                    behind[kind] += block.times * count
        events = Events(
            kinds=kinds, behind=behind, registers=registers, taken=taken, unaligned=unaligned
        )
        return Part(
            instructions=kinds.total(),
            classes={name: sum(kinds[kind] for kind in row) for name, row in CLASSES.items()},
            taken=taken,
            unaligned=unaligned,
            estimate=self._model.estimate(events),
        )

    def _events_once(self, start: int, instructions: int) -> Events:
        """Of one execution of a block."""
        kinds: Counter[Kind] = Counter()
        behind: Counter[Kind] = Counter()
        registers = 0
        before: Kind | None = None
        data, position = self._code.at(start)
        for _ in range(instructions):
            instruction = decode(data, position)
            kinds[instruction.kind] += 1
            behind[instruction.kind] += cycles.overlaps(instruction.kind, before)
            registers += instruction.registers
            before = instruction.kind
            position += instruction.bytes
        return Events(kinds=kinds, behind=behind, registers=registers, taken=0, unaligned=0)
