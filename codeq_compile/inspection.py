# SPDX-License-Identifier: Apache-2.0
"""What a model file holds, layer by layer, and what stands in the way of compiling it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from codeq_compile import ir, manifest, passes
from codeq_compile.errors import ModelError, SpecViolation
from codeq_compile.frontends import onnx, tflite
from codeq_compile.frontends.onnx.convert import Converted as OnnxConverted
from codeq_compile.frontends.tflite import Kernels
from codeq_compile.frontends.tflite.convert import Converted
from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ir.types import TensorType


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedLayer:
    """A layer of the file.

    Parameters
    ----------
    name, kind : str
        As the file calls it.
    inputs, outputs : tuple of str
        Types and shapes of the tensors that it reads and writes, constants left out.
    macs : int
        Multiply-accumulates of one inference, as far as it could be converted.
    bytes : int
        Of its constants, as they are stored in the file.
    reason : str, optional
        Why it cannot be converted, and what would help.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    macs: int
    bytes: int
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A model file.

    Parameters
    ----------
    file, format : str
    description : str
        What the file says of itself.
    layers : tuple of InspectedLayer
    problems : tuple of str
        What concerns no single layer.
    """

    file: str
    format: str
    description: str
    layers: tuple[InspectedLayer, ...]
    problems: tuple[str, ...]

    @property
    def is_supported(self) -> bool:
        """Whether `codeq compile` takes it."""
        return not self.problems and not any(layer.reason for layer in self.layers)


def inspect(path: Path, kernels: Kernels = Kernels.TFLM) -> Inspection:
    """Look into a `.cq`, `.tflite` or `.onnx` file, or that of an emitted library.

    Raises
    ------
    ModelError
        The file is missing or damaged: its layers cannot be read.
    """
    path = manifest.model_file(path)
    if path.suffix == ".tflite":
        return _tflite(path, kernels)
    if path.suffix == ".onnx":
        return _onnx(path)
    return _cq(path)


def _cq(path: Path) -> Inspection:
    graph = ir.load(path)
    return Inspection(
        file=path.name,
        format="cq",
        description=graph.name,
        layers=tuple(_node_layer(graph, node) for node in graph.nodes),
        problems=tuple(_obstacles(lambda: graph)),
    )


def _onnx(path: Path) -> Inspection:
    model = onnx.read(path)
    examination = onnx.examine(model)
    problems = list(examination.problems)
    if not examination.reasons:
        problems += _obstacles(lambda: onnx.convert(model, name="model").graph)
    tensors = examination.building.tensors
    return Inspection(
        file=path.name,
        format="onnx",
        description=f"{model.description}, opset {model.opset}".lstrip(", "),
        layers=tuple(
            _onnx_layer(each, tensors) for each in examination.operators if not each.is_silent
        ),
        problems=tuple(problems),
    )


def _tflite(path: Path, kernels: Kernels) -> Inspection:
    model = tflite.read(path)
    examination = tflite.examine(model, kernels)
    problems = list(examination.problems)
    if not examination.reasons:
        problems += _obstacles(lambda: tflite.convert(model, name="model", kernels=kernels).graph)
    tensors = examination.building.tensors
    return Inspection(
        file=path.name,
        format="tflite",
        description=model.description,
        layers=tuple(_operator_layer(each, tensors) for each in examination.operators),
        problems=tuple(problems),
    )


def _obstacles(graph: Callable[[], Graph]) -> list[str]:
    """Why layers that are fine one by one give no legal graph, or none that becomes integers."""
    try:
        passes.run(graph())
    except ModelError as error:
        return [str(error)]
    return []


def _operator_layer(each: Converted, tensors: dict[str, TensorType]) -> InspectedLayer:
    operator = each.operator
    read = [tensor for tensor in operator.inputs if tensor is not None]
    return InspectedLayer(
        name=operator.outputs[0].short_name if operator.outputs else "",
        kind=operator.kind,
        inputs=tuple(str(tensor) for tensor in read if not tensor.is_constant),
        outputs=tuple(map(str, operator.outputs)),
        macs=_macs(each.nodes, tensors),
        bytes=sum(len(tensor.data) for tensor in read if tensor.data is not None),
        reason=each.reason,
    )


def _onnx_layer(each: OnnxConverted, tensors: dict[str, TensorType]) -> InspectedLayer:
    return InspectedLayer(
        name=each.operator.short_name,
        kind=each.operator.kind,
        inputs=each.inputs,
        outputs=each.outputs,
        macs=_macs(each.nodes, tensors),
        bytes=each.bytes,
        reason=each.reason,
    )


def _node_layer(graph: Graph, node: Node) -> InspectedLayer:
    arrays = [node.bias, node.table, *(graph.constants.get(name) for name in node.inputs)]
    if node.weights is not None:
        arrays += [node.weights.codes, node.weights.scale]
    return InspectedLayer(
        name=node.name,
        kind=node.op.kind,
        inputs=tuple(str(graph.tensors[x]) for x in node.inputs if x not in graph.constants),
        outputs=(str(graph.output_type(node)),),
        macs=_macs([node], dict(graph.tensors)),
        bytes=sum(array.nbytes for array in arrays if array is not None),
        reason=None,
    )


def _macs(nodes: Iterable[Node], tensors: dict[str, TensorType]) -> int:
    """Of nodes whose integers can be computed; the others are told by `_obstacles`."""
    total = 0
    for node in nodes:
        inputs = tuple(tensors[name] for name in node.inputs)
        output = tensors[node.output]
        try:
            params = node.op.lower(node, inputs, output)
        except SpecViolation:
            continue
        total += node.op.macs(params, output)
    return total
