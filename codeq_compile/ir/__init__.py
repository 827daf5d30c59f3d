# SPDX-License-Identifier: Apache-2.0
"""The layer IR: typed, immutable, verified after every pass."""

from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ir.op import CArray, CValue, Op, op_kinds, op_type, register
from codeq_compile.ir.serial import load, save
from codeq_compile.ir.show import show
from codeq_compile.ir.types import DType, Grid, Packed, Range, TensorType, Weights
from codeq_compile.ir.verify import verify

__all__ = [
    "CArray",
    "CValue",
    "DType",
    "Graph",
    "Grid",
    "Node",
    "Op",
    "Packed",
    "Range",
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
