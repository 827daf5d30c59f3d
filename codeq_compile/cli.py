# SPDX-License-Identifier: Apache-2.0
"""The command `codeq`: options in, one call, a table or JSON out. No logic lives here."""

import contextlib
import dataclasses
import difflib
import importlib.metadata
import json
import os
import signal
import sys
import threading
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource
from rich.console import Console

import codeq_compile
from codeq_compile import arrays, budgets, inspection, kernels, manifest, passes, target
from codeq_compile import explain as explanations
from codeq_compile.build import firmware, tools
from codeq_compile.build import run as boards
from codeq_compile.check import SAMPLES, CheckResult, check
from codeq_compile.coarsen import coarsen, compare
from codeq_compile.errors import CodeqError, InputError, ToolError
from codeq_compile.ir import serial
from codeq_compile.ir.op import Array
from codeq_compile.memory import Io
from codeq_compile.plan import AUTO, SMALL, Streaming
from codeq_compile.profile import SAMPLES as PROFILE_SAMPLES
from codeq_compile.profile import Profile, Timing, profile
from codeq_compile.report import collect, table
from codeq_compile.simulate import simulate

PLUGINS = "codeq.commands"
"""Entry points that add commands; one is loaded only when its command is started."""

# Short help of the commands in codeq_train: asking that package for it would import torch.
PLUGIN_HELP = {
    "demo": "Train, compile, check and run the smartwatch example.",
    "sweep": "Train RECIPE with many methods, budgets and seeds, and draw the frontier.",
    "train": "Train a recipe; then compile, check and run it as `codeq demo` does.",
}
PLUGIN_EXTRAS = {"sweep": "demo,sweep"}
"""What a command needs installed, where that is more than "demo"."""

EXIT_CODES = """\b
Exit codes:
  0  all is well
  1  the model could not be converted
  2  a file, an option or the model itself is wrong
  3  it does not fit into the given flash, weights or RAM
  4  simulation and C disagree
  5  a compiler, an emulator or a debugger is missing or failed
"""

_JSON = "codeq_compile.cli.json"


def size(text: str) -> int:
    """An option's bytes; see `budgets.parse_size`."""
    try:
        return budgets.parse_size(text)
    except InputError as error:
        raise click.BadParameter(str(error)) from error


