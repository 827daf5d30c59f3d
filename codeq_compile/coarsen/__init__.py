# SPDX-License-Identifier: Apache-2.0
"""Fewer bits for the weights of a quantized model, from inputs alone: smaller, and not the same.

Every activation keeps its grid; the layers that lose least give up their bits first.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from codeq_compile import passes
from codeq_compile.coarsen.rounding import Seen, can_be_coarser, rounded
from codeq_compile.errors import DoesNotFit, InputError
from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ir.op import Array
from codeq_compile.packing import applicable, forms, pack
from codeq_compile.plan import AUTO, GAP, HUFFMAN, SMALL, plan
from codeq_compile.simulate import simulate, trace
from codeq_compile.target import Target

__all__ = ["Agreement", "coarsen", "compare"]

WIDTHS = range(2, 8)
_ATTEMPTS, _CLOSE = 10, 0.99
"""Models that are made at most, and the share of the limit that ends the search."""
_SAMPLES = 32
"""That tell how much the outputs suffer from one layer."""
_ENDINGS = frozenset({"softmax", "softmax16", "argmax"})
"""Ops that hide how far an output is from another decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far a model is from another one on the same samples.

    Parameters
    ----------
    samples : int
    same_answer : float
        Share of samples whose largest value of the first output stands at the same place.
    steps : float
        Mean distance of all output values, in steps of their grids.
    accuracy_before, accuracy_after : float, optional
        Share of right answers, where labels were given.
    """

    samples: int
    same_answer: float
    steps: float
    accuracy_before: float | None = None
    accuracy_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Choice:
    """One width of a layer: its bytes of weights, and what the outputs lose."""

    bits: int
    bytes: int
    loss: float


def compare(
    before: Graph,
    after: Graph,
    samples: Mapping[str, Array],
    labels: Array | None = None,
) -> Agreement:
    """Outputs of two models with the same inputs and outputs.

    Parameters
    ----------
    before, after : Graph
        Quantized.
    samples : mapping of str to int array of shape (samples, *tensor shape)
        Best such that neither model was calibrated with.
    labels : int array of shape (samples,), optional
        Places of the right answers in the first output.

    Raises
    ------
    InputError
        The samples do not fit the models, or the labels the samples.
    """
    old, new = (simulate(passes.run(graph), samples) for graph in (before, after))
    first = before.outputs[0]
    answers = [_answers(each[first]) for each in (old, new)]
    if labels is not None and labels.shape != answers[0].shape:
        raise InputError(f"{len(answers[0])} labels are needed, not {list(labels.shape)}")
    distances = [np.abs(old[name].astype(np.float64) - new[name]).ravel() for name in old]
    right = [None, None] if labels is None else [float(np.mean(a == labels)) for a in answers]
    return Agreement(
        samples=len(answers[0]),
        same_answer=float(np.mean(answers[0] == answers[1])),
        steps=float(np.concatenate(distances).mean()),
        accuracy_before=right[0],
        accuracy_after=right[1],
    )


def _answers(outputs: Array) -> Array:
    """The place of each sample's largest value; a single value is the answer itself."""
    flat = outputs.reshape(len(outputs), -1)
    answers: Array = flat.argmax(axis=1) if flat.shape[1] > 1 else flat[:, 0]
    return answers


def coarsen(
    graph: Graph,
    samples: Mapping[str, Array],
    board: Target,
    *,
    weights: int,
    packing: str = AUTO,
    seed: int = 0,
) -> Graph:
    """The model with weights of fewer bits, so that they and the tables fit.

    Parameters
    ----------
    graph : Graph
        Quantized.
    samples : mapping of str to int array of shape (samples, *tensor shape)
        Some hundred real inputs, by input.
    board : Target
        Whose plan is to fit.
    weights : int
        Bytes for weights and tables.
    packing : {"auto", "small"}
        As for `plan`.
    seed : int
        Of the places that are looked at.

    Returns
    -------
    Graph
        Quantized; it has the dead channels no more, and `provenance["coarsened"]` the widths.

    Raises
    ------
    DoesNotFit
        Not even two bits for every layer are few enough.
    InputError
        There are no samples, or they do not fit the graph.
    """
    if packing not in {AUTO, SMALL}:
        raise InputError(f'a coarser model is for the packing "{AUTO}" or "{SMALL}", not {packing}')
    if not all(len(array) for array in samples.values()):
        raise InputError("there are no samples to calibrate with")
    run = _Run(passes.run(graph), samples, board, packing, seed)
    return run.search(weights)


