# SPDX-License-Identifier: Apache-2.0
"""Operator after operator of a `.tflite` model → nodes of a graph, and why some cannot be."""

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from codeq_compile.errors import Damaged, ModelError, SpecViolation, UnsupportedOp
from codeq_compile.frontends.tflite import elementwise, folding, shapes, weighted, windows
from codeq_compile.frontends.tflite.layer import (
    HANDLERS,
    Building,
    Kernels,
    Layer,
    Refusal,
    tensor_type,
)
from codeq_compile.frontends.tflite.schema import ElementType, Model, Operator, Tensor
from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ir.verify import verify

_HANDLER_MODULES = (elementwise, shapes, weighted, windows)
"""Imported for the handlers that they register."""

MAX_OPERATORS = 2048
MAX_CONSTANT_ELEMENTS = 6 << 20
"""Of all operators: they become integers of 64 bits on the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """One operator, its nodes (none where it is folded or at a border), and why it has none."""

    operator: Operator
    nodes: tuple[Node, ...]
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """Every operator of a model.

    Parameters
    ----------
    building : Building
    operators : tuple of Converted
    problems : tuple of str
        Of the model's inputs, outputs and states.
    """

    building: Building = field(repr=False)
    operators: tuple[Converted, ...]
    problems: tuple[str, ...]

    @property
    def reasons(self) -> list[str]:
        """Everything that stands in the way."""
        refused = (each for each in self.operators if each.reason is not None)
        return [*self.problems, *(f"{each.operator.label}: {each.reason}" for each in refused)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A converted model.

    Parameters
    ----------
    graph : Graph
        Quantized: every tensor of the file that is computed in integers is a tensor of it.
    tensors : mapping of int to str
        Number in the file → tensor of the graph.
    """

    graph: Graph = field(repr=False)
    tensors: Mapping[int, str] = field(repr=False)


def examine(model: Model, kernels: Kernels = Kernels.TFLM) -> Examination:
    """Convert as many operators as possible.

    Raises
    ------
    ModelError
        There are so many that it is no model.
    """
    if len(model.operators) > MAX_OPERATORS:
        raise ModelError(f"{len(model.operators)} operators, more than {MAX_OPERATORS}")
    dense = {
        each for densify in model.operators if densify.kind == "DENSIFY" for each in densify.outputs
    }
    read = (tensor for each in model.operators for tensor in each.inputs if tensor is not None)
    elements = sum(tensor.elements for tensor in read if tensor.is_constant or tensor in dense)
    if elements > MAX_CONSTANT_ELEMENTS:
        raise ModelError(
            f"its operators read {elements} constants, more than {MAX_CONSTANT_ELEMENTS}: not for "
            "a microcontroller"
        )
    building = Building(kernels=kernels)
    problems = [*_inputs(building, model), *_shared_states(model)]
    inputs = frozenset(building.names)
    operators = tuple(_operator(building, operator) for operator in model.operators)
    problems += _outputs(building, model, operators, inputs)
    return Examination(building=building, operators=operators, problems=tuple(problems))


def convert(model: Model, *, name: str, kernels: Kernels = Kernels.TFLM) -> Imported:
    """The graph of a model.

    Raises
    ------
    UnsupportedOp
        With every reason.
    ModelError
        The graph would not be legal.
    """
    if is_float(model):
        raise UnsupportedOp(
            [
                f"all of its {len(model.operators)} operators compute in float32: quantize the "
                "whole model to int8 with a representative data set (TFLITE_BUILTINS_INT8)"
            ]
        )
    examination = examine(model, kernels)
    if examination.reasons:
        raise UnsupportedOp(examination.reasons)
    building = examination.building
    graph = Graph(
        name=name,
        tensors=building.tensors,
        inputs=tuple(building.names[first_integers(model, each).index] for each in model.inputs),
        outputs=tuple(building.names[_last_integers(model, each).index] for each in model.outputs),
        nodes=tuple(building.nodes),
        constants=building.constants,
        provenance={"format": "tflite", "kernels": str(kernels)},
    )
    return Imported(graph=verify(graph), tensors=building.names)


def is_float(model: Model) -> bool:
    """No operator writes anything but floats and shapes."""
    computed = {tensor.kind for each in model.operators for tensor in each.outputs}
    shapes_too = {ElementType.FLOAT32, ElementType.INT32, ElementType.INT64}
    return ElementType.FLOAT32 in computed and computed <= shapes_too


