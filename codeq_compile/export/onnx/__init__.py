# SPDX-License-Identifier: Apache-2.0
"""Graph → `.onnx`: a model with QuantizeLinear and DequantizeLinear that onnxruntime can run.

`message` and `document` write the file, `operators` has a function for each op of the IR. Images
(h, w, c) become (batch, c, h, w), everything else keeps its axes behind a batch.
"""

import json
from pathlib import Path

from codeq_compile.errors import UnsupportedOp
from codeq_compile.export.onnx.document import Document
from codeq_compile.export.onnx.operators import WRITERS, Export, onnx_shape
from codeq_compile.frontends.onnx.convert import MULTIPLIER_BITS
from codeq_compile.ir.graph import Graph
from codeq_compile.ir.serial import write_whole
from codeq_compile.ir.types import DType
from codeq_compile.ir.verify import verify

__all__ = ["WRITERS", "dumps", "save"]


def dumps(graph: Graph) -> bytes:
    """The bytes of an `.onnx` file.

    Parameters
    ----------
    graph : Graph
        Quantized: as a `.cq` file holds it.

    Raises
    ------
    UnsupportedOp
        ONNX has no operators for some of its layers; all of them are named.
    ModelError
        The graph is not legal.
    """
    verify(graph)
    unknown = [
        f'layer "{node.name}": ONNX has no operator for {node.op.kind}'
        for node in graph.nodes
        if node.op.kind not in WRITERS
    ]
    wide = [
        f'tensor "{name}" is {kind}: only int8 can be exported'
        for name, kind in graph.tensors.items()
        if kind.dtype is DType.S16
    ]
    if unknown or wide:
        raise UnsupportedOp([*unknown, *wide])
    document = Document()
    export = Export(document=document, graph=graph)
    for name in graph.inputs:
        export.begin(name)
    for node in graph.nodes:
        export.write(node)
    metadata = {}
    if export.multiplier_bits:
        metadata[MULTIPLIER_BITS] = json.dumps(export.multiplier_bits)
    return document.bytes(
        graph.name,
        [(name, onnx_shape(graph.tensors[name].shape)[1:], "float32") for name in graph.inputs],
        [
            (
                export.reals[name],
                onnx_shape(graph.tensors[name].shape)[1:],
                "int64" if graph.tensors[name].grid is None else "float32",
            )
            for name in graph.outputs
        ],
        metadata,
    )


def save(graph: Graph, path: Path) -> None:
    """Write an `.onnx` file; the old one stays whole until the new one is.

    Raises
    ------
    UnsupportedOp, ModelError
        As `dumps`.
    InputError
        The file cannot be written.
    """
    write_whole(dumps(graph), path)
