# SPDX-License-Identifier: Apache-2.0
"""Plots of a sweep: files that open, one line a method, the same bytes for the same numbers."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from codeq_train import plots
from codeq_train.sweep import Frontier, groups, reference
from tests.train.test_sweep import outcome


@pytest.fixture
def found() -> Frontier:
    grid = [
        outcome(method, seed=seed, weights=weights, size=weights - 10 * seed, test=0.7 + seed / 50)
        for method in ("codeq", "ecq")
        for weights in (1000, 2000)
        for seed in (0, 1)
    ]
    outcomes = (*grid, outcome("ecq", search=0))
    return Frontier(
        format=1,
        recipe="kws",
        chosen_by="validation set",
        missing=(),
        groups=groups(outcomes),
        failures=(),
        outcomes=outcomes,
    )


def test_both_costs_are_drawn_as_png_and_svg(found: Frontier, tmp_path: Path) -> None:
    """One format for a screen, one for a paper."""
    written = plots.draw(found, tmp_path)

    assert {"accuracy_bytes", "accuracy_macs_done"} == {path.stem for path in written}
    for path in written:
        assert path.read_bytes().startswith(b"\x89PNG" if path.suffix == ".png" else b"<?xml")


@pytest.mark.slow
def test_the_same_numbers_give_the_same_file(found: Frontier, tmp_path: Path) -> None:
    """Plots are kept in repositories: a date in them would be a change every time."""
    first = [path.read_bytes() for path in plots.draw(found, tmp_path)]

    assert first == [path.read_bytes() for path in plots.draw(found, tmp_path)]


def test_a_line_a_method_with_error_bars_and_the_float_reference(found: Frontier) -> None:
    """What a reader compares."""
    figure: Figure = plots.figure(found.recipe, found.groups, reference(found))
    (axes,) = figure.axes
    labels = axes.get_legend_handles_labels()[1]
    (codeq, _) = axes.containers

    assert ["codeq", "ecq", "float"] == sorted(labels)
    assert [995.0, 1995.0] == [float(x) for x in codeq.lines[0].get_xdata()]
    assert codeq.has_xerr
    assert codeq.has_yerr
    assert 2 == len(codeq.lines[2])


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    """A sweep whose runs all failed still ends in a table."""
    empty = Frontier(
        format=1, recipe="kws", chosen_by="", missing=(), groups=(), failures=(), outcomes=()
    )

    assert [] == plots.draw(empty, tmp_path)
