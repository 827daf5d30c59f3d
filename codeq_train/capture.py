# SPDX-License-Identifier: Apache-2.0
"""From the user's module to layers: `torch.export`, then one function an ATen operation.

Everything that cannot be converted is collected and told at once, with the layer, the operation,
the source line and what to use instead.
"""

import copy
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from codeq_compile.errors import ModelError, UnsupportedOp
from codeq_train import layers as kinds
from codeq_train.activations import NO_LIMITS
from codeq_train.layers import Layer, Origin, Window

aten = torch.ops.aten

Arguments = dict[str, Any]
Handler = Callable[["Capture", fx.Node, Arguments], str]

_HANDLERS: dict[Any, Handler] = {}


class UnsupportedError(Exception):
    """Raised by a handler; the message says what and what to use instead."""


@dataclass(slots=True)
class Captured:
    """The layers of a model and the names of its outputs."""

    layers: list[Layer]
    outputs: dict[str, str]
    returns_tuple: bool


def handles(*targets: Any) -> Callable[[Handler], Handler]:
    """Register a function for ATen operations; it returns the name of the tensor that results."""

    def add(function: Handler) -> Handler:
        for target in targets:
            _HANDLERS[target] = function
        return function

    return add


def capture(model: nn.Module, example: tuple[Tensor, ...]) -> Captured:
    """Layers of `model`, which is not touched.

    Parameters
    ----------
    model : nn.Module
        Float model.
    example : tuple of float tensors of shape (batch, ...)
        One tensor an argument of `model.forward`.

    Raises
    ------
    UnsupportedOp
        All parts that have no integer form, at once.
    ModelError
        torch cannot trace the model (control flow that depends on data, for example).
    """
    program = _export(copy.deepcopy(model).eval(), example)
    return Capture(program).run()


def _export(model: nn.Module, example: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in model.parameters()):
        raise ModelError("the model has lazy layers without weights yet: call it once first")
    if not example or any(not isinstance(x, Tensor) or x.dim() < 2 for x in example):
        raise ModelError("the example must be tensors of shape (batch, ...), one an argument")
    # torch takes a batch of 1 for a constant of the model
    pair = tuple(torch.cat([x[:1], x[:1]]).detach() for x in example)
    batch = tuple({0: torch.export.Dim.DYNAMIC} for _ in pair)
    with torch.no_grad():
        model(*pair)
    try:
        return torch.export.export(model, pair, dynamic_shapes=batch, strict=False)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(_explain(error)) from error


def _explain(error: Exception) -> str:
    text = str(error)
    first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    line = re.search(r'File "([^"]+)", line (\d+), in (?:forward|\w+)\n\s+(.+)', text)
    where = f" at {line[1]}:{line[2]} ({line[3].strip()})" if line else ""
    if "data-dependent" in text.lower() or "GuardOnDataDependent" in type(error).__name__:
        return (
            f"the model's control flow depends on data{where}: a compiled model runs the same "
            "layers for every input; replace the `if` or `.item()` by arithmetic on tensors"
        )
    if "specialized" in text.lower() or "Constraints violated" in text:
        return (
            f"the model fixes the batch size{where}: use x.flatten(1) or x.reshape(x.shape[0], -1) "
            "instead of a constant"
        )
    return f"torch.export cannot trace the model{where}: {first}"