class _Run:
    """What was measured once, and the widths that are tried."""

    def __init__(
        self, graph: Graph, samples: Mapping[str, Array], board: Target, packing: str, seed: int
    ) -> None:
        self.graph, self.samples, self.board = graph, samples, board
        self.packing, self.seed = packing, seed
        self.nodes = {node.name: node for node in graph.nodes}
        self.tensors = trace(graph, samples)
        few = {name: array[:_SAMPLES] for name, array in self.tensors.items()}
        self.choices = {
            node.name: self._choices_of(node, few) for node in graph.nodes if can_be_coarser(node)
        }

    def search(self, limit: int) -> Graph:
        """The largest of the models found within the limit.

        Only what is rounded has a size: streams follow the weights, and coarser steps make biases
        narrower.  What one model misses the limit by is what the next one aims beside it; the aim
        stays below the least one that was missed.
        """
        aim = limit - self._bytes(self.graph) + sum(each[0].bytes for each in self.choices.values())
        best, largest, most = None, -1, math.inf
        for _ in range(_ATTEMPTS):
            widths, planned = self._widths(aim)
            found = self._rounded(widths)
            size = self._bytes(found)
            if size > limit:
                most = min(most, planned - 1)
            elif size > largest:
                best, largest = found, size
            else:
                break
            aim = int(min(aim + limit - size, most))
            if largest > _CLOSE * limit:
                break
        if best is None:
            raise DoesNotFit(f"no widths were found for {limit} bytes: give a few more")
        return best

    def _bytes(self, graph: Graph) -> int:
        decided = plan(passes.run(graph), self.board, self.packing, weigh_code=False)
        return decided.weights_bytes + decided.tables_bytes

    def _choices_of(self, node: Node, few: Mapping[str, Array]) -> list[_Choice]:
        """The layer as it is, then in ever fewer bits."""
        assert node.weights is not None
        choices = [_Choice(bits=node.weights.bits, bytes=self._packed(node), loss=0.0)]
        seen = self._seen(node, self.tensors[node.inputs[0]])
        share = 0.0
        for bits in reversed(WIDTHS):
            if bits < node.weights.bits:
                other, error = rounded(node, seen, bits)
                # one simulation tells what an error of this layer costs, the others follow from it
                share = share or self._loss(other, few) / max(error, 1e-30)
                choice = _Choice(bits=bits, bytes=self._packed(other), loss=share * error)
                choices.append(choice)
        return choices

    def _packed(self, node: Node) -> int:
        assert node.weights is not None
        left_out = {GAP, HUFFMAN} if self.packing == AUTO else set()
        names = set(node.op.packings) - left_out
        return min(
            pack(form, name).bytes
            for form in forms(node.weights)
            for name in applicable(form, names)
        )

    def _seen(self, node: Node, x: Array) -> Seen:
        zero_point = self.graph.input_types(node)[0].zero_point
        return Seen.of(node, x, zero_point, np.random.default_rng(self.seed))

    def _loss(self, changed: Node, few: Mapping[str, Array]) -> float:
        """Mean square distance of what decides, if one layer is another."""
        tensors = dict(few)
        moved: set[str] = set()
        for node in self.graph.nodes:
            if node.name == changed.name:
                node = self._lowered(changed)
            elif not moved & set(node.inputs):
                continue
            operands = (self._operand(name, tensors) for name in node.inputs)
            tensors[node.output] = node.op.simulate(node.params, *operands)
            moved.add(node.output)
        return sum(
            float(np.square(tensors[name].astype(np.float64) - few[name]).mean())
            for name in self._decisive()
        )

    def _decisive(self) -> Iterator[str]:
        for name in self.graph.outputs:
            producer = self.graph.producer(name)
            is_ending = producer is not None and producer.op.kind in _ENDINGS
            yield producer.inputs[0] if is_ending and producer is not None else name

    def _operand(self, name: str, tensors: Mapping[str, Array]) -> Array:
        if name not in self.graph.constants:
            return tensors[name]
        batch = len(next(iter(tensors.values())))
        constant = self.graph.constants[name]
        return np.broadcast_to(constant, (batch, *constant.shape))

    def _lowered(self, node: Node) -> Node:
        kinds = self.graph.input_types(node), self.graph.output_type(node)
        return replace(node, params=node.op.lower(node, *kinds))

    def _widths(self, limit: int) -> tuple[dict[str, int], int]:
        """Bits of each layer, and bytes of all: the least loss a byte is given up first."""
        chosen = dict.fromkeys(self.choices, 0)
        total = sum(choices[0].bytes for choices in self.choices.values())
        while total > limit:
            steps = [
                (
                    (each.loss - now.loss) / (now.bytes - each.bytes),
                    name,
                    place,
                    each.bytes - now.bytes,
                )
                for name, choices in self.choices.items()
                for now in [choices[chosen[name]]]
                for place, each in enumerate(choices)
                if place > chosen[name] and each.bytes < now.bytes
            ]
            if not steps:
                raise DoesNotFit(
                    f"two bits for every layer are still {total - limit} bytes too many: "
                    "remove channels, or give more"
                )
            _, name, place, change = min(steps)
            chosen[name], total = place, total + change
        return {name: self.choices[name][place].bits for name, place in chosen.items()}, total

    def _rounded(self, widths: Mapping[str, int]) -> Graph:
        """Layer by layer, each from the inputs that the coarser layers before it give."""
        tensors: dict[str, Array] = dict(self.samples)
        nodes = []
        for node in self.graph.nodes:
            if node.weights is not None and widths.get(node.name, 8) < node.weights.bits:
                seen = self._seen(node, tensors[node.inputs[0]])
                node = self._lowered(rounded(node, seen, widths[node.name])[0])
            operands = (self._operand(name, tensors) for name in node.inputs)
            tensors[node.output] = node.op.simulate(node.params, *operands)
            nodes.append(node)
        changed = (node for node in nodes if node is not self.nodes[node.name])
        text = " ".join(f"{node.name}:{node.weights.bits}" for node in changed if node.weights)
        provenance = {**self.graph.provenance, "coarsened": text}
        return replace(self.graph, nodes=tuple(nodes), provenance=provenance)
