# SPDX-License-Identifier: Apache-2.0
"""What a `.tflite` file says, as plain data. Source: TensorFlow's schema.fbs, version 3."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeq_compile.errors import Damaged
from codeq_compile.frontends.tflite.flatbuffer import Buffer, Table
from codeq_compile.ir.types import Float32Array
from codeq_compile.ir.verify import MAX_ELEMENTS
from codeq_compile.numerics import Int64Array

VERSION = 3
IDENTIFIER = b"TFL3"
MAX_AXES = 8
MAX_BORDERS = 256
"""Inputs, and outputs, of a model."""

# In the order of their numbers, those that codeq has a name for; others are shown by number.
_BUILTINS = """
0 ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE
EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D
LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6
RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM
EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND
TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN
EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM ARG_MAX
MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV
SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT
REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV
REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU
SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU
REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL
PLACEHOLDER CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS HASHTABLE
HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE
ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU
DYNAMIC_UPDATE_SLICE RELU_0_TO_1
"""
BUILTINS = tuple(_BUILTINS.split()[1:])


class ElementType(IntEnum):
    """Type of a tensor's elements."""

    FLOAT32 = 0
    FLOAT16 = 1
    INT32 = 2
    UINT8 = 3
    INT64 = 4
    STRING = 5
    BOOL = 6
    INT16 = 7
    COMPLEX64 = 8
    INT8 = 9
    FLOAT64 = 10
    COMPLEX128 = 11
    UINT64 = 12
    RESOURCE = 13
    VARIANT = 14
    UINT32 = 15
    UINT16 = 16
    INT4 = 17
    BFLOAT16 = 18
    INT2 = 19


class Padding(IntEnum):
    SAME = 0
    VALID = 1


