# SPDX-License-Identifier: Apache-2.0
"""Compiles a quantized model to a small C library that gives the very integers of its simulation.

`load` reads a model, `compile` writes its library, `simulate` runs it in integers, `check` compares
the two byte for byte.
"""

import dataclasses
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import codeq_compile.ops  # noqa: F401  # registers the ops
from codeq_compile import arrays, budgets, manifest, passes
from codeq_compile import place as places
from codeq_compile.budgets import Budgets
from codeq_compile.build import firmware, tools
from codeq_compile.build.firmware import Sizes
from codeq_compile.check import SAMPLES, CheckResult, run
from codeq_compile.check import check as _check
from codeq_compile.emit import staging, write
from codeq_compile.errors import CodeqError, DoesNotFit, InputError, ToolError
from codeq_compile.export import onnx as onnx_file
from codeq_compile.frontends import onnx, tflite
from codeq_compile.frontends.tflite import Kernels
from codeq_compile.ir import Graph, serial
from codeq_compile.ir.op import Array
from codeq_compile.manifest import Manifest
from codeq_compile.memory import Io
from codeq_compile.plan import AUTO, DENSE, SMALL, Plan, Streaming
from codeq_compile.plan import plan as _plan
from codeq_compile.profile import SAMPLES as PROFILE_SAMPLES
from codeq_compile.profile import Profile, Timing
from codeq_compile.profile import profile as _profile
from codeq_compile.report import collect
from codeq_compile.report.collect import CheckReport, Report
from codeq_compile.simulate import simulate as _simulate
from codeq_compile.target import Target
from codeq_compile.target import load as _load_target

__all__ = [
    "Compiled",
    "Kernels",
    "check",
    "compile",
    "load",
    "profile",
    "run",
    "simulate",
    "to_onnx",
]

