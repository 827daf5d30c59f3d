# SPDX-License-Identifier: Apache-2.0
"""`.tflite` files → graph: int8 models, with the integers of TFLite's reference kernels.

`flatbuffer` and `schema` read the file, `options` and `constants` what is stored in it; `convert`
goes through the operators, for which the other modules hold handlers.
"""

import re
from pathlib import Path

from codeq_compile.errors import ModelError, UnsupportedOp
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

MAX_FILE_BYTES = 1 << 26


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
    try:
        return convert(read(path), name=graph_name(path), kernels=kernels).graph
    except UnsupportedOp:
        raise
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def read(path: Path) -> Model:
    """What a `.tflite` file says.

    Raises
    ------
    ModelError
        The file is missing, damaged or foreign.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ModelError(f"larger than {MAX_FILE_BYTES} bytes: not for a microcontroller")
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror or error}") from error
    return schema.read(data)


def graph_name(path: Path) -> str:
    """A C identifier from a file's name."""
    word = re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_") or "model"
    return word if word[0].isalpha() else f"m_{word}"
