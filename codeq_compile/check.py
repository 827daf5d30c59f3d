# SPDX-License-Identifier: Apache-2.0
"""Runs an emitted library on this machine and on boards and compares it with the simulation."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codeq_compile import ir, kernels, manifest, passes
from codeq_compile import target as targets_module
from codeq_compile.arrays import (
    Bytes2D,
    apart,
    little_endian,
    random_inputs,
    read_inputs,
    side_by_side,
)
from codeq_compile.build import firmware, host
from codeq_compile.build import run as boards
from codeq_compile.build.run import RunResult, TraceRecord
from codeq_compile.errors import InputError, Mismatch
from codeq_compile.ir import Graph, serial
from codeq_compile.ir.op import Array
from codeq_compile.manifest import LayerEntry, Manifest
from codeq_compile.simulate import simulate, trace
from codeq_compile.target import Target

HOST = "host"
SAMPLES = 16
TRACED = 4
"""Samples of which every tensor is compared; of the others only the outputs."""

NATIVE_ONLY = frozenset({"mve"})
"""Instruction sets whose kernels have no portable twin: they link on cores that have them only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first element at which C and simulation part.

    Parameters
    ----------
    what : str
        The layer or output, for people.
    sample : int
        Position among the samples.
    element : tuple of int
        Index in the tensor.
    expected, actual : int
        Of the simulation, of the C.
    """

    what: str
    sample: int
    element: tuple[int, ...]
    expected: int
    actual: int

    def __str__(self) -> str:
        return (
            f"{self.what}, sample {self.sample}, element {list(self.element)}: "
            f"the simulation gives {self.expected}, the C gives {self.actual}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetCheck:
    """Outcome on one target.

    Parameters
    ----------
    target : str
    samples : int
        Of which all outputs were compared.
    traced : int
        Of which every layer's output was compared as well.
    bytes_compared, bytes_differing : int
    stack_bytes : int, optional
        Most stack of one inference; unknown on the host.
    """

    target: str
    samples: int
    traced: int
    bytes_compared: int
    bytes_differing: int
    stack_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """Outcome on all targets.

    Parameters
    ----------
    name : str
        The library's.
    targets : tuple of TargetCheck
    changed : tuple of str
        Files that are not as they were emitted.
    """

    name: str
    targets: tuple[TargetCheck, ...]
    changed: tuple[str, ...] = field(default=())

    @property
    def bytes_compared(self) -> int:
        return sum(check.bytes_compared for check in self.targets)

    @property
    def bytes_differing(self) -> int:
        return sum(check.bytes_differing for check in self.targets)


def check(
    directory: Path,
    targets: Sequence[str] | None = None,
    inputs: Mapping[str, Array] | Path | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
) -> CheckResult:
    """Compare an emitted library with the simulation of its model, byte for byte.

    Parameters
    ----------
    directory : Path
        What `emit` wrote.
    targets : sequence of str, optional
        Where to run it; default: this machine, or the library's own target where only that has
        the instructions.
    inputs : mapping of str to int array of shape (samples, *tensor shape), or Path, optional
        By input name, or a file for `arrays.read_inputs`.
    samples : int
        Random samples where `inputs` is absent; all -128 and all 127 come before them.
    seed : int
        Of the random samples.

    Raises
    ------
    Mismatch
        A byte differs, or the C reports an error.
    InputError
        `directory` is not an emitted library, a target is unknown or cannot run it, or the inputs
        do not fit.
    ModelError
        The `.cq` file in `directory` is damaged.
    ToolError
        A compiler or emulator is missing or failed.
    """
    library = manifest.read(directory)
    boards_wanted = [targets_module.load(name) for name in targets or _default_targets(library)]
    for board in boards_wanted:
        require_instructions(library, board)
    source = ir.load(directory / library.model)
    graph = passes.run(source, library.flow)
    options = []
    if inputs is None:
        options = ["--samples", str(samples)]
    elif isinstance(inputs, Path):
        options = ["--inputs", str(inputs)]
    comparison = _Comparison(library, graph, _samples(graph, inputs, samples, seed))
    changed = library.changed(directory)
    if serial.digest(source) != library.model_sha256 and library.model not in changed:
        changed = (*changed, library.model)
    done = []
    for board in boards_wanted:
        command = shlex.join(["codeq", "check", str(directory), "--on", board.name, *options])
        # what was edited may crash, and must not take Python with it
        runner = _runner(directory, board, isolate=bool(changed))
        done.append(comparison.on(board.name, runner, command, changed))
    return CheckResult(name=library.name, targets=tuple(done), changed=changed)


def run(
    directory: Path,
    target: str | None = None,
    inputs: Mapping[str, Array] | Path | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
) -> dict[str, Array]:
    """Outputs of an emitted library on one target: what the C gives, whatever the simulation says.

    Parameters are those of `check`; `target` is one, by default the library's own.

    Returns
    -------
    dict of str to int array of shape (samples, *tensor shape)

    Raises
    ------
    Mismatch
        The C reports an error.
    InputError, ModelError, ToolError
        As in `check`.
    """
    library = manifest.read(directory)
    board = targets_module.load(library.target if target is None else target)
    require_instructions(library, board)
    graph = passes.run(ir.load(directory / library.model), library.flow)
    rows = side_by_side(graph, graph.inputs, _samples(graph, inputs, samples, seed))
    result = _runner(directory, board, isolate=bool(library.changed(directory)))(rows, 0)
    require_success(library, board, result)
    return apart(graph, graph.outputs, result.outputs)


def require_success(library: Manifest, board: Target, result: RunResult) -> None:
    """Refuse results of a run in which the C reported an error.

    Raises
    ------
    Mismatch
        With the first sample's status.
    """
    for sample in np.flatnonzero(result.statuses).tolist():
        raise Mismatch(f"{library.name} on {board.name}: {_ended(sample, result)}")


Runner = Callable[[Bytes2D, int], RunResult]
"""Samples and the number of those that are traced → what the library made of them."""


def _runner(directory: Path, board: Target, *, isolate: bool) -> Runner:
    if board.is_host:
        return host.build(directory, isolate=isolate).run
    image = firmware.build(directory, board)
    return lambda samples, traced: boards.run(image, samples, traced)


def _default_targets(library: Manifest) -> tuple[str, ...]:
    return (library.target if _native_isas(library) else HOST,)


def _native_isas(library: Manifest) -> set[str]:
    isas = {kernel.symbol: kernel.isa for kernel in kernels.rows()}
    return {isas.get(layer.kernel, "ref") for layer in library.layers} & NATIVE_ONLY


def require_instructions(library: Manifest, board: Target) -> None:
    """Refuse a board that lacks instructions of the library's kernels.

    Raises
    ------
    InputError
        With the library's own target.
    """
    missing = sorted(_native_isas(library) - set(board.isa))
    if missing:
        raise InputError(
            f"{library.name} was compiled for {library.target} and calls {', '.join(missing)} "
            f"kernels, which {board.name} cannot run: compile the model for {board.name}"
        )


def _samples(
    graph: Graph, inputs: Mapping[str, Array] | Path | None, samples: int, seed: int
) -> Mapping[str, Array]:
    if inputs is None:
        if samples < 1:
            raise InputError(f"{samples} samples: at least 1 is needed")
        return _random_samples(graph, samples, seed)
    arrays = read_inputs(inputs, graph) if isinstance(inputs, Path) else inputs
    if any(not len(array) for array in arrays.values()):
        raise InputError("the inputs hold no samples")
    return arrays


def _random_samples(graph: Graph, samples: int, seed: int) -> dict[str, Array]:
    """Both extremes, which reach every saturation, then random samples."""
    arrays = {}
    for name, drawn in random_inputs(graph, samples, seed).items():
        limits = np.iinfo(drawn.dtype)
        extremes = [np.full_like(drawn[:1], value) for value in (limits.min, limits.max)]
        arrays[name] = np.concatenate([*extremes, drawn])
    return arrays


class _Comparison:
    """The simulation's side, computed once for all targets."""

    def __init__(self, library: Manifest, graph: Graph, inputs: Mapping[str, Array]) -> None:
        missing = sorted({layer.tensor for layer in library.layers} - graph.tensors.keys())
        if missing:
            raise InputError(
                f'this version of codeq has no tensor "{missing[0]}" in {library.name}, which was '
                f"made by {library.generator}: compile the model again"
            )
        self._library = library
        self._graph = graph
        self._inputs = inputs
        self._expected = simulate(graph, inputs)
        self._samples = len(self._expected[graph.outputs[0]])
        self._traced = min(TRACED, self._samples)
        self._tensors = trace(graph, {name: a[: self._traced] for name, a in inputs.items()})

    def on(self, target: str, run: Runner, command: str, changed: Sequence[str]) -> TargetCheck:
        """Compare on one target.

        Raises
        ------
        Mismatch
            With the first difference and `command`.
        """
        result = self._run(run)
        expected = side_by_side(self._graph, self._graph.outputs, self._expected)
        differing = int(np.count_nonzero(result.outputs != expected))
        compared = expected.size
        for record in result.trace:
            want, got = self._layer_bytes(record.layer, record.sample, record.data)
            differing += int(np.count_nonzero(want != got))
            compared += want.size
        if differing or np.any(result.statuses):
            first = self._first(run, result)
            raise Mismatch(
                "\n".join(
                    [
                        f"{self._library.name} on {target}: {differing} of {compared} bytes differ",
                        f"  first: {first}",
                        f"  reproduce: {command}",
                        *(f"  changed since it was emitted: {path}" for path in changed),
                    ]
                )
            )
        return TargetCheck(
            target=target,
            samples=self._samples,
            traced=self._traced,
            bytes_compared=compared,
            bytes_differing=differing,
            stack_bytes=result.stack_bytes or None,
        )

    def _layer(self, index: int) -> LayerEntry:
        return self._library.layers[index - 1]

    def _layer_bytes(
        self, index: int, sample: int, data: bytes
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        expected = little_endian(self._tensors[self._layer(index).tensor][sample])
        actual = np.frombuffer(data, np.uint8)
        if len(actual) != len(expected):
            raise InputError(
                f"layer {index} of {self._library.name} wrote {len(actual)} bytes, its model has "
                f"{len(expected)}: compile the model again"
            )
        return expected, actual

    def _first(self, run: Runner, result: RunResult) -> str:
        """What to look at first: an error, else a layer, else an output."""
        for sample in np.flatnonzero(result.statuses).tolist():
            return _ended(sample, result)
        difference = next(self._layer_differences(result), None)
        if difference is None:
            difference = next(self._output_differences(result))
            # that sample was not traced: look into it alone
            if self._library.state_bytes:
                return str(difference)  # alone it would remember nothing
            alone = _Comparison(
                self._library,
                self._graph,
                {name: a[difference.sample :][:1] for name, a in self._inputs.items()},
            )
            deeper = next(alone._layer_differences(alone._run(run)), None)
            if deeper is not None:
                difference = Difference(
                    what=deeper.what,
                    sample=difference.sample,
                    element=deeper.element,
                    expected=deeper.expected,
                    actual=deeper.actual,
                )
        return str(difference)

    def _run(self, run: Runner) -> RunResult:
        inputs = side_by_side(self._graph, self._graph.inputs, self._inputs)
        result = run(inputs, self._traced)
        calls = [record.layer for record in result.trace]
        if calls != [*self._library.order] * self._traced:
            raise InputError(
                f"{self._library.name} does not trace the layers of its manifest: "
                "compile the model again"
            )
        return replace(result, trace=_whole(result.trace))

    def _layer_differences(self, result: RunResult) -> Iterator[Difference]:
        for record in result.trace:
            layer = self._layer(record.layer)
            expected = self._tensors[layer.tensor][record.sample]
            actual = np.frombuffer(record.data, expected.dtype.newbyteorder("<"))
            yield from _differences(
                f'layer l{layer.index:02d} {layer.op} "{layer.name}" ({layer.kernel})',
                record.sample,
                expected,
                actual.reshape(expected.shape),
            )

    def _output_differences(self, result: RunResult) -> Iterator[Difference]:
        for name, actual in apart(self._graph, self._graph.outputs, result.outputs).items():
            for sample, expected in enumerate(self._expected[name]):
                yield from _differences(f'output "{name}"', sample, expected, actual[sample])


def _whole(trace: Sequence[TraceRecord]) -> tuple[TraceRecord, ...]:
    """One record for each layer of each sample: rows come once, and in order."""
    pieces: dict[tuple[int, int], list[bytes]] = {}
    for record in trace:
        pieces.setdefault((record.sample, record.layer), []).append(record.data)
    return tuple(
        TraceRecord(sample=sample, layer=layer, data=b"".join(data))
        for (sample, layer), data in pieces.items()
    )


def _ended(sample: int, result: RunResult) -> str:
    """A run that did not return CQ_OK, in words."""
    status = int(result.statuses[sample])
    meaning = host.MEANING.get(status, "an unknown status")
    return f"sample {sample} ended with status {status}: {meaning}"


def _differences(what: str, sample: int, expected: Array, actual: Array) -> Iterator[Difference]:
    """The first difference of two tensors, if there is one."""
    places = np.argwhere(expected != actual)
    if len(places):
        element = tuple(places[0].tolist())
        yield Difference(
            what=what,
            sample=sample,
            element=element,
            expected=int(expected[element]),
            actual=int(actual[element]),
        )
