# SPDX-License-Identifier: Apache-2.0
"""The command `codeq sweep`: many runs of a recipe, then a table, plots and `frontier.json`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
import torch
from rich.console import Console

from codeq_compile.budgets import parse_size
from codeq_compile.cli import json_option, show
from codeq_compile.errors import InputError
from codeq_train import methods, plots
from codeq_train.cli import (
    as_typed,
    describe,
    device_option,
    epochs_option,
    float_epochs_option,
    precision_option,
    require_tools,
    samples_option,
    target_option,
    threads_option,
)
from codeq_train.loop import Precision, launch
from codeq_train.recipes import RECIPES, scheduled
from codeq_train.recipes import recipe as recipes
from codeq_train.recipes.demo import demo
from codeq_train.recipes.recipe import Recipe, Run
from codeq_train.sweep import (
    FILE_NAME,
    Frontier,
    Plan,
    Sweep,
    failure_table,
    frontier_table,
    open_storage,
)

NAMES = ("demo", *RECIPES)


@click.command("sweep")
@click.argument("name", metavar="RECIPE", type=click.Choice(NAMES))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="As for `codeq train RECIPE`; the demo needs none.",
)
@click.option("--full", is_flag=True, help="The recipe's full schedule.")
@epochs_option
@float_epochs_option
@click.option(
    "--weights",
    required=True,
    metavar="BYTES,…",
    help="Budgets of weights and tables: 6K,8K,10K.",
)
@click.option(
    "--methods",
    "names",
    default="codeq,ecq,ecqx,ec2t,diffq,lsq,magnitude",
    show_default=True,
    metavar="M,…",
    help=f"Of {', '.join(methods.METHODS)}.",
)
@click.option("--seeds", default="0", show_default=True, metavar="N,…", help="One run each.")
@click.option(
    "--trials",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Runs of a search over learning rate, pressure and widths, in turn over all methods and "
    "budgets; it sees the validation set only.",
)
@click.option(
    "--storage",
    metavar="URL",
    help="Database that workers share: sqlite:///FILE, postgresql+psycopg://…  "
    "[default: OUTPUT/sweep.db]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder to write.  [default: runs/sweep-RECIPE]",
)
@click.option(
    "--report",
    "report_only",
    is_flag=True,
    help="Train nothing: table, plots and frontier.json of what is finished.",
)
@target_option("host")
@samples_option
@click.option(
    "--heartbeat",
    type=click.IntRange(min=1),
    default=15,
    show_default=True,
    metavar="S",
    help="Seconds between a worker's signs of life; after four missing ones others take over.",
)
@precision_option
@device_option
@threads_option
@json_option
def sweep(
    name: str,
    data: Path | None,
    full: bool,
    epochs: int | None,
    float_epochs: int | None,
    weights: str,
    names: str,
    seeds: str,
    trials: int,
    storage: str | None,
    output: Path | None,
    report_only: bool,
    target_name: str,
    samples: int,
    heartbeat: int,
    precision: Precision,
    device: str,
    threads: int,
    as_json: bool,
) -> None:
    """Train RECIPE with many methods, budgets and seeds, and draw the frontier.

    Start the command again to go on where it was stopped, or several times at once, on any machines
    that share the storage and the folder: every run is finished once. What a choice looks at is the
    validation set; test accuracies are reported only.
    """
    require_tools(target_name)
    torch.set_num_threads(threads)
    plan = Plan(
        methods=tuple(_listed(names)),
        weights=tuple(parse_size(each) for each in _listed(weights)),
        seeds=tuple(_number(each) for each in _listed(seeds)),
        trials=trials,
        target=target_name,
        board_samples=samples,
        heartbeat=heartbeat,
    )
    plan.check()
    given = as_typed(epochs=epochs, float_epochs=float_epochs)
    recipe = scheduled(_recipe(name, data, full), epochs, float_epochs)
    folder = output or Path("runs") / f"sweep-{name}"
    database = open_storage(storage or f"sqlite:///{folder / 'sweep.db'}", heartbeat=heartbeat)
    progress = _Progress()
    run = Run(precision=precision, fabric=launch(accelerator=device, devices=1))
    worker = Sweep(
        recipe,
        plan,
        folder,
        database,
        command=f"codeq sweep {name}{' --full' if full else ''}{given}",
        on_progress=progress.advance,
        say=progress.say,
        run=run,
    )
    with progress, _stoppable():
        found = worker.frontier() if report_only else worker.run()
    drawn = plots.draw(found, folder)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
        return
    _show(found)
    for path in (folder / FILE_NAME, *drawn):
        click.echo(path)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Say on Ctrl-C that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("stopped: the same command goes on from the last epoch", err=True)
        raise


def _recipe(name: str, data: Path | None, full: bool) -> Recipe:
    if name == "demo":
        if data is not None or full:
            raise click.UsageError("the demo brings its data, and has one schedule")
        return demo()
    if data is None:
        raise click.UsageError(f"--data DIR is missing: with {RECIPES[name].files}")
    return RECIPES[name].read(data, full=full)


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _number(text: str) -> int:
    if not re.fullmatch(r"\d+", text):
        raise InputError(f"{text!r} is not a seed such as 0")
    return int(text)


def _show(found: Frontier) -> None:
    show(frontier_table(found))
    if found.failures:
        show(failure_table(found))
    if found.missing:
        click.echo(f"not finished: {', '.join(point.name for point in found.missing)}")


class _Progress:
    """A line a run; on a terminal also the epoch of the present one. On stderr."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._status = self._console.status("") if self._console.is_terminal else None
        self._run = ""

    def __enter__(self) -> None:
        if self._status is not None:
            self._status.start()

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def say(self, line: str) -> None:
        """What happens to a run."""
        self._run = line
        self._console.print(line, highlight=False, markup=False)

    def advance(self, progress: recipes.Progress) -> None:
        """An epoch."""
        if self._status is not None:
            epoch = progress.epoch
            self._status.update(
                f"{progress.phase} {epoch.number}/{epoch.epochs}  {describe(progress)}"
            )
