# SPDX-License-Identifier: Apache-2.0
"""The commands `codeq demo` and `codeq train`: a progress bar, then the library and its report."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click
import msgspec
import torch
from click.core import ParameterSource
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from codeq_compile import target as targets
from codeq_compile.budgets import parse_count
from codeq_compile.build import tools
from codeq_compile.cli import budget, json_option, show
from codeq_compile.emit import check_output
from codeq_compile.errors import InputError
from codeq_compile.report import table
from codeq_train.config import load_config
from codeq_train.loop import Precision, launch
from codeq_train.methods import METHODS
from codeq_train.recipes import RECIPES, scheduled
from codeq_train.recipes import recipe as recipes
from codeq_train.recipes.demo import demo as demo_recipe
from codeq_train.recipes.recipe import Recipe, Run

BOARD_SAMPLES = 24


def count(text: str) -> int:
    """An option's number; see `budgets.parse_count`."""
    try:
        return parse_count(text)
    except InputError as error:
        raise click.BadParameter(str(error)) from error


def target_option(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Where the result is checked: a board, or this machine alone."""
    return click.option(
        "--target",
        "target_name",
        default=default,
        show_default=True,
        metavar="T",
        help="Board to compile for and to check on; see `codeq targets`.",
    )


samples_option = click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=BOARD_SAMPLES,
    show_default=True,
    metavar="N",
    help="Test samples to run on the board; on this machine all of them run.",
)
precision_option = click.option(
    "--precision",
    type=click.Choice(["32-true", "bf16-mixed"]),
    default="32-true",
    show_default=True,
    help="bf16-mixed is faster where the processor has it; the last phase stays at 32.",
)
device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto: a GPU where there is one.",
)
threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Of torch; these networks gain little, and one gives the same sums everywhere.",
)
epochs_option = click.option(
    "--epochs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Epochs on the grids in place of the recipe's; those with frozen zeros in proportion.",
)
float_epochs_option = click.option(
    "--float-epochs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Epochs before that, in float, in place of the recipe's.",
)


def options(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What all recipes take; `name` is the folder below ``runs/``.

    A budget on the command line stands in place of all those of the recipe.
    """
    added = (
        click.option(
            "-o",
            "--output",
            type=click.Path(path_type=Path),
            default=Path("runs") / name,
            show_default=True,
            help="Folder to write.",
        ),
        target_option("mps2_an386"),
        samples_option,
        click.option(
            "--config",
            "settings_file",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Quantization settings (YAML) in place of the recipe's; their board, too.",
        ),
        click.option(
            "--method",
            type=click.Choice([*METHODS]),
            metavar="M",
            help=f"In place of the recipe's: {', '.join(METHODS)}; see docs/METHODS.md.",
        ),
        click.option(
            "--structure",
            metavar="S",
            help="Weights that become 0 together: channel (for --ram), 1x16, or 2:4 and the like.",
        ),
        epochs_option,
        float_epochs_option,
        budget("--weights", "weights and tables"),
        budget("--flash", "the whole linked image without vector table and start-up"),
        budget("--ram", "the arena with scratch, input and output; checked before training too"),
        click.option(
            "--instructions",
            type=count,
            metavar="N",
            help="Limit of one inference on the target, predicted; K and M count by 1000.",
        ),
        click.option(
            "--packing",
            type=click.Choice(["auto", "small"]),
            metavar="P",
            help="small: prefix codes too, so that a budget holds more weights, read more slowly.",
        ),
        click.option("--seed", type=int, default=0, show_default=True),
        click.option(
            "--resume",
            is_flag=True,
            help="Continue a run that was stopped; its checkpoints are in OUTPUT.training.",
        ),
        click.option(
            "--teacher",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="float.pt of another run of this recipe and seed, in place of a float phase.",
        ),
        precision_option,
        device_option,
        click.option(
            "--devices",
            type=click.IntRange(min=1),
            default=1,
            show_default=True,
            metavar="N",
            help="Processes, a device each; torchrun decides itself.",
        ),
        click.option("--log", is_flag=True, help="TensorBoard logs, in OUTPUT.training/log."),
        threads_option,
        json_option,
    )

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(added):
            command = option(command)
        return command

    return add


@click.command("demo")
@options("demo")
def demo(**settings: Any) -> None:
    """Train, compile, check and run the smartwatch example.

    Recognises seven physiotherapy exercises from acceleration and turn rate; needs no data but what
    is installed.
    """
    _run(demo_recipe, "codeq demo", **settings)


@click.group("train")
def train() -> None:
    """Train a recipe; then compile, check and run it as `codeq demo` does."""


def _command(name: str) -> click.Command:
    """`codeq train NAME`, for a name of `RECIPES`."""
    entry = RECIPES[name]

    @click.command(name, help=entry.title)
    @click.option(
        "--data",
        "directory",
        required=True,
        type=click.Path(path_type=Path),
        metavar="DIR",
        help=f"With {entry.files}; see docs/RECIPES.md.",
    )
    @click.option(
        "--full",
        is_flag=True,
        help=f"The full schedule, {entry.full} times as many epochs: better with a GPU.",
    )
    @options(name)
    def command(directory: Path, full: bool, **settings: Any) -> None:
        _run(
            lambda: RECIPES[name].read(directory, full=full),
            f"codeq train {name} --data {directory.name}{' --full' if full else ''}",
            **settings,
        )

    return command


for _name in RECIPES:
    train.add_command(_command(_name))


def _run(
    make: Callable[[], Recipe],
    command: str,
    *,
    output: Path,
    target_name: str,
    samples: int,
    settings_file: Path | None,
    method: str | None,
    structure: str | None,
    epochs: int | None,
    float_epochs: int | None,
    packing: str | None,
    seed: int,
    resume: bool,
    teacher: Path | None,
    precision: Precision,
    device: str,
    devices: int,
    log: bool,
    threads: int,
    as_json: bool,
    **limits: int | None,
) -> None:
    started = time.monotonic()
    settings = None if settings_file is None else load_config(settings_file)
    source = click.get_current_context().get_parameter_source("target_name")
    if settings is not None and source is ParameterSource.DEFAULT:
        target_name = settings.budgets.target
    require_tools(target_name)
    check_output(output)
    torch.set_num_threads(threads)
    recipe = scheduled(make(), epochs, float_epochs)
    command += as_typed(epochs=epochs, float_epochs=float_epochs)
    if settings is not None and settings_file is not None:
        recipe = replace(recipe, config=settings)
        command += f" --config {settings_file.name}"
    if method is not None:
        recipe = recipes.with_method(recipe, method)
        command += f" --method {method}"
    if structure is not None:
        recipe = recipes.with_structure(recipe, structure)
        command += f" --structure {structure}"
    given = {name: limit for name, limit in limits.items() if limit is not None}
    recipe = _limited(recipe, given, packing, target_name)
    command += as_typed(
        **given,
        packing=packing,
        target=None if source is ParameterSource.DEFAULT else target_name,
        precision=None if precision == "32-true" else precision,
    )
    checkpoints = output.with_name(f"{output.name}.training")
    if not resume:
        _spare(checkpoints)
    fabric = launch(accelerator=device, devices=devices)
    run = Run(
        directory=checkpoints,
        resume=resume,
        teacher=teacher,
        log=log,
        precision=precision,
        fabric=fabric,
    )
    if resume and fabric.is_global_zero and not _has_checkpoint(run):
        click.echo(f"there is nothing to resume in {run.directory}: starting anew", err=True)
    with _stoppable(run), Bar(recipe, silent=not fabric.is_global_zero) as bar:
        trained = recipes.train(recipe, seed=seed, on_progress=bar.advance, run=run)
        if not fabric.is_global_zero:
            return
        bar.say("compiling, checking")
        report = recipes.deliver(
            recipe,
            trained,
            output,
            target=target_name,
            board_samples=samples,
            command=f"{command} --seed {seed}",
        )
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report), indent=2))
        return
    show(*table.report_tables(report))
    differing = sum(check.bytes_differing for check in report.checks)
    compared = sum(check.bytes_compared for check in report.checks)
    click.echo(f"{differing} differing bytes of {compared} compared")
    click.echo(f"{output} holds the library; {time.monotonic() - started:.0f} s in all")


