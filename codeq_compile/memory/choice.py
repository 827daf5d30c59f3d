# SPDX-License-Identifier: Apache-2.0
"""Which layers become streams: those that bring the largest sum of live bytes to a bound."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from codeq_compile.ir.graph import Graph
from codeq_compile.memory.lifetimes import lifetimes
from codeq_compile.memory.placement import live_bytes
from codeq_compile.memory.sharing import roots_of
from codeq_compile.memory.streams import Stream, banded, place_stream, schedule
from codeq_compile.memory.types import Io

ROWS = (1, 2, 4, 8)
"""Rows that a call computes at most."""
WORTH = 0.9
"""What an arena must shrink to if layers are to pay for it in instructions."""

Scratch = Callable[[Stream], Mapping[str, int] | None]
"""Bytes by layer in a stream; None where a kernel cannot compute its rows."""


def choose_streams(
    graph: Graph,
    scratch: Mapping[str, int],
    scratch_in: Scratch,
    alignment: int,
    io: Io,
    enough: int = 0,
) -> tuple[Stream, ...]:
    """The streams with which the fewest bytes are alive at once; none where that saves little.

    Of equally good ones those that decode the fewest weights.

    Parameters
    ----------
    graph : Graph
    scratch : mapping of str to int
        Bytes by layer, where it is executed as a whole.
    scratch_in : callable
    alignment, io
        As in `plan_memory`.
    enough : int
        Bytes below which nothing is gained.
    """
    return _Choice(graph, scratch, scratch_in, alignment, io).streams(enough)


class _Choice:
    """Every candidate with its bytes."""

    def __init__(
        self,
        graph: Graph,
        scratch: Mapping[str, int],
        scratch_in: Scratch,
        alignment: int,
        io: Io,
    ) -> None:
        self._graph = graph
        self._scratch = scratch
        self._scratch_in = scratch_in
        self._alignment = alignment
        self._io = io
        whole = lifetimes(graph, scratch, roots_of(graph), (), alignment, io)
        self._buffers = whole
        self._whole = live_bytes(whole, len(graph.nodes))
        self._weights = {
            node.name: node.weights.codes.size if node.weights is not None else 0
            for node in graph.nodes
        }

    def streams(self, enough: int) -> tuple[Stream, ...]:
        limit = max(int(WORTH * max(self._whole, default=0)), enough)
        finest: dict[tuple[int, int], float] = {}
        bound: float = max(self._whole, default=0)
        for around, *span in sorted(self._spans(limit)):
            if around > max(bound, enough):
                break  # nor does any other span serve: what stands around it is too much
            first, last = span
            finest[first, last] = self._peak(schedule(self._graph, first, last, ROWS[0]))
            bound = self._bound(finest)
        bound = max(bound, enough)
        if bound > limit:
            return ()
        fitting = [
            (first, last)
            for (first, last), peak in finest.items()
            if peak <= bound < max(self._whole[first : last + 1])
        ]
        return self._least_work([self._coarsest(*span, bound) for span in fitting], bound)

    def _spans(self, limit: int) -> Iterator[tuple[int, int, int]]:
        """Bytes that stand around neighbours which can be computed in rows; the neighbours."""
        nodes = self._graph.nodes
        by_rows = [banded(self._graph, node, (0, 1)) is not None for node in nodes]
        for first, last in itertools.combinations(range(len(nodes)), 2):
            if (
                all(by_rows[first : last + 1])
                and max(self._whole[first : last + 1]) > limit // 2
                and (around := self._around(first, last)) <= limit
            ):
                yield around, first, last

    def _around(self, first: int, last: int) -> int:
        """Bytes of tensors that stand whole while some nodes are executed."""
        return sum(
            buffer.bytes
            for buffer in self._buffers
            if buffer.first <= last
            and buffer.last >= first
            and not first <= buffer.first <= buffer.last <= last
        )

    def _peak(self, stream: Stream) -> float:
        """Most bytes alive while a stream is executed."""
        own = self._scratch_in(stream)
        if own is None:
            return math.inf
        roots = roots_of(self._graph, [stream])
        placed = place_stream(self._graph, stream, roots)
        scratch = {**self._scratch, **own}
        buffers = lifetimes(self._graph, scratch, roots, [placed], self._alignment, self._io)
        live = live_bytes(buffers, len(self._graph.nodes))
        return max(live[stream.first : stream.last + 1])

    def _bound(self, peaks: Mapping[tuple[int, int], float]) -> float:
        """The least peak of all nodes, each executed as a whole or in one stream."""
        least: list[float] = [0]
        for position, whole in enumerate(self._whole):
            ways = [max(least[position], whole)]
            ways += [
                max(least[first], peak) for (first, last), peak in peaks.items() if last == position
            ]
            least.append(min(ways))
        return least[-1]

    def _coarsest(self, first: int, last: int, bound: float) -> Stream:
        """The stream of neighbours with the most rows a call that stays within a bound."""
        finest, *others = (schedule(self._graph, first, last, rows) for rows in ROWS)
        fitting = (stream for stream in reversed(others) if self._peak(stream) <= bound)
        return next(fitting, finest)

    def _least_work(self, streams: Sequence[Stream], bound: float) -> tuple[Stream, ...]:
        """Streams for all nodes that need one, so that the fewest weights are decoded."""
        best: list[tuple[float, tuple[Stream, ...]]] = [(0, ())]
        for position, whole in enumerate(self._whole):
            work, chosen = best[position]
            ways = [(work + self._work([self._graph.nodes[position].name]), chosen)]
            if whole > bound:
                ways = []
            for stream in (stream for stream in streams if stream.last == position):
                work, chosen = best[stream.first]
                own = self._work(call.layer for call in stream.calls)
                ways.append((work + own, (*chosen, stream)))
            best.append(min(ways, key=lambda way: way[0], default=(math.inf, ())))
        return best[-1][1]

    def _work(self, calls: Iterable[str]) -> int:
        """Weights that calls of some layers decode, and the calls themselves."""
        return sum(self._weights[layer] + 1 for layer in calls)
