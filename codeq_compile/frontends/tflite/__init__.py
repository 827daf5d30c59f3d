# SPDX-License-Identifier: Apache-2.0
"""`.tflite` files → graph: int8 models, with the integers of TFLite's reference kernels.

`flatbuffer` and `schema` read the file, `options` and `constants` what is stored in it; `convert`
goes through the operators, for which the other modules hold handlers.
"""

from pathlib import Path

from codeq_compile.frontends.builder import graph_name, naming, read_bytes, sourced
from codeq_compile.frontends.tflite import schema
from codeq_compile.frontends.tflite.convert import (
    Examination,
    Imported,
    convert,
    examine,
    first_integers,
)
from codeq_compile.frontends.tflite.layer import HANDLERS, Kernels
from codeq_compile.frontends.tflite.schema import Model
from codeq_compile.ir.graph import Graph

__all__ = [
    "HANDLERS",
    "Examination",
    "Imported",
    "Kernels",
    "convert",
    "examine",
    "first_integers",
    "load",
    "read",
]


def load(path: Path, kernels: Kernels = Kernels.TFLM) -> Graph:
    """Read and convert a `.tflite` file.

    Parameters
    ----------
    path : Path
    kernels : Kernels
        Whose integers it shall give.

    Raises
    ------
    ModelError
        The file is missing, damaged or foreign.
    UnsupportedOp
        It holds operators that codeq cannot convert; all of them are named.
    """
    with naming(path):
        graph = convert(_read(path), name=graph_name(path), kernels=kernels).graph
        return sourced(graph, path)


def read(path: Path) -> Model:
    """What a `.tflite` file says.

    Raises
    ------
    ModelError
        The file is missing, damaged or foreign.
    """
    with naming(path):
        return _read(path)


def _read(path: Path) -> Model:
    return schema.read(read_bytes(path))
