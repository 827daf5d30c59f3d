# SPDX-License-Identifier: Apache-2.0
"""Streams as C: calls with rows of tensors, and loops where they repeat."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from codeq_compile.emit import format as c
from codeq_compile.emit.names import Names
from codeq_compile.emit.pointers import place, scratch
from codeq_compile.ir import Node
from codeq_compile.memory import PlacedStream
from codeq_compile.memory.streams import Step, banded, row_bytes
from codeq_compile.plan import Layer, Plan

_LOOP_SAVES = 3
"""Calls that a loop must save to be shorter to read than they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pointer:
    """Rows of a tensor: `offset` bytes behind `name`; of one that stands whole, or in a window."""

    name: str
    offset: int
    is_whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """A step in C.

    Parameters
    ----------
    layer : Layer
    params : str
        Name of its parameters.
    step : Step
    inputs, output
        Where the rows are.
    row_bytes : int
        Of the output.
    scratch : str
    """

    layer: Layer
    params: str
    step: Step
    inputs: tuple[_Pointer, ...]
    output: _Pointer
    row_bytes: int
    scratch: str

    @property
    def pointers(self) -> tuple[_Pointer, ...]:
        return (*self.inputs, self.output)

    @property
    def pattern(self) -> object:
        """Equal for calls that one statement in a loop can be."""
        windows = [None if each.is_whole else each.offset for each in self.pointers]
        return (self.params, self.step.dropped, self.step.kept, *windows)

    def advance(self, later: "_Call") -> list[int]:
        """Bytes from this call's tensors to those of one of the same pattern."""
        pairs = zip(self.pointers, later.pointers, strict=True)
        return [after.offset - before.offset for before, after in pairs]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """Calls in a row; with a `period` below their number the first so many, again and again."""

    calls: Sequence[_Call]
    period: int

    @property
    def times(self) -> int:
        return len(self.calls) // self.period


def heading(plan: Plan, names: Names, placed: PlacedStream) -> str:
    """One line about a stream."""
    nodes = plan.graph.nodes[placed.stream.first : placed.stream.last + 1]
    first, last = names.layers[nodes[0].name], names.layers[nodes[-1].name]
    rows = placed.stream.rows
    each = "row by row" if rows == 1 else f"at most {rows} rows a call"
    return f"{first}..{last} {each}; windows slide over rows that nobody reads any more"


def statements(plan: Plan, names: Names, placed: PlacedStream) -> list[str]:
    """Lines that execute a stream."""
    layers = {layer.node.name: layer for layer in plan.layers}
    nodes = {node.name: node for node in plan.graph.nodes}
    calls = [
        _call(plan, names, layers[step.call.layer], nodes[step.call.layer], step)
        for step in placed.steps
    ]
    lines: list[str] = []
    for run in _runs(calls):
        lines += [*([""] if lines else []), *_lines(run, names)]
    return lines


def _call(plan: Plan, names: Names, layer: Layer, node: Node, step: Step) -> _Call:
    graph, call = plan.graph, step.call
    band = banded(graph, node, call.rows)
    assert band is not None

    def pointer(tensor: str, row: int) -> _Pointer:
        return _Pointer(
            name=place(plan, names, tensor),
            offset=row * row_bytes(graph, tensor),
            is_whole=plan.memory.places[tensor].name not in plan.memory.windows,
        )

    return _Call(
        layer=layer,
        params=names.params[node.name][band.shape],
        step=step,
        inputs=tuple(map(pointer, node.inputs, step.sources)),
        output=pointer(node.output, step.target),
        row_bytes=row_bytes(graph, node.output),
        scratch=scratch(plan, node),
    )


def _runs(calls: Sequence[_Call]) -> Iterator[_Run]:
    """The calls, what repeats as loops: first the loop that saves most, then what is around it."""
    start, period, times = _longest(calls)
    end = start + period * times
    if (times - 1) * period < _LOOP_SAVES:
        if calls:
            yield _Run(calls=calls, period=len(calls))
        return
    yield from _runs(calls[:start])
    yield _Run(calls=calls[start:end], period=period)
    yield from _runs(calls[end:])


def _longest(calls: Sequence[_Call]) -> tuple[int, int, int]:
    """(start, calls, times) of the loop that saves most calls."""
    patterns = [call.pattern for call in calls]
    best = (0, 1, 1)
    for start in range(len(calls)):
        for period in range(1, (len(calls) - start) // 2 + 1):
            if patterns[start] == patterns[start + period]:
                times = _times(patterns[start:], period)
                if (times - 1) * period > (best[2] - 1) * best[1]:
                    best = (start, period, times)
    return best


def _times(patterns: Sequence[object], period: int) -> int:
    """How often the first `period` patterns follow each other.

    Whole tensors advance by the same bytes each time: equal patterns compute equally many rows.
    """
    first = patterns[:period]
    times = 1
    while patterns[times * period : (times + 1) * period] == first:
        times += 1
    return times


def _lines(run: _Run, names: Names) -> list[str]:
    """A loop, or its calls where there is nothing to repeat."""
    about = _about(run, names)
    if run.times == 1:
        return [*about, *(line for call in run.calls for line in _statements(call, None, 1))]
    once, again = run.calls[: run.period], run.calls[run.period :]
    return [
        *about,
        f"{c.INDENT}for (uint32_t i = 0u; i < {run.times}u; i++) {{",
        *(line for pair in zip(once, again, strict=False) for line in _statements(*pair, 2)),
        f"{c.INDENT}}}",
    ]


def _about(run: _Run, names: Names) -> list[str]:
    """A comment that says which rows of which layers are computed."""
    rows: dict[str, tuple[int, int]] = {}
    for call in run.calls:
        label = names.layers[call.layer.node.name]
        first, end = call.step.call.rows
        rows[label] = (rows.get(label, (first, end))[0], end)
    text = ", ".join(f"{label} {_span(*each)}" for label, each in rows.items())
    return c.wrap(f"rows of {text} */", f"{c.INDENT}/* ", f"{c.INDENT} * ")


def _span(first: int, end: int) -> str:
    return f"{first}..{end - 1}" if end - first > 1 else str(first)


def _statements(call: _Call, again: _Call | None, depth: int) -> list[str]:
    """Lines of a call; in a loop `again` is the same one a turn later."""
    margin, step = c.INDENT * depth, call.step
    moves = call.advance(again) if again else [0] * len(call.pointers)
    *inputs, output = map(_expression, call.pointers, moves)
    count = step.call.rows[1] - step.call.rows[0]
    lines = []
    if step.dropped and step.kept:
        sizes = [str(number * call.row_bytes) for number in (step.dropped, step.kept)]
        lines = c.call(f"{margin}cq_slide", [call.output.name, *sizes], ";")
    arguments = [f"&{call.params}", *inputs, output, call.scratch]
    trace = [str(call.layer.index), output, str(count * call.row_bytes)]
    return [
        *lines,
        *c.call(f"{margin}CQ_TRY({call.layer.kernel.symbol}", arguments, ");"),
        *c.call(f"{margin}CQ_TRACE", trace, ";"),
    ]


def _expression(pointer: _Pointer, move: int) -> str:
    """C that points to some rows, in a loop `move` bytes farther each turn."""
    start = f" + {pointer.offset}" if pointer.offset else ""
    return pointer.name + start + (f" + {move}u * i" if move else "")
