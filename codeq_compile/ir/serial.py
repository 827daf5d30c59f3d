# SPDX-License-Identifier: Apache-2.0
"""The `.cq` model file: one safetensors file whose metadata holds the graph as JSON.

Layout: docs/FORMATS.md [F9].  Loading parses data only; it never executes code.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from codeq_compile.errors import InputError, ModelError, SpecViolation
from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ir.op import Array, Op, op_type
from codeq_compile.ir.types import DType, Grid, TensorType, Weights
from codeq_compile.ir.verify import verify

FORMAT_VERSION = 1
# One key only: safetensors writes several metadata keys in random order.
_KEY = "codeq"


class _TensorRecord(msgspec.Struct, forbid_unknown_fields=True):
    shape: list[int]
    dtype: DType
    scale: float | None = None
    zero_point: int | None = None


class _WeightsRecord(msgspec.Struct, forbid_unknown_fields=True):
    bits: int
    gap: int = 0
    levels: list[int] | None = None


class _NodeRecord(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    kind: str
    attributes: dict[str, Any]
    inputs: list[str]
    output: str
    weights: _WeightsRecord | None = None


class _GraphRecord(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    tensors: dict[str, _TensorRecord]
    inputs: list[str]
    outputs: list[str]
    nodes: list[_NodeRecord]
    labels: list[str] = []
    provenance: dict[str, str] = {}


class _Version(msgspec.Struct):
    format: int


class _File(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    sha256: str
    graph: _GraphRecord


def dumps(graph: Graph) -> bytes:
    """The bytes of a `.cq` file; the same graph gives the same bytes."""
    record = _graph_record(graph)
    arrays = _arrays(graph)
    digest = _digest(record, arrays)
    header = msgspec.json.encode(_File(format=FORMAT_VERSION, sha256=digest, graph=record))
    return to_safetensors(arrays, metadata={_KEY: header.decode()})


def save(graph: Graph, path: Path) -> None:
    """Write a `.cq` file.  The old file stays whole until the new one is.

    Raises
    ------
    ModelError
        The graph is not legal: nobody could load it.
    InputError
        The file cannot be written.
    """
    write_whole(dumps(verify(graph)), path)


def write_whole(data: bytes, path: Path) -> None:
    """Write a file.  The old one stays whole until the new one is; a link to it stays a link.

    Raises
    ------
    InputError
        The file cannot be written, or what stands there is no file: a folder, a device, a pipe.
    """
    target = Path(os.path.realpath(path))
    # two processes may write the same file, as the workers of a sweep do
    temporary = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        if target.is_dir():
            raise InputError(f"cannot write {path}: it is a folder")
        if target.is_symlink():
            raise InputError(f"cannot write {path}: it is a link to itself")
        if target.exists() and not target.is_file():
            raise InputError(f"cannot write {path}: it is a device or a pipe; name a file")
        if not target.parent.is_dir():
            raise InputError(f"cannot write {path}: there is no folder {path.parent}")
        try:
            temporary.write_bytes(data)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def digest(graph: Graph) -> str:
    """sha256 of the graph's content, as stored in the file."""
    return _digest(_graph_record(graph), _arrays(graph))


def load(path: Path) -> Graph:
    """Read and verify a `.cq` file.

    Raises
    ------
    ModelError
        The file is missing, damaged, truncated, foreign, of another version, or not a legal graph.
    """
    try:
        return verify(_decode(*_read(path)))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _read(path: Path) -> tuple[str, dict[str, Array]]:
    """The graph's JSON text and all arrays."""
    if path.is_dir():
        raise ModelError("a folder, not a .cq model")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a dict
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror or error}") from error
    except (SafetensorError, ValueError, TypeError, OverflowError, AttributeError) as error:
        raise ModelError(f"damaged, or not a .cq model{_hint(path)}") from error
    if _KEY not in metadata:
        raise ModelError(f"a safetensors file, but not a .cq model (no {_KEY!r} in its metadata)")
    return metadata[_KEY], arrays


def _hint(path: Path) -> str:
    """What else a file is, where its first bytes tell."""
    with path.open("rb") as file:
        head = file.read(8)
    if head[4:] == b"TFL3":
        return ": TensorFlow Lite's, whose name must end in .tflite"
    # the version of the format and then a producer or the opset: fields 1 and 2, 7 or 8
    if head[:1] == b"\x08" and head[2:3] in (b"\x12", b"\x3a", b"\x42"):
        return ": ONNX, it seems, whose name must end in .onnx"
    return ""


def _decode(header: str, arrays: Mapping[str, Array]) -> Graph:
    try:
        version = msgspec.json.decode(header, type=_Version).format
        if version != FORMAT_VERSION:
            raise ModelError(
                f"format {version}, and this codeq reads {FORMAT_VERSION}: export the model again"
            )
        file = msgspec.json.decode(header, type=_File)
        sha256 = _digest(file.graph, arrays)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ModelError(f"damaged, its graph cannot be read: {error}") from error
    if sha256 != file.sha256:
        raise ModelError("damaged, its content does not match its sha256")
    return _graph(file.graph, arrays)