@dataclass
class Capture:
    """State of one conversion."""

    program: torch.export.ExportedProgram
    layers: list[Layer] = field(default_factory=list)
    values: dict[fx.Node, Any] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)

    def run(self) -> Captured:
        """Convert node after node; handlers that fail add a reason and go on."""
        self._constants()
        nodes = list(self.program.graph.nodes)
        used = _reachable(nodes)
        for node in nodes:
            if node.op == "call_function" and node in used:
                self._convert(node)
        outputs, returns_tuple = self._outputs(nodes[-1])
        if self.reasons:
            raise UnsupportedOp(self.reasons)
        return Captured(self.layers, outputs, returns_tuple)

    # -- for handlers -----------------------------------------------------------------------------

    def origin(self, node: fx.Node, *inputs: str, suffix: str = "") -> Origin:
        """Name, inputs, shape and source line of the layer that a node becomes."""
        value = node.meta["val"]
        return Origin(
            name=self._unique(_layer_name(node) + suffix),
            inputs=inputs,
            shape=tuple(int(n) for n in value.shape[1:]),
            source=_source(node),
        )

    def add(self, layer: Layer) -> str:
        """Append a layer; returns the name of its output."""
        self.layers.append(layer)
        return layer.origin.name

    def tensor(self, value: Any) -> str:
        """Name of an activation.

        Raises
        ------
        UnsupportedError
            It is a constant or a number.
        """
        name = self.values.get(value) if isinstance(value, fx.Node) else None
        if not isinstance(name, str):
            raise UnsupportedError(
                "an operand is a constant tensor or a parameter: fold it into the weights of a "
                "neighbouring layer, or use BatchNorm for a factor per channel"
            )
        return name

    def constant(self, value: Any) -> Tensor | None:
        """A parameter or buffer, or None for an absent one.

        Raises
        ------
        UnsupportedError
            It is computed by the model.
        """
        if value is None:
            return None
        found = self.values.get(value) if isinstance(value, fx.Node) else None
        if not isinstance(found, Tensor):
            raise UnsupportedError(
                "its weights are computed by the model: store them as a parameter "
                "(remove weight_norm and other parametrizations first)"
            )
        return found

    def scalar(self, value: Any) -> float | None:
        """A number, or the value of a constant with one element; None for anything else."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        found = self.values.get(value) if isinstance(value, fx.Node) else None
        if isinstance(found, Tensor) and found.numel() == 1 and not found.requires_grad:
            return float(found)
        return None

    def sole_producer(self, value: fx.Node) -> Layer | None:
        """The layer that makes `value`, if nothing else reads it."""
        name = self.values.get(value)
        if not isinstance(name, str) or len(value.users) != 1:
            return None
        if any(name in layer.origin.inputs for layer in self.layers):
            return None
        return next((layer for layer in self.layers if layer.origin.name == name), None)

    # -- inside -----------------------------------------------------------------------------------

    def _constants(self) -> None:
        signature = self.program.graph_signature
        owned = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        lifted = signature.inputs_to_lifted_tensor_constants
        state = dict(self.program.state_dict)
        for node in self.program.graph.nodes:
            if node.op != "placeholder":
                continue
            if node.name in owned:
                name = owned[node.name]
                self.values[node] = state.get(name, self.program.constants.get(name))
            elif node.name in lifted:
                self.values[node] = self.program.constants[lifted[node.name]]
            else:
                self.values[node] = self.add(kinds.Input(self.origin(node)))

    def _convert(self, node: fx.Node) -> None:
        handler = _HANDLERS.get(node.target)
        try:
            if handler is None:
                raise UnsupportedError(_advice(node))
            arguments = _arguments(node)
            self._check_batch(node)
            result = handler(self, node, arguments)
        except UnsupportedError as reason:
            self.reasons.append(f'layer "{_layer_name(node)}" ({node.target}): {reason}{_at(node)}')
            result = f"?{node.name}"
        self.values[node] = result
        if str(node.target).split(".")[-2].endswith("_") and isinstance(node.args[0], fx.Node):
            # an in-place operation: later readers of its operand see the result
            self.values[node.args[0]] = result

    def _check_batch(self, node: fx.Node) -> None:
        """A result must keep the batch in front, or samples would mix."""
        value = node.meta.get("val")
        if not isinstance(value, Tensor) or all(
            n in self._plain_nodes() for n in node.all_input_nodes
        ):
            return
        if not value.dim() or isinstance(value.shape[0], int):
            raise UnsupportedError(
                "the result has no batch dimension in front: samples must stay apart; "
                "use x.flatten(1), dim=1 and the like"
            )

    def _plain_nodes(self) -> set[fx.Node]:
        return {node for node, value in self.values.items() if not isinstance(value, str)}

    def _outputs(self, node: fx.Node) -> tuple[dict[str, str], bool]:
        results = node.args[0]
        assert isinstance(results, (tuple, list))
        spec = self.program.call_spec.out_spec
        returns_tuple = spec is not None and not spec.is_leaf()
        outputs: dict[str, str] = {}
        for number, result in enumerate(results):
            name = self.values.get(result) if isinstance(result, fx.Node) else None
            if not isinstance(name, str):
                self.reasons.append(f"output {number} is not computed from the inputs")
                continue
            outputs["output" if len(results) == 1 else f"output_{number}"] = name
        return outputs, returns_tuple

    def _unique(self, name: str) -> str:
        count = self.names.get(name, 0)
        self.names[name] = count + 1
        return name if count == 0 else self._unique(f"{name}_{count}")


# -- facts about nodes ----------------------------------------------------------------------------


def _reachable(nodes: Sequence[fx.Node]) -> set[fx.Node]:
    """Nodes that an output depends on; assertions and unused sizes are not among them."""
    stack, seen = [nodes[-1]], set()
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(node.all_input_nodes)
    return seen


def _arguments(node: fx.Node) -> Arguments:
    """Arguments by the names of the operation's schema, defaults filled in."""
    schema = node.target._schema  # type: ignore[union-attr]  # an OpOverload, or there is no handler
    bound = {argument.name: argument.default_value for argument in schema.arguments}
    bound.update(zip([argument.name for argument in schema.arguments], node.args, strict=False))
    return bound | dict(node.kwargs)


