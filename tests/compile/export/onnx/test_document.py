# SPDX-License-Identifier: Apache-2.0
"""An ONNX model as it is written: read back by the package onnx."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="reads what is written here")


def test_a_document_is_a_model() -> None:
    """Every kind of attribute, type and border."""
    from codeq_compile.export.onnx.document import BATCH, IR_VERSION, OPSET, Document

    document = Document()
    names = [
        document.constant("c", np.array([[1, -2]]), dtype)
        for dtype in ("float32", "int8", "int32", "int64")
    ]
    y = document.add(
        "Odd", [*names, ""], "layer", i=-1, f=0.5, s="nearest", ints=(1, 2), output="y"
    )

    data = document.bytes("net", [("x", (3,), "float32")], [(y, (), "int64")], {"key": "value"})
    model = onnx.load_from_string(data)

    assert ["c", "c_2", "c_3", "c_4"] == names == [each.name for each in model.graph.initializer]
    for tensor in model.graph.initializer:
        np.testing.assert_array_equal([[1, -2]], onnx.numpy_helper.to_array(tensor))
    (node,) = model.graph.node
    assert (["c", "c_2", "c_3", "c_4", ""], ["y"]) == (list(node.input), list(node.output))
    given = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    assert {"i": -1, "f": 0.5, "s": b"nearest", "ints": [1, 2]} == given
    assert (IR_VERSION, OPSET) == (model.ir_version, model.opset_import[0].version)
    x = model.graph.input[0].type.tensor_type
    assert (BATCH, 3) == (x.shape.dim[0].dim_param, x.shape.dim[1].dim_value)
    assert {"key": "value"} == {each.key: each.value for each in model.metadata_props}
