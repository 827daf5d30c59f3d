# SPDX-License-Identifier: Apache-2.0
"""Plots of a sweep: accuracy against flash and against cost, one line a method, as PNG and SVG."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from codeq_train.sweep import Frontier, Group, reference

COSTS = {
    "bytes": "weights and tables, bytes of flash",
    "macs_done": "multiply-accumulates done",
}
"""Fields of `Group`, and what their axis is called."""
_MARKERS = "osD^vP*Xh"


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
    for cost, label in COSTS.items():
        figure = _figure(frontier, cost, label)
        for suffix in ("png", "svg"):
            path = directory / f"accuracy_{cost}.{suffix}"
            # a date or a random id would make every drawing another file
            with mpl.rc_context({"svg.hashsalt": frontier.recipe}):
                metadata = {"Date": None} if suffix == "svg" else {"Software": None}
                figure.savefig(path, dpi=150, metadata=metadata)
            written.append(path)
    return written


def _figure(frontier: Frontier, cost: str, label: str) -> Figure:
    # not pyplot: no display, no state between figures
    figure = Figure(figsize=(7.0, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    by_method: dict[str, list[Group]] = {}
    for group in frontier.groups:
        by_method.setdefault(group.method, []).append(group)
    for number, (method, groups) in enumerate(by_method.items()):
        _line(axes, method, groups, cost, number)
    base = reference(frontier)
    if base is not None:
        axes.axhline(100 * base.mean, color="black", linestyle="--", linewidth=1, label="float")
        axes.axhspan(100 * (base.mean - base.sd), 100 * (base.mean + base.sd), alpha=0.1, color="k")
    seeds = max(len(group.seeds) for group in frontier.groups)
    axes.set_xlabel(label)
    axes.set_ylabel(f"test accuracy of the integers, % (mean ± sd of {seeds})")
    axes.set_title(frontier.recipe)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure


def _line(axes: Axes, method: str, groups: list[Group], cost: str, number: int) -> None:
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
