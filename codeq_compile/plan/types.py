# SPDX-License-Identifier: Apache-2.0
"""What a plan is: the decisions for each layer, and what they take together."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from codeq_compile import cost, footprint
from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ir.types import Packed
from codeq_compile.kernels import Kernel
from codeq_compile.memory import MemoryPlan
from codeq_compile.memory.streams import Call, banded
from codeq_compile.ops.base import align4
from codeq_compile.plan.economy import Aim, Total
from codeq_compile.target import Target

AUTO = "auto"
DENSE = "dense"
FAST = "fast"
"""The packing that is read in least time, unless it is much longer."""
SMALL = "small"
"""The shortest packing, however long it takes to read."""
GAP, HUFFMAN = "gap", "huffman"
CHOICES = frozenset({AUTO, FAST, SMALL})
"""What is no codec, but leaves the codec and the form of the weights to `plan`."""

Streaming = Literal["off", "auto"]
"""Whether layers are executed some rows at a time: never, or where the arena becomes smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A node that is executed (a view is not), and what was decided for it.

    Parameters
    ----------
    index : int
        Position among the layers, from 1, as in ``l01``.
    node : Node
    kernel : Kernel
    packed : Packed, optional
        The weights as they stand in flash.
    costs : dict of str to int
        Bytes of each packing that has a kernel here, in the op's order of preference.
    note : str
        Why the packing is not the one that was asked for; else empty.
    scratch_bytes : int
    state_offset, state_bytes : int
        Place in the caller's state of what lives from one inference to the next.
    tables_bytes : int
        Flash for biases, multipliers, functions and levels.
    padding_bytes : int
        Between these and the weights in a linked image: compilers for Arm align arrays to words.
    macs, macs_done : int
        Multiply-accumulates of one inference, and those that are left where zeros are skipped.
    calls : tuple of Call
        With some rows each, where the layer is a part of a stream; else empty.
    """

    index: int
    node: Node
    kernel: Kernel
    packed: Packed | None
    costs: dict[str, int]
    note: str
    scratch_bytes: int
    state_offset: int
    state_bytes: int
    tables_bytes: int
    padding_bytes: int
    macs: int
    macs_done: int
    calls: tuple[Call, ...] = ()

    @property
    def weights_bytes(self) -> int:
        """Flash for the packed stream; a table of levels counts as a table."""
        return len(self.packed.data) if self.packed else 0

    @property
    def data_bytes(self) -> int:
        """Flash for weights and tables, with what aligns them."""
        return self.weights_bytes + self.tables_bytes + self.padding_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that the emitter needs to know.

    Parameters
    ----------
    graph : Graph
        Lowered.
    target : Target
    packing : str
        What was asked for: ``"auto"`` or the name of a codec.
    layers : tuple of Layer
        In order of execution.
    memory : MemoryPlan
    weighed : Aim, optional
        Of packings and kernels that were chosen for the whole network with their code; None where
        they were chosen for each layer.
    """

    graph: Graph = field(repr=False)
    target: Target
    packing: str
    layers: tuple[Layer, ...]
    memory: MemoryPlan = field(repr=False)
    weighed: Aim | None = field(default=None, repr=False)

    def price(self, layer: Layer) -> cost.Price | None:
        """Predicted instructions of a layer, all its calls together; None where nothing is known
        of its kernel here.
        """
        node, core = layer.node, self.target.core
        whole = (node, self.graph.input_types(node), self.graph.output_type(node))
        bands = (banded(self.graph, node, call.rows) for call in layer.calls)
        parts = [(band.node, band.inputs, band.output) for band in bands if band] or [whole]
        found = [cost.price(*part, layer.packed, layer.kernel, core) for part in parts]
        known = [price for price in found if price is not None]
        return cost.total(known) if len(known) == len(found) else None

    @property
    def instructions(self) -> int | None:
        """Predicted for one inference; None where it is not known of every layer."""
        prices = [self.price(layer) for layer in self.layers]
        known = [price.instructions for price in prices if price is not None]
        return sum(known) if len(known) == len(prices) else None

    @property
    def total(self) -> Total | None:
        """Flash for weights, tables and kernels, and instructions, predicted; None where they are
        not known.
        """
        code = footprint.predict((layer.kernel for layer in self.layers), self.target.core)
        instructions = self.instructions
        if code is None or instructions is None:
            return None
        data = self.data_bytes
        return Total(data=data, flash=data + code, instructions=instructions)

    @property
    def data_bytes(self) -> int:
        """Flash for weights and tables, with what aligns them."""
        return sum(layer.data_bytes for layer in self.layers)

    @property
    def weights_bytes(self) -> int:
        """Flash for packed weights."""
        return sum(layer.weights_bytes for layer in self.layers)

    @property
    def tables_bytes(self) -> int:
        """Flash for all other constant arrays."""
        return sum(layer.tables_bytes for layer in self.layers)

    @property
    def padding_bytes(self) -> int:
        """Flash between constant arrays in a linked image."""
        return sum(layer.padding_bytes for layer in self.layers)

    @property
    def arena_bytes(self) -> int:
        """RAM for activations and scratch."""
        return self.memory.arena_bytes

    @property
    def input_bytes(self) -> int:
        """RAM for the caller's input buffers; 0 where the inputs stand in the arena."""
        return self._caller_bytes(self.graph.inputs)

    @property
    def output_bytes(self) -> int:
        """RAM for the caller's output buffers; 0 where the outputs stand in the arena."""
        return self._caller_bytes(self.graph.outputs)

    def _caller_bytes(self, names: Iterable[str]) -> int:
        if self.memory.io == "arena":
            return 0
        return sum(self.graph.tensors[name].bytes for name in names)

    @property
    def state_bytes(self) -> int:
        """RAM that the caller keeps from one inference to the next."""
        return sum(align4(layer.state_bytes) for layer in self.layers)

    @property
    def ram_bytes(self) -> int:
        """Arena, state, inputs and outputs; not the stack."""
        return self.arena_bytes + self.state_bytes + self.input_bytes + self.output_bytes

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference when nothing is skipped."""
        return sum(layer.macs for layer in self.layers)

    @property
    def macs_done(self) -> int:
        """Those that the chosen kernels execute."""
        return sum(layer.macs_done for layer in self.layers)
