# SPDX-License-Identifier: Apache-2.0
"""Whole models: names, borders, and refusals that come all at once."""

import pytest

pytest.importorskip("tflite_micro", reason="its schema writes the files that are read here")

from codeq_compile.errors import ModelError, UnsupportedOp
from codeq_compile.frontends.tflite import schema
from codeq_compile.frontends.tflite.convert import MAX_OPERATORS, examine
from tests import imports
from tests.tflite_author import File


def test_names_are_those_of_the_file_and_unique() -> None:
    """Reports speak of layers by these; fused layers have several, and some files have none."""
    graph = imports.imported(*imports.relu_chain("in", "a;b;c", "a", "", ""))

    assert ["a", "a_2", "tensor_3", "tensor_4"] == [node.name for node in graph.nodes]


def test_every_reason_is_given_at_once_and_no_reason_twice() -> None:
    """Whoever mends one layer must not find the next problem only then."""
    file, inputs, outputs = imports.relu_chain("x", "a", "b", "y")
    file.operator("COS", [inputs[0]], [file.tensor((1, 4), scale=0.1, name="c")])
    file.operator("RELU", [outputs[0]], [file.tensor((1, 5), scale=0.1, name="d")])
    bad = file.tensor((1, 4), scale=0.1, name="e")
    file.operator("SIN", [outputs[0]], [bad])
    last = file.tensor((1, 4), scale=0.1, name="f")
    file.operator("RELU", [bad], [last])

    with pytest.raises(UnsupportedOp) as caught:
        imports.imported(file, inputs, [last])

    kinds = [reason.partition(":")[0] for reason in caught.value.reasons]
    assert ['operator 3 COS "c"', 'operator 4 RELU "d"', 'operator 5 SIN "e"'] == kinds


def test_a_cycle_is_refused() -> None:
    """No order of execution computes it."""
    file = File()
    x, a, b = (file.tensor((1, 4), scale=0.1, name=name) for name in "xab")
    file.operator("ADD", [x, b], [a], "AddOptions")
    file.operator("RELU", [a], [b])

    with pytest.raises(UnsupportedOp, match="which no supported operator writes"):
        imports.imported(file, [x], [b])


def test_an_output_that_nobody_computes_is_an_error() -> None:
    """The C would return whatever was in the buffer."""
    file, inputs, _ = imports.relu_chain("x", "y")

    with pytest.raises(ModelError, match="not computed by any operator"):
        imports.imported(file, inputs, [file.tensor((1, 4), scale=0.1)])


@pytest.mark.parametrize(
    ("inputs", "outputs", "reasons"),
    [
        (["x"], ["y", "x"], ['output "x": its integers are an input of the model already']),
        (["x"], ["y", "y"], ['output "y": its integers are another output already']),
        (["x"], ["f", "y"], ['output "y": its integers are another output already']),
        (["x", "x"], ["y"], ['input "x": it is an input of the model twice']),
        (["x"], ["s", "u"], ['output "s": it is the same', 'output "u": it is not computed']),
    ],
    ids=str,
)
def test_borders_that_no_library_can_have_are_all_told(
    inputs: list[str], outputs: list[str], reasons: list[str]
) -> None:
    """Each input and each output of the C is a buffer of its own that is computed."""
    file, (x,), (y,) = imports.relu_chain("x", "y")
    shape = file.tensor((2,), "INT32", name="s")
    file.operator("SHAPE", [x], [shape], "ShapeOptions", outType=2)
    real = file.tensor((1, 4), "FLOAT32", name="f")
    file.operator("DEQUANTIZE", [y], [real], "DequantizeOptions")
    numbers = {"x": x, "y": y, "s": shape, "f": real, "u": file.tensor((1, 4), scale=0.1, name="u")}

    with pytest.raises(UnsupportedOp) as caught:
        imports.imported(file, [numbers[i] for i in inputs], [numbers[o] for o in outputs])

    assert len(reasons) == len(caught.value.reasons)
    for expected, actual in zip(reasons, caught.value.reasons, strict=True):
        assert actual.startswith(expected)


def test_what_is_only_folded_says_what_its_operands_must_be() -> None:
    """ "No rule" would be wrong: the same operator on shapes is supported."""
    file = File()
    x, y = file.tensor((1, 4), scale=0.1), file.tensor((2, 1, 4), scale=0.1)
    file.operator("PACK", [x, x], [y], "PackOptions", valuesCount=2)

    with pytest.raises(UnsupportedOp, match="must follow from shapes"):
        imports.imported(file, [x], [y])


def test_a_float_model_has_one_reason() -> None:
    """A line for each of its layers would say the same."""
    file = File()
    x, w, y = (file.tensor((1, 4), "FLOAT32") for _ in range(3))
    file.operator("MUL", [x, w], [y], "MulOptions")

    with pytest.raises(UnsupportedOp, match="quantize the whole model") as caught:
        imports.imported(file, [x, w], [y])

    assert 1 == len(caught.value.reasons)


def test_an_operator_without_a_rule_has_a_way_out() -> None:
    """ "Not supported" alone leaves its reader where he was."""
    file, inputs, outputs = imports.relu_chain("x", "y")
    last = file.tensor((1, 4), scale=0.1)
    file.operator("DIV", [outputs[0], outputs[0]], [last])

    with pytest.raises(UnsupportedOp, match="no rule for it: multiply by the reciprocal"):
        imports.imported(file, inputs, [last])


def test_examining_tells_what_became_of_each_operator() -> None:
    """`codeq inspect` shows it, for those that can be converted as for the others."""
    file, inputs, outputs = imports.relu_chain("x", "y")
    file.operator("SIN", outputs, [file.tensor((1, 4), scale=0.1)])

    relu, sin = examine(schema.read(file.bytes(inputs, outputs))).operators

    assert (1, None) == (len(relu.nodes), relu.reason)
    assert (0, "codeq has no rule for it") == (len(sin.nodes), sin.reason)


def test_more_operators_than_any_model_has_are_refused() -> None:
    """A file of a few bytes each would keep the import busy for minutes."""
    file, inputs, outputs = imports.relu_chain("x", "y")
    file.graph.operators *= MAX_OPERATORS + 1

    with pytest.raises(ModelError, match="operators, more than"):
        imports.imported(file, inputs, outputs)
