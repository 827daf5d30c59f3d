# SPDX-License-Identifier: Apache-2.0
"""The layer graph: immutable, in execution order, one output a node."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from codeq_compile.ir.op import Array, Op
from codeq_compile.ir.types import TensorType, Weights


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Node:
    """One layer.

    Parameters
    ----------
    name : str
        The model's own layer name ("features.3.pw"); unique in the graph.
    op : Op
        What it does, with its hyper-parameters.
    inputs : tuple of str
        Names of the tensors it reads.
    output : str
        Name of the tensor it writes.
    weights : Weights, optional
        For ops with `has_weights`.
    bias : int32 array of shape (out_channels,), optional
        At scale ``input scale · weight scale[c]``.
    table : int8 array of shape (256,), optional
        For lut: the value of every input, from -128 to 127.
    params : optional
        The op's integers; set by the pass `lower`, absent before.
    """

    name: str
    op: Op[Any]
    inputs: tuple[str, ...]
    output: str
    weights: Weights | None = None
    bias: Array | None = field(default=None, repr=False)
    table: Array | None = field(default=None, repr=False)
    params: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Graph:
    """A model: tensors by name and nodes in execution order.

    Parameters
    ----------
    name : str
        A C identifier; prefix of every emitted symbol.
    tensors : mapping of str to TensorType
        Every activation, graph inputs included.
    inputs, outputs : tuple of str
        Tensors that the caller provides and receives.
    nodes : tuple of Node
        Topologically ordered.
    constants : mapping of str to int8 array of the tensor's shape
        Operands that are the same for every sample, by tensor; each is read by one layer.
    labels : tuple of str
        Class names of the first output, if it is a classifier.
    provenance : mapping of str to str
        Free facts for the banner: source, version, training command.
    """

    name: str
    tensors: Mapping[str, TensorType] = field(repr=False)
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...] = field(repr=False)
    constants: Mapping[str, Array] = field(default_factory=dict, repr=False)
    labels: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)

    def input_types(self, node: Node) -> tuple[TensorType, ...]:
        return tuple(self.tensors[name] for name in node.inputs)

    def output_type(self, node: Node) -> TensorType:
        return self.tensors[node.output]

    @property
    def given(self) -> tuple[str, ...]:
        """Tensors that no node writes: the inputs, then the constants."""
        return (*self.inputs, *self.constants)

    def producer(self, tensor: str) -> Node | None:
        """The node that writes `tensor`; None for one that is given."""
        return next((node for node in self.nodes if node.output == tensor), None)

    def consumers(self, tensor: str) -> Iterator[Node]:
        """Nodes that read `tensor`, in order."""
        return (node for node in self.nodes if tensor in node.inputs)

    def with_nodes(self, nodes: tuple[Node, ...]) -> "Graph":
        """The same graph with other nodes; tensors that nothing touches any more are dropped."""
        used = {*self.inputs, *self.outputs}
        for node in nodes:
            used.update(node.inputs)
            used.add(node.output)
        tensors = {name: kind for name, kind in self.tensors.items() if name in used}
        constants = {name: array for name, array in self.constants.items() if name in used}
        return replace(self, nodes=nodes, tensors=tensors, constants=constants)

    def renamed(self, names: Mapping[str, str]) -> "Graph":
        """The same graph with other names for tensors, inputs and outputs included.

        Facts that are called "something of TENSOR" go with them.
        """

        def called(tensors: Iterable[str]) -> tuple[str, ...]:
            return tuple(names.get(tensor, tensor) for tensor in tensors)

        facts = {f" of {tensor}": f" of {name}" for tensor, name in names.items()}
        provenance = {
            next((key.removesuffix(f) + facts[f] for f in facts if key.endswith(f)), key): text
            for key, text in self.provenance.items()
        }
        return replace(
            self,
            tensors=dict(zip(called(self.tensors), self.tensors.values(), strict=True)),
            constants=dict(zip(called(self.constants), self.constants.values(), strict=True)),
            inputs=called(self.inputs),
            outputs=called(self.outputs),
            nodes=tuple(
                replace(
                    node, inputs=called(node.inputs), output=names.get(node.output, node.output)
                )
                for node in self.nodes
            ),
            provenance=provenance,
        )

    @property
    def is_lowered(self) -> bool:
        """True when every node has its integers."""
        return all(node.params is not None for node in self.nodes)
