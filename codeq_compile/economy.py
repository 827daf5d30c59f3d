# SPDX-License-Identifier: Apache-2.0
"""Chooses a way for each layer where ways share code: a kernel that is there already costs nothing
more, one that no other layer needs costs all of itself.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from codeq_compile.kernels import Kernel

Choice = tuple[int, ...]
"""Which of its ways each layer goes."""
Kind = tuple[str, str, str]
"""Family, packing and instruction set: on these depends most of a kernel's code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a layer could be executed.

    Parameters
    ----------
    kernel : Kernel
    bytes : int
        Of weights and tables, with what aligns them.
    instructions : int
        Predicted.
    """

    kernel: Kernel
    bytes: int
    instructions: int

    @property
    def kind(self) -> Kind:
        return self.kernel.family, self.kernel.packing or "", self.kernel.isa


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """What a network takes, or may take.

    Parameters
    ----------
    data : int
        Bytes of weights and tables, with what aligns them.
    flash : int
        With the bytes of the kernels.
    instructions : int
    """

    data: int
    flash: int
    instructions: int

    @property
    def price(self) -> int:
        """A hundredth of the flash is worth a hundredth of the instructions."""
        return self.flash * self.instructions

    def excess(self, most: "Total") -> float:
        """The shares added up by which it is above a limit; 0 within all three."""
        pairs = (
            (self.data, most.data),
            (self.flash, most.flash),
            (self.instructions, most.instructions),
        )
        return sum(own / limit - 1.0 for own, limit in pairs if own > limit)


def worth_trying(ways: Sequence[Way]) -> list[int]:
    """Which ways to look at: the first, and of each kernel those that none is as good as."""
    kept = [0]
    for place in sorted(range(1, len(ways)), key=lambda k: (ways[k].bytes, ways[k].instructions)):
        way = ways[place]
        if all(
            ways[k].kernel != way.kernel
            or (ways[k].bytes, ways[k].instructions) > (way.bytes, way.instructions)
            or ways[k].instructions > way.instructions
            for k in kept
        ):
            kept.append(place)
    return kept


def choose(
    ways: Sequence[Sequence[Way]], code: Callable[[frozenset[Kernel]], int], most: Total
) -> Choice:
    """The ways of least flash times instructions within limits.

    A search by steps, each the best there is: one layer goes another way, or all that have one kind
    of kernel take another kind.  It begins where every layer goes its first way, and again where
    all have one kind of kernel if they can; what is above a limit comes within it before anything
    else.  What is found is never worse than the first ways.

    Parameters
    ----------
    ways : sequence of sequences of Way
        Of each layer.
    code : callable
        Bytes of kernels together.
    most : Total
        What all layers together may take.
    """
    search = _Search(ways, code, most)
    first: Choice = (0,) * len(ways)
    alike = (search.turned(first, set(search.kinds), kind) for kind in search.kinds)
    return min(map(search.descended, dict.fromkeys((first, *alike))), key=search.rank)


class _Search:
    """Choices, their ranks, and the steps between them."""

    def __init__(
        self,
        ways: Sequence[Sequence[Way]],
        code: Callable[[frozenset[Kernel]], int],
        most: Total,
    ) -> None:
        self.ways, self._code, self._most = ways, code, most
        self.kinds = sorted({way.kind for each in ways for way in each})
        self._kernels = list(dict.fromkeys(way.kernel for each in ways for way in each))
        self._figures = [
            [(way.bytes, way.instructions, 1 << self._kernels.index(way.kernel)) for way in each]
            for each in ways
        ]
        self._code_bytes: dict[int, int] = {}

    def rank(self, choice: Choice) -> tuple[float, int]:
        """By what it is above its limits, and its price."""
        data = instructions = linked = 0
        for figures, place in zip(self._figures, choice, strict=True):
            size, count, kernel = figures[place]
            data, instructions, linked = data + size, instructions + count, linked | kernel
        total = Total(data=data, flash=data + self._linked(linked), instructions=instructions)
        return total.excess(self._most), total.price

    def _linked(self, kernels: int) -> int:
        """Bytes of kernels that are a set of bits."""
        if kernels not in self._code_bytes:
            chosen = (kernel for k, kernel in enumerate(self._kernels) if kernels >> k & 1)
            self._code_bytes[kernels] = self._code(frozenset(chosen))
        return self._code_bytes[kernels]

    def descended(self, choice: Choice) -> Choice:
        """Where the best steps lead."""
        now = self.rank(choice)
        while True:
            rank, step = min((self.rank(step), step) for step in self._steps(choice))
            if rank >= now:
                return choice
            now, choice = rank, step

    def _steps(self, choice: Choice) -> Iterator[Choice]:
        """Where one step leads, or none."""
        for layer, each in enumerate(self.ways):
            for place in range(len(each)):
                yield (*choice[:layer], place, *choice[layer + 1 :])
        for old in {each[place].kind for each, place in zip(self.ways, choice, strict=True)}:
            for new in self.kinds:
                yield self.turned(choice, {old}, new)

    def turned(self, choice: Choice, old: set[Kind], new: Kind) -> Choice:
        """Layers whose kernel is of an old kind take the shortest way of the new one, if any."""

        def turned(ways: Sequence[Way], place: int) -> int:
            if ways[place].kind not in old:
                return place
            able = [k for k, way in enumerate(ways) if way.kind == new]
            return min(able, key=lambda k: (ways[k].bytes, ways[k].instructions), default=place)

        return tuple(map(turned, self.ways, choice))
