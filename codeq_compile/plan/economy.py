# SPDX-License-Identifier: Apache-2.0
"""Chooses a way for each layer where ways share code: a kernel that is there already costs nothing
more, one that no other layer needs costs all of itself.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from codeq_compile.kernels import Kernel

Choice = tuple[int, ...]
"""Which of its ways each layer goes."""
Rank = tuple[float, int]
Kind = tuple[str, str, str]
"""Family, packing and instruction set: on these depends most of a kernel's code."""
_SIXTEEN = 16
_DRAWN = 8
"""Places from which a search begins besides those that have a reason."""


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

    def is_as_good_as(self, other: "Way") -> bool:
        """The same kernel, with no more bytes and no more instructions."""
        return (
            self.kernel == other.kernel
            and self.bytes <= other.bytes
            and self.instructions <= other.instructions
        )

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

    def excess(self, most: "Total") -> float:
        """The shares added up by which it is above a limit; 0 within all three."""
        pairs = (
            (self.data, most.data),
            (self.flash, most.flash),
            (self.instructions, most.instructions),
        )
        return sum(own / max(1, limit) - 1.0 for own, limit in pairs if own > limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What all layers together should come to.

    Parameters
    ----------
    most : Total
        Limits, which are kept before anything else.
    is_speed : bool
        Few instructions, where flash matters little as long as it is within its limit: all of it
        must save a sixteenth.  Else a hundredth of the flash is worth a hundredth of the
        instructions.
    """

    most: Total
    is_speed: bool = False

    def rank(self, total: Total) -> Rank:
        """Lower is better: what is above the limits, then what is wanted."""
        free = _SIXTEEN * self.most.flash if self.is_speed else 0
        return total.excess(self.most), total.instructions * (free + total.flash)


def worth_trying(ways: Sequence[Way]) -> list[int]:
    """Which ways to look at: the first, and of each kernel those that none is as good as."""
    kept = [0]
    for place in sorted(range(1, len(ways)), key=lambda k: (ways[k].bytes, ways[k].instructions)):
        if not any(ways[k].is_as_good_as(ways[place]) for k in kept):
            kept.append(place)
    return kept


def choose(
    ways: Sequence[Sequence[Way]], code: Callable[[frozenset[Kernel]], int], aim: Aim
) -> Choice:
    """The ways that come nearest to an aim.

    A search by steps: each layer in turn goes the best way that there is beside the others' ways,
    until none has a better one; then all layers that have one kind of kernel take another kind,
    those two for which that is best, and so on.  It begins where every layer goes its first way,
    where each goes its fastest or its shortest, where all have one kind of kernel if they can, and
    in a few places that are drawn, always the same: steps may end where only three kinds together
    would lead on.  What is found is never worse than the first ways.

    Parameters
    ----------
    ways : sequence of sequences of Way
        Of each layer.
    code : callable
        Bytes of kernels together.
    aim : Aim
    """
    search = _Search(ways, code, aim)
    first: Choice = (0,) * len(ways)
    alike = (search.turned(first, set(search.kinds), kind) for kind in search.kinds)
    draw = random.Random(0)
    drawn = (tuple(draw.randrange(len(each)) for each in ways) for _ in range(_DRAWN))
    fastest = search.alone(lambda way: (way.instructions, way.bytes))
    shortest = search.alone(lambda way: (way.bytes, way.instructions))
    starts = dict.fromkeys((first, fastest, shortest, *alike, *drawn))
    return min(map(search.descended, starts), key=search.rank)


class _Search:
    """Choices, their ranks, and the steps between them."""

    def __init__(
        self,
        ways: Sequence[Sequence[Way]],
        code: Callable[[frozenset[Kernel]], int],
        aim: Aim,
    ) -> None:
        self.ways, self._code, self._aim = ways, code, aim
        self.kinds = sorted({way.kind for each in ways for way in each})
        self._code_bytes: dict[frozenset[Kernel], int] = {}

    def alone(self, wanted: Callable[[Way], tuple[int, int]]) -> Choice:
        """Where each layer goes the way that is best for itself."""
        return tuple(
            min(range(len(each)), key=lambda place: wanted(each[place])) for each in self.ways
        )

    def rank(self, choice: Choice) -> Rank:
        """Of a choice, by the aim."""
        taken = [each[place] for each, place in zip(self.ways, choice, strict=True)]
        return self._rank(
            sum(way.bytes for way in taken),
            sum(way.instructions for way in taken),
            frozenset(way.kernel for way in taken),
        )

    def _rank(self, data: int, instructions: int, kernels: frozenset[Kernel]) -> Rank:
        if kernels not in self._code_bytes:
            self._code_bytes[kernels] = self._code(kernels)
        flash = data + self._code_bytes[kernels]
        return self._aim.rank(Total(data=data, flash=flash, instructions=instructions))

    def descended(self, choice: Choice) -> Choice:
        """Where the best steps lead."""
        while True:
            choice = self._settled(choice)
            steps = {
                self.turned(choice, {old}, new)
                for old in {each[k].kind for each, k in zip(self.ways, choice, strict=True)}
                for new in self.kinds
            }
            best = min(sorted(steps), key=self.rank, default=choice)
            if self.rank(best) >= self.rank(choice):
                return choice
            choice = best

    def _settled(self, choice: Choice) -> Choice:
        """Where no layer alone has a better way."""
        places = list(choice)
        data = sum(each[place].bytes for each, place in zip(self.ways, places, strict=True))
        count = sum(each[place].instructions for each, place in zip(self.ways, places, strict=True))
        users = Counter(each[place].kernel for each, place in zip(self.ways, places, strict=True))
        left = len(places)  # layers that have been looked at since the last change
        layer = 0
        while left:
            each, now = self.ways[layer], self.ways[layer][places[layer]]
            users[now.kernel] -= 1
            others = frozenset(+users)
            ranks = [
                self._rank(
                    data - now.bytes + way.bytes,
                    count - now.instructions + way.instructions,
                    others | {way.kernel},
                )
                for way in each
            ]
            best = min(range(len(each)), key=ranks.__getitem__)
            left -= 1
            if ranks[best] < ranks[places[layer]]:
                places[layer], left = best, len(places) - 1
            way = each[places[layer]]
            users[way.kernel] += 1
            data += way.bytes - now.bytes
            count += way.instructions - now.instructions
            layer = (layer + 1) % len(places)
        return tuple(places)

    def turned(self, choice: Choice, old: set[Kind], new: Kind) -> Choice:
        """Layers whose kernel is of an old kind take the shortest way of the new one, if any."""

        def taken(ways: Sequence[Way], place: int) -> int:
            if ways[place].kind not in old:
                return place
            able = [k for k, way in enumerate(ways) if way.kind == new]
            return min(able, key=lambda k: (ways[k].bytes, ways[k].instructions), default=place)

        return tuple(map(taken, self.ways, choice))
