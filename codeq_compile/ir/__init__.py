# SPDX-License-Identifier: Apache-2.0
"""The layer IR: typed, immutable, verified after every pass."""

from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ir.op import Band, CArray, CValue, Op, Rows, op_kinds, op_type, register
from codeq_compile.ir.serial import load, save
from codeq_compile.ir.show import show
from codeq_compile.ir.types import DType, Grid, Packed, Range, TensorType, Weights
from codeq_compile.ir.verify import verify

__all__ = [
    "Band",
    "CArray",
    "CValue",
    "DType",
    "Graph",
    "Grid",
    "Node",
    "Op",
    "Packed",
    "Range",
    "Rows",
    "TensorType",
    "Weights",
    "load",
    "op_kinds",
    "op_type",
    "register",
    "save",
    "show",
    "verify",
]
