# SPDX-License-Identifier: Apache-2.0
"""What an `.onnx` file says: every type in every form of storage, and what is refused at once."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="writes the files that are read here")

from onnx import TensorProto, helper, numpy_helper

from codeq_compile.errors import Damaged
from codeq_compile.frontends.onnx import schema
from tests.onnx_author import File


def model(*tensors: TensorProto, opset: int = 21, inputs: tuple[str, ...] = ("x",)) -> bytes:
    """A file of one operator with these initializers."""
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 4)) for name in inputs]
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 4))
    node = helper.make_node("Relu", ["x"], ["y"], name="act")
    graph = helper.make_graph([node], "g", infos, [y], initializer=list(tensors))
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="me", ir_version=10
    )
    result: bytes = made.SerializeToString()
    return result


TYPES = [
    (TensorProto.FLOAT, np.float32),
    (TensorProto.DOUBLE, np.float64),
    (TensorProto.FLOAT16, np.float16),
    (TensorProto.INT8, np.int8),
    (TensorProto.UINT8, np.uint8),
    (TensorProto.INT16, np.int16),
    (TensorProto.UINT16, np.uint16),
    (TensorProto.INT32, np.int32),
    (TensorProto.INT64, np.int64),
    (TensorProto.UINT32, np.uint32),
    (TensorProto.UINT64, np.uint64),
    (TensorProto.BOOL, np.bool_),
]


@pytest.mark.parametrize(("kind", "dtype"), TYPES)
def test_every_type_is_read_in_both_forms(kind: int, dtype: type) -> None:
    """Weights come as bytes, small constants as lists of another type."""
    expected = np.array([[0, 1, 2], [3, 100, 1]]).astype(dtype)
    signs = np.issubdtype(dtype, np.signedinteger) or np.issubdtype(dtype, np.floating)
    if signs:
        expected = -expected
    listed = helper.make_tensor("a", kind, expected.shape, expected.reshape(-1).tolist())
    raw = helper.make_tensor("b", kind, expected.shape, expected.tobytes(), raw=True)

    found = schema.read(model(listed, raw)).initializers

    for tensor in (found["a"], found["b"]):
        np.testing.assert_array_equal(expected, tensor.values())
        assert expected.dtype == tensor.values().dtype


@pytest.mark.parametrize(
    ("kind", "values"),
    [(TensorProto.INT4, [-8, 7, -1, 0, 3]), (TensorProto.UINT4, [0, 15, 8, 7, 1])],
)
def test_elements_of_four_bits_stand_two_in_a_byte(kind: int, values: list[int]) -> None:
    """Of an odd number the last half byte is nothing."""
    listed = helper.make_tensor("a", kind, (5,), values)
    octets = bytes(
        (values[i] & 15) | ((values[i + 1] & 15) << 4 if i + 1 < 5 else 0) for i in (0, 2, 4)
    )
    raw = helper.make_tensor("b", kind, (5,), octets, raw=True)

    found = schema.read(model(listed, raw)).initializers

    assert values == found["a"].values().tolist() == found["b"].values().tolist()
    assert found["a"].is_narrow


def test_operators_and_borders_are_read() -> None:
    """Old files name their initializers among the inputs: they are no inputs."""
    weight = numpy_helper.from_array(np.zeros(3, np.float32), "w")

    found = schema.read(model(weight, inputs=("x", "w")))

    (operator,) = found.operators
    assert ("x",) == tuple(border.name for border in found.inputs)
    assert (1, 4) == found.inputs[0].shape
    assert ("Relu", ("x",), ("y",)) == (operator.kind, operator.inputs, operator.outputs)
    assert 'operator 0 Relu "act"' == operator.label
    assert ("me", 21) == (found.description, found.opset)


def test_attributes_have_their_types() -> None:
    """Graphs of If and Loop are not looked into: their operators are refused anyway."""
    file = File()
    body = helper.make_graph([], "body", [], [])
    tensor = numpy_helper.from_array(np.arange(3), "t")
    file.add("Odd", "x", i=-1, f=0.5, s="NOTSET", ints=[1, 2], floats=[0.5], t=tensor, g=body)
    graph = helper.make_graph(file.nodes, "g", [], [])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])

    (operator,) = schema.read(data.SerializeToString()).operators

    given = dict(operator.attributes)
    t = given.pop("t")
    assert isinstance(t, schema.Tensor)
    assert [0, 1, 2] == t.values().tolist()
    assert "attribute of type 5" == given.pop("g")
    assert {"i": -1, "f": 0.5, "s": "NOTSET", "ints": (1, 2), "floats": (0.5,)} == given


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"dims": [-1]}, "impossible shape"),
        ({"dims": [1 << 40]}, "impossible shape"),
        ({"dims": [1] * 17}, "impossible shape"),
        ({"data_type": 99}, "unknown type 99"),
    ],
)
def test_impossible_tensors_are_damaged(change: dict[str, object], problem: str) -> None:
    """A shape is an amount of memory that somebody asks for."""
    tensor = TensorProto(**{"name": "a", "dims": [1], "data_type": 1, **change})

    with pytest.raises(Damaged, match=problem):
        schema.read(model(tensor))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"raw_data": bytes(12)}, "has 3 stored values, its shape .2. needs 2"),
        ({"float_data": [1.0]}, "has 1 stored values"),
        ({"data_type": TensorProto.FLOAT8E5M2}, "type FLOAT8E5M2"),
        ({"data_location": 1}, "save_as_external_data=False"),
    ],
)
def test_values_that_are_not_there_are_damaged(change: dict[str, object], problem: str) -> None:
    """Told when somebody reads them: unused tensors of odd types do no harm."""
    tensor = TensorProto(**{"name": "a", "dims": [2], "data_type": 1, **change})
    found = schema.read(model(tensor)).initializers["a"]

    with pytest.raises(Damaged, match=problem):
        found.values()


def test_what_is_no_onnx_is_said_so() -> None:
    """Somebody will give the wrong file."""
    for data in (b"", b"\x00\x00\x00\x00TFL3", b"{}"):
        with pytest.raises(Damaged):
            schema.read(data)
