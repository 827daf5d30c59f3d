# SPDX-License-Identifier: Apache-2.0
"""An ONNX model while it is written: nodes, initializers and names. Source: onnx.proto3."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from codeq_compile.export.onnx.message import Message
from codeq_compile.ir.op import Array

OPSET = 17
IR_VERSION = 8
BATCH = "batch"
"""Name of the first dimension, whose size is open."""
_TYPES: Mapping[str, int] = {"float32": 1, "int8": 3, "int32": 6, "int64": 7}

Attribute = int | float | str | Sequence[int]


class Document:
    """What has been written so far."""

    def __init__(self) -> None:
        self._nodes: list[Message] = []
        self._initializers: list[Message] = []
        self._taken: set[str] = {""}

    def name(self, wanted: str) -> str:
        """A name that nothing has yet."""
        unique, number = wanted, 1
        while unique in self._taken:
            number += 1
            unique = f"{wanted}_{number}"
        self._taken.add(unique)
        return unique

    def constant(self, name: str, array: Any, dtype: str) -> str:
        """An initializer; its name."""
        values: Array = np.ascontiguousarray(array, np.dtype(dtype).newbyteorder("<"))
        name = self.name(name)
        tensor = Message()
        for size in np.shape(array):
            tensor.integer(1, size)
        tensor.integer(2, _TYPES[dtype]).text(8, name).blob(9, values.tobytes())
        self._initializers.append(tensor)
        return name

    def add(
        self,
        kind: str,
        inputs: Sequence[str],
        name: str,
        *,
        output: str | None = None,
        **attributes: Attribute,
    ) -> str:
        """An operator; the name of its output, by default like its own."""
        node = Message()
        for each in inputs:
            node.text(1, each)
        output = output or self.name(f"{name}.{kind}")
        node.text(2, output).text(3, name).text(4, kind)
        for key, value in attributes.items():
            node.message(5, _attribute(key, value))
        self._nodes.append(node)
        return output

    def bytes(
        self,
        name: str,
        inputs: Sequence[tuple[str, tuple[int, ...], str]],
        outputs: Sequence[tuple[str, tuple[int, ...], str]],
        metadata: Mapping[str, str],
    ) -> bytes:
        """The file, with borders of (name, shape without the batch, type)."""
        graph = Message()
        for node in self._nodes:
            graph.message(1, node)
        graph.text(2, name)
        for tensor in self._initializers:
            graph.message(5, tensor)
        for field, borders in ((11, inputs), (12, outputs)):
            for border in borders:
                graph.message(field, _border(*border))
        model = Message().integer(1, IR_VERSION).text(2, "codeq")
        model.message(7, graph).message(8, Message().text(1, "").integer(2, OPSET))
        for key, value in metadata.items():
            model.message(14, Message().text(1, key).text(2, value))
        return bytes(model)


def _attribute(key: str, value: Attribute) -> Message:
    attribute = Message().text(1, key)
    match value:
        case int():
            return attribute.integer(3, value).integer(20, 2)
        case float():
            return attribute.float32(2, value).integer(20, 1)
        case str():
            return attribute.text(4, value).integer(20, 3)
    for each in value:
        attribute.integer(8, each)
    return attribute.integer(20, 7)


def _border(name: str, shape: tuple[int, ...], dtype: str) -> Message:
    dimensions = Message().message(1, Message().text(2, BATCH))
    for size in shape:
        dimensions.message(1, Message().integer(1, size))
    tensor = Message().integer(1, _TYPES[dtype]).message(2, dimensions)
    return Message().text(1, name).message(2, Message().message(1, tensor))
