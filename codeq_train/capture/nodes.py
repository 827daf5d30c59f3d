# SPDX-License-Identifier: Apache-2.0
"""Facts about the nodes of a `torch.export` graph: names, source lines, arguments, shapes."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, fx

Arguments = dict[str, Any]


def reachable(nodes: Sequence[fx.Node]) -> set[fx.Node]:
    """Nodes that an output depends on; assertions and unused sizes are not among them."""
    stack, seen = [nodes[-1]], set()
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(node.all_input_nodes)
    return seen


def bind_arguments(node: fx.Node) -> Arguments:
    """Arguments by the names of the operation's schema, defaults filled in."""
    schema = node.target._schema  # type: ignore[union-attr]  # an OpOverload, or there is no handler
    bound = {argument.name: argument.default_value for argument in schema.arguments}
    bound.update(zip([argument.name for argument in schema.arguments], node.args, strict=False))
    return bound | dict(node.kwargs)


def is_tensor(node: fx.Node) -> bool:
    """Whether a node gives tensors, not sizes or nothing."""
    value = node.meta.get("val")
    parts = value if isinstance(value, (tuple, list)) else [value]
    return all(isinstance(part, Tensor) for part in parts)


def is_in_place(node: fx.Node) -> bool:
    """Whether a node overwrites its first operand."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.name.endswith("_") and not schema.name.endswith("__")


def operation(node: fx.Node) -> str:
    name = getattr(node.target, "_schema", None)
    full = name.name if name is not None else getattr(node.target, "__name__", node.name)
    return str(full).rpartition("::")[2].strip("_")


def layer_name(node: fx.Node) -> str:
    if node.op == "placeholder":
        return node.name
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    # a module that is called again has "@1" behind its path
    path = re.sub(r"@\d+", "", path)
    path = path if re.fullmatch(r"[\w.]*", path) else ""
    if path and str(kind).startswith("torch.nn.modules."):
        return path
    return f"{path}.{operation(node)}" if path else operation(node)


def source_line(node: fx.Node) -> str:
    """The user's own line: the innermost frame outside torch."""
    frames = re.findall(
        r'File "([^"]+)", line (\d+), in \S+\n\s+(.*)', str(node.meta.get("stack_trace") or "")
    )
    own = [frame for frame in frames if "/torch/" not in frame[0]]
    if not own:
        return ""
    file, line, text = own[-1]
    return f"{file}:{line}: {text.strip()}"


INSTEAD_OF_RECURRENT = "use convolutions over time; recurrent layers are not supported yet"

_INSTEAD = {
    "gru": INSTEAD_OF_RECURRENT,
    "lstm": INSTEAD_OF_RECURRENT,
    "rnn_tanh": INSTEAD_OF_RECURRENT,
    "layer_norm": "use BatchNorm, which folds into the layer before it",
    "group_norm": "use BatchNorm, which folds into the layer before it",
    "instance_norm": "use BatchNorm, which folds into the layer before it",
    "log_softmax": "train on the logits with cross_entropy, or use softmax",
    "matmul": "products of two activations have no integer form here; use convolutions",
    "bmm": "products of two activations have no integer form here; use convolutions",
    "scaled_dot_product_attention": "attention has no integer form here; use convolutions",
    "conv_transpose2d": "use nearest upsampling, then a convolution",
    "conv_transpose1d": "use nearest upsampling, then a convolution",
    "upsample_bilinear2d": "use mode='nearest' with a whole-number factor",
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


def advice(node: fx.Node) -> str:
    instead = _INSTEAD.get(operation(node))
    return (
        f"no integer form; {instead}" if instead else "codeq has no integer form of this operation"
    )


def as_tuple(value: Any, count: int) -> tuple[int, ...]:
    values = [int(n) for n in value] if isinstance(value, Iterable) else [int(value)]
    return tuple(values * count if len(values) == 1 else values)


def rank_of(node: Any) -> int:
    """Axes of an activation, batch included."""
    return int(_first(node).dim())


def sample_shape(node: Any) -> tuple[int, ...]:
    """Shape of an activation without the batch."""
    return tuple(int(n) for n in _first(node).shape[1:])


def _first(node: fx.Node) -> Tensor:
    """The traced result; the first one of several (values, not indices)."""
    value = node.meta["val"]
    result: Tensor = value[0] if isinstance(value, (tuple, list)) else value
    return result
