# SPDX-License-Identifier: Apache-2.0
"""What a file says about its tensors and operators, and the contradictions that end in an error."""

import numpy as np
import pytest

pytest.importorskip("tflite_micro", reason="its schema writes the files that are read here")

from codeq_compile.errors import ModelError
from codeq_compile.frontends.tflite import schema
from codeq_compile.frontends.tflite.schema import ElementType
from tests.tflite_author import File


def test_a_tensor_is_what_was_written() -> None:
    """Everything that follows is computed from these."""
    file = File()
    x = file.tensor((1, 4), scale=0.5, zero_point=-3, name="x")
    w = file.constant(np.arange(8, dtype=np.int8).reshape(2, 4), scale=[0.25, 0.5], axis=0)
    y = file.tensor((1, 2), scale=2.0, zero_point=7, name="y")
    file.operator("FULLY_CONNECTED", [x, w, -1], [y], "FullyConnectedOptions")

    model = schema.read(file.bytes([x], [y]))

    (operator,) = model.operators
    first, second, missing = operator.inputs
    assert first is not None
    assert second is not None
    assert missing is None
    assert ("x", (1, 4), ElementType.INT8, [0.5], [-3], None) == (
        first.name,
        first.shape,
        first.kind,
        first.scale.tolist(),
        first.zero_point.tolist(),
        first.data,
    )
    assert ([0.25, 0.5], bytes(range(8))) == (second.scale.tolist(), bytes(second.data or b""))
    assert ("FULLY_CONNECTED", "y") == (operator.kind, operator.outputs[0].name)
    assert (("x",), ("y",)) == tuple(
        tuple(tensor.name for tensor in tensors) for tensors in (model.inputs, model.outputs)
    )


def test_the_names_of_the_operators_are_those_of_the_schema() -> None:
    """One name too few would shift all that follow."""
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as generated

    known = {
        number: name
        for name, number in vars(generated.BuiltinOperator).items()
        if isinstance(number, int) and number < len(schema.BUILTINS)
    }
    known[127] = "PLACEHOLDER"

    assert [known[number] for number in range(len(schema.BUILTINS))] == list(schema.BUILTINS)
    assert {
        name: number
        for name, number in vars(generated.TensorType).items()
        if isinstance(number, int) and number < 20
    } == {kind.name: kind.value for kind in ElementType}


def broken(change: str) -> bytes:
    """A file with one contradiction."""
    file = File()
    x, y = (file.tensor((1, 4), scale=0.5, name=name) for name in "xy")
    file.operator("RELU", [x], [y])
    inputs, outputs = [x], [y]
    match change:
        case "version":
            file.model.version = 2
        case "no subgraph":
            file.model.subgraphs = []
        case "two subgraphs":
            file.model.subgraphs *= 2
        case "shape":
            file.graph.tensors[x].shape = [1, -4]
        case "huge":
            file.graph.tensors[x].shape = [1 << 20, 1 << 20]
        case "type":
            file.graph.tensors[x].type = 99
        case "buffer":
            file.graph.tensors[x].buffer = 9
        case "kind":
            file.graph.operators[0].opcodeIndex = 5
        case "operand":
            file.graph.operators[0].inputs = [17]
        case "input":
            inputs = [-3]
        case "output":
            outputs = [8]
        case "stored input":
            inputs = [file.constant(np.ones((1, 4), np.int8), scale=0.5, name="c")]
        case "stored output":
            constant = file.constant(np.ones((1, 4), np.int8), scale=0.5, name="c")
            file.operator("RELU", [x], [constant])
    return file.bytes(inputs, outputs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("version", "version 2"),
        ("no subgraph", "0 subgraphs"),
        ("two subgraphs", "2 subgraphs"),
        ("shape", r"impossible shape \[1, -4\]"),
        ("huge", "impossible shape"),
        ("type", "unknown type 99"),
        ("buffer", "buffer 9 of 1"),
        ("kind", "kind 5 of 1"),
        ("operand", r"tensor 17 of 2 is read by operator 0 \(RELU\)"),
        ("input", "tensor -3 of 2 is an input"),
        ("output", "tensor 8 of 2 is an output"),
        ("stored input", 'tensor "c" has stored values'),
        ("stored output", 'tensor "c" has stored values'),
    ],
)
def test_a_contradiction_is_named(change: str, message: str) -> None:
    """Whoever writes such files must find the place."""
    with pytest.raises(ModelError, match=message):
        schema.read(broken(change))


def test_a_name_cannot_hold_control_characters() -> None:
    """Names are printed on terminals and into comments of C."""
    file = File()
    x, y = file.tensor((1, 4), scale=0.5, name="a\nb\x1b[31m"), file.tensor((1, 4), scale=0.5)
    file.operator("RELU", [x], [y])

    assert "a?b?[31m" == schema.read(file.bytes([x], [y])).inputs[0].name