_AIMS = 3
"""How often a limit of flash is aimed at: what is predicted is a few bytes off what is linked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """What `compile` made.

    Parameters
    ----------
    directory : Path
        The library.
    manifest : Manifest
    plan : Plan
        Every decision.
    report : Report
        Every size; also in ``directory/report.json``.
    """

    directory: Path
    manifest: Manifest = field(repr=False)
    plan: Plan = field(repr=False)
    report: Report = field(repr=False)


def load(path: Path | str, *, kernels: str = Kernels.TFLM) -> Graph:
    """The quantized graph of a model file.

    Parameters
    ----------
    path : Path or str
        A `.cq` file, a `.tflite` file quantized to int8, an `.onnx` file with QuantizeLinear and
        DequantizeLinear, or the folder of an emitted library.
    kernels : str
        For `.tflite`: whose integers it shall give, one of `Kernels`.

    Raises
    ------
    ModelError
        The file is missing, damaged, or breaks a rule.
    UnsupportedOp
        codeq has no rule for some of its operators; all of them are named.
    InputError
        There are no such kernels.
    """
    if kernels not in set(Kernels):
        raise InputError(f'there are no kernels "{kernels}"; there are {", ".join(Kernels)}')
    path = manifest.model_file(Path(path))
    if path.suffix == ".tflite":
        return tflite.load(path, Kernels(kernels))
    if path.suffix == ".onnx":
        return onnx.load(path)
    return serial.load(path)


def compile(
    model: Path | str | Graph,
    directory: Path | str,
    *,
    target: str,
    name: str | None = None,
    rename: Mapping[str, str] | None = None,
    packing: str | None = None,
    lossless: bool = True,
    flash: int | str | None = None,
    weights: int | str | None = None,
    ram: int | str | None = None,
    io: Io = "caller",
    stream: Streaming = "off",
    place: str = "",
    samples: Mapping[str, Array] | None = None,
    kernels: str = Kernels.TFLM,
    command: str | None = None,
) -> Compiled:
    """Write the C library of a model into a folder.

    Parameters
    ----------
    model : Path, str or Graph
        A `.cq`, `.tflite` or `.onnx` file, or a quantized graph.
    directory : Path or str
        Made, or replaced if it is an emitted library; on an error it stays as it was.
    target : str
        A folder of `targets/`.
    name : str, optional
        Prefix of every symbol and file; default: the model's own name.
    rename : mapping of str to str, optional
        Other names for inputs and outputs, whose parameters and macros are called after them.
    packing : str, optional
        ``"auto"``: few bytes for weights, or packings and kernels with which the network takes less
        flash, code included, and no more instructions and RAM; ``"fast"``: up to twice as many
        where they are read faster, more RAM; ``"small"``: the fewest for weights, whatever the
        decoder's code and time, with prefix codes; or one codec.
        Default: auto, and dense without `lossless`.
    lossless : bool
        Store the model smaller wherever no output byte changes: without dead and constant channels,
        int8 weights in narrower forms, each layer in its shortest packing. Without it every weight
        of the model stays one, at its width.
    flash, weights, ram : int or str, optional
        Budgets in bytes, or as ``"16K"``: the linked image without vector table and start-up;
        weights and tables; arena with scratch, inputs and outputs. With a limit of flash ``"auto"``
        takes faster packings and kernels within it, slower ones where it would be missed; where it
        misses weights, layers are packed as with ``"small"``; where RAM is missed, as few as serve
        take kernels and packings with less scratch, slower ones and longer ones too.
    io : {"caller", "arena"}
        Where inputs and outputs stand: in buffers of the caller, or in the arena, where they share
        bytes with other tensors and a run overwrites its inputs.
    stream : {"off", "auto"}
        Whether neighbouring layers are computed some rows at a time where that makes the arena
        smaller by a tenth or more; with `ram` no more than that needs. It costs instructions, and
        flash for the calls.
    place : str
        ``weights=flash,arena=dtcm,code=itcm``: memories of the target for weights, arena and inner
        loops, which then have sections of their own; flash and RAM by default.
    samples : mapping of str to int array of shape (samples, *tensor shape), optional
        Vectors of the self-test, by input name.
    kernels : str
        For a `.tflite` file: whose integers it shall give, see `load`.
    command : str, optional
        Written into the banners; default: the `codeq compile` that does the same.

    Raises
    ------
    ModelError
        The model is damaged or breaks a rule.
    InputError
        An option is wrong, or `directory` holds something else.
    NoKernel
        A layer has no kernel on the target.
    DoesNotFit
        A budget or the target's memory is exceeded; the message names the largest layers.
    ToolError
        The cross compiler failed, or `flash` needs one and there is none.
    """
    directory = Path(directory)
    limits = Budgets.of(flash=flash, weights=weights, ram=ram)
    board = _load_target(target)
    placement = places.parse(place, board)
    graph = model if isinstance(model, Graph) else load(model, kernels=kernels)
    source = _named(graph, name, rename or {})
    flow = passes.flow_for(lossless=lossless, streamed=stream == "auto")
    packing = packing or (AUTO if lossless else DENSE)
    graph = passes.run(source, flow)
    if command is None:
        # a graph of no file is the one that is saved beside the C, with its new names
        words = [f"{source.name}.cq"]
        if not isinstance(model, Graph):
            words = [*_reading(Path(model), kernels), *_naming(name, rename or {})]
        words += ["-o", directory.resolve().name, "--target", target]
        words += _choices(packing, lossless, limits, io, stream, place)
        command = shlex.join(["codeq", "compile", *words])

    def planned(**choice: Any) -> Plan:
        asked = {"packing": packing, "weights": limits.weights, **choice}
        return _plan(graph, board, io=io, stream=stream, ram=limits.ram, **asked)

    def written(decided: Plan) -> Compiled:
        budgets.check_plan(limits, decided)
        with staging(directory) as folder:
            library = write(
                decided,
                folder,
                source=source,
                command=command,
                samples=samples,
                placement=placement,
                flow=flow,
            )
            _check_renamed(library, rename or {})
            sizes, compiler = _measure(folder, board, decided, needed=limits.flash is not None)
            if sizes is not None:
                budgets.check_sizes(limits, decided, sizes)
            report = collect.collect(decided, library, sizes, compiler, source)
            collect.write(report, folder)
        return Compiled(directory=directory, manifest=library, plan=decided, report=report)

    first = planned()
    try:
        made = written(first)
    except DoesNotFit as error:
        ways = ["--stream auto"] * (stream == "off") + ["--io arena"] * (io == "caller")
        if error.in_ram and ways:
            raise DoesNotFit(f"{error}\n{' or '.join(ways)} may need less", in_ram=True) from error
        if packing != AUTO and error.in_flash:
            message = f"{error}\n--packing {AUTO}, which counts code, may need less"
            raise DoesNotFit(message, in_ram=error.in_ram) from error
        if packing != AUTO or error.in_ram:
            raise
        # how much flash code and alignment take is known when all is linked, and not before
        return _shrunk(limits, planned, written, first, error)
    linked = made.report.flash.total
    if limits.flash is None or linked is None or packing != AUTO:
        return made
    return _hastened(planned, written, made, limits.flash - linked)


def _shrunk(
    limits: Budgets,
    planned: Callable[..., Plan],
    written: Callable[[Plan], Compiled],
    first: Plan,
    error: DoesNotFit,
) -> Compiled:
    """The library within limits that its first plan missed by this error."""
    found, plans = [error], [first]

    def choices() -> Iterator[dict[str, Any]]:
        for _ in range(_AIMS):
            total, excess = plans[-1].total, found[-1].in_flash
            if total is None or not excess:
                break
            yield {"flash": total.flash - excess}
        if limits.weights is not None:
            yield {"weights": limits.weights - error.excess}
        yield {"weigh_code": False}
        yield {"packing": SMALL}

    for choice in choices():
        plans.append(planned(**choice))
        try:
            return written(plans[-1])
        except DoesNotFit as other:
            found.append(other)
    # shorter weights need more code: the whole may be longer
    raise min(found, key=lambda each: each.excess) from None


def _hastened(
    planned: Callable[..., Plan],
    written: Callable[[Plan], Compiled],
    made: Compiled,
    left: int,
) -> Compiled:
    """A faster library within a limit of flash, of which this one leaves so many bytes, if any."""
    first = total = made.plan.total
    for _ in range(_AIMS):
        if first is None or total is None:
            break
        decided = planned(flash=total.flash + left)
        total = decided.total
        if total is None or total.instructions >= first.instructions:
            # nothing is faster: what it was weighed by is that limit all the same
            return replace(made, plan=replace(made.plan, weighed=decided.weighed))
        try:
            return written(decided)
        except CodeqError as error:
            # the library that is there is within all limits, whatever became of this one
            if not isinstance(error, DoesNotFit) or not error.in_flash:
                break
            left = -error.in_flash
    return made


def simulate(model: Path | str | Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs of a model in integers: what its C library gives, byte for byte.

    Parameters
    ----------
    model : Path, str or Graph
        A `.cq`, `.tflite` or `.onnx` file, or a graph, lowered or not.
    inputs : mapping of str to int8 array of shape (batch, *tensor shape)
        One array for every input.

    Returns
    -------
    dict of str to int8 or int32 array of shape (batch, *tensor shape)

    Raises
    ------
    ModelError
        The model is damaged or breaks a rule.
    InputError
        The arrays do not fit the model.
    """
    graph = model if isinstance(model, Graph) else load(model)
    return _simulate(graph if graph.is_lowered else passes.run(graph), inputs)


