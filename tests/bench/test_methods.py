# SPDX-License-Identifier: Apache-2.0
"""Sweeps of one recipe in several folders come into one table, if their float networks agree."""

import pytest

from tests.bench.figures import MethodFailure, MethodFigure, MethodPoint, Methods, Spread
from tests.bench.methods import merged

FLOAT = Spread(mean=0.9, sd=0.0)


def found(
    *groups: MethodFigure, missing: tuple[str, ...] = (), failed: tuple[str, ...] = ()
) -> Methods:
    points = {name: MethodPoint(method=name, weights=10, seed=0) for name in (*missing, *failed)}
    return Methods(
        recipe="watch",
        groups=groups,
        missing=tuple(points[name] for name in missing),
        failures=tuple(MethodFailure(point=points[name], message="") for name in failed),
    )


def group(method: str, accuracy: float, base: Spread = FLOAT) -> MethodFigure:
    of = Spread(mean=accuracy, sd=0.0)
    return MethodFigure(
        method=method, weights=10, seeds=[0], test=of, balanced=of, float_test=base, bytes=of
    )


def test_what_is_new_joins_what_was_kept_and_takes_the_place_of_its_like() -> None:
    kept = found(group("lsq", 0.8), group("codeq", 0.8), missing=("ecq", "ec2t"), failed=("diffq",))
    both = merged(kept, found(group("codeq", 0.85), group("ecq", 0.7), group("diffq", 0.6)))
    assert {each.method: each.test.mean for each in both.groups} == {
        "lsq": 0.8,
        "codeq": 0.85,
        "ecq": 0.7,
        "diffq": 0.6,
    }
    assert [each.method for each in both.missing] == ["ec2t"]
    assert not both.failures


def test_another_float_network_is_another_table() -> None:
    with pytest.raises(SystemExit, match=r"ecq: seeds .* another float network"):
        merged(found(group("lsq", 0.8)), found(group("ecq", 0.7, Spread(mean=0.91, sd=0.0))))
