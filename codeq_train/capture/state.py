# SPDX-License-Identifier: Apache-2.0
"""State of one conversion from a traced graph to layers, and the registry of handlers."""

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from codeq_compile.errors import UnsupportedOp
from codeq_train.capture.nodes import (
    Arguments,
    advice,
    bind_arguments,
    is_in_place,
    is_tensor,
    layer_name,
    reachable,
    sample_shape,
    source_line,
)
from codeq_train.layers import Input, Layer, Origin

Handler = Callable[["Capture", fx.Node, Arguments], str]

_HANDLERS: dict[Any, Handler] = {}


class UnsupportedError(Exception):
    """Raised by a handler; the message says what and what to use instead."""


@dataclass(slots=True)
class Captured:
    """The layers of a model, the names of its outputs, and how calls return them."""

    layers: list[Layer]
    outputs: dict[str, str]
    structure: type


def handles(*targets: Any) -> Callable[[Handler], Handler]:
    """Register a function for ATen operations; it returns the name of the tensor that results."""

    def add(function: Handler) -> Handler:
        for target in targets:
            _HANDLERS[target] = function
        return function

    return add


@dataclass
class Capture:
    """State of one conversion."""

    program: torch.export.ExportedProgram
    layers: list[Layer] = field(default_factory=list)
    values: dict[fx.Node, Any] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    batch: str = ""

    def run(self) -> Captured:
        """Convert node after node; handlers that fail add a reason and go on."""
        self._constants()
        nodes = list(self.program.graph.nodes)
        used = reachable(nodes)
        for node in nodes:
            if node.op == "call_function" and node in used:
                self._convert(node)
        outputs = self._outputs(nodes[-1])
        if self.reasons:
            # x[:, :, 1:-1] is several slices: one part for the user
            raise UnsupportedOp(tuple(dict.fromkeys(self.reasons)))
        return Captured(self.layers, outputs, self._structure())

    # -- for handlers -----------------------------------------------------------------------------

    def origin(self, node: fx.Node, *inputs: str, suffix: str = "") -> Origin:
        """Name, inputs, shape and source line of the layer that a node becomes."""
        return Origin(
            name=self._unique(layer_name(node) + suffix),
            inputs=inputs,
            shape=sample_shape(node),
            source=source_line(node),
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
                "an operand is a number known only at run time, a constant tensor or a parameter: "
                "fold it into the weights of a neighbouring layer, or use BatchNorm for a factor "
                "per channel"
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

    def sole_producer(self, node: fx.Node, value: fx.Node) -> Layer | None:
        """The layer that makes `value`, if `node` is all that reads it."""
        name = self.values.get(value)
        # whoever reads the operand of an in-place operation later sees its result
        if len(value.users) != 1 and not is_in_place(node):
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
                self.batch = str(node.meta["val"].shape[0])
                self.values[node] = self.add(Input(self.origin(node)))

    def _convert(self, node: fx.Node) -> None:
        if not is_tensor(node):
            return  # sizes: layers take shapes from the traced results
        if node.target is operator.getitem:
            self.values[node] = self._item(node)
            return
        handler = _HANDLERS.get(node.target)
        if handler is None and not self._reads_activations(node):
            return  # a computed constant: whoever reads it says what is wrong with that
        try:
            if handler is None:
                raise UnsupportedError(advice(node))
            self._check_batch(node)
            result = handler(self, node, bind_arguments(node))
        except UnsupportedError as reason:
            self.reasons.append(
                f'layer "{layer_name(node)}" ({node.target}): {reason}{_where(node)}'
            )
            result = f"?{node.name}"
        self.values[node] = result
        if is_in_place(node) and isinstance(node.args[0], fx.Node):
            self.values[node.args[0]] = result

    def _check_batch(self, node: fx.Node) -> None:
        """A result must keep the batch in front, or samples would mix."""
        if not self._reads_activations(node):
            return
        value = node.meta["val"]
        for result in value if isinstance(value, (tuple, list)) else [value]:
            if not result.dim() or str(result.shape[0]) != self.batch:
                raise UnsupportedError(
                    "the result has no batch dimension in front: samples must stay apart; "
                    "use x.flatten(1), dim=1 and the like"
                )

    def _reads_activations(self, node: fx.Node) -> bool:
        return any(isinstance(self.values.get(n), str) for n in node.all_input_nodes)

    def _item(self, node: fx.Node) -> Any:
        """Only the first of several results is ever a tensor of ours (values, not indices)."""
        source, index = node.args
        assert isinstance(source, fx.Node)
        value = self.values.get(source)
        if index != 0 and isinstance(value, str) and not value.startswith("?"):
            self.reasons.append(f'layer "{value}": positions of maxima have no integer form')
        return value

    def _outputs(self, node: fx.Node) -> dict[str, str]:
        results = node.args[0]
        assert isinstance(results, (tuple, list))
        names = [f"output_{number}" for number in range(len(results))]
        names = self._keys() or (["output"] if len(results) == 1 else names)
        outputs: dict[str, str] = {}
        for name, result in zip(names, results, strict=True):
            value = self.values.get(result) if isinstance(result, fx.Node) else None
            if isinstance(value, str):
                outputs[name] = value
            else:
                self.reasons.append(f"{name} is not computed from the inputs")
        return outputs

    def _structure(self) -> type:
        """Nested structures become one tuple."""
        spec = self.program.call_spec.out_spec
        if spec is None or spec.is_leaf():
            return Tensor
        return dict if self._keys() else tuple

    def _keys(self) -> list[str]:
        """Keys of a flat dict of outputs."""
        spec = self.program.call_spec.out_spec
        if spec is None or spec.type is not dict or spec.num_leaves != len(spec.context):
            return []
        return [str(key) for key in spec.context]

    def _unique(self, name: str) -> str:
        count = self.names.get(name, 0)
        self.names[name] = count + 1
        return name if count == 0 else self._unique(f"{name}_{count}")


def _where(node: fx.Node) -> str:
    line = source_line(node)
    return f" [{line}]" if line else ""
