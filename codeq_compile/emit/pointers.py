# SPDX-License-Identifier: Apache-2.0
"""Where tensors and scratch are, as C expressions in the body of `<name>_run`."""

from codeq_compile.emit.names import Names
from codeq_compile.ir import Node
from codeq_compile.plan import Plan


def at(offset: int) -> str:
    """Pointer into the arena."""
    return f"bytes + {offset}" if offset else "bytes"


def place(plan: Plan, names: Names, tensor: str) -> str:
    """Pointer to a tensor, or to its window."""
    where = plan.memory.places[tensor]
    return names.buffers[where.name] if where.kind == "arena" else names.tensors[where.name]


def scratch(plan: Plan, node: Node) -> str:
    """Pointer to the scratch of a layer."""
    offsets = plan.memory.scratch
    return at(offsets[node.name]) if node.name in offsets else "NULL"