class Commands(click.Group):
    """The commands of this module, and those that other packages add by entry point."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        plugins = importlib.metadata.entry_points(group=PLUGINS)
        return [*sorted({plugin.name for plugin in plugins}), *self.commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            return command
        plugins = importlib.metadata.entry_points(group=PLUGINS, name=cmd_name)
        return _load(next(iter(plugins))) if plugins else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.list_commands(ctx) and not name.startswith("-"):
            near = difflib.get_close_matches(name, self.list_commands(ctx))
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            ctx.fail(f"There is no command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Names and short help, without loading what an entry point names."""
        rows = []
        for name in self.list_commands(ctx):
            command = self.commands.get(name)
            text = command.get_short_help_str(100) if command else PLUGIN_HELP.get(name, "")
            rows.append((name, text))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # a mistake in the options is met before any option is read, `--json` included
        ctx.meta[_JSON] = "--json" in args
        with _answered(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what is the user's to mend becomes a message and an exit code."""
        with _answered(ctx), _unwound_when_terminated():
            return super().invoke(ctx)


@contextlib.contextmanager
def _answered(ctx: click.Context) -> Iterator[None]:
    """Errors as messages, or as JSON where that was asked for, and their exit codes."""
    try:
        yield
    except CodeqError as error:
        _fail(ctx, error)
    except click.UsageError as error:
        if not ctx.meta[_JSON]:
            raise  # click adds how the command is used
        _fail(ctx, InputError(error.format_message()))
    except BrokenPipeError:
        # `codeq … | head`: the reader has enough, and what stands in the buffer must not fail again
        # when Python ends. 141 here and 130 for Ctrl-C are the shell's own codes; 1, which click
        # gives for both, means a failed conversion
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        ctx.exit(141)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(ctx, InputError(f"{where}{error.strerror or error}"))
    except MemoryError as error:
        _fail(ctx, InputError(f"there is not enough memory: {error or 'fewer samples take less'}"))
    except KeyboardInterrupt:
        ctx.exit(130)


@contextlib.contextmanager
def _unwound_when_terminated() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does, so that nothing half written stays behind."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _load(plugin: importlib.metadata.EntryPoint) -> click.Command:
    try:
        command = plugin.load()
    except ModuleNotFoundError as exc:
        raise ToolError(
            f'"codeq {plugin.name}" needs the Python package {exc.name}: '
            f"pip install 'codeq-mcu[{PLUGIN_EXTRAS.get(plugin.name, 'demo')}]'"
        ) from exc
    assert isinstance(command, click.Command)
    return command


def _fail(ctx: click.Context, error: CodeqError) -> None:
    if ctx.meta.get(_JSON):
        kind = type(error).__name__
        _emit({"error": {"kind": kind, "message": str(error), "exit_code": error.exit_code}})
    else:
        click.secho("error: ", fg="red", bold=True, err=True, nl=False)
        click.echo(str(error), err=True)
    ctx.exit(error.exit_code)


def _emit(data: object) -> None:
    click.get_current_context().meta[_JSON] = False  # one value: an error after it is text
    click.echo(json.dumps(data, indent=2))


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--json``: the result, or the error, as one JSON value on the standard output."""

    def remember(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
        ctx.meta[_JSON] = value
        return value

    return click.option(
        "--json", "as_json", is_flag=True, callback=remember, help="Print JSON instead of text."
    )(command)


def show(*drawn: table.Table) -> None:
    """Print tables: with rich on a terminal, as aligned text elsewhere."""
    console = Console()
    for each in drawn:
        if console.is_terminal:
            console.print(table.terminal(each))
            console.print()
        else:
            click.echo(table.plain(each))


@click.group(
    cls=Commands,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="codeq-mcu", message="codeq %(version)s")
def main() -> None:
    """From a PyTorch model to a small C library for Cortex-M that gives the same integers."""


MODEL_ARGUMENT = click.argument("model", type=click.Path(path_type=Path))
DIRECTORY_ARGUMENT = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
INPUTS_OPTION = click.option(
    "--inputs",
    type=click.Path(path_type=Path),
    metavar="X.npy",
    help="Samples: int8 as it is, floats are put on the input's grid; .npz for several inputs.",
)
SAMPLES_OPTION = click.option(
    "--samples",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"All -128, all 127, and N random samples, always the same.  [default: {SAMPLES}]",
)

KERNELS_OPTION = click.option(
    "--tflite-kernels",
    type=click.Choice([str(kernels) for kernels in codeq_compile.Kernels]),
    default=str(codeq_compile.Kernels.TFLM),
    show_default=True,
    help="Whose integers a .tflite model shall give; older ones round some scales to float32.",
)


def budget(name: str, what: str) -> Callable[..., Any]:
    """An option that limits bytes."""
    return click.option(name, type=size, metavar="BYTES", help=f"Limit of {what}.")


@main.command("compile")
@MODEL_ARGUMENT
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder to write."
)
@click.option("--target", "target_name", required=True, metavar="T", help="See `codeq targets`.")
@click.option("--name", help="Prefix of every symbol and file.  [default: the model's name]")
@click.option(
    "--rename",
    "renamed",
    multiple=True,
    metavar="OLD=NEW",
    help="Another name for an input or output, whose parameter and macros are called after it.",
)
@click.option(
    "--packing",
    metavar="P",
    help="auto: little flash, code included, and no slower than the shortest weights; fast: "
    "weights up to twice as long where those are read faster; small: shortest weights, whatever "
    "their decoder needs in code and time; or one codec.  "
    "[default: auto; dense with --no-lossless]",
)
@click.option(
    "--lossless/--no-lossless",
    default=True,
    show_default=True,
    help="Store the model smaller where no output byte changes: dead channels, widths, packings.",
)
@budget(
    "--flash", "the whole linked image without vector table and start-up; speed takes what is left"
)
@budget("--weights", "weights and tables")
@budget("--ram", "the arena with scratch, input and output")
@click.option(
    "--io",
    type=click.Choice(typing.get_args(Io)),
    default="caller",
    show_default=True,
    help="Whose buffers inputs and outputs are; in the arena a run overwrites its inputs.",
)
@click.option(
    "--stream",
    type=click.Choice(typing.get_args(Streaming)),
    default="off",
    show_default=True,
    help="auto: compute layers some rows at a time where that saves RAM, or as --ram needs.",
)
@click.option(
    "--place",
    default="",
    metavar="P=M,P=M",
    help="Memories of the target for weights, arena and code (inner loops): arena=dtcm,code=itcm.",
)
@KERNELS_OPTION
@click.option(
    "--explain",
    is_flag=True,
    help="Also show, layer by layer, what could have been chosen, its price, and why it was not.",
)
@json_option
def compile_command(
    model: Path,
    output: Path,
    target_name: str,
    name: str | None,
    renamed: tuple[str, ...],
    packing: str | None,
    lossless: bool,
    flash: int | None,
    weights: int | None,
    ram: int | None,
    io: Io,
    stream: Streaming,
    place: str,
    tflite_kernels: str,
    explain: bool,
    as_json: bool,
) -> None:
    """Compile MODEL, a .cq, int8 .tflite or QDQ .onnx file, to a C library in a folder.

    Sizes are bytes, or have a unit: K, KiB and M, MiB count by 1024, kB and MB by 1000.
    """
    compiled = codeq_compile.compile(
        _model(model),
        output,
        target=target_name,
        name=name,
        rename=dict(map(_renaming, renamed)),
        packing=packing,
        lossless=lossless,
        flash=flash,
        weights=weights,
        ram=ram,
        io=io,
        stream=stream,
        place=place,
        kernels=tflite_kernels,
    )
    found = explanations.explain(compiled.plan) if explain else ()
    if explain and as_json:
        report = msgspec.to_builtins(compiled.report)
        _emit({"report": report, "explanation": [dataclasses.asdict(each) for each in found]})
        return
    _report(output, as_json)
    show(*map(table.explanation_table, found))


def _renaming(text: str) -> tuple[str, str]:
    old, sign, new = text.rpartition("=")
    if not sign:
        raise InputError(f"{text!r} does not say OLD=NEW")
    return old, new


@main.command("coarsen")
@MODEL_ARGUMENT
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="OUT.cq")
@click.option("--target", "target_name", required=True, metavar="T", help="See `codeq targets`.")
@click.option(
    "--weights", required=True, type=size, metavar="BYTES", help="Limit of weights and tables."
)
@click.option(
    "--calibration",
    required=True,
    type=click.Path(path_type=Path),
    metavar="X.npy",
    help="Some hundred real inputs, as for `codeq check`; no labels.",
)
@click.option(
    "--test",
    type=click.Path(path_type=Path),
    metavar="T.npy",
    help="Inputs to compare both models with.  [default: those of the calibration]",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="Y.npy",
    help="Places of their right answers: then the accuracy of both models is told.",
)
@click.option(
    "--packing",
    type=click.Choice([AUTO, SMALL]),
    default=AUTO,
    show_default=True,
    help="That the library will be compiled with.",
)
@KERNELS_OPTION
@json_option
def coarsen_command(
    model: Path,
    output: Path,
    target_name: str,
    weights: int,
    calibration: Path,
    test: Path | None,
    labels: Path | None,
    packing: str,
    tflite_kernels: str,
    as_json: bool,
) -> None:
    """Quantize the weights of MODEL anew, in fewer bits, so that they fit: with a loss, and told.

    Activations keep their grids. Layers that lose least give up their bits first; errors are made
    up for in the weights of the same row and in the biases. OUT.cq is then compiled as any model.
    """
    arrays.writable(output, [".cq"], manifest.model_file(model), calibration, test, labels)
    before = codeq_compile.load(_model(model), kernels=tflite_kernels)
    board = target.load(target_name)
    samples = arrays.read_inputs(calibration, before)
    after = coarsen(before, samples, board, weights=weights, packing=packing)
    told = compare(
        before,
        after,
        samples if test is None else arrays.read_inputs(test, before),
        None if labels is None else arrays.read_labels(labels),
    )
    serial.save(after, output)
    if as_json:
        _emit({"widths": after.provenance["coarsened"], **dataclasses.asdict(told)})
        return
    click.echo(f"{output}: {after.provenance['coarsened']}")
    click.echo(
        f"{told.samples} samples: {told.same_answer:.2%} have the answer of {model.name}, "
        f"outputs differ by {told.steps:.2f} steps on average"
    )
    if told.accuracy_before is not None and told.accuracy_after is not None:
        click.echo(f"accuracy {told.accuracy_before:.2%} before, {told.accuracy_after:.2%} now")


@main.command("inspect")
@MODEL_ARGUMENT
@KERNELS_OPTION
@json_option
@click.pass_context
def inspect_command(ctx: click.Context, model: Path, tflite_kernels: str, as_json: bool) -> None:
    """List the layers of MODEL, a .cq, .tflite or .onnx file, and all that stands in the way.

    The exit code is 1 if `codeq compile` would refuse the model.
    """
    found = inspection.inspect(_model(model), codeq_compile.Kernels(tflite_kernels))
    if as_json:
        _emit({"is_supported": found.is_supported, **dataclasses.asdict(found)})
    else:
        show(table.inspection_table(found))
        for note in table.inspection_notes(found):
            click.secho(note, fg="yellow")
        refused = sum(layer.reason is not None for layer in found.layers)
        click.echo(f"{len(found.layers)} layers, {refused} of them not supported")
    if not found.is_supported:
        ctx.exit(1)


@main.command("check")
@DIRECTORY_ARGUMENT
@click.option("--on", metavar="T,T", help="Targets.  [default: this machine]")
@INPUTS_OPTION
@SAMPLES_OPTION
@json_option
def check_command(
    directory: Path, on: str | None, inputs: Path | None, samples: int | None, as_json: bool
) -> None:
    """Compare the library in DIR with the simulation of its model, byte for byte.

    Of a few samples every layer is compared, of all samples the outputs. DIR/report.json tells of
    it from then on.
    """
    result = check(arrays.existing(directory), _names(on), *_samples(inputs, samples))
    _show_check(result, as_json)
    codeq_compile.record(directory, result)


def _show_check(result: CheckResult, as_json: bool) -> None:
    if as_json:
        _emit({"bytes_differing": result.bytes_differing, **dataclasses.asdict(result)})
        return
    show(table.check_table(result.targets))
    for path in result.changed:
        click.secho(f"changed since it was emitted: {path}", fg="yellow", err=True)
    click.echo(
        f"{result.bytes_differing} differing bytes of {result.bytes_compared} compared: "
        f"{result.name} gives the simulation's integers"
    )


@main.command("run")
@DIRECTORY_ARGUMENT
@click.option("--on", metavar="T", help="One target.  [default: that of the library]")
@INPUTS_OPTION
@SAMPLES_OPTION
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="Y.npy")
@json_option
def run_command(
    directory: Path,
    on: str | None,
    inputs: Path | None,
    samples: int | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Run the library in DIR on a target and show or write its outputs."""
    if output is not None:
        arrays.writable(output, arrays.OUTPUT_SUFFIXES, inputs)
    outputs = codeq_compile.run(arrays.existing(directory), _one(on), *_samples(inputs, samples))
    if output is not None:
        arrays.write_outputs(output, outputs)
    _outputs(outputs, output, as_json)


@main.command("profile")
@DIRECTORY_ARGUMENT
@click.option("--on", metavar="T", help="One board.  [default: that of the library]")
@INPUTS_OPTION
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"N random samples, always the same.  [default: {PROFILE_SAMPLES}]",
)
@json_option
def profile_command(
    directory: Path, on: str | None, inputs: Path | None, samples: int | None, as_json: bool
) -> None:
    """Count the instructions of each layer of the library in DIR.

    Counts are exact, and the same every time; cycles are estimated from them. On a real board
    nothing is counted: its cycles are measured. DIR/report.json tells of it from then on.
    """
    samples_asked = _samples(inputs, samples, PROFILE_SAMPLES)
    result = profile(arrays.existing(directory), _one(on), *samples_asked)
    _show_profile(result, as_json)
    codeq_compile.record(directory, result)


