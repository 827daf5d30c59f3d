# SPDX-License-Identifier: Apache-2.0
"""What an `.onnx` file says, as plain data. Source: onnx.proto3 of onnx/onnx, IR version 14."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeq_compile.errors import Damaged
from codeq_compile.frontends.onnx.protobuf import Budget, Message
from codeq_compile.ir.op import Array
from codeq_compile.ir.verify import MAX_ELEMENTS

OPSETS = range(13, 27)
"""Versions of the operator set that are read: from the first with a scale for each channel to the
newest that onnxruntime 1.31 supports."""
_MAX_RANK = 16
_EXTERNAL = 1


class ElementType(IntEnum):
    """Type of a tensor's elements."""

    UNDEFINED = 0
    FLOAT = 1
    UINT8 = 2
    INT8 = 3
    UINT16 = 4
    INT16 = 5
    INT32 = 6
    INT64 = 7
    STRING = 8
    BOOL = 9
    FLOAT16 = 10
    DOUBLE = 11
    UINT32 = 12
    UINT64 = 13
    COMPLEX64 = 14
    COMPLEX128 = 15
    BFLOAT16 = 16
    FLOAT8E4M3FN = 17
    FLOAT8E4M3FNUZ = 18
    FLOAT8E5M2 = 19
    FLOAT8E5M2FNUZ = 20
    UINT4 = 21
    INT4 = 22
    FLOAT4E2M1 = 23
    FLOAT8E8M0 = 24
    UINT2 = 25
    INT2 = 26


