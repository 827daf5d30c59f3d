# SPDX-License-Identifier: Apache-2.0
"""Plots of a sweep: accuracy against flash and against cost, one line a method, as PNG and SVG."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from codeq_train.sweep import Frontier, reference

COSTS = {
    "bytes": "weights and tables, bytes of flash",
    "macs_done": "multiply-accumulates done",
}
"""Fields of `Group`, and what their axis is called."""
_MARKERS = "osD^vP*Xh"


class Measured(Protocol):
    """A `Spread`."""

    @property
    def mean(self) -> float: ...

    @property
    def sd(self) -> float: ...


class Drawable(Protocol):
    """What a `Group` and a record of one have in common; its costs are named in `COSTS`."""

    @property
    def method(self) -> str: ...

    @property
    def search(self) -> int | None: ...

    @property
    def seeds(self) -> Sequence[int]: ...

    @property
    def test(self) -> Measured: ...


def draw(frontier: Frontier, directory: Path) -> list[Path]:
    """Write ``accuracy_<cost>.png`` and ``.svg`` for every cost.

    Parameters
    ----------
    frontier : Frontier
    directory : Path

    Returns
    -------
    list of Path
        What was written; nothing where no run is finished.
    """
    if not frontier.groups:
        return []
    written = []
    for cost in COSTS:
        drawn = figure(frontier.recipe, frontier.groups, reference(frontier), cost)
        for suffix in ("png", "svg"):
            path = directory / f"accuracy_{cost}.{suffix}"
            save(drawn, path)
            written.append(path)
    return written


def save(drawn: Figure, path: Path) -> None:
    """Write a figure as its suffix says, the same figure always as the same bytes."""
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    with mpl.rc_context({"svg.hashsalt": path.stem}):  # otherwise ids are random
        drawn.savefig(path, dpi=150, metadata=metadata)


def figure(
    title: str, groups: Sequence[Drawable], base: Measured | None, cost: str = "bytes"
) -> Figure:
    """Accuracy against a cost, one line a method.

    Parameters
    ----------
    title : str
    groups : sequence of Group
        At least one.
    base : Spread, optional
        Accuracy of the float networks.
    cost : str
        A key of `COSTS`, and a field of each group.
    """
    # not pyplot: no display, no state between figures
    drawn = Figure(figsize=(7.0, 4.5), layout="constrained")
    FigureCanvasAgg(drawn)
    axes = drawn.add_subplot()
    by_method: dict[str, list[Drawable]] = {}
    for group in groups:
        by_method.setdefault(group.method, []).append(group)
    for number, (method, own) in enumerate(by_method.items()):
        _line(axes, method, own, cost, number)
    if base is not None:
        axes.axhline(100 * base.mean, color="black", linestyle="--", linewidth=1, label="float")
        axes.axhspan(100 * (base.mean - base.sd), 100 * (base.mean + base.sd), alpha=0.1, color="k")
    seeds = max(len(group.seeds) for group in groups)
    spread = f", mean ± sd of {seeds} seeds" if seeds > 1 else ""
    axes.set_xlabel(COSTS[cost])
    axes.set_ylabel(f"test accuracy of the integers in %{spread}")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return drawn


def _line(axes: Axes, method: str, groups: Sequence[Drawable], cost: str, number: int) -> None:
    """The grid as a line with error bars, the search as points of the same color."""
    color, marker = f"C{number % 10}", _MARKERS[number % len(_MARKERS)]
    grid = sorted(
        (group for group in groups if group.search is None),
        key=lambda group: float(getattr(group, cost).mean),
    )
    axes.errorbar(
        [getattr(group, cost).mean for group in grid],
        [100 * group.test.mean for group in grid],
        xerr=[getattr(group, cost).sd for group in grid],
        yerr=[100 * group.test.sd for group in grid],
        label=method,
        color=color,
        marker=marker,
        markersize=4,
        capsize=2,
        linewidth=1,
    )
    search = [group for group in groups if group.search is not None]
    axes.scatter(
        [getattr(group, cost).mean for group in search],
        [100 * group.test.mean for group in search],
        color=color,
        marker=marker,
        s=10,
        alpha=0.4,
    )
