# SPDX-License-Identifier: Apache-2.0
"""Whole models: names, borders, orders of elements, and refusals that come all at once."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="writes the files that are read here")

from onnx import helper, load_from_string

from codeq_compile.errors import Damaged, ModelError, UnsupportedOp
from codeq_compile.frontends import onnx
from codeq_compile.frontends.onnx import schema
from codeq_compile.frontends.onnx.convert import MULTIPLIER_BITS
from tests.onnx_author import File
from tests.onnx_oracle import check, imported


def small() -> tuple[File, str]:
    file = File(1)
    x = file.quantized(file.input(1, 3, 6, 6))
    return file, file.quantized(file.add("Conv", x, file.weights(2, 3, 3, 3)))


def test_names_are_those_of_the_file() -> None:
    """Reports speak of layers by them, and the C takes inputs and outputs by them."""
    file, y = small()

    graph = imported(file.bytes(y)).graph

    assert (("x",), (y,)) == (graph.inputs, graph.outputs)
    (conv,) = (node.name for node in file.nodes if node.op_type == "Conv")
    assert [conv] == [node.name for node in graph.nodes]


def test_an_output_keeps_its_name_where_a_layer_has_it_too() -> None:
    """A node is often called like what it writes."""
    file, y = small()
    file.nodes[-3].name = y
    row = file.add("Flatten", y)

    graph = imported(file.bytes(row, y)).graph

    assert (row, y) == graph.outputs
    assert len(graph.tensors) == len(set(graph.tensors))


def test_every_reason_is_given_at_once_and_no_reason_twice() -> None:
    """Whoever mends one layer must not find the next problem only then."""
    file, y = small()
    file.quantized(file.add("Cos", y), (0.1, 0))
    last = file.quantized(file.add("Relu", file.add("LSTM", y)), (0.1, 0))
    wrong = file.add("Transpose", y, perm=[0, 0])

    with pytest.raises(UnsupportedOp) as caught:
        imported(file.unchecked_bytes(last, wrong))

    kinds = [reason.split()[2] for reason in caught.value.reasons]
    assert ["Cos", "LSTM", "Transpose"] == kinds
    assert "use convolutions over time" in caught.value.reasons[1]


def test_a_cycle_is_refused() -> None:
    """No order of execution computes it."""
    file, y = small()
    a = file.add("Add", y, "later")
    file.nodes.append(helper.make_node("Relu", [a], ["later"]))

    with pytest.raises(UnsupportedOp, match='reads "later", which no operator before it writes'):
        imported(file.unchecked_bytes("later"))


def test_a_tensor_that_is_written_twice_is_refused() -> None:
    """Which of the two would its readers read?"""
    file, y = small()
    file.nodes.append(helper.make_node("Relu", [y], [file.nodes[-2].output[0]]))

    with pytest.raises(UnsupportedOp, match="written twice"):
        imported(file.unchecked_bytes(y))


def test_a_missing_initializer_is_refused() -> None:
    """Its values may have been in a second file."""
    file, y = small()
    file.initializers = [each for each in file.initializers if len(each.dims) != 4]

    with pytest.raises(UnsupportedOp, match="which no operator before it writes"):
        imported(file.unchecked_bytes(y))


def test_an_output_that_nobody_computes_is_an_error() -> None:
    """The C would return whatever was in the buffer."""
    file, y = small()

    with pytest.raises(ModelError, match="not computed by any operator"):
        imported(file.unchecked_bytes(y, "elsewhere"))


def float_file(opset: int = 21) -> bytes:
    file = File(2, opset=opset)
    row = file.add("Relu", file.input(1, 4))
    return file.bytes(file.add("MatMul", row, file.constant(np.ones((4, 3), np.float32))))


def renamed(kind: str) -> bytes:
    model = load_from_string(float_file())
    model.graph.node[0].op_type = kind
    result: bytes = model.SerializeToString()
    return result


def test_a_model_without_quantizers_has_one_reason() -> None:
    """Not one for each of its layers."""
    with pytest.raises(UnsupportedOp, match=r"quantize_static and QuantFormat\.QDQ") as caught:
        imported(float_file())

    assert 1 == len(caught.value.reasons)


@pytest.mark.parametrize("opset", [12, 27])
def test_other_versions_of_the_operators_are_refused(opset: int) -> None:
    """Before 13 there are no scales per channel; after 26 nobody has measured anything."""
    file, y = small()
    file.opset = opset

    with pytest.raises(UnsupportedOp, match=f"version {opset} of the operators.*13 to 26"):
        imported(file.unchecked_bytes(y))


def test_the_version_does_not_hide_what_else_stands_in_the_way() -> None:
    """Whoever has converted it to another version must not learn then that it is a float model."""
    with pytest.raises(UnsupportedOp) as caught:
        imported(float_file(opset=11))

    version, floats = caught.value.reasons
    assert "version 11" in version
    assert "quantize_static" in floats


def test_a_model_of_qonnx_is_told_the_way_out() -> None:
    """Its quantizers are of another kind."""
    with pytest.raises(UnsupportedOp, match="QONNX: write it with QuantizeLinear"):
        imported(renamed("Quant"))


def test_operators_of_other_domains_are_refused() -> None:
    """They may mean anything."""
    file, y = small()
    file.nodes.append(helper.make_node("Relu", [y], ["z"], domain="my.own"))

    with pytest.raises(UnsupportedOp, match=r"it is of my\.own"):
        imported(file.unchecked_bytes("z"))


def test_a_batch_without_a_number_is_one(rng: np.random.Generator) -> None:
    """Other dimensions must be known."""
    file, y = small()
    dims = file.inputs[0].type.tensor_type.shape.dim
    dims[0].dim_param = "batch"
    check(file.unchecked_bytes(y), rng)

    dims[2].dim_param = "height"
    with pytest.raises(UnsupportedOp, match=r"float\[\?,3,\?,6\]: export the model with fixed"):
        imported(file.unchecked_bytes(y))


def test_inputs_are_refused_for_what_they_are() -> None:
    """The border is where most models differ."""
    for kind, problem in ((7, "let the model read float32"), (1, "no QuantizeLinear reads it")):
        file, y = small()
        file.inputs.append(helper.make_tensor_value_info("z", kind, (1, 4)))
        with pytest.raises(UnsupportedOp, match=f'input "z": .*{problem}'):
            imported(file.unchecked_bytes(y))


@pytest.mark.parametrize(
    ("shape", "kind", "memory"),
    [
        ((1, 3, 6, 5), "MaxPool", (6, 5, 3)),
        ((1, 3, 6, 5), "Flatten", (3, 6, 5)),
        ((1, 3, 6, 5), "NCHW", (3, 6, 5)),
        ((1, 3, 6, 5), "NHWC", (6, 5, 3)),
        ((1, 3, 6, 5), "Relu", (6, 5, 3)),
        ((1, 3, 6), "MaxPool", (1, 6, 3)),
        ((1, 3, 6), "Relu", (3, 6)),
        ((1, 7), "Relu", (7,)),
    ],
)
def test_images_stand_in_memory_with_their_channels_last(
    shape: tuple[int, ...], kind: str, memory: tuple[int, ...]
) -> None:
    """Inputs stand as their first readers have them, so that nothing is moved."""
    file = File(3)
    x = file.quantized(file.input(*shape), (0.1, 0))
    y = {
        "MaxPool": lambda: file.add("MaxPool", x, kernel_shape=[1] * (len(shape) - 2)),
        "NCHW": lambda: file.add("Transpose", x, perm=[0, 3, 1, 2]),
        "NHWC": lambda: file.add("Transpose", x, perm=[0, 2, 3, 1]),
    }.get(kind, lambda: file.add(kind, x))()

    graph = imported(file.bytes(file.quantized(y, (0.1, 0)))).graph

    assert memory == graph.tensors["x"].shape
    assert "transpose" not in [node.op.kind for node in graph.nodes]


def test_factors_of_an_exported_model_are_those_of_the_model() -> None:
    """What `codeq export` writes beside the graph."""
    file, y = small()
    (conv,) = (node.name for node in file.nodes if node.op_type == "Conv")
    model = load_from_string(file.bytes(y))
    entry = model.metadata_props.add(key=MULTIPLIER_BITS, value=f'{{"{conv}": 13}}')

    (node,) = imported(model.SerializeToString()).graph.nodes
    assert 13 == node.op.multiplier_bits

    for wrong in ("{", '{"a": 32}', "[]"):
        entry.value = wrong
        with pytest.raises(Damaged, match=MULTIPLIER_BITS):
            imported(model.SerializeToString())


def test_an_examination_knows_costs_and_shapes() -> None:
    """What `codeq inspect` prints."""
    file, y = small()
    found = onnx.examine(schema.read(file.bytes(y)))

    shown = [each for each in found.operators if not each.is_silent]
    (conv,) = shown
    assert (("s8[1,3,6,6]",), ("s8[1,2,4,4]",)) == (conv.inputs, conv.outputs)
    assert 2 * 3 * 9 == conv.bytes
