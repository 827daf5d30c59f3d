# SPDX-License-Identifier: Apache-2.0
"""What a memory plan says: buffers of the arena, places of tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from codeq_compile.memory.streams import PlacedStream

Io = Literal["caller", "arena"]
"""Where inputs and outputs of a model stand: in buffers of the caller, or in the arena."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """Bytes of the arena that are one thing for a while.

    Parameters
    ----------
    name : str
        First tensor that stands here; the layer's name for scratch.
    bytes : int
        Rounded up to the alignment.
    first, last : int
        Positions of the nodes from which and to which the bytes are needed, both included.
    tensors : tuple of str
        All tensors that stand here in turn (views, in place); none for scratch.
    offset : int
        In the arena.
    """

    name: str
    bytes: int
    first: int
    last: int
    tensors: tuple[str, ...] = ()
    offset: int = 0

    @property
    def is_scratch(self) -> bool:
        return not self.tensors

    @property
    def end(self) -> int:
        return self.offset + self.bytes

    def meets(self, other: "Buffer") -> bool:
        """Whether both are alive at one node."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a tensor is.

    Parameters
    ----------
    kind : {"input", "output", "constant", "arena"}
        Buffer of the caller, a table in flash, or a part of the arena.
    name : str
        The graph input, output or constant whose bytes they are; the `Buffer` for the arena.
    offset : int
        In the arena; 0 elsewhere.
    """

    kind: Literal["input", "output", "constant", "arena"]
    name: str
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """Places of all tensors and of all scratch.

    Parameters
    ----------
    places : mapping of str to Place
        By tensor.
    scratch : mapping of str to int
        Offset in the arena by layer name; layers without scratch are absent.
    buffers : tuple of Buffer
        What is in the arena, by offset.
    arena_bytes : int
    lower_bound : int
        Most bytes alive at one node: no plan with the same in-place decisions is smaller.
    peak : int
        Position of that node.
    is_optimal : bool
        True if `arena_bytes` is proved to be the minimum.
    alignment : int
        Of every offset, and of the arena itself, in bytes.
    io : {"caller", "arena"}
        Where inputs and outputs stand.
    streams : tuple of PlacedStream
        In order of execution; they hold no node twice.
    """

    places: Mapping[str, Place]
    scratch: Mapping[str, int]
    buffers: tuple[Buffer, ...]
    arena_bytes: int
    lower_bound: int
    peak: int
    is_optimal: bool
    alignment: int
    io: Io = "caller"
    streams: tuple[PlacedStream, ...] = ()

    @property
    def windows(self) -> dict[str, int]:
        """Rows of the buffers that hold but a part of their tensors."""
        return {name: rows for each in self.streams for name, rows in each.windows.items()}

    @property
    def slides(self) -> bool:
        """Whether rows are ever moved."""
        return any(step.dropped and step.kept for each in self.streams for step in each.steps)

    def room(self, position: int) -> int:
        """Most bytes in a row that scratch of the node at `position` finds in this arena."""
        alive = sorted(
            (buffer.offset, buffer.end)
            for buffer in self.buffers
            if not buffer.is_scratch and buffer.first <= position <= buffer.last
        )
        gaps, free = [0], 0
        for start, end in alive:
            gaps.append(start - free)
            free = max(free, end)
        return max(*gaps, self.arena_bytes - free)
