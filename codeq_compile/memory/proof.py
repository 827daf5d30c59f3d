# SPDX-License-Identifier: Apache-2.0
"""Proof that a memory plan damages nothing, made without any of the code that made the plan."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from codeq_compile.ir.graph import Graph, Node
from codeq_compile.memory.streams import PlacedStream, Step
from codeq_compile.memory.types import MemoryPlan, Place

Marks = NDArray[np.int64]
"""One element a byte: which byte of which value it holds, or -1."""

_SPACE = 1 << 32
"""More bytes than a value has."""


def prove_no_overlap(graph: Graph, scratch: Mapping[str, int], plan: MemoryPlan) -> None:
    """Run the plan with every byte marked by what it holds; independent of the planning.

    Every value must be whole whenever it is read and at the end, no node may write what it reads
    except where its op allows it, and everything must lie inside its buffer and aligned. Of what
    is executed in rows every row must be made once and in order, and each call must find exactly
    the rows that it reads.

    Raises
    ------
    AssertionError
        The plan is wrong, which is a bug of this module.
    """
    run = _Run(graph, scratch, plan)
    for name in graph.given:
        run.region(name)[:] = run.marks(name)
    streams = {each.stream.first: each for each in plan.streams}
    position = 0
    while position < len(graph.nodes):
        if position in streams:
            run.stream(streams[position])
            position = streams[position].stream.last + 1
        else:
            run.node(graph.nodes[position])
            position += 1
    for name in graph.outputs:
        if plan.io == "caller":
            delivered = plan.places[name] == Place(kind="output", name=name)
            _require(delivered, f'output "{name}" is not in the buffer of the caller')
        _require(_equal(run.region(name), run.marks(name)), f'output "{name}" is damaged')


class _Run:
    """Memory as it is after some nodes."""

    def __init__(self, graph: Graph, scratch: Mapping[str, int], plan: MemoryPlan) -> None:
        self._graph = graph
        self._scratch = scratch
        self._plan = plan
        self._memory = {("arena", ""): np.full(plan.arena_bytes, -1)}
        for kind, tensors in (
            ("input", graph.inputs),
            ("constant", graph.constants),
            ("output", graph.outputs),
        ):
            for name in tensors:
                self._memory[kind, name] = np.full(graph.tensors[name].bytes, -1)
        self._values = {name: number for number, name in enumerate(graph.tensors)}
        self._windows = plan.windows

    def marks(self, tensor: str) -> Marks:
        """What the bytes of a tensor must hold."""
        return self._values[tensor] * _SPACE + np.arange(self._graph.tensors[tensor].bytes)

    def region(self, tensor: str) -> Marks:
        """The bytes where a tensor stands, or its window."""
        place = self._plan.places[tensor]
        name = "" if place.kind == "arena" else place.name
        size = self._graph.tensors[tensor].bytes
        if place.name in self._windows:
            size = self._windows[place.name] * self._row_bytes(tensor)
        return self._slice(self._memory[place.kind, name], place.offset, size)

    def node(self, node: Node) -> None:
        """A node as a whole, or a view."""
        read, written = [self.region(name) for name in node.inputs], self.region(node.output)
        expected = [self.marks(name) for name in node.inputs]
        if node.op.is_view:
            self._check(node, read, expected)
            _require(_same(read[0], written), f'the view "{node.name}" moves its input')
            self._values[node.output] = self._values[node.inputs[0]]
            return
        self._call(node, read, expected, written, self.marks(node.output))

    def stream(self, placed: PlacedStream) -> None:
        """Some nodes, call by call."""
        nodes = self._graph.nodes[placed.stream.first : placed.stream.last + 1]
        by_name = {node.name: node for node in nodes}
        made = dict.fromkeys(by_name, 0)
        for step in placed.steps:
            node, (first, end) = by_name[step.call.layer], step.call.rows
            _require(first == made[node.name], f'"{node.name}" makes its rows out of order')
            made[node.name] = end
            self._step(node, step)
        for node in nodes:
            height = self._graph.output_type(node).shape[0]
            _require(made[node.name] == height, f'"{node.name}" leaves rows out')

    def _step(self, node: Node, step: Step) -> None:
        types = self._graph.input_types(node), self._graph.output_type(node)
        band = node.op.band(node.params, *types, step.call.rows)
        reads = band.reads if band else ()
        _require(reads == step.call.reads, f'"{node.name}" reads other rows')
        if step.dropped and step.kept:
            window = self.region(node.output)
            size = self._row_bytes(node.output)
            old, new = step.dropped * size, step.kept * size
            _require(old + new <= len(window), f'"{node.name}" keeps more rows than it has')
            window[:new] = window[old : old + new].copy()
        read, expected = [], []
        for name, source, rows in zip(node.inputs, step.sources, reads, strict=True):
            read.append(self._rows(name, source, rows[1] - rows[0]))
            expected.append(self._row_marks(name, rows))
        first, end = step.call.rows
        written = self._rows(node.output, step.target, end - first)
        self._call(node, read, expected, written, self._row_marks(node.output, (first, end)))

    def _call(
        self,
        node: Node,
        read: Sequence[Marks],
        expected: Sequence[Marks],
        written: Marks,
        result: Marks,
    ) -> None:
        self._check(node, read, expected)
        for index, data in enumerate(read):
            allowed = index in node.op.overwrites(node.params) and _same(data, written)
            _require(allowed or _disjoint(data, written), f'"{node.name}" overwrites its input')
        if size := self._scratch.get(node.name, 0):
            offset = self._plan.scratch[node.name]
            work = self._slice(self._memory["arena", ""], offset, size)
            apart = all(_disjoint(work, data) for data in (*read, written))
            _require(apart, f'the scratch of "{node.name}" overlaps its tensors')
            work[:] = -1
        written[:] = result

    @staticmethod
    def _check(node: Node, read: Sequence[Marks], expected: Sequence[Marks]) -> None:
        for name, data, marks in zip(node.inputs, read, expected, strict=True):
            _require(_equal(data, marks), f'"{node.name}" finds "{name}" damaged')

    def _rows(self, tensor: str, first: int, count: int) -> Marks:
        size, region = self._row_bytes(tensor), self.region(tensor)
        inside = 0 <= first and (first + count) * size <= len(region)
        _require(inside, f'rows of "{tensor}" leave their window')
        return region[first * size : (first + count) * size]

    def _row_marks(self, tensor: str, rows: tuple[int, int]) -> Marks:
        size = self._row_bytes(tensor)
        return self._values[tensor] * _SPACE + np.arange(rows[0] * size, rows[1] * size)

    def _row_bytes(self, tensor: str) -> int:
        kind = self._graph.tensors[tensor]
        return kind.bytes // kind.shape[0]

    def _slice(self, memory: Marks, offset: int, size: int) -> Marks:
        aligned = offset % self._plan.alignment == 0
        _require(aligned, f"offset {offset} is not aligned to {self._plan.alignment}")
        inside = 0 <= offset <= len(memory) - size
        _require(inside, f"{size} bytes at {offset} leave their buffer")
        return memory[offset : offset + size]


def _require(condition: object, problem: str) -> None:
    # not the statement, which python -O would leave out
    if not condition:
        raise AssertionError(f"wrong memory plan: {problem}")


def _equal(data: Marks, marks: Marks) -> bool:
    return bool(np.array_equal(data, marks))


def _same(a: Marks, b: Marks) -> bool:
    """Whether two slices are the same bytes."""
    return a.ctypes.data == b.ctypes.data and a.size == b.size


def _disjoint(a: Marks, b: Marks) -> bool:
    # both are runs of neighbours: their bounds tell
    return not np.may_share_memory(a, b)