@contextmanager
def _stoppable(run: Run) -> Iterator[None]:
    """Say on Ctrl-C that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt:
        if _has_checkpoint(run):
            click.echo(
                f"stopped: --resume goes on from the last epoch in {run.directory}", err=True
            )
        raise


def _spare(checkpoints: Path) -> None:
    """A forgotten option must not write over hours of training."""
    where = recipes.unfinished(checkpoints)
    if where is not None:
        raise InputError(
            f"{checkpoints} holds an unfinished run ({where}): --resume goes on with it; to start "
            "anew, remove the folder or give another -o, where --teacher takes a finished "
            f"{checkpoints / 'float.pt'}"
        )


def _has_checkpoint(run: Run) -> bool:
    return run.directory is not None and any(run.directory.glob("*.pt"))


def _limited(recipe: Recipe, given: Mapping[str, int], packing: str | None, target: str) -> Recipe:
    """The recipe with the budgets that were given, if any, for the board that was chosen."""
    budgets = recipe.config.budgets
    if given:
        budgets = budgets.only(given)
    if budgets.flash is not None and targets.load(target).is_host:
        raise InputError(f'"{target}" has no linked image: a flash budget needs a board')
    packing = packing or budgets.packing
    budgets = msgspec.structs.replace(budgets, target=target, packing=packing)
    return replace(recipe, config=msgspec.structs.replace(recipe.config, budgets=budgets))


def as_typed(**values: int | str | None) -> str:
    """Options as they are typed, without those that nobody gave."""
    given = ((name.replace("_", "-"), n) for name, n in values.items() if n is not None)
    return "".join(f" --{name} {n}" for name, n in given)


def require_tools(target_name: str) -> None:
    """The bad news about a missing compiler must not come after the training.

    Raises
    ------
    InputError
        There is no such target.
    ToolError
        With what to install.
    """
    board = targets.load(target_name)
    tools.host_cc()
    if not board.is_host:
        tools.arm_cc()
        if board.run is not None and board.run.runner == "pyocd":
            tools.pyocd()
        else:
            tools.emulator()


class _TwoLines(Progress):
    """A bar, and below it what there is to say: both fit into 80 columns."""

    facts = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        yield Text(self.facts, no_wrap=True)


class Bar:
    """Progress on a terminal as two lines that change, elsewhere as a line an epoch; on stderr."""

    def __init__(self, recipe: Recipe, *, silent: bool = False) -> None:
        self._float_epochs = recipe.float_epochs
        self._console = Console(stderr=True)
        self._progress = _TwoLines(
            TextColumn("{task.description:21}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=silent or not self._console.is_terminal,
        )
        self._task = self._progress.add_task(
            "float", total=recipe.float_epochs + recipe.quantized_epochs
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def advance(self, progress: recipes.Progress) -> None:
        """Show one epoch."""
        done = progress.epoch.number + (0 if progress.phase == "float" else self._float_epochs)
        step = f"{progress.phase:9} epoch {progress.epoch.number:2}/{progress.epoch.epochs}"
        self._progress.facts = describe(progress)
        self._progress.update(self._task, completed=done, description=step)
        if not self._console.is_terminal:
            click.echo(f"{step}  {self._progress.facts}", err=True)

    def say(self, step: str) -> None:
        """Show what comes after the last epoch."""
        self._progress.update(self._task, description=step)
        if not self._console.is_terminal:
            click.echo(step, err=True)


def describe(progress: recipes.Progress) -> str:
    """One epoch in one line; accuracies are those of the validation set."""
    epoch = progress.epoch
    facts = [
        f"loss {epoch.loss:.3f}",
        f"accuracy {epoch.accuracy:6.2%}",
    ]
    if progress.phase != "float":
        facts += [
            f"bits {epoch.mean_bits:.2f}",
            f"zeros {epoch.sparsity:.0%}",
            f"weights {epoch.flash_bytes} B",
        ]
    if progress.integers is not None:
        facts.append(f"int8 {progress.integers['accuracy']:.2%}")
    return "  ".join(facts)
