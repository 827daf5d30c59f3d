# SPDX-License-Identifier: Apache-2.0
"""Proof that a memory plan damages nothing, made without any of the code that made the plan."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from codeq_compile.ir.graph import Graph
from codeq_compile.memory.types import MemoryPlan, Place

Marks = NDArray[np.int64]
"""One element a byte: the number of the value it holds, or -1."""


def prove_no_overlap(graph: Graph, scratch: Mapping[str, int], plan: MemoryPlan) -> None:
    """Run the plan with every byte marked by the value it holds; independent of the planning.

    Every value must be whole whenever it is read and at the end, no node may write what it reads
    except where its op allows it, and everything must lie inside its buffer and aligned.

    Raises
    ------
    AssertionError
        The plan is wrong, which is a bug of this module.
    """
    memory = {("arena", ""): np.full(plan.arena_bytes, -1)}
    for kind, tensors in (
        ("input", graph.inputs),
        ("constant", graph.constants),
        ("output", graph.outputs),
    ):
        memory |= {(kind, name): np.full(graph.tensors[name].bytes, -1) for name in tensors}
    values = {name: number for number, name in enumerate(graph.tensors)}

    def region(tensor: str) -> Marks:
        place = plan.places[tensor]
        name = "" if place.kind == "arena" else place.name
        return _slice(memory[place.kind, name], place.offset, graph.tensors[tensor].bytes, plan)

    for name in graph.given:
        region(name)[:] = values[name]
    for node in graph.nodes:
        read, written = [region(name) for name in node.inputs], region(node.output)
        for name, data in zip(node.inputs, read, strict=True):
            _require((data == values[name]).all(), f'"{node.name}" finds "{name}" damaged')
        if node.op.is_view:
            _require(_same(read[0], written), f'the view "{node.name}" moves its input')
            values[node.output] = values[node.inputs[0]]
            continue
        for index, data in enumerate(read):
            allowed = index in node.op.overwrites(node.params) and _same(data, written)
            _require(allowed or _disjoint(data, written), f'"{node.name}" overwrites its input')
        if size := scratch.get(node.name, 0):
            work = _slice(memory["arena", ""], plan.scratch[node.name], size, plan)
            apart = all(_disjoint(work, data) for data in (*read, written))
            _require(apart, f'the scratch of "{node.name}" overlaps its tensors')
            work[:] = -1
        written[:] = values[node.output]
    for name in graph.outputs:
        if plan.io == "caller":
            delivered = plan.places[name] == Place(kind="output", name=name)
            _require(delivered, f'output "{name}" is not in the buffer of the caller')
        _require((region(name) == values[name]).all(), f'output "{name}" is damaged')


def _require(condition: object, problem: str) -> None:
    # not the statement, which python -O would leave out
    if not condition:
        raise AssertionError(f"wrong memory plan: {problem}")


def _slice(memory: Marks, offset: int, size: int, plan: MemoryPlan) -> Marks:
    _require(offset % plan.alignment == 0, f"offset {offset} is not aligned to {plan.alignment}")
    _require(0 <= offset <= len(memory) - size, f"{size} bytes at {offset} leave their buffer")
    return memory[offset : offset + size]


def _same(a: Marks, b: Marks) -> bool:
    """Whether two slices are the same bytes."""
    return a.ctypes.data == b.ctypes.data and a.size == b.size


def _disjoint(a: Marks, b: Marks) -> bool:
    return not np.shares_memory(a, b)
