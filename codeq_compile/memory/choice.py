# SPDX-License-Identifier: Apache-2.0
"""Which layers become streams: those that make the largest sum of live bytes smallest."""

import itertools
from collections.abc import Callable, Iterator, Mapping

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
    graph: Graph, scratch: Mapping[str, int], scratch_in: Scratch, alignment: int, io: Io
) -> tuple[Stream, ...]:
    """The streams with which the fewest bytes are alive at once; none where that saves little.

    Of equally good ones those with the fewest calls, each with the most rows a call.

    Parameters
    ----------
    graph : Graph
    scratch : mapping of str to int
        Bytes by layer, where it is executed as a whole.
    scratch_in : callable
    alignment, io
        As in `plan_memory`.
    """
    return _Choice(graph, scratch, scratch_in, alignment, io).streams()


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
        self._limit = int(WORTH * max(self._whole, default=0))

    def streams(self) -> tuple[Stream, ...]:
        candidates = {}
        for first, last in self._spans():
            stream = schedule(self._graph, first, last, ROWS[0])
            if (peak := self._peak(stream)) <= self._limit:
                candidates[first, last] = (peak, stream)
        bound = self._bound({span: peak for span, (peak, _) in candidates.items()})
        if bound > self._limit:
            return ()
        fitting = [stream for peak, stream in candidates.values() if peak <= bound]
        return tuple(self._coarser(stream, bound) for stream in self._fewest_calls(fitting, bound))

    def _spans(self) -> Iterator[tuple[int, int]]:
        """Neighbours that can be computed in rows, and stand among few enough other bytes."""
        nodes = self._graph.nodes
        by_rows = [banded(self._graph, node, (0, 1)) is not None for node in nodes]
        for first, last in itertools.combinations(range(len(nodes)), 2):
            if (
                all(by_rows[first : last + 1])
                and max(self._whole[first : last + 1]) > self._limit // 2
                and self._around(first, last) <= self._limit
            ):
                yield first, last

    def _around(self, first: int, last: int) -> int:
        """Bytes of tensors that stand whole while some nodes are executed."""
        return sum(
            buffer.bytes
            for buffer in self._buffers
            if buffer.first <= last
            and buffer.last >= first
            and not first <= buffer.first <= buffer.last <= last
        )

    def _peak(self, stream: Stream) -> int:
        """Most bytes alive while a stream is executed."""
        own = self._scratch_in(stream)
        if own is None:
            return self._limit + 1
        roots = roots_of(self._graph, [stream])
        placed = place_stream(self._graph, stream, roots)
        scratch = {**self._scratch, **own}
        buffers = lifetimes(self._graph, scratch, roots, [placed], self._alignment, self._io)
        live = live_bytes(buffers, len(self._graph.nodes))
        return max(live[stream.first : stream.last + 1])

    def _bound(self, peaks: Mapping[tuple[int, int], int]) -> int:
        """The least peak of all nodes, each executed as a whole or in one stream."""
        least = [0]
        for position, whole in enumerate(self._whole):
            ways = [max(least[position], whole)]
            ways += [
                max(least[first], peak) for (first, last), peak in peaks.items() if last == position
            ]
            least.append(min(ways))
        return least[-1]

    def _fewest_calls(self, streams: list[Stream], bound: int) -> tuple[Stream, ...]:
        """Streams for all nodes that need one."""
        best: list[tuple[float, tuple[Stream, ...]]] = [(0, ())]
        for position, whole in enumerate(self._whole):
            calls, chosen = best[position]
            ways = [(calls + 1 if whole <= bound else float("inf"), chosen)]
            for stream in streams:
                if stream.last == position:
                    calls, chosen = best[stream.first]
                    ways.append((calls + len(stream.calls), (*chosen, stream)))
            best.append(min(ways, key=lambda way: way[0]))
        return best[-1][1]

    def _coarser(self, stream: Stream, bound: int) -> Stream:
        """The same layers with the most rows a call that stay within the bound."""
        for rows in reversed(ROWS[1:]):
            other = schedule(self._graph, stream.first, stream.last, rows)
            if self._peak(other) <= bound:
                return other
        return stream