class Activation(IntEnum):
    """Function that a layer applies to its result."""

    NONE = 0
    RELU = 1
    RELU_N1_TO_1 = 2
    RELU6 = 3
    TANH = 4
    SIGN_BIT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """How one axis of a sparse tensor is stored.

    Parameters
    ----------
    size : int
        Of a dense axis, which stores all of its positions.
    segments, indices : int array, optional
        Of a sparse axis, in compressed rows: the positions of row i are
        ``indices[segments[i] : segments[i + 1]]``.
    """

    size: int
    segments: NDArray[Any] | None = field(default=None, repr=False)
    indices: NDArray[Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparsity:
    """Storage of a sparse tensor: axes in the order in which they are walked, then block axes."""

    order: tuple[int, ...]
    block_map: tuple[int, ...]
    dimensions: tuple[Dimension, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tensor:
    """A tensor of the file.

    Parameters
    ----------
    index : int
        Its number in the file.
    name : str
        May be empty, and that of others too.
    shape : tuple of int
        With the batch; a dimension of 0 is possible.
    kind : ElementType
    scale, zero_point : arrays of shape (channels,), (1,) or (0,)
        The grid, per channel along `axis`, or of the tensor; empty if there is none.
    data : memoryview, optional
        Stored values of a constant.
    is_variable : bool
        Its values live from one inference to the next.
    sparsity : Sparsity, optional
    """

    index: int
    name: str
    shape: tuple[int, ...]
    kind: ElementType
    scale: Float32Array = field(repr=False)
    zero_point: Int64Array = field(repr=False)
    axis: int
    data: memoryview | None = field(repr=False)
    is_variable: bool
    sparsity: Sparsity | None = field(default=None, repr=False)

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def is_constant(self) -> bool:
        return self.data is not None

    @property
    def short_name(self) -> str:
        """Its name, or one made of its number; of a fused layer's several names the first."""
        return self.name.partition(";")[0] or f"tensor_{self.index}"

    @property
    def label(self) -> str:
        """Its name, or its number, for people."""
        return f'"{self.name}"' if self.name else f"number {self.index}"

    def __str__(self) -> str:
        return f"{self.kind.name.lower()}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operator:
    """A layer of the file; `inputs` has None where an optional one is absent."""

    index: int
    kind: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: Table | None = field(repr=False)

    @property
    def label(self) -> str:
        """Its number, kind and output, for people: operators have no names of their own."""
        output = f" {self.outputs[0].label}" if self.outputs else ""
        return f"operator {self.index} {self.kind}{output}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """A file with one subgraph."""

    description: str
    tensors: tuple[Tensor, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    operators: tuple[Operator, ...]


def read(data: bytes) -> Model:
    """The model of a `.tflite` file.

    Raises
    ------
    ModelError
        It is damaged, of another version, or has no subgraph or several.
    """
    root = Buffer(data).root(IDENTIFIER)
    version = root.scalar(0, "I")
    if version != VERSION:
        raise Damaged(f"version {version} of the format, and this codeq reads {VERSION}")
    subgraphs = list(root.tables(2))
    if len(subgraphs) != 1:
        raise Damaged(
            f"{len(subgraphs)} subgraphs: codeq reads models of one, without IF, WHILE or CALL_ONCE"
        )
    (subgraph,) = subgraphs
    buffers = [_bytes(table, data) for table in root.tables(4)]
    tensors = tuple(
        _tensor(index, table, buffers) for index, table in enumerate(subgraph.tables(0))
    )
    kinds = [_kind(table) for table in root.tables(1)]
    return Model(
        description=root.text(3),
        tensors=tensors,
        inputs=_computed(_borders(tensors, subgraph.integers(1), "an input of the model")),
        outputs=_borders(tensors, subgraph.integers(2), "an output of the model"),
        operators=tuple(
            _operator(index, table, tensors, kinds)
            for index, table in enumerate(subgraph.tables(3))
        ),
    )


def _bytes(table: Table, data: bytes) -> memoryview | None:
    """The bytes of a buffer; None where it is empty. Large ones lie behind the tables."""
    start, size = table.scalar(1, "Q"), table.scalar(2, "Q")
    if start > 1 and size:
        if start + size > len(data):
            raise Damaged(f"a buffer ends at byte {start + size} of a file of {len(data)}")
        return memoryview(data)[start : start + size]
    return table.blob(0) or None


def _tensor(index: int, table: Table, buffers: list[memoryview | None]) -> Tensor:
    shape = table.integers(0)
    number = table.scalar(1, "b")
    if number not in ElementType._value2member_map_:
        raise Damaged(f"tensor {index} has elements of the unknown type {number}")
    if len(shape) > MAX_AXES:
        raise Damaged(f"tensor {index} has {len(shape)} axes, and TFLite has {MAX_AXES}")
    if any(n < 0 for n in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise Damaged(f"tensor {index} has the impossible shape {list(shape)}")
    buffer = table.scalar(2, "I")
    if buffer >= max(len(buffers), 1):
        raise Damaged(f"tensor {index} is in buffer {buffer} of {len(buffers)}")
    quantization, sparsity = table.table(4), table.table(6)
    scale = np.empty(0, np.float32)
    zero_point = np.empty(0, np.int64)
    axis = 0
    if quantization is not None:
        scale, zero_point = quantization.array(2, "f4"), quantization.array(3, "i8")
        axis = quantization.scalar(6, "i")
    return Tensor(
        index=index,
        name=table.text(3),
        shape=shape,
        kind=ElementType(number),
        scale=scale.astype(np.float32),
        zero_point=zero_point.astype(np.int64),
        axis=axis,
        data=buffers[buffer] if buffer else None,
        is_variable=table.scalar(5, "?", False),
        sparsity=_sparsity(sparsity) if sparsity is not None else None,
    )


# By the numbers of the union SparseIndexVector.
_INDEX_DTYPES: Mapping[int, str] = {1: "i4", 2: "u2", 3: "u1"}


def _sparsity(table: Table) -> Sparsity:
    return Sparsity(
        order=table.integers(0),
        block_map=table.integers(1),
        dimensions=tuple(_dimension(each) for each in table.tables(2)),
    )


def _dimension(table: Table) -> Dimension:
    if table.scalar(0, "b") == 0:
        return Dimension(size=table.scalar(1, "i"))
    return Dimension(size=0, segments=_indices(table, 2), indices=_indices(table, 4))


def _indices(table: Table, field_: int) -> NDArray[Any]:
    """A vector of a union: its type is the field before it."""
    dtype, vector = _INDEX_DTYPES.get(table.scalar(field_, "B")), table.table(field_ + 1)
    if dtype is None or vector is None:
        raise Damaged("a sparse tensor has no indices")
    return vector.array(0, dtype)


def _kind(table: Table) -> str:
    """Name of an operator: old files have the number in the first field, new ones in both."""
    number = max(table.scalar(0, "b"), table.scalar(3, "i"))
    if BUILTINS[number : number + 1] == ("CUSTOM",):
        return f"CUSTOM {table.text(1)}".rstrip()
    return BUILTINS[number] if 0 <= number < len(BUILTINS) else f"BUILTIN_{number}"


def _operator(index: int, table: Table, tensors: tuple[Tensor, ...], kinds: list[str]) -> Operator:
    code = table.scalar(0, "I")
    if code >= len(kinds):
        raise Damaged(f"operator {index} is of kind {code} of {len(kinds)}")
    where = f"operator {index} ({kinds[code]})"
    return Operator(
        index=index,
        kind=kinds[code],
        inputs=tuple(
            None if i == -1 else _chosen(tensors, i, f"read by {where}") for i in table.integers(1)
        ),
        outputs=_computed(
            tuple(_chosen(tensors, i, f"written by {where}") for i in table.integers(2))
        ),
        options=table.table(4),
    )


def _borders(
    tensors: tuple[Tensor, ...], indices: tuple[int, ...], what: str
) -> tuple[Tensor, ...]:
    if len(indices) > MAX_BORDERS:
        raise Damaged(f"{len(indices)} times a tensor is {what}, more than {MAX_BORDERS}")
    return tuple(_chosen(tensors, index, what) for index in indices)


def _computed(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The same tensors, none of which may be a constant."""
    for tensor in tensors:
        if tensor.is_constant:
            raise Damaged(f"tensor {tensor.label} has stored values, and others when it runs")
    return tensors


def _chosen(tensors: tuple[Tensor, ...], index: int, what: str) -> Tensor:
    if not 0 <= index < len(tensors):
        raise Damaged(f"tensor {index} of {len(tensors)} is {what}")
    return tensors[index]
