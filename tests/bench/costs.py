# SPDX-License-Identifier: Apache-2.0
"""Fits the cost model of codeq_compile/cost.py to counted layers, and writes its table.

    python tests/bench/costs.py                    # every core: codeq_compile/costs.json anew
    python tests/bench/costs.py --on mps2_an386    # the lines of this board's core only

Layers are drawn at random (tests/bench/drawn.py), some thousand a core, and counted by the
plugin of `codeq profile`: a library holds a hundred, so that they are one image and one run of the
emulator.  Kernels that a better instruction set hides are reached by taking that away from the
board.  Three of four layers are fitted, by non-negative least squares of relative errors; one is
held out, and the errors that the table states are of those.  A core takes some three minutes.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

sys.path.insert(0, str(Path(__file__).parents[2]))

from codeq_compile import arrays, cost, emit, passes
from codeq_compile import target as targets
from codeq_compile.build import counter, firmware, tools
from codeq_compile.check import require_success
from codeq_compile.ir import Graph, TensorType
from codeq_compile.ops.base import SPARSE
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.packing import CODECS
from codeq_compile.plan import Layer, plan
from codeq_compile.target import Target
from tests.bench import drawn, tables
from tests.bench.kernels import compiled_by
from tests.boards import EMULATED

ROUNDS = 24
"""Of each a layer of most ops, for every packing and instruction set."""
MORE_ROUNDS = 3
"""So many times that of sparse packings, whose kernels do what few layers need in many places."""
SMALL, LARGE = 8, 24
"""Rounds in one library: where RAM is short, and elsewhere."""
LARGE_RAM = 1 << 22
HELD_OUT = 4
"""One of so many layers is not fitted."""
SAMPLES = 200
"""Inputs of a softmax, whose instructions depend on them: what is predicted is the mean."""
STACK_BYTES = 1 << 16
"""An entry point of a thousand layers keeps more addresses than one of a network."""


SHARED = (cost.DECODED, "outputs stored, ", "memcpy, ", "memset, ")
"""What names have of trips that all kernels share: of a decoder, of how swar kernels store outputs,
of moving bytes."""
SHARED_ENDS = (" decoded", " mapped", " looked up", " read by bits", " without one")
"""How names end of trips of a decoder that do not say which one."""

Family = tuple[str, str]
"""Kernels, and their instruction set."""
Trip = tuple[str, ...]
"""What is fitted: a name, and the kernels whose it is unless it is a decoder's."""
Shares = Mapping[Trip, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A layer, and the instructions of one call of its kernel, the mean of some inputs."""

    layer: Layer
    inputs: tuple[TensorType, ...] = field(repr=False)
    output: TensorType
    instructions: float

    @property
    def trips(self) -> dict[str, float]:
        layer = self.layer
        return cost.trips(layer.node, self.inputs, self.output, layer.packed, layer.kernel)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--on", choices=EMULATED, action="append")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="a multiple of 24")
    arguments = parser.parse_args()
    chosen = [targets.load(name) for name in arguments.on or EMULATED]
    models = []
    with compiled_by("gcc"):
        for board in chosen:
            models += fitted(board.core, board_layers(board, arguments.rounds))
    cores = {board.core for board in chosen}
    if set(EMULATED) != {board.name for board in chosen}:
        models += [model for model in cost.table().models if model.core not in cores]
    write(models)
    cost.table.cache_clear()
    tables.write_pages()


def board_layers(board: Target, rounds: int = ROUNDS) -> Iterator[Counted]:
    """Drawn layers of every kernel that runs on a board."""
    assert board.memory is not None
    memory = msgspec.structs.replace(board.memory, stack_bytes=STACK_BYTES)
    at_once = LARGE if board.memory.ram_bytes >= LARGE_RAM else SMALL
    for first, isa in enumerate(board.isa):
        lesser = msgspec.structs.replace(board, memory=memory, isa=board.isa[first:])
        found: Iterator[Counted] = chain.from_iterable(
            drawn_layers(lesser, at_once, seed) for seed in range(rounds // at_once)
        )
        yield from (each for each in found if each.layer.kernel.isa == isa)


def drawn_layers(board: Target, rounds: int, seed: int) -> Iterator[Counted]:
    """So many drawn layers of most ops, in every packing that they have."""
    for packing in CODECS:
        more = MORE_ROUNDS if packing in SPARSE else 1
        for again in range(more):
            graph = drawn.layers(packing, rounds, more * seed + again)
            yield from counted(graph, board, packing)
        if packing in Conv2D.packings and packing not in SPARSE:
            yield from counted(drawn.convolutions(packing, 2 * rounds, seed), board, packing)
    for half in (0, 1):  # the test program keeps all inputs and outputs a second time
        yield from counted(drawn.unweighted(rounds // 2, 2 * seed + half), board, "dense")
    yield from counted(drawn.softmaxes(rounds, seed), board, "dense", SAMPLES)


def counted(graph: Graph, board: Target, packing: str, samples: int = 1) -> Iterator[Counted]:
    """Every layer of a graph, run on random inputs."""
    # in the arena every tensor begins at a word; the test program puts other inputs anywhere
    decided = plan(passes.run(graph), board, packing, "arena")
    with tempfile.TemporaryDirectory(prefix="codeq-") as name:
        folder = Path(name) / graph.name
        library = emit.emit(decided, folder, source=graph, command="tests/bench/costs.py")
        image = firmware.build(folder, board, compiler=tools.arm_cc(), app="profile")
        inputs = arrays.random_inputs(decided.graph, samples, seed=0)
        rows = arrays.side_by_side(decided.graph, decided.graph.inputs, inputs)
        entry = f"{library.name}_run"
        kernels = sorted({layer.kernel for layer in library.layers})
        counts = counter.count(image, rows, entry=entry, kernels=kernels)
        require_success(library, board, counts.result)
    start, _ = counts.code.functions[entry]
    calls = [[call for call in run if call.function != start] for run in counts.runs]
    for layer, *runs in zip(decided.layers, *calls, strict=True):
        yield Counted(
            layer=layer,
            inputs=decided.graph.input_types(layer.node),
            output=decided.graph.output_type(layer.node),
            instructions=sum(call.instructions for call in runs) / samples,
        )


def fitted(core: str, layers: Iterable[Counted]) -> Iterator[cost.Model]:
    """A model of each family and instruction set.

    Decoders and what moves bytes are compiled once for all kernels of a library, and what stores
    outputs from the same source: what their trips cost is fitted to all families together.
    """
    groups: dict[Family, list[Shares]] = {}
    for each in layers:
        family = each.layer.kernel.family, each.layer.kernel.isa
        groups.setdefault(family, []).append(_shares(family, each))
    held_out = {family: _held_out(group) for family, group in groups.items()}
    instructions = _fit(
        [
            each
            for family, group in groups.items()
            for each, is_held_out in zip(group, held_out[family], strict=True)
            if not is_held_out
        ]
    )
    for family, group in sorted(groups.items()):
        errors = [
            abs(sum(instructions.get(trip, 0.0) * share for trip, share in each.items()) - 1.0)
            for each, is_held_out in zip(group, held_out[family], strict=True)
            if is_held_out
        ]
        executed = sorted({trip for each in group for trip in each} & set(instructions), key=_name)
        yield cost.Model(
            core=core,
            family=family[0],
            isa=family[1],
            fitted=len(group) - len(errors),
            held_out=len(errors),
            worst=round(max(errors), 4),
            mean=round(sum(errors) / len(errors), 4),
            instructions={_name(trip): instructions[trip] for trip in executed},
        )


def _shares(family: Family, counted: Counted) -> Shares:
    """A layer's trips relative to its count: what they cost is the whole, and small layers weigh as
    much as large ones.
    """
    return {
        (name,) if _is_shared(name) else (name, *family): times / counted.instructions
        for name, times in counted.trips.items()
    }


def _is_shared(name: str) -> bool:
    return any(part in name for part in SHARED) or name.endswith(SHARED_ENDS)


def _name(trip: Trip) -> str:
    return trip[0]


def _held_out(layers: Sequence[Shares]) -> NDArray[np.bool_]:
    """Layers drawn by lot; but what few execute, two of them are fitted to."""
    chosen = np.random.default_rng(0).permutation(len(layers)) % HELD_OUT == 0
    for trip in sorted({trip for each in layers for trip in each}):
        executed = np.array([trip in each for each in layers])
        lacking = max(0, 2 - int((executed & ~chosen).sum()))
        chosen[np.flatnonzero(executed & chosen)[:lacking]] = False
    return chosen


def _fit(layers: Sequence[Shares]) -> dict[Trip, float]:
    """Instructions of each trip that some layer executes, none negative."""
    columns = {trip: i for i, trip in enumerate(sorted({trip for each in layers for trip in each}))}
    shares = np.zeros((len(layers), len(columns)))
    for row, each in zip(shares, layers, strict=True):
        row[[columns[trip] for trip in each]] = list(each.values())
    largest = shares.max(axis=0)
    fit, _ = nnls(shares / largest, np.ones(len(layers)), maxiter=100 * len(columns))
    return {trip: round(float(each), 3) for trip, each in zip(columns, fit / largest, strict=True)}


def write(models: Iterable[cost.Model]) -> None:
    """One line a model, so that a change of one is a change of one line."""
    emulator = tools.qemu()
    head = {
        "compiler": f"{tools.arm_cc().name} {tools.arm_cc().version}",
        "optimization": firmware.OPTIMIZATION,
        "emulator": f"{emulator.name} {emulator.version}",
    }
    lines = [json.dumps(msgspec.to_builtins(m)) for m in sorted(models, key=_place)]
    text = json.dumps(head)[:-1] + ', "models": [\n' + ",\n".join(lines) + "\n]}\n"
    cost.FILE.write_text(text, encoding="utf-8")


def _place(model: cost.Model) -> tuple[str, str, str]:
    return model.core, model.family, model.isa


if __name__ == "__main__":
    main()
