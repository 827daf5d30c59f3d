# SPDX-License-Identifier: Apache-2.0
"""The rules and examples of docs/NUMERICS.md, read from the page itself."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import codeq_compile.ops  # noqa: F401  # makes the ops known
from codeq_compile.ir import DType, Graph, TensorType, Weights, op_type
from codeq_compile.ir.op import Array
from tests.graphs import grid, lowered, one_op_graph

NUMERICS = Path(__file__).parents[1] / "docs" / "NUMERICS.md"
HEADINGS = (
    "Semantics",
    "Inputs",
    "Output",
    "Constraints",
    "Accumulator",
    "Rounding",
    "Example",
)

_SECTION = re.compile(r"^### (\w+)\n(.*?)(?=^##)", re.MULTILINE | re.DOTALL)
_DEFINITION = re.compile(r"\*\*\[([\w-]+(?:\.\d+)?)\]\*\*( \*compile-time\*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One example: a lowered one-node graph, one sample for each input, and its output."""

    graph: Graph
    inputs: dict[str, Array]
    output: Array


def labels() -> dict[str, bool]:
    """Every rule's label, and whether it binds the compiler only."""
    return {m[1]: bool(m[2]) for m in _DEFINITION.finditer(NUMERICS.read_text())}


def sections() -> dict[str, str]:
    """Text of every op's section."""
    return dict(_SECTION.findall(NUMERICS.read_text()))


def example(section: str) -> Example:
    """The fenced JSON of an op's section."""
    (fence,) = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    return example_of(json.loads(fence))


def example_of(record: dict[str, Any]) -> Example:
    """An example from its JSON form."""
    op = msgspec.convert(record["attributes"], type=op_type(record["op"]))
    types = [_tensor_type(x) for x in record["inputs"]]
    output = record["output"]
    graph = one_op_graph(
        op,
        types,
        grid(output["scale"], output["zero_point"], DType(output.get("dtype", "s8")).bits)
        if "scale" in output
        else None,
        weights=_weights(record.get("weights")),
        bias=_array(record.get("bias"), np.int32),
        table=_array(record.get("table"), np.int8),
        name=f"example_{record['op']}",
    )
    kind = graph.tensors["y"]
    assert kind.shape == tuple(output["shape"])
    return Example(
        graph=lowered(graph),
        inputs={
            name: np.array(x["data"], np.int8).reshape(1, *x["shape"])
            for name, x in zip(graph.inputs, record["inputs"], strict=True)
        },
        output=np.array(output["data"], kind.dtype.numpy).reshape(1, *kind.shape),
    )


def _tensor_type(record: dict[str, Any]) -> TensorType:
    kind = TensorType(shape=tuple(record["shape"]))
    return replace(kind, grid=grid(record["scale"], record["zero_point"]))


def _weights(record: dict[str, Any] | None) -> Weights | None:
    if record is None:
        return None
    return Weights(
        codes=np.array(record["codes"], np.int8).reshape(record["shape"]),
        bits=record["bits"],
        scale=np.array(record["scale"], np.float32),
        gap=record.get("gap", 0),
    )


def _array(values: list[int] | None, dtype: type) -> Array | None:
    return None if values is None else np.array(values, dtype)
