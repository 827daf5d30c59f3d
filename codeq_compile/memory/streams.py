# SPDX-License-Identifier: Apache-2.0
"""Runs of layers that are executed a few rows at a time: the calls, and windows of rows.

Inside of a stream a tensor that nobody else reads exists only as a window: the rows that are still
to be read. Every row is computed once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ir.op import Rows
from codeq_compile.ir.types import TensorType


@dataclass(frozen=True, slots=True, kw_only=True)
class Banded:
    """A layer for some rows of its output.

    Parameters
    ----------
    node : Node
        With the padding and the integers of these rows.
    inputs : tuple of TensorType
        As high as what is read.
    output : TensorType
        As high as what is written.
    reads : tuple of Rows
        Of each input.
    """

    node: Node
    inputs: tuple[TensorType, ...]
    output: TensorType
    reads: tuple[Rows, ...]

    @property
    def shape(self) -> object:
        """Equal for rows that the same parameters serve."""
        return self.node.op, self.inputs, self.output


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a layer's kernel.

    Parameters
    ----------
    layer : str
    rows : Rows
        Of its output.
    reads : tuple of Rows
        Of each input.
    """

    layer: str
    rows: Rows
    reads: tuple[Rows, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Layers that are executed together.

    Parameters
    ----------
    first, last : int
        Positions of its nodes in the graph, both included.
    rows : int
        Most rows of one call.
    calls : tuple of Call
        In order of execution.
    """

    first: int
    last: int
    rows: int
    calls: tuple[Call, ...] = field(repr=False)

    def holds(self, position: int) -> bool:
        return self.first <= position <= self.last


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A call and where its rows stand, counted from the beginning of their buffers.

    Parameters
    ----------
    call : Call
    sources : tuple of int
        Rows before those that are read, for each input.
    target : int
        Rows before those that are written.
    dropped, kept : int
        Before the call `dropped` rows at the beginning of the output's window are given up, and the
        `kept` rows behind them move there.
    """

    call: Call
    sources: tuple[int, ...]
    target: int
    dropped: int
    kept: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedStream:
    """A stream and its windows.

    Parameters
    ----------
    stream : Stream
    steps : tuple of Step
    windows : mapping of str to int
        Rows of each window, by the first tensor that stands in it.
    """

    stream: Stream
    steps: tuple[Step, ...] = field(repr=False)
    windows: Mapping[str, int]


def banded(graph: Graph, node: Node, rows: Rows) -> Banded | None:
    """A layer for some rows of its output; None where it cannot be computed in rows."""
    inputs, output = graph.input_types(node), graph.output_type(node)
    band = node.op.band(node.params, inputs, output, rows)
    if band is None:
        return None
    return Banded(
        node=replace(node, op=band.op, params=band.params),
        inputs=tuple(_as_high(x, each) for x, each in zip(inputs, band.reads, strict=True)),
        output=_as_high(output, rows),
        reads=band.reads,
    )


def distinct_bands(graph: Graph, node: Node, calls: Iterable[Call]) -> list[Banded]:
    """A layer for each different shape of its calls, in order of their first use."""
    alike: dict[object, Rows] = {}
    for call in calls:
        # the padding above depends on the first row where the image's own first row is read; that
        # below follows from it and from the heights
        top = call.rows[0] if any(first == 0 for first, _ in call.reads) else None
        heights = tuple(end - first for first, end in (call.rows, *call.reads))
        alike.setdefault((heights, top), call.rows)
    found: dict[object, Banded] = {}
    for rows in alike.values():
        part = banded(graph, node, rows)
        assert part is not None, f"{node.op.kind} is not computed in rows"
        found.setdefault(part.shape, part)
    return list(found.values())


def _as_high(image: TensorType, rows: Rows) -> TensorType:
    return replace(image, shape=(rows[1] - rows[0], *image.shape[1:]))


def row_bytes(graph: Graph, tensor: str) -> int:
    kind = graph.tensors[tensor]
    return kind.bytes // kind.shape[0]


def schedule(graph: Graph, first: int, last: int, rows: int) -> Stream:
    """The stream of some neighbouring nodes that are all computed in rows.

    The last node asks for its rows from top to bottom, each layer asks for what it reads, and what
    nobody asked for comes at the end. So rows are made as late as possible.

    Parameters
    ----------
    graph : Graph
    first, last : int
        Positions of the nodes, both included.
    rows : int
        Most rows of one call.
    """
    nodes = graph.nodes[first : last + 1]
    made = {node.output: 0 for node in nodes}
    writers = {node.output: node for node in nodes}
    calls: list[Call] = []

    def demand(tensor: str, end: int) -> None:
        node = writers[tensor]
        while made[tensor] < end:
            span = (made[tensor], min(made[tensor] + rows, end))
            types = graph.input_types(node), graph.output_type(node)
            band = node.op.band(node.params, *types, span)
            assert band is not None, f"{node.op.kind} is not computed in rows"
            for name, (_, stop) in zip(node.inputs, band.reads, strict=True):
                if name in writers:
                    demand(name, stop)
            calls.append(Call(layer=node.name, rows=span, reads=band.reads))
            made[tensor] = span[1]

    for node in reversed(nodes):
        demand(node.output, graph.output_type(node).shape[0])
    return Stream(first=first, last=last, rows=rows, calls=tuple(calls))


def still_read(graph: Graph, stream: Stream) -> list[dict[str, int]]:
    """For each call of a stream: the first row of each tensor that it or a later one reads."""
    nodes = {node.name: node for node in graph.nodes[stream.first : stream.last + 1]}
    lowest: dict[str, int] = {}
    found = []
    for call in reversed(stream.calls):
        for name, (first, _) in zip(nodes[call.layer].inputs, call.reads, strict=True):
            lowest[name] = min(first, lowest.get(name, first))
        found.append(dict(lowest))
    return found[::-1]


def place_stream(graph: Graph, stream: Stream, roots: Mapping[str, str]) -> PlacedStream:
    """Windows just large enough, and the rows at which each call finds its tensors there.

    Parameters
    ----------
    graph : Graph
    stream : Stream
    roots : mapping of str to str
        For every tensor the first one that stands in the same bytes.
    """
    nodes = {node.name: node for node in graph.nodes[stream.first : stream.last + 1]}
    seen_outside = {roots[name] for name in _touched_outside(graph, stream)}
    windows = dict.fromkeys({roots[n.output] for n in nodes.values()} - seen_outside, 0)
    made = {node.output: 0 for node in nodes.values()}
    ends = {name: graph.tensors[name].shape[0] for name in made}
    start = dict.fromkeys(roots.values(), 0)
    steps = []
    for call, read in zip(stream.calls, still_read(graph, stream), strict=True):
        node = nodes[call.layer]
        root = roots[node.output]
        dropped = kept = 0
        if root in windows:
            here = [name for name in made if roots[name] == root]
            needed = min(min(read.get(name, ends[name]), made[name]) for name in here)
            dropped = needed - start[root]
            kept = max(0, max(made[name] for name in here) - needed)
            start[root] = needed
            windows[root] = max(windows[root], call.rows[1] - needed, kept)
        steps.append(
            Step(
                call=call,
                sources=tuple(
                    first - start[roots[name]]
                    for name, (first, _) in zip(node.inputs, call.reads, strict=True)
                ),
                target=call.rows[0] - start[root],
                dropped=dropped,
                kept=kept,
            )
        )
        made[node.output] = call.rows[1]
    return PlacedStream(
        stream=stream, steps=tuple(steps), windows={n: windows[n] for n in made if n in windows}
    )


def _touched_outside(graph: Graph, stream: Stream) -> set[str]:
    """Tensors that someone else than the stream writes or reads."""
    tensors = {*graph.given, *graph.outputs}
    for position, node in enumerate(graph.nodes):
        if not stream.holds(position):
            tensors |= {*node.inputs, node.output}
    return tensors
