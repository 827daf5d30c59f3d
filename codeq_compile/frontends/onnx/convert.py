# SPDX-License-Identifier: Apache-2.0
"""Operator after operator of an `.onnx` model → nodes of a graph, and why some cannot be."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from codeq_compile.errors import Damaged, ModelError, SpecViolation, UnsupportedOp
from codeq_compile.frontends.builder import Refusal
from codeq_compile.frontends.onnx import (
    elementwise,
    folding,
    qoperator,
    quantization,
    shapes,
    weighted,
    windows,
)
from codeq_compile.frontends.onnx.layer import HANDLERS, Blocked, Building, Layer
from codeq_compile.frontends.onnx.layout import Layout, channels_last
from codeq_compile.frontends.onnx.schema import OPSETS, Border, ElementType, Model, Operator
from codeq_compile.frontends.onnx.values import (
    UINT8_OFFSET,
    Activation,
    Constant,
    Function,
    Quantized,
    Value,
)
from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ir.types import DType, TensorType
from codeq_compile.ir.verify import verify
from codeq_compile.ops.requantize import Requantize

_HANDLER_MODULES = (elementwise, quantization, shapes, weighted, windows)
"""Imported for the handlers that they register."""

MAX_OPERATORS = 4096
DOMAINS = {"", "ai.onnx", "com.microsoft"}
"""Whose operators are read; onnxruntime quantizes with its own where the standard has none yet."""
MULTIPLIER_BITS = "codeq.multiplier_bits"
"""Metadata that `codeq export` writes: layers whose multipliers have less than 31 bits, as JSON."""
_OFFSETS = {ElementType.FLOAT: None, ElementType.INT8: 0, ElementType.UINT8: UINT8_OFFSET}


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """One operator, its nodes, the shapes of its output, and why it has none.

    Parameters
    ----------
    operator : Operator
    nodes : tuple of Node
        None where it moves nothing, is part of another one, or refused.
    inputs, outputs : tuple of str
        Types and shapes of tensors that are computed while the model runs.
    bytes : int
        Of its constants, as they are stored.
    reason : str, optional
    """

    operator: Operator
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    bytes: int
    reason: str | None = None

    @property
    def is_silent(self) -> bool:
        """It only says what the numbers of others stand for."""
        quantizes = self.operator.kind in {"DequantizeLinear", "QuantizeLinear"}
        return self.reason is None and not self.nodes and (quantizes or not self.outputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """Every operator of a model.

    Parameters
    ----------
    building : Building
    operators : tuple of Converted
    problems : tuple of str
        Of the model's inputs and outputs.
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
        Its inputs and outputs are called as in the file.
    values : mapping of str to Value
        What is known of each tensor of the file, inputs and outputs included.
    """

    graph: Graph = field(repr=False)
    values: Mapping[str, Value] = field(repr=False)


def examine(model: Model) -> Examination:
    """Convert as many operators as possible.

    Raises
    ------
    ModelError
        There are so many that it is no model.
    """
    if len(model.operators) > MAX_OPERATORS:
        raise ModelError(f"{len(model.operators)} operators, more than {MAX_OPERATORS}")
    model = qoperator.expanded(model)
    readers: dict[str, list[Operator]] = {}
    for operator in model.operators:
        for name in {name for name in operator.inputs if name}:
            readers.setdefault(name, []).append(operator)
    building = Building(
        readers={name: tuple(found) for name, found in readers.items()},
        outputs=frozenset(border.name for border in model.outputs),
        multiplier_bits=_multiplier_bits(model),
        values=_constants(model),
    )
    # constants first: grids are made of them, and what a layer takes in from behind it
    fixed = quantization.fixed_tensors(model.operators, building.values)
    is_fixed = {each.index: fixed.issuperset(each.outputs) for each in model.operators}
    converted = {
        each.index: _operator(building, each) for each in model.operators if is_fixed[each.index]
    }
    building.grids = quantization.grids(model, building.values, fixed)
    problems = [*_version(model), *_inputs(building, model)]
    for operator in model.operators:
        if not is_fixed[operator.index]:
            converted[operator.index] = _operator(building, operator)
    in_order = tuple(converted[operator.index] for operator in model.operators)
    return Examination(building=building, operators=in_order, problems=tuple(problems))


def convert(model: Model, *, name: str) -> Imported:
    """The graph of a model.

    Raises
    ------
    UnsupportedOp
        With every reason.
    ModelError
        The graph would not be legal.
    """
    examination = examine(model)
    if examination.reasons:
        # layers in floats all have the reason of the model
        raise UnsupportedOp(examination.reasons if _is_quantized(model) else examination.problems)
    building = examination.building
    values = dict(building.values)
    outputs: list[str] = []
    for border in model.outputs:
        activation = _output(building, border, outputs)
        outputs.append(activation.tensor)
        values[border.name] = activation
    graph = Graph(
        name=name,
        tensors=building.tensors,
        inputs=tuple(border.name for border in model.inputs),
        outputs=tuple(outputs),
        nodes=tuple(building.nodes),
        constants=building.constants,
        provenance={"format": "onnx", "opset": str(model.opset)},
    )
    graph = _renamed(graph, [border.name for border in model.outputs])
    for border, output in zip(model.outputs, graph.outputs, strict=True):
        given = values[border.name]
        assert isinstance(given, Activation)
        values[border.name] = replace(given, tensor=output)
    return Imported(graph=verify(graph), values=values)


def _is_quantized(model: Model) -> bool:
    return any("Linear" in each.kind for each in model.operators)


def _version(model: Model) -> list[str]:
    """Why operators of this version cannot be read."""
    if model.opset in OPSETS:
        return []
    return [
        f"it uses version {model.opset} of the operators, and this codeq reads {OPSETS.start} to "
        f"{OPSETS.stop - 1}: onnx.version_converter changes it"
    ]


def _inputs(building: Building, model: Model) -> list[str]:
    """Make the model's inputs known; reasons why some cannot be, or why none makes sense."""
    if not _is_quantized(model):
        building.refused.update(border.name for border in model.inputs)
        return [_float_reason(model)]
    problems = []
    for border in model.inputs:
        reason = _input(building, border)
        if reason is not None:
            building.refused.add(border.name)
            problems.append(f'input "{border.name}": {reason}')
    return problems


