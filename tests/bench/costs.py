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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
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
STACK_BYTES = 1 << 16
"""An entry point of a thousand layers keeps more addresses than one of a network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A layer, and the instructions of one call of its kernel."""

    layer: Layer
    inputs: tuple[TensorType, ...] = field(repr=False)
    output: TensorType
    instructions: int

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
        for packing in CODECS:
            more = MORE_ROUNDS if packing in SPARSE else 1
            for seed in range(more * rounds // at_once):
                graph = drawn.layers(packing, at_once, seed)
                yield from (c for c in counted(graph, lesser, packing) if c.layer.kernel.isa == isa)


def counted(graph: Graph, board: Target, packing: str) -> Iterator[Counted]:
    """Every layer of a graph, run once on random inputs."""
    # in the arena every tensor begins at a word; the test program puts other inputs anywhere
    decided = plan(passes.run(graph), board, packing, "arena")
    with tempfile.TemporaryDirectory(prefix="codeq-") as name:
        folder = Path(name) / graph.name
        library = emit.emit(decided, folder, source=graph, command="tests/bench/costs.py")
        image = firmware.build(folder, board, compiler=tools.arm_cc(), app="profile")
        inputs = arrays.random_inputs(decided.graph, 1, seed=0)
        rows = arrays.side_by_side(decided.graph, decided.graph.inputs, inputs)
        entry = f"{library.name}_run"
        kernels = sorted({layer.kernel for layer in library.layers})
        counts = counter.count(image, rows, entry=entry, kernels=kernels)
        require_success(library, board, counts.result)
    start, _ = counts.code.functions[entry]
    calls = [stretch for stretch in counts.runs[0] if stretch.function != start]
    for layer, call in zip(decided.layers, calls, strict=True):
        yield Counted(
            layer=layer,
            inputs=decided.graph.input_types(layer.node),
            output=decided.graph.output_type(layer.node),
            instructions=call.instructions,
        )


def fitted(core: str, layers: Iterable[Counted]) -> Iterator[cost.Model]:
    """A model of each family and instruction set."""
    groups: dict[tuple[str, str], list[Counted]] = {}
    for each in layers:
        kernel = each.layer.kernel
        groups.setdefault((kernel.family, kernel.isa), []).append(each)
    for (family, isa), group in sorted(groups.items()):
        yield _fit(core, family, isa, group)


def _fit(core: str, family: str, isa: str, layers: Sequence[Counted]) -> cost.Model:
    trips = [each.trips for each in layers]
    names = sorted({name for each in trips for name in each})
    times = np.array([[each.get(name, 0.0) for name in names] for each in trips])
    counts = np.array([each.instructions for each in layers], np.float64)
    is_held_out = _held_out(times)
    # relative to the count, and each name to its largest number: small layers weigh as much
    relative = times / counts[:, None]
    largest = relative[~is_held_out].max(axis=0)
    usable = largest > 0
    fit, _ = nnls(
        relative[~is_held_out][:, usable] / largest[usable], np.ones((~is_held_out).sum())
    )
    instructions = np.zeros(len(names))
    instructions[usable] = fit / largest[usable]
    instructions = instructions.round(3)
    errors = np.abs(times @ instructions / counts - 1.0)[is_held_out]
    return cost.Model(
        core=core,
        family=family,
        isa=isa,
        fitted=int((~is_held_out).sum()),
        held_out=int(is_held_out.sum()),
        worst=round(float(errors.max()), 4),
        mean=round(float(errors.mean()), 4),
        instructions={
            name: float(each)
            for name, each, is_usable in zip(names, instructions, usable, strict=True)
            if is_usable
        },
    )


def _held_out(times: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Layers drawn by lot; but what few execute, two of them are fitted to."""
    chosen = np.random.default_rng(0).permutation(len(times)) % HELD_OUT == 0
    for executed in times.T > 0:
        lacking = max(0, 2 - int((executed & ~chosen).sum()))
        chosen[np.flatnonzero(executed & chosen)[:lacking]] = False
    return chosen


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
