# SPDX-License-Identifier: Apache-2.0
"""An estimate of cycles from counted instructions: the tables of targets/counter/cycles.toml."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

from codeq_compile.errors import InputError
from codeq_compile.profile.instructions import Kind
from codeq_compile.resources import targets_dir

VECTORS = frozenset({Kind.VECTOR_LOAD, Kind.VECTOR_STORE, Kind.VECTOR_MULTIPLY, Kind.VECTOR_ALU})


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """What was executed, as far as it takes time.

    Parameters
    ----------
    kinds : mapping of Kind to int
        Instructions.
    behind : mapping of Kind to int
        Those of them that stand behind an instruction with which they overlap.
    registers : int
        Words that loads and stores of several registers moved.
    taken : int
        Times that control went elsewhere than on.
    unaligned : int
        Loads and stores at an address that is no multiple of their size.
    """

    kinds: Mapping[Kind, int]
    behind: Mapping[Kind, int]
    registers: int
    taken: int
    unaligned: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Cycles; never measured.

    Parameters
    ----------
    low, likely, high : int
    """

    low: int
    likely: int
    high: int


Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Cycles of one core.

    Parameters
    ----------
    kinds : mapping of Kind to (fewest, most)
        What is absent takes one cycle.
    overlaps : frozenset of Kind
        Take the fewest behind an instruction with which they overlap, else the most.
    register, taken, unaligned : (fewest, most)
    """

    kinds: Mapping[Kind, Range] = field(repr=False)
    overlaps: frozenset[Kind]
    register: Range
    taken: Range
    unaligned: Range

    def estimate(self, events: Events) -> Estimate:
        """Of what was executed; rounded to whole cycles."""
        low = likely = high = 0.0
        for count, (least, most), overlapped in self._terms(events):
            low += count * least
            high += count * most
            if overlapped is None:
                likely += count * (least + most) / 2
            else:
                likely += overlapped * least + (count - overlapped) * most
        return Estimate(low=round(low), likely=round(likely), high=round(high))

    def _terms(self, events: Events) -> Iterable[tuple[int, Range, int | None]]:
        for kind, count in events.kinds.items():
            overlapped = events.behind.get(kind, 0) if kind in self.overlaps else None
            yield count, self.kinds.get(kind, (1.0, 1.0)), overlapped
        yield events.registers, self.register, None
        yield events.taken, self.taken, None
        yield events.unaligned, self.unaligned, None


def overlaps(kind: Kind, before: Kind | None) -> bool:
    """Whether an instruction can overlap with the one before it, on a core where it overlaps."""
    if kind in VECTORS:
        return before in VECTORS and before is not kind
    return kind in {Kind.LOAD, Kind.STORE} and before in {Kind.LOAD, Kind.STORE}


def model(core: str) -> Model:
    """The table of a core.

    Raises
    ------
    InputError
        There is none.
    """
    known = models()
    if core not in known:
        raise InputError(
            f"targets/counter/cycles.toml has no table for {core}: add one, "
            f"as those of {', '.join(known)}"
        )
    return known[core]


@cache
def models() -> dict[str, Model]:
    """All models, by core."""
    path = targets_dir() / "counter" / "cycles.toml"
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return {core: _model(table) for core, table in tables.items()}


def _model(table: dict[str, list[float]]) -> Model:
    rest = dict(table)
    overlapping = rest.pop("overlaps")
    ranges = {name: (float(least), float(most)) for name, (least, most) in rest.items()}
    return Model(
        overlaps=frozenset(map(Kind, map(str, overlapping))),
        register=ranges.pop("register"),
        taken=ranges.pop("taken"),
        unaligned=ranges.pop("unaligned"),
        kinds={Kind(name): bounds for name, bounds in ranges.items()},
    )
