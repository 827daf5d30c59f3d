# SPDX-License-Identifier: Apache-2.0
"""`report.json`: what a compilation decided and what it costs, as plain data."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from codeq_compile.build.firmware import Sizes, misfits
from codeq_compile.errors import InputError
from codeq_compile.ir import Graph
from codeq_compile.ir.serial import write_whole
from codeq_compile.manifest import Manifest
from codeq_compile.memory import PlacedStream
from codeq_compile.memory.streams import row_bytes
from codeq_compile.packing import entropy_bytes
from codeq_compile.passes.lower import lower
from codeq_compile.plan import Layer, Plan
from codeq_compile.profile import Profile, Timing

FORMAT_VERSION = 1
FILE_NAME = "report.json"


class FlashReport(msgspec.Struct, frozen=True, kw_only=True):
    """Flash in bytes.

    Parameters
    ----------
    weights, tables : int
        Packed weights; biases, multipliers, functions and levels: in a linked image with their
        alignment, which the layers' own `tables_bytes` leave out.
    entropy : int
        Of all layers, see there: what the bytes of `weights` are to be compared with.
    code, kernels, constants : int, optional
        Machine code; what of it are functions of the runtime, not what calls them; layer parameters
        and other read-only data. Known from a linked image only.
    total : int, optional
        The image without vector table and start-up.
    board : int, optional
        Vector table, start-up and test program.
    compiler : str, optional
        What built the image.
    """

    weights: int
    tables: int
    entropy: int
    code: int | None = None
    kernels: int | None = None
    constants: int | None = None
    total: int | None = None
    board: int | None = None
    compiler: str | None = None


class RamReport(msgspec.Struct, frozen=True, kw_only=True):
    """RAM in bytes.

    Parameters
    ----------
    arena : int
        Activations and scratch.
    lower_bound : int
        Most bytes alive at once: no arena is smaller.
    is_optimal : bool
        The arena is proved to be the smallest.
    peak : str
        Name of the layer where `lower_bound` is reached.
    scratch : int
        Most scratch of one layer; part of the arena.
    inputs, outputs : int
        Buffers of the caller; 0 where they are parts of the arena.
    state : int
        Kept between calls.
    total : int
        All of these.
    """

    arena: int
    lower_bound: int
    is_optimal: bool
    peak: str
    scratch: int
    inputs: int
    outputs: int
    state: int
    total: int


class StreamReport(msgspec.Struct, frozen=True, kw_only=True):
    """Layers that are executed some rows at a time.

    Parameters
    ----------
    first, last : int
        Numbers of its layers, both included.
    rows : int
        Most rows of one call.
    calls : int
        Of all its layers together.
    windows : dict of str to int
        Bytes of the windows of rows that stand for whole tensors, by tensor.
    """

    first: int
    last: int
    rows: int
    calls: int
    windows: dict[str, int]


class LayerReport(msgspec.Struct, frozen=True, kw_only=True):
    """One layer.

    Parameters
    ----------
    index : int
        As in the C files, from 1.
    name, op : str
    inputs : tuple of str
    output : str
        Types, e.g. ``"s8[25,5,64]"``.
    bits, gap, levels : int, optional
        Width of a weight, skipped levels, size of the table of levels; absent without weights.
    zeros : float, optional
        Share of weights that are 0.
    packing : str, optional
    packing_bytes : dict of str to int
        What each possible packing would have cost.
    note : str
        Why the packing is not the one that was asked for.
    entropy_bytes : int
        Zeroth-order entropy of the weights: no code of single weights is shorter.
    weights_bytes, tables_bytes, scratch_bytes : int
    macs, macs_done : int
        Multiply-accumulates of one inference, and those left where zeros are skipped.
    kernel : str
    instructions : int, optional
        Predicted, of one inference.
    """

    index: int
    name: str
    op: str
    inputs: tuple[str, ...]
    output: str
    bits: int | None
    gap: int | None
    levels: int | None
    zeros: float | None
    packing: str | None
    packing_bytes: dict[str, int]
    note: str
    entropy_bytes: int
    weights_bytes: int
    tables_bytes: int
    scratch_bytes: int
    macs: int
    macs_done: int
    kernel: str
    instructions: int | None = None


class RemovedReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the model had and the library has not: dead and constant channels.

    Parameters
    ----------
    channels : int
        Of the outputs of layers with weights.
    weights, weights_bytes : int
        Number of weights, and their bytes as dense streams.
    macs : int
        Multiply-accumulates of one inference.
    """

    channels: int = 0
    weights: int = 0
    weights_bytes: int = 0
    macs: int = 0


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """Simulation against C on one target; fields as in `check.TargetCheck`."""

    target: str
    samples: int
    traced: int
    bytes_compared: int
    bytes_differing: int
    stack_bytes: int | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Contents of `report.json`.

    Parameters
    ----------
    format : int
    name, generator, command, model_sha256 : str
        As in `manifest.json`.
    target, core : str
    packing : str
        What was asked for.
    weights : int
        Number of weights.
    bits_mean : float
        Bits of a weight, mean over all weights as they are stored.
    zeros : float
        Share of weights that are 0.
    macs, macs_done : int
    instructions : int, optional
        Predicted, of one inference without the entry point's own.
    removed : RemovedReport
        Not counted in any of these.
    flash : FlashReport
    ram : RamReport
    misfits : tuple of str
        What does not fit into the real part, where the emulated one was enlarged.
    layers : tuple of LayerReport
    streams : tuple of StreamReport
        In order of execution.
    accuracy : dict of str to dict of str to float
        By stage ("float", "fake_quant", "integer" …) and measure ("accuracy", "balanced" …), in
        [0, 1]; filled in by those who have data.
    checks : tuple of CheckReport
        Filled in after a check.
    profiles : tuple of Profile
        Filled in after a profile: what was counted on each emulated board.
    timings : tuple of Timing
        Likewise: what was measured on each real board.
    """

    format: int
    name: str
    generator: str
    command: str
    model_sha256: str
    target: str
    core: str
    packing: str
    weights: int
    bits_mean: float
    zeros: float
    macs: int
    macs_done: int
    flash: FlashReport
    ram: RamReport
    misfits: tuple[str, ...]
    layers: tuple[LayerReport, ...]
    instructions: int | None = None
    removed: RemovedReport = RemovedReport()
    streams: tuple[StreamReport, ...] = ()
    accuracy: dict[str, dict[str, float]] = {}
    checks: tuple[CheckReport, ...] = ()
    profiles: tuple[Profile, ...] = ()
    timings: tuple[Timing, ...] = ()


def collect(
    plan: Plan,
    library: Manifest,
    sizes: Sizes | None = None,
    compiler: str | None = None,
    source: Graph | None = None,
) -> Report:
    """Everything that is known after a compilation.

    Parameters
    ----------
    plan : Plan
    library : Manifest
        Of what was emitted.
    sizes : Sizes, optional
        Of the linked image.
    compiler : str, optional
        What built it.
    source : Graph, optional
        The model as it was given, to say what left it.
    """
    weights = [layer.node.weights for layer in plan.layers if layer.node.weights is not None]
    count = sum(each.codes.size for each in weights)
    return Report(
        format=FORMAT_VERSION,
        name=library.name,
        generator=library.generator,
        command=library.command,
        model_sha256=library.model_sha256,
        target=plan.target.name,
        core=plan.target.core,
        packing=plan.packing,
        weights=count,
        bits_mean=sum(each.bits * each.codes.size for each in weights) / max(1, count),
        zeros=sum(each.zeros * each.codes.size for each in weights) / max(1, count),
        macs=plan.macs,
        macs_done=plan.macs_done,
        flash=_flash(plan, sizes, compiler),
        ram=_ram(plan, library),
        misfits=misfits(sizes, plan.target) if sizes else (),
        layers=tuple(_layer(plan, layer) for layer in plan.layers),
        streams=tuple(_stream(plan, each) for each in plan.memory.streams),
        instructions=plan.instructions,
        removed=RemovedReport() if source is None else _removed(source, plan.graph),
    )


def write(report: Report, directory: Path) -> None:
    """Write ``directory/report.json``; the same report gives the same bytes."""
    text = msgspec.json.format(msgspec.json.encode(report), indent=2)
    write_whole(text + b"\n", directory / FILE_NAME)


def read(directory: Path) -> Report:
    """The report of an emitted library.

    Raises
    ------
    InputError
        There is none, or it is damaged or of another version.
    """
    path = directory / FILE_NAME
    try:
        report = msgspec.json.decode(path.read_bytes(), type=Report)
    except OSError as error:
        raise InputError(f"{directory} has no {FILE_NAME}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise InputError(f"{path} is damaged or of another version: {error}") from error
    if report.format != FORMAT_VERSION:
        raise InputError(
            f"{path} has format {report.format}; this codeq reads {FORMAT_VERSION}: "
            "compile the model again"
        )
    return report


def add_accuracy(directory: Path, accuracy: dict[str, dict[str, float]]) -> Report:
    """Write accuracies into the report of `directory`; other stages' stay as they are."""
    old = read(directory)
    report = msgspec.structs.replace(old, accuracy={**old.accuracy, **accuracy})
    write(report, directory)
    return report


