# SPDX-License-Identifier: Apache-2.0
"""Inspection: every layer of a file, its cost, and what stands in the way of compiling it."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tflite_micro", reason="its schema writes the files that are inspected here")
pytest.importorskip("onnx", reason="writes a file that is inspected here")

from codeq_compile import compile, ir
from codeq_compile.errors import ModelError
from codeq_compile.export.onnx import dumps
from codeq_compile.inspection import InspectedLayer, Inspection, inspect
from codeq_compile.ops.linear import Linear
from codeq_compile.report.table import inspection_table
from tests.graphs import one_op_graph, random_weights, s8
from tests.tflite_author import File


def model(folder: Path, *, output: tuple[float, int] = (0.5, 3), cosine: bool = False) -> Path:
    """A file with a fully connected layer of 2 x 3 weights, and perhaps one without a rule."""
    file = File()
    x, y = file.tensor((1, 3), scale=0.1, name="x"), file.tensor((1, 2), scale=output[0], name="y")
    w = file.constant(np.ones((2, 3), np.int8), scale=0.02)
    b = file.constant(np.ones(2, np.int32))
    file.operator("FULLY_CONNECTED", [x, w, b], [y], "FullyConnectedOptions")
    if cosine:
        z = file.tensor((1, 2), scale=0.5, name="z")
        file.operator("COS", [y], [z])
    path = folder / "model.tflite"
    path.write_bytes(file.bytes([x], [y]))
    return path


def test_a_layer_is_told_with_its_cost(tmp_path: Path) -> None:
    """What is large and what is slow is what one looks for."""
    found = inspect(model(tmp_path))

    (layer,) = found.layers
    assert found.is_supported
    assert ("y", "FULLY_CONNECTED", 6, 6 + 8) == (layer.name, layer.kind, layer.macs, layer.bytes)
    assert (("int8[1,3]",), ("int8[1,2]",)) == (layer.inputs, layer.outputs)


def test_a_layer_without_a_rule_is_told_with_the_others(tmp_path: Path) -> None:
    """All problems at once, and the layers around them."""
    found = inspect(model(tmp_path, cosine=True))

    assert not found.is_supported
    assert [None, "codeq has no rule for it"] == [layer.reason for layer in found.layers]


def test_a_model_that_overflows_is_told(tmp_path: Path) -> None:
    """Its layers are supported one by one, and still `codeq compile` refuses it. [N4.3]"""
    found = inspect(model(tmp_path, output=(1e-12, 0)))

    assert not found.is_supported
    assert not any(layer.reason for layer in found.layers)
    assert "y" in found.problems[0]


def test_a_tensor_that_no_graph_can_have_is_told(tmp_path: Path) -> None:
    """The layers are shown all the same: one of them is too large."""
    file = File()
    x, y = (
        file.tensor((1, 1 << 21), scale=scale, name=name) for scale, name in ((1, "x"), (2, "y"))
    )
    file.operator("QUANTIZE", [x], [y])
    (tmp_path / "model.tflite").write_bytes(file.bytes([x], [y]))

    found = inspect(tmp_path / "model.tflite")

    assert 1 == len(found.layers)
    assert "illegal shape" in found.problems[0]


def test_a_cq_file_is_inspected_too(tmp_path: Path) -> None:
    """One command for whatever is to be compiled."""
    rng = np.random.default_rng(0)
    ir.save(one_op_graph(Linear(), [s8(3)], weights=random_weights(rng, (2, 3))), tmp_path / "a.cq")

    found = inspect(tmp_path / "a.cq")

    (layer,) = found.layers
    assert ("linear", 6, ("s8[2]",)) == (layer.kind, layer.macs, layer.outputs)
    assert found.is_supported


def test_a_librarys_model_is_inspected_too(tmp_path: Path) -> None:
    """It is what the library was compiled from, whatever that was called."""
    compile(model(tmp_path), tmp_path / "library", target="host")

    assert 6 == inspect(tmp_path / "library").layers[0].macs


@pytest.mark.parametrize("name", ["model.tflite", "model.onnx", "model.cq"])
def test_what_is_no_model_is_an_error_that_names_it(name: str, tmp_path: Path) -> None:
    """There are no layers to show, and a loop over files must say which one it was."""
    (tmp_path / name).write_bytes(b"nothing of the kind")

    with pytest.raises(ModelError, match=name):
        inspect(tmp_path / name)


def onnx_model(folder: Path, *, cosine: bool = False) -> Path:
    """The same layer as a file of onnx, written by `codeq export`."""
    weights = random_weights(np.random.default_rng(1), (2, 3))
    data = dumps(one_op_graph(Linear(), [s8(3)], weights=weights))
    path = folder / "model.onnx"
    # names of operators are looked for at their length: as long a name as that of the last one
    path.write_bytes(data.replace(b"DequantizeLinear", b"CosineOfDequantL") if cosine else data)
    return path


def test_an_onnx_layer_is_told_with_its_cost(tmp_path: Path) -> None:
    """What only says what integers stand for is no layer."""
    found = inspect(onnx_model(tmp_path))

    (layer,) = found.layers
    assert found.is_supported
    assert ("codeq, opset 17", "onnx") == (found.description, found.format)
    assert ("layer", "Gemm", 6, 6) == (layer.name, layer.kind, layer.macs, layer.bytes)
    assert (("s8[1,3]",), ("s8[1,2]",)) == (layer.inputs, layer.outputs)


def test_an_onnx_layer_without_a_rule_is_told_with_the_others(tmp_path: Path) -> None:
    """And what depends on it has no problem of its own."""
    found = inspect(onnx_model(tmp_path, cosine=True))

    assert not found.is_supported
    reasons = [layer.reason for layer in found.layers if layer.reason]
    assert {"codeq has no rule for it"} == set(reasons)


def test_a_float_onnx_model_has_one_problem(tmp_path: Path) -> None:
    """What to do is to be done once, and not for each layer."""
    from onnx import TensorProto, helper

    borders = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 4)) for name in "xy"]
    nodes = [helper.make_node("Relu", ["x"], ["t"]), helper.make_node("Neg", ["t"], ["y"])]
    graph = helper.make_graph(nodes, "g", borders[:1], borders[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    (tmp_path / "float.onnx").write_bytes(model.SerializeToString())

    found = inspect(tmp_path / "float.onnx")

    assert ["Relu", "Neg"] == [layer.kind for layer in found.layers]
    assert not any(layer.reason for layer in found.layers)
    (problem,) = found.problems
    assert "quantize_static" in problem


def test_long_names_differ_where_they_do() -> None:
    """Names of TensorFlow begin alike, and end in what tells the layers apart."""
    stem = "StatefulPartitionedCall/functional_1/conv2d_{}/BiasAdd"
    layers = [
        InspectedLayer(
            name=stem.format(n), kind="Conv", inputs=(), outputs=(), macs=0, bytes=0, reason=None
        )
        for n in range(3)
    ]

    shown = inspection_table(
        Inspection(file="a", format="onnx", description="", layers=tuple(layers), problems=())
    )

    assert 3 == len({row[1] for row in shown.rows})
