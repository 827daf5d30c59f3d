# SPDX-License-Identifier: Apache-2.0
"""What all frontends need: bytes of a file, and a graph while it is built."""

import hashlib
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from codeq_compile.errors import Damaged, ModelError, UnsupportedOp
from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ir.op import Array, Op
from codeq_compile.ir.types import Shape, TensorType
from codeq_compile.ops.reshape import Reshape

MAX_FILE_BYTES = 1 << 26

Layer = TypeVar("Layer")


def read_bytes(path: Path) -> bytes:
    """The bytes of a model file.

    Raises
    ------
    ModelError
        It is missing, or larger than any model of a microcontroller.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ModelError(f"larger than {MAX_FILE_BYTES} bytes: not for a microcontroller")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror or error}") from error


def graph_name(path: Path) -> str:
    """A C identifier from a file's name."""
    word = re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_") or "model"
    return word if word[0].isalpha() else f"m_{word}"


def sourced(graph: Graph, path: Path) -> Graph:
    """The graph, with the file that it comes from among its facts."""
    digest = hashlib.sha256(read_bytes(path)).hexdigest()
    return replace(graph, provenance={**graph.provenance, "file": path.name, "sha256": digest})


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say which file it is that is damaged; what is unsupported says so by itself."""
    try:
        yield
    except UnsupportedOp:
        raise
    except ModelError as error:
        kind = Damaged if isinstance(error, Damaged) else ModelError
        raise kind(f"{path}: {error}") from error


class Refusal(Exception):  # noqa: N818  # collected, never shown to a user as it is
    """Why an operator cannot be converted, in words that end a sentence about it."""


class Handlers(dict[str, Callable[[Layer], None]], Generic[Layer]):
    """What converts an operator, by its kind."""

    def handles(self, *kinds: str) -> Callable[[Callable[[Layer], None]], Callable[[Layer], None]]:
        """Decorator: the function converts these kinds of operators."""

        def register(handler: Callable[[Layer], None]) -> Callable[[Layer], None]:
            for kind in kinds:
                assert kind not in self, f"two handlers for {kind}"
                self[kind] = handler
            return handler

        return register


@dataclass(slots=True, kw_only=True)
class Builder:
    """The graph so far."""

    tensors: dict[str, TensorType] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict, init=False)

    def add_tensor(self, name: str, kind: TensorType) -> str:
        """A new tensor of the graph; if its name is taken it gets a number."""
        unique, number = name, self._numbers.get(name, 1)
        while unique in self.tensors:
            number += 1
            unique = f"{name}_{number}"
        self._numbers[name] = number
        self.tensors[unique] = kind
        return unique

    def add_node(self, name: str, kind: TensorType, op: Op[Any], *inputs: str, **data: Any) -> str:
        """A new node, called like the new tensor that it writes."""
        output = self.add_tensor(name, kind)
        self.nodes.append(Node(name=output, op=op, inputs=inputs, output=output, **data))
        return output

    def view(self, name: str, shape: Shape) -> str:
        """The same elements in another shape: a name, after a reshape where one is needed.

        Raises
        ------
        Refusal
            The shape has another number of elements.
        """
        kind = self.tensors[name]
        if kind.shape == shape:
            return name
        if math.prod(shape) != kind.elements:
            raise Refusal(f"{kind} cannot be read as {list(shape)}")
        if name in self.constants:
            self.constants[name] = self.constants[name].reshape(shape)
            self.tensors[name] = replace(kind, shape=shape)
            return name
        stem = f"{name}.{'x'.join(map(str, shape))}"
        return self.add_node(stem, replace(kind, shape=shape), Reshape(shape=shape), name)
