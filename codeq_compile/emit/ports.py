# SPDX-License-Identifier: Apache-2.0
"""Inputs and outputs as C: parameters and macros."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from codeq_compile.emit import format as c
from codeq_compile.emit.names import Names
from codeq_compile.ir import DType, Graph, TensorType
from codeq_compile.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An input or output of the model.

    Parameters
    ----------
    tensor : str
        The model's own name.
    identifier : str
        Parameter of ``<name>_run``; in capitals part of its macros.
    type : TensorType
    direction : {"input", "output"}
    offset : int, optional
        Of its bytes in the arena; None in a buffer of the caller.
    order : str
        One line about its axes, where it is known to be an image; else empty.
    """

    tensor: str
    identifier: str
    type: TensorType
    direction: Literal["input", "output"]
    offset: int | None = None
    order: str = ""

    @property
    def about(self) -> str:
        """One line for people."""
        head = f'{self.direction} "{c.clip(c.comment(self.tensor), 40)}", {self.type}'
        if self.type.grid is None:
            return f"{head}: plain integers"
        return f"{head}: real value = scale * (q - zero point)"

    @property
    def parameter(self) -> str:
        """Declaration in ``<name>_run``."""
        const = "const " if self.direction == "input" else ""
        return f"{const}{self.type.dtype.c_type} *{self.identifier}"

    def accessor(self, model: str) -> list[str]:
        """Lines of the function that says where it stands in the arena."""
        assert self.offset is not None
        c_type = self.type.dtype.c_type
        place = f"(arena->words + {self.offset // 4})" if self.offset else "arena->words"
        head = f"static inline {c_type} *{model}_{self.identifier}_in"
        return [
            *c.call(head, [f"struct {model}_arena *arena"], ""),
            "{",
            f"{c.INDENT}return ({c_type} *)(void *){place};",
            "}",
        ]

    def place(self, model: str, arena: str) -> str:
        """Call of its accessor."""
        return f"{model}_{self.identifier}_in({arena})"

    @property
    def member(self) -> str:
        """Declaration in a vector of the self-test."""
        return f"{self.type.dtype.c_type} {self.identifier}[{self.type.elements}]"

    @property
    def is_wide(self) -> bool:
        """Its elements need alignment."""
        return self.type.dtype is not DType.S8

    def macros(self, prefix: str) -> list[str]:
        """`#define` lines of its sizes, shape and grid."""
        stem = f"{prefix}_{self.identifier.upper()}"
        shape = ", ".join(map(str, self.type.shape))
        macros = [
            (f"{stem}_BYTES", str(self.type.bytes)),
            (f"{stem}_ELEMENTS", str(self.type.elements)),
            (f"{stem}_RANK", str(len(self.type.shape))),
            (f"{stem}_SHAPE", f"{{{shape}}}"),
        ]
        if self.type.grid is not None:
            scale = np.float32(self.type.scale)
            exact = c.hexadecimal(float(scale))
            macros += [
                (f"{stem}_SCALE", f"{scale!s}f /* exactly {exact} */"),
                (f"{stem}_ZERO_POINT", f"({self.type.zero_point})"),
            ]
        return c.defines(macros)


def ports(plan: Plan, names: Names) -> tuple[list[Port], list[Port]]:
    """Inputs and outputs, in the order of ``<name>_run``."""
    graph = plan.graph

    def port(tensor: str, direction: Literal["input", "output"]) -> Port:
        return Port(
            tensor=tensor,
            identifier=names.tensors[tensor],
            type=graph.tensors[tensor],
            direction=direction,
            offset=plan.memory.places[tensor].offset if plan.memory.io == "arena" else None,
            order=_order(graph, tensor),
        )

    return (
        [port(tensor, "input") for tensor in graph.inputs],
        [port(tensor, "output") for tensor in graph.outputs],
    )


def _order(graph: Graph, tensor: str) -> str:
    """What the axes are: an importer may have turned them, a trainer says how."""
    axes = graph.provenance.get(f"axes of {tensor}", "").split()
    is_turned = len(axes) == 3 and axes != sorted(axes)
    is_image = any(
        node.op.kind.endswith("2d") for node in graph.nodes if tensor in (*node.inputs, node.output)
    )
    if len(graph.tensors[tensor].shape) != 3 or not (is_turned or is_image):
        return ""
    trained = f", which are axes {c.clip(c.comment(' '.join(axes)), 20)} of the trained model's"
    return f"Its axes are h, w, c{trained if is_turned else ''}."