def _inputs(building: Building, model: Model) -> list[str]:
    """Make the model's inputs known; reasons why some cannot be."""
    reasons = []
    for tensor in model.inputs:
        try:
            entry = first_integers(model, tensor)
            if entry.index in building.names:
                raise Refusal("it is an input of the model twice")
            name = building.add_tensor(tensor.short_name, tensor_type(entry))
            building.names[entry.index] = name
        except Refusal as refusal:
            reasons.append(f"input {tensor.label}: {refusal}")
    return reasons


def _shared_states(model: Model) -> list[str]:
    """Reasons why states cannot be kept: each is its layer's own."""
    readers = Counter(
        tensor
        for each in model.operators
        for tensor in dict.fromkeys(each.inputs)
        if tensor is not None and tensor.is_variable
    )
    return [
        f"state {tensor.label}: {count} operators read it, and each must have its own"
        for tensor, count in readers.items()
        if count > 1
    ]


def first_integers(model: Model, tensor: Tensor) -> Tensor:
    """The first integers of an input: its own, or those that QUANTIZE makes of floats."""
    if tensor.kind is not ElementType.FLOAT32:
        return tensor
    readers = [each for each in model.operators if tensor in each.inputs]
    if [each.kind for each in readers] != ["QUANTIZE"] or len(readers[0].outputs) != 1:
        raise Refusal(
            "it is float32, and not read by one QUANTIZE alone: quantize the whole model to int8 "
            "with a representative data set"
        )
    return readers[0].outputs[0]


def _last_integers(model: Model, tensor: Tensor) -> Tensor:
    """The last integers of an output: its own, or those that DEQUANTIZE makes floats of."""
    last = next((each for each in model.operators if tensor in each.outputs), None)
    if (
        last is not None
        and last.kind == "DEQUANTIZE"
        and last.inputs
        and last.inputs[0] is not None
    ):
        return last.inputs[0]
    return tensor


def _outputs(
    building: Building, model: Model, operators: Sequence[Converted], inputs: Iterable[int]
) -> list[str]:
    """Reasons why the model's outputs cannot be those of a graph; refused operators have theirs."""
    refused = {tensor for each in operators if each.reason for tensor in each.operator.outputs}
    taken = dict.fromkeys(inputs, "an input of the model")
    reasons = []
    for tensor in model.outputs:
        last = _last_integers(model, tensor)
        if last.index in building.folded:
            reasons.append(f"output {tensor.label}: it is the same for every sample: leave it out")
        elif last.index not in building.names:
            if not refused & {tensor, last}:
                reasons.append(f"output {tensor.label}: it is not computed by any operator")
        elif last.index in taken:
            reasons.append(
                f"output {tensor.label}: its integers are {taken[last.index]} already: leave it out"
            )
        else:
            taken[last.index] = "another output"
    return reasons


def _operator(building: Building, operator: Operator) -> Converted:
    layer = Layer(building=building, operator=operator)
    before = len(building.nodes)
    try:
        if not folding.fold(layer):
            if operator.kind not in HANDLERS:
                raise Refusal(_instead(operator.kind))
            HANDLERS[operator.kind](layer)
    except (Refusal, SpecViolation, Damaged) as reason:
        _assume_outputs(layer)
        return Converted(operator=operator, nodes=(), reason=str(reason))
    return Converted(operator=operator, nodes=tuple(building.nodes[before:]))


_INSTEAD = {
    "CUSTOM": "compute it in your own C, before or behind the model",
    "DIV": "multiply by the reciprocal",
    "RESIZE_BILINEAR": "resize by whole factors with RESIZE_NEAREST_NEIGHBOR",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "use convolutions over time",
    "BIDIRECTIONAL_SEQUENCE_LSTM": "use convolutions over time",
    "REDUCE_MAX": "use MAX_POOL_2D over the whole image",
    "SUM": "use MEAN, with another scale",
    "ELU": "use HARD_SWISH, LEAKY_RELU or RELU6",
    "GELU": "use HARD_SWISH, LEAKY_RELU or RELU6",
    "LOG_SOFTMAX": "use SOFTMAX, or leave it out",
}


def _instead(kind: str) -> str:
    """Why an operator cannot be converted, and the way out, where one is known."""
    if kind in folding.KINDS:
        return "its operands are computed while the model runs, and must follow from shapes"
    advice = _INSTEAD.get(kind.partition(" ")[0])
    return f"codeq has no rule for it: {advice}" if advice else "codeq has no rule for it"


def _assume_outputs(layer: Layer) -> None:
    """Let the operators that follow a refused one show their own problems, not this one's."""
    building = layer.building
    for tensor in layer.operator.outputs:
        if tensor.index not in building.names:
            with contextlib.suppress(Refusal):
                building.names[tensor.index] = building.add_tensor(
                    tensor.short_name, tensor_type(tensor)
                )
