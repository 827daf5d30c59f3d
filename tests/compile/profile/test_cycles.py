# SPDX-License-Identifier: Apache-2.0
"""Estimates of cycles: worked out by hand from a table."""

from collections import Counter

import pytest

from codeq_compile import target
from codeq_compile.errors import InputError
from codeq_compile.profile.cycles import Estimate, Events, Model, model, models, overlaps
from codeq_compile.profile.instructions import Kind

TABLE = Model(
    kinds={Kind.LOAD: (1.0, 2.0), Kind.DIVIDE: (2.0, 12.0), Kind.LOAD_MULTIPLE: (0.5, 1.0)},
    overlaps=frozenset({Kind.LOAD}),
    register=(1.0, 1.0),
    taken=(1.0, 3.0),
    unaligned=(0.0, 5.0),
)


def test_an_estimate_is_the_sum_of_what_was_executed() -> None:
    """Every event has its own price; nothing is counted twice."""
    events = Events(
        kinds=Counter({Kind.ALU: 100, Kind.LOAD: 10, Kind.DIVIDE: 1, Kind.LOAD_MULTIPLE: 2}),
        behind=Counter({Kind.LOAD: 4, Kind.ALU: 50}),
        registers=9,
        taken=20,
        unaligned=3,
    )

    low = 100 + 10 * 1 + 2 + 2 * 0.5 + 9 + 20 * 1
    high = 100 + 10 * 2 + 12 + 2 * 1 + 9 + 20 * 3 + 3 * 5
    likely = 100 + (4 * 1 + 6 * 2) + 7 + 2 * 0.75 + 9 + 20 * 2 + 3 * 2.5
    assert Estimate(low=round(low), likely=round(likely), high=high) == TABLE.estimate(events)


def test_a_core_without_overlap_takes_the_middle() -> None:
    """What cannot be told from the instruction before it is as likely this as that."""
    table = Model(
        kinds={Kind.LOAD: (1.0, 3.0)},
        overlaps=frozenset(),
        register=(1.0, 1.0),
        taken=(1.0, 1.0),
        unaligned=(0.0, 0.0),
    )
    loads = Events(kinds={Kind.LOAD: 10}, behind={Kind.LOAD: 10}, registers=0, taken=0, unaligned=0)

    assert Estimate(low=10, likely=20, high=30) == table.estimate(loads)


@pytest.mark.parametrize(
    ("kind", "before", "expected"),
    [
        (Kind.LOAD, Kind.LOAD, True),
        (Kind.STORE, Kind.LOAD, True),
        (Kind.LOAD, Kind.ALU, False),
        (Kind.LOAD, None, False),
        (Kind.ALU, Kind.ALU, False),
        (Kind.VECTOR_MULTIPLY, Kind.VECTOR_LOAD, True),
        (Kind.VECTOR_MULTIPLY, Kind.VECTOR_MULTIPLY, False),
        (Kind.VECTOR_LOAD, Kind.ALU, False),
    ],
)
def test_what_overlaps_with_what_stands_before_it(
    kind: Kind, before: Kind | None, expected: bool
) -> None:
    """Loads in a row are pipelined; vector instructions run beside those of another pipe."""
    assert expected == overlaps(kind, before)


def test_every_core_of_a_board_has_a_table() -> None:
    """A board of a new core could be built for and run, and not profiled."""
    cores = {target.load(name).core for name in target.names()} - {"host"}

    assert sorted(cores) == sorted(models())


def test_a_core_without_a_table_is_named() -> None:
    """Whoever adds a board of a new core learns where its table goes."""
    with pytest.raises(InputError, match=r"cycles.toml has no table for cortex-m85: add one"):
        model("cortex-m85")


@pytest.mark.parametrize("core", sorted(models()))
def test_no_range_is_upside_down(core: str) -> None:
    """The estimate would lie outside of its own range."""
    table = model(core)
    ranges = [*table.kinds.values(), table.register, table.taken, table.unaligned]

    assert all(0 <= least <= most for least, most in ranges)