def _operation(node: fx.Node) -> str:
    name = getattr(node.target, "_schema", None)
    full = name.name if name is not None else getattr(node.target, "__name__", node.name)
    return str(full).rpartition("::")[2].strip("_")


def _layer_name(node: fx.Node) -> str:
    if node.op == "placeholder":
        return node.name
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    path = path if re.fullmatch(r"[\w.]*", path) else ""
    if path and str(kind).startswith("torch.nn.modules."):
        return path
    return f"{path}.{_operation(node)}" if path else _operation(node)


def _source(node: fx.Node) -> str:
    """The user's own line: the innermost frame outside torch."""
    frames = re.findall(
        r'File "([^"]+)", line (\d+), in \S+\n\s+(.*)', str(node.meta.get("stack_trace") or "")
    )
    own = [frame for frame in frames if "/torch/" not in frame[0]]
    if not own:
        return ""
    file, line, text = own[-1]
    return f"{file}:{line}: {text.strip()}"


def _at(node: fx.Node) -> str:
    source = _source(node)
    return f" [{source}]" if source else ""


_INSTEAD = {
    "gru": "use convolutions over time; recurrent layers are not supported yet",
    "lstm": "use convolutions over time; recurrent layers are not supported yet",
    "rnn_tanh": "use convolutions over time; recurrent layers are not supported yet",
    "layer_norm": "use BatchNorm, which folds into the layer before it",
    "group_norm": "use BatchNorm, which folds into the layer before it",
    "instance_norm": "use BatchNorm, which folds into the layer before it",
    "log_softmax": "train on the logits with cross_entropy, or use softmax",
    "matmul": "products of two activations have no integer form here; use convolutions",
    "bmm": "products of two activations have no integer form here; use convolutions",
    "scaled_dot_product_attention": "attention has no integer form here; use convolutions",
    "conv_transpose2d": "use a convolution with padding, or repeat pixels beforehand",
    "conv_transpose1d": "use a convolution with padding, or repeat pixels beforehand",
    "upsample_nearest2d": "use strided convolutions and keep the resolution",
    "upsample_bilinear2d": "use strided convolutions and keep the resolution",
    "slice": "split the layer before it into several layers",
    "select": "split the layer before it into several layers",
    "chunk": "split the layer before it into several layers",
    "split": "split the layer before it into several layers",
    "embedding": "give the model dense inputs",
    "sum": "use mean and let the next layer's weights take the factor",
    "div": "divide by a constant, or multiply",
    "prelu": "use LeakyReLU with a constant slope",
    "stack": "use torch.cat",
    "max": "use MaxPool or amax over all pixels",
}


def _advice(node: fx.Node) -> str:
    instead = _INSTEAD.get(_operation(node))
    return (
        f"no integer form; {instead}" if instead else "codeq has no integer form of this operation"
    )


def _tuple(value: Any, count: int) -> tuple[int, ...]:
    values = [int(n) for n in value] if isinstance(value, Iterable) else [int(value)]
    return tuple(values * count if len(values) == 1 else values)


def _rank(node: Any) -> int:
    return int(node.meta["val"].dim())