def add_checks(directory: Path, checks: Sequence[CheckReport]) -> Report:
    """Write outcomes of a check into the report of `directory`, in place of the same targets'."""
    old = read(directory)
    again = {check.target for check in checks}
    kept = (check for check in old.checks if check.target not in again)
    report = msgspec.structs.replace(old, checks=(*kept, *checks))
    write(report, directory)
    return report


def add_profile(directory: Path, profile: Profile | Timing) -> Report:
    """Write a profile into the report of `directory`, in place of the same target's."""
    old = read(directory)
    if isinstance(profile, Profile):
        counted = (each for each in old.profiles if each.target != profile.target)
        report = msgspec.structs.replace(old, profiles=(*counted, profile))
    else:
        timed = (each for each in old.timings if each.target != profile.target)
        report = msgspec.structs.replace(old, timings=(*timed, profile))
    write(report, directory)
    return report


def _removed(source: Graph, graph: Graph) -> RemovedReport:
    bits = {node.name: node.weights.bits for node in source.nodes if node.weights is not None}
    before, after = _weighted(lower(source), bits), _weighted(graph, bits)
    return RemovedReport(**{name: before[name] - after[name] for name in before})


def _weighted(graph: Graph, bits: Mapping[str, int]) -> dict[str, int]:
    """Sums over the layers with weights, which have the widths of the model that was given."""
    layers = [(node, node.weights) for node in graph.nodes if node.weights is not None]
    return {
        "channels": sum(graph.output_type(node).shape[-1] for node, _ in layers),
        "weights": sum(weights.codes.size for _, weights in layers),
        "weights_bytes": sum(
            -(-weights.codes.size * bits[node.name] // 8) for node, weights in layers
        ),
        "macs": sum(node.op.macs(node.params, graph.output_type(node)) for node, _ in layers),
    }


def _flash(plan: Plan, sizes: Sizes | None, compiler: str | None) -> FlashReport:
    entropy = sum(_entropy_bytes(layer) for layer in plan.layers)
    if sizes is None:
        return FlashReport(weights=plan.weights_bytes, tables=plan.tables_bytes, entropy=entropy)
    return FlashReport(
        weights=sizes.weights_bytes,
        tables=sizes.tables_bytes,
        entropy=entropy,
        code=sizes.code_bytes,
        kernels=sizes.kernels_bytes,
        constants=sizes.constants_bytes,
        total=sizes.flash_bytes,
        board=sizes.board_flash_bytes,
        compiler=compiler,
    )


def _ram(plan: Plan, library: Manifest) -> RamReport:
    memory = plan.memory
    return RamReport(
        arena=library.arena_bytes,
        lower_bound=memory.lower_bound,
        is_optimal=memory.is_optimal,
        peak=plan.graph.nodes[memory.peak].name,
        scratch=max((layer.scratch_bytes for layer in plan.layers), default=0),
        inputs=plan.input_bytes,
        outputs=plan.output_bytes,
        state=library.state_bytes,
        total=library.arena_bytes + plan.input_bytes + plan.output_bytes + library.state_bytes,
    )


def _stream(plan: Plan, placed: PlacedStream) -> StreamReport:
    numbers = {layer.node.name: layer.index for layer in plan.layers}
    nodes, stream = plan.graph.nodes, placed.stream
    return StreamReport(
        first=numbers[nodes[stream.first].name],
        last=numbers[nodes[stream.last].name],
        rows=stream.rows,
        calls=len(stream.calls),
        windows={name: rows * row_bytes(plan.graph, name) for name, rows in placed.windows.items()},
    )


def _layer(plan: Plan, layer: Layer) -> LayerReport:
    node, weights = layer.node, layer.node.weights
    price = plan.price(layer)
    return LayerReport(
        index=layer.index,
        name=node.name,
        op=node.op.kind,
        inputs=tuple(map(str, plan.graph.input_types(node))),
        output=str(plan.graph.output_type(node)),
        bits=weights.bits if weights else None,
        gap=weights.gap if weights else None,
        levels=len(weights.levels) if weights and weights.levels is not None else None,
        zeros=weights.zeros if weights else None,
        packing=layer.packed.packing if layer.packed else None,
        packing_bytes=layer.costs,
        note=layer.note,
        entropy_bytes=_entropy_bytes(layer),
        weights_bytes=layer.weights_bytes,
        tables_bytes=layer.tables_bytes,
        scratch_bytes=layer.scratch_bytes,
        macs=layer.macs,
        macs_done=layer.macs_done,
        kernel=layer.kernel.symbol,
        instructions=price.instructions if price else None,
    )


def _entropy_bytes(layer: Layer) -> int:
    return entropy_bytes(layer.node.weights) if layer.node.weights else 0
