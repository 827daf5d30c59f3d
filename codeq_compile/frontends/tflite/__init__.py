# SPDX-License-Identifier: Apache-2.0
"""`.tflite` files → graph: int8 models, with the integers of TFLite's reference kernels.

`flatbuffer` and `schema` read the file, `constants` its stored values; each other module holds the
handlers of some operators. All reasons why a model cannot be converted are given at once.
"""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from codeq_compile.errors import ModelError, SpecViolation, UnsupportedOp
from codeq_compile.frontends.tflite import elementwise, folding, schema, shapes, weighted, windows
from codeq_compile.frontends.tflite.layer import (
    HANDLERS,
    Building,
    Kernels,
    Layer,
    Refusal,
    tensor_type,
)
from codeq_compile.frontends.tflite.schema import ElementType, Model, Operator, Tensor
from codeq_compile.ir.graph import Graph
from codeq_compile.ir.verify import verify

__all__ = ["HANDLERS", "Imported", "Kernels", "convert", "first_integers", "load", "read"]

_HANDLER_MODULES = (elementwise, shapes, weighted, windows)
"""Imported for the handlers that they register."""

MAX_OPERATORS = 4096
MAX_FILE_BYTES = 1 << 26


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


def load(path: Path, kernels: Kernels = Kernels.TFLM) -> Graph:
    """Read and convert a `.tflite` file.

    Parameters
    ----------
    path : Path
    kernels : Kernels
        Whose integers it shall give.

    Raises
    ------
    ModelError
        The file is missing, damaged or foreign.
    UnsupportedOp
        It holds operators that codeq cannot convert; all of them are named.
    """
    try:
        return convert(read(path), name=graph_name(path), kernels=kernels).graph
    except UnsupportedOp:
        raise
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def read(path: Path) -> Model:
    """What a `.tflite` file says.

    Raises
    ------
    ModelError
        The file is missing, damaged or foreign.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ModelError(f"larger than {MAX_FILE_BYTES} bytes: not for a microcontroller")
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror or error}") from error
    return schema.read(data)


def graph_name(path: Path) -> str:
    """A C identifier from a file's name."""
    word = re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_") or "model"
    return word if word[0].isalpha() else f"m_{word}"


def convert(model: Model, *, name: str, kernels: Kernels = Kernels.TFLM) -> Imported:
    """The graph of a model.

    Raises
    ------
    UnsupportedOp
        With every reason.
    ModelError
        The graph would not be legal.
    """
    if len(model.operators) > MAX_OPERATORS:
        raise ModelError(f"{len(model.operators)} operators, more than {MAX_OPERATORS}")
    if _is_float(model):
        raise UnsupportedOp(
            [
                f"all of its {len(model.operators)} operators compute in float32: quantize the "
                "whole model to int8 with a representative data set (TFLITE_BUILTINS_INT8)"
            ]
        )
    building = Building(kernels=kernels)
    reasons = _inputs(building, model)
    for operator in model.operators:
        reasons.extend(_operator(building, operator))
    if reasons:
        raise UnsupportedOp(reasons)
    outputs = [_output(building, model, tensor) for tensor in model.outputs]
    graph = Graph(
        name=name,
        tensors=building.tensors,
        inputs=tuple(building.names[first_integers(model, each).index] for each in model.inputs),
        outputs=tuple(outputs),
        nodes=tuple(building.nodes),
        constants=building.constants,
        provenance={"format": "tflite", "kernels": str(kernels)},
    )
    return Imported(graph=verify(graph), tensors=building.names)


def _is_float(model: Model) -> bool:
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
            name = building.add_tensor(tensor.short_name, tensor_type(entry))
            building.names[entry.index] = name
        except Refusal as refusal:
            reasons.append(f"input {tensor.label}: {refusal}")
    return reasons


def first_integers(model: Model, tensor: Tensor) -> Tensor:
    """The first integers of an input: its own, or those that QUANTIZE makes of floats."""
    if tensor.kind is not ElementType.FLOAT32:
        return tensor
    readers = [each for each in model.operators if tensor in each.inputs]
    if [each.kind for each in readers] != ["QUANTIZE"] or len(readers[0].outputs) != 1:
        raise Refusal(
            "it is float32 and no QUANTIZE follows it: quantize the whole model to int8 with a "
            "representative data set"
        )
    return readers[0].outputs[0]


def _output(building: Building, model: Model, tensor: Tensor) -> str:
    """The graph's name of an output, or of the integers that DEQUANTIZE makes floats of."""
    last = next((each for each in model.operators if tensor in each.outputs), None)
    source = tensor
    if last is not None and last.kind == "DEQUANTIZE" and last.inputs[0] is not None:
        source = last.inputs[0]
    if source.index not in building.names:
        raise ModelError(f"output {tensor.label} is not computed by any operator")
    return building.names[source.index]


def _operator(building: Building, operator: Operator) -> list[str]:
    """Convert one operator; the reason why it cannot be."""
    layer = Layer(building=building, operator=operator)
    try:
        if not folding.fold(layer):
            if operator.kind not in HANDLERS:
                raise Refusal("codeq has no rule for it")
            HANDLERS[operator.kind](layer)
    except (Refusal, SpecViolation) as reason:
        _assume_outputs(layer)
        return [f"{operator.label}: {reason}"]
    return []


def _assume_outputs(layer: Layer) -> None:
    """Let the operators that follow a refused one show their own problems, not this one's."""
    building = layer.building
    for tensor in layer.operator.outputs:
        if tensor.index not in building.names:
            with contextlib.suppress(Refusal):
                building.names[tensor.index] = building.add_tensor(
                    tensor.short_name, tensor_type(tensor)
                )