def _show_profile(result: Profile | Timing, as_json: bool) -> None:
    if as_json:
        _emit(dataclasses.asdict(result))
        return
    if isinstance(result, Profile):
        drawn, unit = table.profile_table(result), "instructions"
        remark = " Cycles are estimated, for memory without wait states."
    else:
        drawn, unit, remark = table.timing_table(result), "cycles", ""
    show(drawn)
    click.echo(
        f"{result.fewest} to {result.most} {unit} over {result.samples} "
        f"sample{'s' if result.samples > 1 else ''}; the table shows the one with the most.{remark}"
    )


@main.command("simulate")
@MODEL_ARGUMENT
@click.option("--inputs", required=True, type=click.Path(path_type=Path), metavar="X.npy")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="Y.npy")
@KERNELS_OPTION
@json_option
def simulate_command(
    model: Path, inputs: Path, output: Path, tflite_kernels: str, as_json: bool
) -> None:
    """Run MODEL in integers on samples: what the C library gives, byte for byte."""
    arrays.writable(output, arrays.OUTPUT_SUFFIXES, inputs)
    graph = passes.run(codeq_compile.load(_model(model), kernels=tflite_kernels))
    samples = arrays.read_inputs(inputs, graph)
    outputs = simulate(graph, samples)
    arrays.write_outputs(output, outputs)
    _outputs(outputs, output, as_json)