def to_onnx(model: Path | str | Graph, path: Path | str, *, kernels: str = Kernels.TFLM) -> None:
    """Write a model as an `.onnx` file with QuantizeLinear and DequantizeLinear.

    onnxruntime computes it in floats: its integers are those of `simulate` but for a step here and
    there, where a value lies in the middle between two integers, or a softmax or a table of
    fixed-point numbers is not the real function. Imported again it has the same integers.

    Parameters
    ----------
    model : Path, str or Graph
        A model file, the folder of an emitted library, or a quantized graph.
    path : Path or str
        It ends in ``.onnx``, and is not the file that `model` is read from.
    kernels : str
        As for `load`.

    Raises
    ------
    UnsupportedOp
        ONNX has no operators for some of its layers; all of them are named.
    ModelError
        The model is damaged or breaks a rule.
    InputError
        `path` is no such file, or cannot be written.
    """
    read = None if isinstance(model, Graph) else manifest.model_file(Path(model))
    path = arrays.writable(Path(path), [".onnx"], read)
    graph = model if isinstance(model, Graph) else load(model, kernels=kernels)
    onnx_file.save(graph, path)


def check(
    directory: Path | str,
    targets: Sequence[str] | None = None,
    inputs: Mapping[str, Array] | Path | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
) -> CheckResult:
    """Compare an emitted library with the simulation of its model, byte for byte.

    The outcome is added to ``directory/report.json``, if there is one. Parameters and errors are
    those of `codeq_compile.check.check`.
    """
    directory = Path(directory)
    result = _check(directory, targets, inputs, samples, seed)
    record(directory, result)
    return result