_DTYPES: Mapping[ElementType, str] = {
    ElementType.FLOAT: "<f4",
    ElementType.UINT8: "u1",
    ElementType.INT8: "i1",
    ElementType.UINT16: "<u2",
    ElementType.INT16: "<i2",
    ElementType.INT32: "<i4",
    ElementType.INT64: "<i8",
    ElementType.BOOL: "?",
    ElementType.FLOAT16: "<f2",
    ElementType.DOUBLE: "<f8",
    ElementType.UINT32: "<u4",
    ElementType.UINT64: "<u8",
}
_NIBBLES = {ElementType.INT4, ElementType.UINT4}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tensor:
    """A stored tensor; its values are only made when somebody asks for them."""

    name: str
    shape: tuple[int, ...]
    kind: ElementType
    message: Message = field(repr=False)

    @property
    def is_narrow(self) -> bool:
        """Elements of four bits."""
        return self.kind in _NIBBLES

    def values(self) -> Array:
        """An array of its shape; int4 comes as int8 and uint4 as uint8.

        Raises
        ------
        Damaged
            The file has more or fewer values than the shape, or has them elsewhere.
        """
        if self.message.integer(14) == _EXTERNAL or 13 in self.message:
            raise Damaged(
                f'the values of "{self.name}" are in another file: save the model with '
                "save_as_external_data=False"
            )
        if self.kind not in _DTYPES and self.kind not in _NIBBLES:
            raise Damaged(f'"{self.name}" has elements of the type {self.kind.name}')
        stored = self._stored()
        count = math.prod(self.shape)
        if self.kind in _NIBBLES and len(stored) == count + 1:
            stored = stored[:count]
        if len(stored) != count:
            raise Damaged(
                f'"{self.name}" has {len(stored)} stored values, its shape {list(self.shape)} '
                f"needs {count}"
            )
        return stored.reshape(self.shape)

    def _stored(self) -> Array:
        raw = self.message.blob(9)
        if self.kind in _NIBBLES:
            octets = self._integers(5, "u1") if raw is None else np.frombuffer(raw, np.uint8)
            return _nibbles(octets, signed=self.kind is ElementType.INT4)
        dtype = np.dtype(_DTYPES[self.kind])
        if raw is not None:
            return np.frombuffer(raw, dtype, len(raw) // dtype.itemsize)
        match self.kind:
            case ElementType.FLOAT:
                return self.message.floats(4)
            case ElementType.DOUBLE:
                return self.message.floats(10, "<f8")
            case ElementType.INT64:
                return self.message.integers(7)
            case ElementType.UINT32 | ElementType.UINT64:
                return self._integers(11, dtype)
            case ElementType.FLOAT16:
                return self._integers(5, "<u2").view(dtype)
        return self._integers(5, dtype)

    def _integers(self, field_: int, dtype: Any) -> Array:
        """Numbers that are stored in a wider type; what does not fit wraps, as it does in C."""
        return self.message.integers(field_).astype(dtype)


def _nibbles(packed: NDArray[Any], *, signed: bool) -> Array:
    """Two elements a byte, the lower one first."""
    pairs = np.stack([packed << 4, packed & 0xF0], axis=1).astype(np.uint8).reshape(-1)
    return pairs.view(np.int8) >> 4 if signed else pairs >> 4


Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operator:
    """A node of the file; a name of "" stands for an optional tensor that is absent."""

    index: int
    name: str
    kind: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(repr=False)

    @property
    def short_name(self) -> str:
        """Its own name, or that of what it writes."""
        return self.name or next(filter(None, self.outputs), "") or f"operator_{self.index}"

    @property
    def label(self) -> str:
        """Its number, kind and name, for people."""
        return f'operator {self.index} {self.kind} "{self.short_name}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Border:
    """An input or output of the model; a dimension without a number is None."""

    name: str
    kind: ElementType
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.kind.name.lower()}[{','.join(str(n or '?') for n in self.shape)}]"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """A file with one graph.

    Parameters
    ----------
    description : str
        What wrote it.
    opset : int
        Version of the operators.
    metadata : mapping of str to str
    inputs, outputs : tuple of Border
    initializers : mapping of str to Tensor
    operators : tuple of Operator
    """

    description: str
    opset: int
    metadata: Mapping[str, str] = field(repr=False)
    inputs: tuple[Border, ...]
    outputs: tuple[Border, ...]
    initializers: Mapping[str, Tensor] = field(repr=False)
    operators: tuple[Operator, ...] = field(repr=False)


def read(data: bytes) -> Model:
    """The model of an `.onnx` file.

    Raises
    ------
    ModelError
        It is damaged, or no ONNX.
    """
    root = Message(memoryview(data), Budget())
    graph = root.message(7)
    if graph is None:
        raise Damaged("it holds no graph, so it is no .onnx file")
    opsets = [each.integer(2) for each in root.messages(8) if each.text(1) in {"", "ai.onnx"}]
    opset = max(opsets, default=0)
    if 15 in graph:
        raise Damaged("it has sparse initializers: store them as dense ones, zeros cost nothing")
    initializers = {each.text(8): _tensor(each) for each in graph.messages(5)}
    return Model(
        description=f"{root.text(2)} {root.text(3)}".strip(),
        opset=opset,
        metadata={each.text(1): each.text(2) for each in root.messages(14)},
        # old files name their initializers among the inputs
        inputs=tuple(
            _border(each, is_input=True)
            for each in graph.messages(11)
            if each.text(1) not in initializers
        ),
        outputs=tuple(_border(each, is_input=False) for each in graph.messages(12)),
        initializers=initializers,
        operators=tuple(_operator(i, each) for i, each in enumerate(graph.messages(1))),
    )


def _tensor(message: Message) -> Tensor:
    name = message.text(8)
    return Tensor(
        name=name,
        shape=_shape(tuple(message.integers(1).tolist()), f'"{name}"'),
        kind=_element_type(message.integer(2), f'"{name}"'),
        message=message,
    )


def _shape(shape: tuple[int, ...], what: str) -> tuple[int, ...]:
    if len(shape) > _MAX_RANK or any(n < 0 for n in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise Damaged(f"{what} has the impossible shape {list(shape[: _MAX_RANK + 1])}")
    return shape


def _element_type(number: int, what: str) -> ElementType:
    if number not in ElementType._value2member_map_:
        raise Damaged(f"{what} has elements of the unknown type {number}")
    return ElementType(number)


def _border(message: Message, *, is_input: bool) -> Border:
    name, type_ = message.text(1), message.message(2)
    tensor = type_.message(1) if type_ is not None else None
    shape = tensor.message(2) if tensor is not None else None
    if tensor is None or (is_input and shape is None):
        raise Damaged(f'"{name}" at the border of the model is no tensor with a shape')
    dims = [each.integer(1) if 1 in each else None for each in shape.messages(1)] if shape else []
    _shape(tuple(n or 1 for n in dims), f'"{name}"')
    return Border(name=name, kind=_element_type(tensor.integer(1), f'"{name}"'), shape=tuple(dims))


def _operator(index: int, message: Message) -> Operator:
    return Operator(
        index=index,
        name=message.text(3),
        kind=message.text(4),
        domain=message.text(7),
        inputs=message.texts(1),
        outputs=message.texts(2),
        attributes=dict(
            _attribute(each, f"operator {index} {message.text(4)}") for each in message.messages(5)
        ),
    )


def _attribute(message: Message, where: str) -> tuple[str, Attribute]:
    """(name, value); graphs are not looked into, and stand as their names."""
    name, number = message.text(1), message.integer(20)
    match number:
        case 1:
            return name, message.float32(2)
        case 2:
            return name, message.integer(3)
        case 3:
            return name, message.text(4)
        case 4:
            tensor = message.message(5)
            if tensor is None:
                raise Damaged(f"the attribute {name} of {where} is empty")
            return name, _tensor(tensor)
        case 6:
            return name, tuple(message.floats(7).tolist())
        case 7:
            return name, tuple(message.integers(8).tolist())
        case 8:
            return name, " ".join(message.texts(9))
    return name, f"attribute of type {number}"