@main.command("export")
@MODEL_ARGUMENT
@click.option(
    "--onnx", "onnx_file", required=True, type=click.Path(path_type=Path), metavar="OUT.onnx"
)
@KERNELS_OPTION
@json_option
def export_command(model: Path, onnx_file: Path, tflite_kernels: str, as_json: bool) -> None:
    """Write MODEL, a model file or a compiled library, in a form that others read.

    An .onnx file has QuantizeLinear and DequantizeLinear: Netron shows it, onnxruntime runs it.
    """
    codeq_compile.to_onnx(_model(model), onnx_file, kernels=tflite_kernels)
    if as_json:
        _emit({"file": str(onnx_file), "bytes": onnx_file.stat().st_size})
    else:
        click.echo(f"{onnx_file}: {onnx_file.stat().st_size} bytes")


@main.command("report")
@DIRECTORY_ARGUMENT
@json_option
def report_command(directory: Path, as_json: bool) -> None:
    """Show what the library in DIR needs: accuracy, flash, RAM, and every layer."""
    _report(arrays.existing(directory), as_json)


@main.command("targets")
@json_option
def targets_command(as_json: bool) -> None:
    """List the boards that codeq knows."""
    known = [target.load(name) for name in target.names()]
    if as_json:
        _emit([msgspec.to_builtins(board) for board in known])
    else:
        show(table.target_table(known))


