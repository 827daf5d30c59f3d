# SPDX-License-Identifier: Apache-2.0
"""What a profile is of: an emitted library, its graph, a board and samples."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from codeq_compile import arrays, ir, manifest, passes
from codeq_compile import target as targets
from codeq_compile.arrays import Bytes2D
from codeq_compile.check import require_instructions
from codeq_compile.errors import InputError
from codeq_compile.ir import Graph
from codeq_compile.ir.op import Array
from codeq_compile.manifest import LayerEntry, Manifest
from codeq_compile.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A library on a board.

    Parameters
    ----------
    library : Manifest
    graph : Graph
        Lowered.
    board : Target
    rows : uint8 array of shape (samples, input bytes)
    """

    library: Manifest
    graph: Graph = field(repr=False)
    board: Target
    rows: Bytes2D = field(repr=False)

    def macs(self, layer: LayerEntry) -> int:
        """Multiply-accumulates of a layer when nothing is skipped."""
        node = next(node for node in self.graph.nodes if node.output == layer.tensor)
        return node.op.macs(node.params, self.graph.output_type(node))


def prepare(
    directory: Path,
    target: str | None,
    inputs: Mapping[str, Array] | Path | None,
    samples: int,
    seed: int,
) -> Subject:
    """Read all that a profile needs; parameters and errors are those of `profile`."""
    library = manifest.read(directory)
    board = targets.load(library.target if target is None else target)
    if board.run is None:
        raise InputError(
            f"{board.name} cannot be profiled: --on names a board, one of {', '.join(boards())}"
        )
    require_instructions(library, board)
    graph = passes.run(ir.load(directory / library.model), library.flow)
    if inputs is None:
        inputs = arrays.random_inputs(graph, samples, seed)
    elif isinstance(inputs, Path):
        inputs = arrays.read_inputs(inputs, graph)
    if any(not len(array) for array in inputs.values()):
        raise InputError("the inputs hold no samples")
    rows = arrays.side_by_side(graph, graph.inputs, inputs)
    return Subject(library=library, graph=graph, board=board, rows=rows)


def boards() -> tuple[str, ...]:
    """Names of the targets that a profile can be of."""
    return tuple(name for name in targets.names() if targets.load(name).run is not None)