def _float_reason(model: Model) -> str:
    """Why a model without any QuantizeLinear cannot be converted."""
    kinds = {each.kind for each in model.operators}
    if "Quant" in kinds:
        return "it is in QONNX: write it with QuantizeLinear and DequantizeLinear instead (QCDQ)"
    return (
        f"all of its {len(model.operators)} operators compute in float32: quantize it with "
        "onnxruntime.quantization.quantize_static and QuantFormat.QDQ"
    )


def _constants(model: Model) -> dict[str, Value]:
    """What is stored: initializers and Constant."""
    values: dict[str, Value] = {}
    for name, tensor in model.initializers.items():
        values[name] = folding.constant(tensor)
    for operator in model.operators:
        found = folding.stored(operator)
        if found is not None and operator.outputs:
            values.setdefault(operator.outputs[0], found)
    return values


def _multiplier_bits(model: Model) -> dict[str, int]:
    try:
        stored = json.loads(model.metadata.get(MULTIPLIER_BITS, "{}"))
    except (ValueError, RecursionError) as error:
        raise Damaged(f"its metadata {MULTIPLIER_BITS} is no JSON") from error
    if not isinstance(stored, dict) or not all(
        isinstance(bits, int) and 1 <= bits <= 31 for bits in stored.values()
    ):
        raise Damaged(f"its metadata {MULTIPLIER_BITS} are no widths of 1 to 31 bits")
    return stored


def _input(building: Building, border: Border) -> str | None:
    """Make an input known; or the reason why it cannot be."""
    if border.kind not in _OFFSETS:
        return f"it is {border}: let the model read float32, int8 or uint8"
    # a batch without a number is 1
    shape = tuple(n if n or axis else 1 for axis, n in enumerate(border.shape))
    if None in shape:
        return f"it is {border}: export the model with fixed shapes"
    fixed = tuple(n for n in shape if n is not None)
    if not all(fixed):
        return f"it is {border}: it is empty"
    grid = building.grids.get(border.name)
    if grid is None and any(
        reader.kind in {"QuantizeLinear", "DequantizeLinear"}
        for reader in building.readers.get(border.name, ())
    ):
        building.refused.add(border.name)  # its reader tells why there is no grid
        return None
    if grid is None:
        return "no QuantizeLinear reads it: quantize the inputs of the model too"
    if border.name in building.values:
        return "its name is that of another tensor too"
    rank = len(fixed)
    is_image = fixed[0] == 1 and _is_image(building, border.name, rank)
    layout = Layout.of(fixed, channels_last(rank)) if is_image else Layout.plain(fixed)
    kind = TensorType(shape=_memory_shape(fixed, is_image=is_image), grid=grid)
    building.values[border.name] = Activation(
        tensor=building.add_tensor(border.name, kind),
        shape=fixed,
        layout=layout,
        offset=_OFFSETS[border.kind],
    )
    return None


_IMAGES = frozenset(
    [
        *("Conv", "ConvTranspose", "BatchNormalization", "Resize"),
        *("AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool"),
    ]
)
"""Operators that have channels."""
_ROWS = frozenset(["Reshape", "Flatten", "Gemm", "MatMul"])
"""Operators to which axes are what they are."""


def _is_image(building: Building, name: str, rank: int) -> bool:
    """Whether an input stands in memory with its channels last: as its first readers have it."""
    if rank not in {3, 4}:
        return False
    waiting, seen = [name], {name}
    while waiting:
        for reader in building.readers.get(waiting.pop(0), ()):
            if reader.kind in _IMAGES:
                return True
            if reader.kind in _ROWS:
                return False
            if reader.kind == "Transpose":
                return reader.attributes.get("perm") != (0, rank - 1, *range(1, rank - 1))
            new = [each for each in reader.outputs if each not in seen]
            seen.update(new)
            waiting += new
    return rank == 4


