# SPDX-License-Identifier: Apache-2.0
"""`.onnx` files → graph: models with QuantizeLinear and DequantizeLinear, in codeq's integers.

`protobuf` and `schema` read the file, `quantization` and `folding` what is constant in it;
`convert` goes through the operators, for which the other modules hold handlers, and `layout` knows
where channels that ONNX counts first stand in memory.
"""

from pathlib import Path

from codeq_compile.frontends.builder import (
    MAX_FILE_BYTES,
    graph_name,
    naming,
    read_bytes,
    sourced,
)
from codeq_compile.frontends.onnx import schema
from codeq_compile.frontends.onnx.convert import Examination, Imported, convert, examine
from codeq_compile.frontends.onnx.layer import HANDLERS
from codeq_compile.frontends.onnx.schema import Model
from codeq_compile.ir.graph import Graph

__all__ = [
    "HANDLERS",
    "MAX_FILE_BYTES",
    "Examination",
    "Imported",
    "convert",
    "examine",
    "load",
    "read",
]


def load(path: Path) -> Graph:
    """Read and convert an `.onnx` file.

    Raises
    ------
    ModelError
        The file is missing, damaged or foreign.
    UnsupportedOp
        It holds operators that codeq cannot convert; all of them are named.
    """
    with naming(path):
        return sourced(convert(_read(path), name=graph_name(path)).graph, path)


def read(path: Path) -> Model:
    """What an `.onnx` file says.

    Raises
    ------
    ModelError
        The file is missing, damaged or foreign.
    """
    with naming(path):
        return _read(path)


def _read(path: Path) -> Model:
    return schema.read(read_bytes(path))