def _graph_record(graph: Graph) -> _GraphRecord:
    tensors = {
        name: _TensorRecord(
            shape=list(kind.shape),
            dtype=kind.dtype,
            scale=kind.grid.scale if kind.grid else None,
            zero_point=kind.grid.zero_point if kind.grid else None,
        )
        for name, kind in sorted(graph.tensors.items())
    }
    return _GraphRecord(
        name=graph.name,
        tensors=tensors,
        inputs=list(graph.inputs),
        outputs=list(graph.outputs),
        nodes=[_node_record(node) for node in graph.nodes],
        labels=list(graph.labels),
        provenance=dict(sorted(graph.provenance.items())),
    )


def _node_record(node: Node) -> _NodeRecord:
    return _NodeRecord(
        name=node.name,
        kind=node.op.kind,
        attributes=_attributes(node.op),
        inputs=list(node.inputs),
        output=node.output,
        weights=_weights_record(node.weights) if node.weights is not None else None,
    )


def _attributes(op: Op[Any]) -> dict[str, Any]:
    """Those that differ from their defaults: one that a later codeq adds changes no digest."""
    defaults = {field.name: field.default for field in fields(op)}  # type: ignore[arg-type]  # every op is a dataclass
    return {
        name: value
        for name, value in msgspec.to_builtins(op).items()
        if getattr(op, name) != defaults[name]
    }


def _weights_record(weights: Weights) -> _WeightsRecord:
    return _WeightsRecord(
        bits=weights.bits,
        gap=weights.gap,
        levels=list(weights.levels) if weights.levels is not None else None,
    )


def _arrays(graph: Graph) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    for node in graph.nodes:
        if node.weights is not None:
            arrays[f"{node.name}/codes"] = np.ascontiguousarray(node.weights.codes)
            arrays[f"{node.name}/scale"] = np.ascontiguousarray(node.weights.scale)
        if node.bias is not None:
            arrays[f"{node.name}/bias"] = np.ascontiguousarray(node.bias, np.int32)
        if node.table is not None:
            arrays[f"{node.name}/table"] = np.ascontiguousarray(node.table, np.int8)
    for name, array in graph.constants.items():
        arrays[_constant(name)] = np.ascontiguousarray(array)
    return arrays


def _constant(tensor: str) -> str:
    return f"{tensor}/constant"


def _digest(record: _GraphRecord, arrays: Mapping[str, Array]) -> str:
    sha = hashlib.sha256(msgspec.json.encode(record))
    for name in sorted(arrays):
        array = arrays[name]
        sha.update(f"{name}:{array.dtype}:{array.shape}".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def _graph(record: _GraphRecord, arrays: Mapping[str, Array]) -> Graph:
    unread = dict(arrays)
    graph = Graph(
        name=record.name,
        tensors={name: _tensor_type(name, kind) for name, kind in record.tensors.items()},
        inputs=tuple(record.inputs),
        outputs=tuple(record.outputs),
        nodes=tuple(_node(node, unread) for node in record.nodes),
        constants={
            name: unread.pop(_constant(name))
            for name in record.tensors
            if _constant(name) in unread
        },
        labels=tuple(record.labels),
        provenance=record.provenance,
    )
    if unread:
        raise ModelError(f'the array "{min(unread)}" belongs to no layer')
    return graph


def _tensor_type(name: str, record: _TensorRecord) -> TensorType:
    if (record.scale is None) != (record.zero_point is None):
        raise ModelError(f'tensor "{name}" has a scale or a zero point, but not both')
    grid = None
    if record.scale is not None and record.zero_point is not None:
        try:
            grid = Grid(scale=record.scale, zero_point=record.zero_point, bits=record.dtype.bits)
        except SpecViolation as violation:
            raise ModelError(f'tensor "{name}": {violation}') from violation
    return TensorType(shape=tuple(record.shape), dtype=record.dtype, grid=grid)


def _node(record: _NodeRecord, unread: dict[str, Array]) -> Node:
    """A node; takes its arrays out of `unread`."""
    try:
        return Node(
            name=record.name,
            op=_op(record),
            inputs=tuple(record.inputs),
            output=record.output,
            weights=_weights(record.weights, record.name, unread),
            bias=unread.pop(f"{record.name}/bias", None),
            table=unread.pop(f"{record.name}/table", None),
        )
    except SpecViolation as violation:
        raise violation.at(record.name) from violation


def _op(record: _NodeRecord) -> Op[Any]:
    kind = op_type(record.kind)
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]  # every op is a dataclass
    unknown = sorted(record.attributes.keys() - known)
    if unknown:
        raise ModelError(f'layer "{record.name}": {record.kind} has no attribute "{unknown[0]}"')
    try:
        op: Op[Any] = msgspec.convert(record.attributes, type=kind)
    except msgspec.ValidationError as error:
        raise ModelError(f'layer "{record.name}": {record.kind}: {error}') from error
    return op


def _weights(record: _WeightsRecord | None, layer: str, unread: dict[str, Array]) -> Weights | None:
    if record is None:
        return None
    for part in ("codes", "scale"):
        if f"{layer}/{part}" not in unread:
            raise ModelError(f'the array "{layer}/{part}" is missing')
    return Weights(
        codes=unread.pop(f"{layer}/codes"),
        bits=record.bits,
        scale=unread.pop(f"{layer}/scale"),
        gap=record.gap,
        levels=tuple(record.levels) if record.levels is not None else None,
    )