def _memory_shape(shape: tuple[int, ...], *, is_image: bool) -> tuple[int, ...]:
    """Of an input or output in the graph: images (h, w, c), sequences (1, l, c), no batch."""
    if is_image:
        return (1, *shape[2:], shape[1])[-3:]
    return (shape[1:] if shape[:1] == (1,) else shape) or (1,)


def _output(building: Building, border: Border, taken: list[str]) -> Activation:
    """An output of the graph: an image as (h, w, c), anything else in ONNX's order."""
    value = building.values.get(border.name)
    operator = Operator(
        index=-1, name=border.name, kind="output", domain="", inputs=(border.name,), outputs=(),
        attributes={},
    )  # fmt: skip
    layer = Layer(building, operator)
    try:
        if isinstance(value, Function):
            value = layer.computed(value)
        if not isinstance(value, Activation):
            raise ModelError(f'output "{border.name}" is not computed by any operator')
        value, tensor = _at_border(layer, value)
        if tensor in taken or tensor not in {node.output for node in building.nodes}:
            # the caller has one buffer for each output, and other ones for inputs
            tensor = layer.node(Requantize(), tensor, grid=building.tensors[tensor].grid)
    except Refusal as refusal:
        raise UnsupportedOp([f'output "{border.name}": {refusal}']) from refusal
    return replace(value, tensor=tensor)


def _at_border(layer: Layer, value: Activation) -> tuple[Activation, str]:
    """An output's elements as an image or in ONNX's order, whichever they are already."""
    shape, rank = value.shape, len(value.shape)
    image, plain = Layout.of(shape, channels_last(rank)), Layout.plain(shape)
    is_image = rank in {3, 4} and shape[0] == 1 and (value.layout == image or rank == 4)
    if value.layout not in {image, plain}:
        value = layer.arranged(value, image if is_image else plain)
    if layer.type(value.tensor).dtype is not DType.S8:
        return value, value.tensor  # plain integers have no views
    is_image = is_image and value.layout == image
    return value, layer.building.view(value.tensor, _memory_shape(shape, is_image=is_image))


def _renamed(graph: Graph, wanted: list[str]) -> Graph:
    """The graph with its outputs called as the file calls them, unless an input has that name."""
    called = {name: name for name in graph.tensors}
    holders = dict(called)
    for output, name in zip(graph.outputs, wanted, strict=True):
        holder = holders.get(name)
        if holder in graph.given:
            continue
        if holder is not None:
            called[holder], holders[called[output]] = called[output], holder
        called[output], holders[name] = name, output
    return graph.renamed(called)


def _operator(building: Building, operator: Operator) -> Converted:
    layer = Layer(building=building, operator=operator)
    before = len(building.nodes)
    reason = None
    try:
        if operator.index not in building.absorbed and operator.kind != "Constant":
            _convert(layer)
    except Blocked:
        building.refused.update(operator.outputs)
    except (Refusal, SpecViolation, Damaged) as error:
        reason = str(error)
        building.refused.update(operator.outputs)
    return Converted(
        operator=operator,
        nodes=() if reason else tuple(building.nodes[before:]),
        inputs=_types(building, operator.inputs),
        outputs=_types(building, operator.outputs),
        bytes=sum(_bytes(building, name) for name in operator.inputs if name),
        reason=reason,
    )


def _convert(layer: Layer) -> None:
    operator = layer.operator
    if operator.domain not in DOMAINS:
        raise Refusal(f"it is of {operator.domain}, whose operators codeq does not know")
    if folding.fold(layer):
        return
    if operator.kind not in HANDLERS:
        raise Refusal(f"codeq has no rule for it{_instead(operator.kind)}")
    HANDLERS[operator.kind](layer)


def _bytes(building: Building, name: str) -> int:
    """Of a constant, in the width in which it is stored."""
    value = building.values.get(name)
    if isinstance(value, Quantized):
        return value.levels.size * value.bits // 8
    return value.array.size * value.bits // 8 if isinstance(value, Constant) else 0


def _types(building: Building, names: tuple[str, ...]) -> tuple[str, ...]:
    """Types and shapes of tensors that are computed while the model runs."""
    found = []
    for name in names:
        value = building.values.get(name)
        if isinstance(value, Activation | Function):
            source = value.source if isinstance(value, Function) else value
            dtype = building.tensors[source.tensor].dtype
            found.append(f"{dtype}[{','.join(map(str, value.shape))}]")
        elif name in building.refused:
            found.append("?")
    return tuple(found)


_INSTEAD = {
    "Einsum": "use Gemm or MatMul with constant weights",
    "GRU": "use convolutions over time",
    "LSTM": "use convolutions over time",
    "RNN": "use convolutions over time",
    "InstanceNormalization": "use BatchNormalization",
    "LayerNormalization": "use BatchNormalization",
    "LogSoftmax": "use Softmax, or leave it out",
    "ReduceMax": "use GlobalMaxPool",
    "ReduceSum": "use ReduceMean, with another scale",
    "Upsample": "use Resize",
}


def _instead(kind: str) -> str:
    """The way out, where one is known."""
    advice = _INSTEAD.get(kind)
    return f": {advice}" if advice else ""