def _shape(node: Any) -> tuple[int, ...]:
    """Sample shape of an activation."""
    return tuple(int(n) for n in node.meta["val"].shape[1:])


# -- layers with weights --------------------------------------------------------------------------


@handles(aten.conv1d.default, aten.conv1d.padding, aten.conv2d.default, aten.conv2d.padding)
def _conv(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["input"])
    weight = capture.constant(a["weight"])
    assert weight is not None
    spatial = weight.dim() - 2
    kernel, stride = tuple(weight.shape[2:]), _tuple(a["stride"], spatial)
    dilation = _tuple(a["dilation"], spatial)
    reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    padding: tuple[tuple[int, int], ...]
    if a["padding"] == "same":
        padding = tuple((r // 2, r - r // 2) for r in reach)
    elif a["padding"] == "valid":
        padding = tuple((0, 0) for _ in reach)
    else:
        padding = tuple((n, n) for n in _tuple(a["padding"], spatial))
    window = Window(kernel=kernel, stride=stride, dilation=dilation, padding=padding)
    layer = kinds.Conv(
        capture.origin(node, source),
        weight=weight,
        bias=capture.constant(a["bias"]),
        window=window,
        groups=int(a["groups"]),
    )
    return capture.add(layer)


@handles(aten.linear.default)
def _linear(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["input"])
    weight = capture.constant(a["weight"])
    assert weight is not None
    layer = kinds.Linear(
        capture.origin(node, source), weight=weight, bias=capture.constant(a["bias"])
    )
    return capture.add(layer)


@handles(aten.batch_norm.default)
def _batch_norm(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["input"])
    mean, variance = capture.constant(a["running_mean"]), capture.constant(a["running_var"])
    if mean is None or variance is None:
        raise UnsupportedError("BatchNorm without running statistics: use track_running_stats=True")
    norm = kinds.BatchNorm(
        gamma=capture.constant(a["weight"]),
        beta=capture.constant(a["bias"]),
        mean=mean,
        variance=variance,
        momentum=float(a["momentum"]),
        eps=float(a["eps"]),
    )
    layer = capture.sole_producer(a["input"])
    if isinstance(layer, kinds.Conv | kinds.Linear) and layer.norm is None and _unlimited(layer):
        if _rank(a["input"]) != 2 and isinstance(layer, kinds.Linear):
            raise UnsupportedError(
                "BatchNorm over rows of a linear layer: use a convolution of size 1"
            )
        layer.norm = norm
        return source
    return capture.add(_scale_layer(capture, node, source, norm, _rank(a["input"]) - 2))


def _unlimited(layer: Layer) -> bool:
    return layer.limits == NO_LIMITS


def _scale_layer(
    capture: Capture, node: fx.Node, source: str, norm: kinds.BatchNorm, spatial: int
) -> Layer:
    """BatchNorm that follows no convolution, as a depthwise convolution of size 1."""
    if spatial not in (1, 2):
        raise UnsupportedError("BatchNorm must follow a convolution or linear layer, or an image")
    channels = len(norm.mean)
    ones = torch.ones(channels, 1, *[1] * spatial)
    window = Window(
        kernel=(1,) * spatial,
        stride=(1,) * spatial,
        dilation=(1,) * spatial,
        padding=((0, 0),) * spatial,
    )
    layer = kinds.Conv(
        capture.origin(node, source), weight=ones, bias=None, window=window, groups=channels
    )
    layer.weight.requires_grad_(False)
    layer.norm = norm
    return layer


# -- activations ----------------------------------------------------------------------------------


def _clamp(capture: Capture, node: fx.Node, value: Any, low: float, high: float) -> str:
    source = capture.tensor(value)
    layer = capture.sole_producer(value)
    if layer is not None and layer.fuses_limits:
        before = layer.limits
        layer.limits = (max(before[0], low), max(min(before[1], high), low))
        return source
    function = partial(torch.clamp, min=low, max=high)
    return capture.add(kinds.Unary(capture.origin(node, source), function=function, low=low))


@handles(aten.relu.default, aten.relu_.default)
def _relu(capture: Capture, node: fx.Node, a: Arguments) -> str:
    return _clamp(capture, node, a["self"], 0.0, math.inf)


@handles(aten.relu6.default, aten.relu6_.default)
def _relu6(capture: Capture, node: fx.Node, a: Arguments) -> str:
    return _clamp(capture, node, a["self"], 0.0, 6.0)


@handles(aten.hardtanh.default, aten.hardtanh_.default)
def _hardtanh(capture: Capture, node: fx.Node, a: Arguments) -> str:
    return _clamp(capture, node, a["self"], float(a["min_val"]), float(a["max_val"]))


@handles(aten.clamp.default, aten.clamp_.default, aten.clamp_min.default, aten.clamp_max.default)
def _clamps(capture: Capture, node: fx.Node, a: Arguments) -> str:
    low, high = a.get("min"), a.get("max")
    return _clamp(
        capture,
        node,
        a["self"],
        -math.inf if low is None else float(low),
        math.inf if high is None else float(high),
    )


def _unary(
    capture: Capture,
    node: fx.Node,
    value: Any,
    function: Callable[[Tensor], Tensor],
    low: float = -math.inf,
    fixed: tuple[float, int] | None = None,
) -> str:
    source = capture.tensor(value)
    layer = kinds.Unary(capture.origin(node, source), function=function, low=low, fixed=fixed)
    return capture.add(layer)


_UNIT = (1.0 / 256, -128)
"""Grid of functions into [0, 1]."""

_FUNCTIONS: dict[Any, tuple[Callable[..., Tensor], float, tuple[float, int] | None]] = {
    aten.sigmoid: (torch.sigmoid, 0.0, _UNIT),
    aten.tanh: (torch.tanh, -1.0, (1.0 / 128, 0)),
    aten.hardsigmoid: (F.hardsigmoid, 0.0, _UNIT),
    aten.hardswish: (F.hardswish, -0.375, None),
    aten.silu: (F.silu, -0.28, None),
    aten.mish: (F.mish, -0.31, None),
    aten.abs: (torch.abs, 0.0, None),
    aten.exp: (torch.exp, 0.0, None),
    aten.square: (torch.square, 0.0, None),
    aten.neg: (torch.neg, -math.inf, None),
}


@handles(
    *(
        overload
        for operation in _FUNCTIONS
        for overload in (
            operation.default,
            getattr(aten, operation._qualified_op_name[6:] + "_", None),
        )
        if overload is not None
    )
)
def _plain_function(capture: Capture, node: fx.Node, a: Arguments) -> str:
    base = getattr(aten, _operation(node))
    function, low, fixed = _FUNCTIONS[base]
    return _unary(capture, node, a["self"], function, low, fixed)


@handles(aten.gelu.default)
def _gelu(capture: Capture, node: fx.Node, a: Arguments) -> str:
    function = partial(F.gelu, approximate=str(a["approximate"]))
    return _unary(capture, node, a["self"], function, -0.17)


@handles(aten.leaky_relu.default, aten.leaky_relu_.default)
def _leaky_relu(capture: Capture, node: fx.Node, a: Arguments) -> str:
    function = partial(F.leaky_relu, negative_slope=float(a["negative_slope"]))
    return _unary(capture, node, a["self"], function)


@handles(aten.elu.default, aten.elu_.default)
def _elu(capture: Capture, node: fx.Node, a: Arguments) -> str:
    if (a["scale"], a["input_scale"]) != (1, 1):
        raise UnsupportedError("a scaled ELU: use ELU")
    return _unary(capture, node, a["self"], partial(F.elu, alpha=float(a["alpha"])))


@handles(aten.softplus.default)
def _softplus(capture: Capture, node: fx.Node, a: Arguments) -> str:
    function = partial(F.softplus, beta=float(a["beta"]), threshold=float(a["threshold"]))
    return _unary(capture, node, a["self"], function, 0.0)


@handles(aten.pow.Tensor_Scalar)
def _pow(capture: Capture, node: fx.Node, a: Arguments) -> str:
    even = float(a["exponent"]) % 2 == 0
    function = partial(torch.pow, exponent=a["exponent"])
    return _unary(capture, node, a["self"], function, 0.0 if even else -math.inf)


@handles(aten.softmax.int)
def _softmax(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["self"])
    axis = int(a["dim"]) % _rank(node)
    if axis == 0:
        raise UnsupportedError("softmax over the batch: use dim=1")
    return capture.add(kinds.Softmax(capture.origin(node, source), axis=axis))


@handles(aten.argmax.default)
def _argmax(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["self"])
    if a["dim"] is None or a["keepdim"]:
        raise UnsupportedError("use argmax(dim=1) without keepdim")
    axis = int(a["dim"]) % _rank(a["self"])
    if axis == 0:
        raise UnsupportedError("argmax over the batch: use dim=1")
    return capture.add(kinds.ArgMax(capture.origin(node, source), axis=axis))


# -- arithmetic -----------------------------------------------------------------------------------


def _affine(x: Tensor, factor: float, offset: float) -> Tensor:
    return x * factor + offset


@handles(aten.add.Tensor, aten.add_.Tensor, aten.add.Scalar)
def _add(capture: Capture, node: fx.Node, a: Arguments) -> str:
    return _sum(capture, node, a["self"], a["other"], float(a["alpha"]))


@handles(aten.sub.Tensor, aten.sub_.Tensor, aten.sub.Scalar)
def _sub(capture: Capture, node: fx.Node, a: Arguments) -> str:
    return _sum(capture, node, a["self"], a["other"], -float(a["alpha"]))


@handles(aten.rsub.Scalar)
def _rsub(capture: Capture, node: fx.Node, a: Arguments) -> str:
    if float(a["alpha"]) != 1.0:
        raise UnsupportedError("rsub with a factor: write the product out")
    function = partial(_affine, factor=-1.0, offset=float(a["other"]))
    return _unary(capture, node, a["self"], function)


def _sum(capture: Capture, node: fx.Node, left: Any, right: Any, alpha: float) -> str:
    """``left + alpha · right``; constants with one element become a table."""
    if (number := capture.scalar(right)) is not None:
        function = partial(_affine, factor=1.0, offset=alpha * number)
        return _unary(capture, node, left, function)
    if (number := capture.scalar(left)) is not None:
        function = partial(_affine, factor=alpha, offset=number)
        return _unary(capture, node, right, function)
    first, second = capture.tensor(left), capture.tensor(right)
    if alpha != 1.0:
        scaled = capture.origin(right, second, suffix=".scaled")
        function = partial(_affine, factor=alpha, offset=0.0)
        second = capture.add(kinds.Unary(scaled, function=function))
    first, second = _ordered(node, left, right, first, second)
    return capture.add(kinds.Add(capture.origin(node, first, second)))


@handles(aten.mul.Tensor, aten.mul_.Tensor, aten.mul.Scalar)
def _mul(capture: Capture, node: fx.Node, a: Arguments) -> str:
    left, right = a["self"], a["other"]
    if capture.scalar(left) is not None:
        left, right = right, left
    if (number := capture.scalar(right)) is not None:
        return _unary(capture, node, left, partial(_affine, factor=number, offset=0.0))
    first, second = capture.tensor(left), capture.tensor(right)
    first, second = _ordered(node, left, right, first, second)
    return capture.add(kinds.Mul(capture.origin(node, first, second)))


@handles(aten.div.Tensor, aten.div_.Tensor, aten.div.Scalar)
def _div(capture: Capture, node: fx.Node, a: Arguments) -> str:
    number = capture.scalar(a["other"])
    if not number:
        raise UnsupportedError("division by an activation has no integer form; multiply instead")
    return _unary(capture, node, a["self"], partial(_affine, factor=1.0 / number, offset=0.0))


def _ordered(node: fx.Node, left: Any, right: Any, first: str, second: str) -> tuple[str, str]:
    """The operand of the result's shape in front, the one that repeats behind it."""
    full = _shape(node)
    if _shape(left) == full:
        return first, second
    if _shape(right) == full:
        return second, first
    raise UnsupportedError("both operands are broadcast: give one of them the full shape")


# -- pooling --------------------------------------------------------------------------------------


def _pool_window(node: fx.Node, a: Arguments) -> Window:
    """Window of a pooling whose `ceil_mode` becomes padding behind."""
    spatial = _rank(a["self"]) - 2
    kernel = _tuple(a["kernel_size"], spatial)
    stride = _tuple(a["stride"], spatial) if a["stride"] else kernel
    dilation = _tuple(a.get("dilation", 1), spatial)
    before = _tuple(a["padding"], spatial)
    padding = []
    size, result = _shape(a["self"])[1:], _shape(node)[1:]
    for n, out, k, s, d, p in zip(size, result, kernel, stride, dilation, before, strict=True):
        needed = (out - 1) * s + (k - 1) * d + 1
        padding.append((p, max(needed - n - p, 0) if a["ceil_mode"] else p))
    return Window(kernel=kernel, stride=stride, dilation=dilation, padding=tuple(padding))


@handles(aten.max_pool1d.default, aten.max_pool2d.default)
def _max_pool(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["self"])
    layer = kinds.MaxPool(capture.origin(node, source), window=_pool_window(node, a))
    return capture.add(layer)


@handles(aten.avg_pool1d.default, aten.avg_pool2d.default)
def _avg_pool(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["self"])
    if a.get("divisor_override"):
        raise UnsupportedError(
            "divisor_override: use the plain mean and scale the next layer's weights"
        )
    window = _pool_window(node, a)
    padded = any(n for axis in window.padding for n in axis)
    if padded and a["count_include_pad"]:
        if a["ceil_mode"]:
            raise UnsupportedError("ceil_mode with counted padding: use count_include_pad=False")
        source = capture.add(_border(capture, node, source, a["self"], window.padding))
        window = Window(
            kernel=window.kernel,
            stride=window.stride,
            dilation=window.dilation,
            padding=tuple((0, 0) for _ in window.padding),
        )
    if window.kernel == _shape(a["self"])[1:] and not any(
        n for axis in window.padding for n in axis
    ):
        return capture.add(kinds.Mean(capture.origin(node, source), keep_dims=True))
    return capture.add(kinds.AvgPool(capture.origin(node, source), window=window))


def _border(
    capture: Capture,
    node: fx.Node,
    source: str,
    value: Any,
    padding: tuple[tuple[int, int], ...],
) -> Layer:
    """Zeros around an image that the following pooling counts."""
    channels, *size = _shape(value)
    shape = (channels, *(n + sum(p) for n, p in zip(size, padding, strict=True)))
    plain = capture.origin(node, source, suffix=".pad")
    origin = Origin(name=plain.name, inputs=(source,), shape=shape, source=plain.source)
    return kinds.Pad(origin, padding=padding, value=0.0)


@handles(aten.adaptive_avg_pool1d.default, aten.adaptive_avg_pool2d.default)
def _adaptive_avg_pool(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["self"])
    window = _adaptive_window(node, a["self"])
    if window.kernel == _shape(a["self"])[1:]:
        return capture.add(kinds.Mean(capture.origin(node, source), keep_dims=True))
    return capture.add(kinds.AvgPool(capture.origin(node, source), window=window))


def _adaptive_window(node: fx.Node, value: Any) -> Window:
    size, result = _shape(value)[1:], _shape(node)[1:]
    if any(n % out for n, out in zip(size, result, strict=True)):
        raise UnsupportedError(
            f"adaptive pooling from {list(size)} to {list(result)} has windows of several sizes: "
            "use a plain pooling layer"
        )
    kernel = tuple(n // out for n, out in zip(size, result, strict=True))
    ones, zeros = (1,) * len(kernel), ((0, 0),) * len(kernel)
    return Window(kernel=kernel, stride=kernel, dilation=ones, padding=zeros)


@handles(aten.mean.dim)
def _mean(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["self"])
    if _is_global(a["self"], a["dim"]):
        return capture.add(kinds.Mean(capture.origin(node, source), keep_dims=bool(a["keepdim"])))
    raise UnsupportedError(
        "mean must run over all pixels: mean((2, 3)) of images, mean(2) of sequences"
    )


def _is_global(value: Any, axes: Any) -> bool:
    rank = _rank(value)
    chosen = sorted(n % rank for n in (axes if isinstance(axes, Iterable) else [axes]))
    return rank in (3, 4) and chosen == list(range(2, rank))


@handles(aten.amax.default)
def _amax(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["self"])
    if not _is_global(a["self"], a["dim"]):
        raise UnsupportedError("amax must run over all pixels: amax((2, 3)) of images")
    kernel = _shape(a["self"])[1:]
    ones, zeros = (1,) * len(kernel), ((0, 0),) * len(kernel)
    window = Window(kernel=kernel, stride=kernel, dilation=ones, padding=zeros)
    origin = capture.origin(node, source)
    channels = _shape(a["self"])[0]
    kept = Origin(name=origin.name, inputs=(source,), shape=(channels, *ones), source=origin.source)
    pooled = capture.add(kinds.MaxPool(kept, window=window))
    if a["keepdim"]:
        return pooled
    return capture.add(kinds.Reshape(capture.origin(node, pooled, suffix=".flatten")))


# -- shape ----------------------------------------------------------------------------------------


@handles(aten.pad.default, aten.constant_pad_nd.default)
def _pad(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["self"])
    if a.get("mode", "constant") != "constant":
        raise UnsupportedError("only constant padding has an integer form")
    flat = [int(n) for n in a["pad"]]
    pairs = [(flat[n], flat[n + 1]) for n in range(0, len(flat), 2)][::-1]
    rank = _rank(node)
    axes = [(0, 0)] * (rank - len(pairs)) + pairs
    if any(min(pair) < 0 for pair in pairs):
        raise UnsupportedError("negative padding crops: split the layer before it instead")
    if rank not in (3, 4) or axes[0] != (0, 0):
        raise UnsupportedError("padding must be of images or sequences, not of the batch")
    layer = kinds.Pad(
        capture.origin(node, source), padding=tuple(axes[1:]), value=float(a["value"] or 0.0)
    )
    return capture.add(layer)


@handles(aten.cat.default)
def _cat(capture: Capture, node: fx.Node, a: Arguments) -> str:
    sources = [capture.tensor(value) for value in a["tensors"]]
    axis = int(a["dim"]) % _rank(node)
    if axis == 0:
        raise UnsupportedError("joining along the batch: use dim=1")
    return capture.add(kinds.Concat(capture.origin(node, *sources), axis=axis))


@handles(
    aten.flatten.using_ints,
    aten.view.default,
    aten.reshape.default,
    aten.unflatten.int,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.squeeze.default,
    aten.unsqueeze.default,
)
def _reshape(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a.get("self", a.get("input")))
    return capture.add(kinds.Reshape(capture.origin(node, source)))


@handles(aten.permute.default, aten.transpose.int)
def _permute(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["self"])
    rank = _rank(node)
    axes = list(range(rank))
    if "dims" in a:
        axes = [int(n) % rank for n in a["dims"]]
    else:
        first, second = int(a["dim0"]) % rank, int(a["dim1"]) % rank
        axes[first], axes[second] = axes[second], axes[first]
    if axes[0] != 0:
        raise UnsupportedError("the batch must stay the first axis")
    return capture.add(kinds.Permute(capture.origin(node, source), axes=tuple(axes)))


@handles(aten.dropout.default, aten.dropout_.default)
def _dropout(capture: Capture, node: fx.Node, a: Arguments) -> str:
    return _drop(capture, node, a, whole_channels=False)


@handles(aten.feature_dropout.default, aten.feature_dropout_.default)
def _feature_dropout(capture: Capture, node: fx.Node, a: Arguments) -> str:
    return _drop(capture, node, a, whole_channels=True)


def _drop(capture: Capture, node: fx.Node, a: Arguments, *, whole_channels: bool) -> str:
    source = capture.tensor(a["input"])
    layer = kinds.Dropout(
        capture.origin(node, source), probability=float(a["p"]), whole_channels=whole_channels
    )
    return capture.add(layer)


@handles(
    aten.contiguous.default,
    aten.clone.default,
    aten.detach.default,
    aten.detach_.default,
    aten.lift_fresh_copy.default,
    aten.alias.default,
    aten.to.dtype,
)
def _same(capture: Capture, node: fx.Node, a: Arguments) -> str:
    value = a["self"]
    if node.meta["val"].dtype != value.meta["val"].dtype:
        raise UnsupportedError(
            "a change of dtype: activations are int8, weights are quantized by codeq"
        )
    result: str = capture.values[value]
    return result


@handles(aten.sym_size.int)
def _size(capture: Capture, node: fx.Node, a: Arguments) -> str:
    # read only by shapes, which the layers take from the traced result
    return f"?{node.name}"
