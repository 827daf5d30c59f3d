# SPDX-License-Identifier: Apache-2.0
"""Every row of kernels.inc times the cases of its op: what is run on the host and on the boards."""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from codeq_compile.ir import Graph, Node, Packed, TensorType
from codeq_compile.ir.op import Array
from codeq_compile.kernels import Kernel, rows
from codeq_compile.packing import CODECS, pack
from codeq_compile.simulate import simulate
from tests.graphs import Case, lowered

SPARSE = ("bitmask", "rle", "gap", "csr")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """One kernel applied to one case: what goes in and what must come out.

    Parameters
    ----------
    kernel : Kernel
    case : Case
    graph : Graph
        Lowered, with one node.
    packed : Packed, optional
        The weights as the kernel reads them.
    inputs : tuple of int8 arrays of shape (samples, ...)
    expected : array of shape (samples, ...)
    """

    kernel: Kernel
    case: Case
    graph: Graph
    packed: Packed | None
    inputs: tuple[Array, ...]
    expected: Array

    @property
    def node(self) -> Node:
        return self.graph.nodes[0]

    @property
    def input_types(self) -> tuple[TensorType, ...]:
        return self.graph.input_types(self.node)

    @property
    def output_type(self) -> TensorType:
        return self.graph.output_type(self.node)

    @property
    def scratch_bytes(self) -> int:
        return self.node.op.scratch_bytes(
            self.node.params,
            self.input_types,
            self.output_type,
            self.packed,
            self.kernel.family,
            self.kernel.isa,
        )

    @property
    def state_bytes(self) -> int:
        return self.node.op.state_bytes(self.node.params)

    @property
    def state_fill(self) -> int:
        return self.node.op.state_fill(self.node.params)

    def __str__(self) -> str:
        return f"{self.kernel}[{self.case}]"


def jobs(kernel: Kernel) -> Iterator[Job]:
    """The kernel on every case of its op that it serves.

    A case with plain 8-bit weights lends its geometry to every width; the others keep their own.
    """
    module = importlib.import_module(f"tests.compile.ops.test_{kernel.op}")
    for original in module.CASES:
        case = _with_weights_of(kernel, original)
        if case is None:
            continue
        graph, inputs, expected = _golden(case)
        (node,) = graph.nodes
        if kernel.family not in node.op.families(node.params):
            continue
        if kernel.act != node.op.act(node.params):
            continue
        packed = None
        if kernel.packing is not None:
            if not CODECS[kernel.packing].applies(node.weights):
                continue
            packed = pack(node.weights, kernel.packing)
            if packed.bits != kernel.bits:  # csr stores what it finds, not the width of the grid
                continue
        yield Job(
            kernel=kernel,
            case=case,
            graph=graph,
            packed=packed,
            inputs=inputs,
            expected=expected,
        )


def host_rows() -> tuple[Kernel, ...]:
    """Rows that run on any machine: Helium kernels are left to the emulated Cortex-M55."""
    return tuple(kernel for kernel in rows() if kernel.isa != "mve")


def _with_weights_of(kernel: Kernel, case: Case) -> Case | None:
    """The case with weights as wide as the kernel's; None where its own weights must stay."""
    spec = case.weights
    if kernel.bits is None or spec is None or spec.bits == kernel.bits:
        return case
    if spec.bits != 8 or spec.gap != 0 or spec.levels is not None:
        return None
    is_sparse = kernel.packing in SPARSE
    levels = None
    if kernel.bits == 1:
        levels = (0, 3) if is_sparse else (-1, 2)
    zeros = spec.zeros or (0.6 if is_sparse else 0.0)
    return replace(case, weights=replace(spec, bits=kernel.bits, levels=levels, zeros=zeros))


_Golden = tuple[Graph, tuple[Array, ...], Array]
_goldens: dict[tuple[str, str], _Golden] = {}


def _golden(case: Case) -> _Golden:
    # rows of one width share their goldens, whatever their packing and ISA
    key = (case.op.kind, f"{case.name} {case.weights}")
    if key not in _goldens:
        graph = lowered(case.graph())
        data = case.data()
        _goldens[key] = (
            graph,
            tuple(data[name] for name in graph.nodes[0].inputs),
            np.asarray(simulate(graph, data)[graph.outputs[0]]),
        )
    return _goldens[key]