def profile(
    directory: Path | str,
    target: str | None = None,
    inputs: Mapping[str, Array] | Path | None = None,
    samples: int = PROFILE_SAMPLES,
    seed: int = 0,
) -> Profile | Timing:
    """Count the instructions of each layer of an emitted library, or time them on a real board.

    The outcome is added to ``directory/report.json``, if there is one. Parameters and errors are
    those of `codeq_compile.profile.profile`.
    """
    directory = Path(directory)
    result = _profile(directory, target, inputs, samples, seed)
    record(directory, result)
    return result


def record(directory: Path, result: CheckResult | Profile | Timing) -> None:
    """Add the outcome of a check or a profile to ``directory/report.json``, if there is one.

    Raises
    ------
    InputError
        The report is damaged, or cannot be written.
    """
    if not (directory / collect.FILE_NAME).exists():
        return
    if isinstance(result, CheckResult):
        checks = [CheckReport(**dataclasses.asdict(each)) for each in result.targets]
        collect.add_checks(directory, checks)
    else:
        collect.add_profile(directory, result)


def _named(graph: Graph, name: str | None, rename: Mapping[str, str]) -> Graph:
    """The graph called so, and with these names for inputs and outputs."""
    for word in ([name] if name is not None else []) + list(rename.values()):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", word):
            raise InputError(f'the name "{word}" is not a lower-case C identifier such as "kws"')
    borders = (*graph.inputs, *graph.outputs)
    for old, new in rename.items():
        if old not in borders:
            known = ", ".join(f'"{border}"' for border in borders)
            raise InputError(f'there is no input or output "{old}": there are {known}')
        if new in graph.tensors or list(rename.values()).count(new) > 1:
            raise InputError(f'"{old}" cannot be called "{new}": another tensor is')
    return replace(graph.renamed(rename), name=graph.name if name is None else name)


def _check_renamed(library: Manifest, rename: Mapping[str, str]) -> None:
    for entry in (*library.inputs, *library.outputs):
        if entry.name in rename.values() and entry.identifier != entry.name:
            raise InputError(
                f'the C would call "{entry.name}" {entry.identifier}, because its own name is '
                "taken there: rename it otherwise"
            )


def _reading(model: Path, kernels: str) -> list[str]:
    """A model file, and how it is read; for one of another kind the command refuses the option."""
    is_chosen = model.suffix == ".tflite" and kernels != Kernels.TFLM
    return [model.absolute().name, *(["--tflite-kernels", kernels] if is_chosen else [])]


def _naming(name: str | None, rename: Mapping[str, str]) -> list[str]:
    """Options that give other names."""
    words = ["--name", name] if name is not None else []
    for old, new in rename.items():
        words += ["--rename", f"{old}={new}"]
    return words


def _choices(
    packing: str, lossless: bool, limits: Budgets, io: Io, stream: Streaming, placement: str
) -> list[str]:
    """Options that say what is made of it, where they are not the default."""
    words = []
    if not lossless:
        words.append("--no-lossless")
    if packing != (AUTO if lossless else DENSE):
        words += ["--packing", packing]
    for option, limit in dataclasses.asdict(limits).items():
        if limit is not None:
            words += [f"--{option}", str(limit)]
    if io != "caller":
        words += ["--io", io]
    if stream != "off":
        words += ["--stream", stream]
    if placement:
        words += ["--place", placement]
    return words


def _measure(
    folder: Path, board: Target, decided: Plan, *, needed: bool
) -> tuple[Sizes | None, str | None]:
    """Sizes of the linked image and its compiler; none without a cross compiler or a board."""
    if board.is_host:
        if needed:
            raise InputError(f"{board.name} has no linked image: a flash budget needs a board")
        return None, None
    try:
        compiler = tools.arm_cc()
    except ToolError:
        if needed:
            raise
        return None, None
    try:
        image = firmware.build(folder, board, compiler=compiler, app="footprint")
    except DoesNotFit as error:
        largest = budgets.largest_in_ram if error.in_ram else budgets.largest_in_flash
        lines = "\n".join(largest(decided))
        message = f"{error}; the largest layers:\n{lines}"
        raise DoesNotFit(
            message, in_ram=error.in_ram, excess=error.excess, in_flash=error.in_flash
        ) from error
    return image.sizes, f"{compiler.name} {compiler.version}"