@main.command("ops")
@click.option("--markdown", is_flag=True, help="As a table of Markdown.")
@json_option
def ops_command(markdown: bool, as_json: bool) -> None:
    """List the kernels: for each op its instruction sets, packings and widths."""
    kernels_known = table.kernel_table(kernels.rows())
    if as_json:
        _emit([dict(symbol=row.symbol, **dataclasses.asdict(row)) for row in kernels.rows()])
    elif markdown:
        click.echo(table.markdown(kernels_known), nl=False)
    else:
        show(kernels_known)


@main.command("doctor")
@json_option
def doctor_command(as_json: bool) -> None:
    """Say which compilers and emulators were found, and what is missing for what."""
    needs = tools.doctor()
    if as_json:
        _emit([dataclasses.asdict(need) for need in needs])
    else:
        show(table.doctor_table(needs))


@main.command("flash")
@DIRECTORY_ARGUMENT
@click.option("--target", "target_name", required=True, metavar="T", help="A real board.")
@json_option
def flash_command(directory: Path, target_name: str, as_json: bool) -> None:
    """Write the library in DIR, with a test program, into a board's flash (pyOCD)."""
    board = target.load(target_name)
    image = firmware.build(arrays.existing(directory), board)
    boards.flash(image)
    if as_json:
        _emit({"target": board.name, "sizes": dataclasses.asdict(image.sizes)})
    else:
        click.echo(f"{board.name} holds {image.sizes.flash_bytes} bytes of {directory.name}")


def _model(path: Path) -> Path:
    """MODEL, if it exists, and is what the options are for."""
    source = click.get_current_context().get_parameter_source("tflite_kernels")
    if source is not ParameterSource.DEFAULT and path.suffix != ".tflite":
        raise click.UsageError(f"--tflite-kernels is for a .tflite model, and {path} is none")
    return arrays.existing(path)


def _one(name: str | None) -> str | None:
    """The name that was given, if it is one."""
    if name is not None and "," in name:
        raise click.UsageError(f"--on {name!r}: this command takes one target, `codeq check` more")
    return name


def _names(comma_separated: str | None) -> tuple[str, ...] | None:
    """Each name once; none without the option."""
    if comma_separated is None:
        return None
    names = dict.fromkeys(name.strip() for name in comma_separated.split(",") if name.strip())
    if not names:
        raise click.UsageError(f"--on {comma_separated!r} names no target: see `codeq targets`")
    return tuple(names)


def _samples(
    inputs: Path | None, samples: int | None, default: int = SAMPLES
) -> tuple[Path | None, int]:
    """Arguments of `check`, `run` and `profile`: a file, or a number of random samples."""
    if inputs is not None and samples is not None:
        raise click.UsageError("--inputs brings its own samples: leave --samples out")
    return inputs, samples or default


def _report(directory: Path, as_json: bool) -> None:
    report = collect.read(directory)
    if as_json:
        _emit(msgspec.to_builtins(report))
    else:
        show(*table.report_tables(report))
        for misfit in report.misfits:
            click.secho(misfit, fg="yellow", err=True)


def _outputs(outputs: Mapping[str, Array], path: Path | None, as_json: bool) -> None:
    """What was written where; without a file, the integers themselves."""
    if as_json:
        shapes = {name: list(array.shape) for name, array in outputs.items()}
        values = {} if path else {name: array.tolist() for name, array in outputs.items()}
        _emit({"outputs": values or shapes, "file": str(path) if path else None})
        return
    for name, array in outputs.items():
        shape = "x".join(map(str, array.shape[1:]))
        where = f" written to {path}" if path else ""
        click.echo(f"{name}: {len(array)} samples of {array.dtype} {shape}{where}")
        if path is None:
            for sample in array.reshape(len(array), -1):
                click.echo("  " + " ".join(map(str, sample.tolist())))
