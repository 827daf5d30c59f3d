# SPDX-License-Identifier: Apache-2.0
"""What handlers have in common: names, types, limits, and refusals that come all at once."""

import itertools

import numpy as np
import pytest

pytest.importorskip("tflite_micro", reason="its schema writes the files that are read here")

from codeq_compile.errors import ModelError, UnsupportedOp
from codeq_compile.frontends.tflite import HANDLERS
from tests import imports
from tests.tflite_author import File


def relu_chain(*names: str) -> tuple[File, list[int], list[int]]:
    file = File()
    tensors = [file.tensor((1, 4), scale=0.1, zero_point=-7, name=name) for name in names]
    for first, second in itertools.pairwise(tensors):
        file.operator("RELU", [first], [second])
    return file, tensors[:1], tensors[-1:]


def test_names_are_those_of_the_file_and_unique() -> None:
    """Reports speak of layers by these; fused layers have several, and some files have none."""
    graph = imports.imported(*relu_chain("in", "a;b;c", "a", "", ""))

    assert ["a", "a_2", "tensor_3", "tensor_4"] == [node.name for node in graph.nodes]


def test_a_batch_of_one_is_no_axis() -> None:
    """The C of a model handles one sample at a time."""
    graph = imports.imported(*relu_chain("x", "y"))

    assert (4,) == graph.tensors["x"].shape


def test_every_reason_is_given_at_once_and_no_reason_twice() -> None:
    """Whoever mends one layer must not find the next problem only then."""
    file, inputs, outputs = relu_chain("x", "a", "b", "y")
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


@pytest.mark.parametrize(
    ("scale", "zero_point", "message"),
    [
        (0.0, 0, "must be positive"),
        (-1.0, 0, "must be positive"),
        (float("nan"), 0, "must be positive"),
        (float("inf"), 0, "must be positive"),
        (0.1, 200, "outside"),
        ([0.1, 0.2], 0, "2 scales"),
        (None, 0, "0 scales"),
    ],
)
def test_a_grid_that_is_none_is_refused(scale: object, zero_point: int, message: str) -> None:
    """A zero or NaN as scale would give arbitrary multipliers."""
    file = File()
    x = file.tensor((1, 4), scale=0.1)
    y = file.tensor((1, 4), scale=scale, zero_point=zero_point)
    file.operator("RELU", [x], [y])

    with pytest.raises(UnsupportedOp, match=message):
        imports.imported(file, [x], [y])


def test_a_cycle_is_refused() -> None:
    """No order of execution computes it."""
    file = File()
    x, a, b = (file.tensor((1, 4), scale=0.1, name=name) for name in "xab")
    file.operator("ADD", [x, b], [a], "AddOptions")
    file.operator("RELU", [a], [b])

    with pytest.raises(UnsupportedOp, match="which no supported operator writes"):
        imports.imported(file, [x], [b])


def test_a_tensor_that_is_written_twice_is_refused() -> None:
    """The second value would be taken for the first."""
    file, inputs, outputs = relu_chain("x", "y")
    file.operator("RELU", inputs, outputs)

    with pytest.raises(UnsupportedOp, match="written twice"):
        imports.imported(file, inputs, outputs)


def test_an_output_that_nobody_computes_is_an_error() -> None:
    """The C would return whatever was in the buffer."""
    file, inputs, _ = relu_chain("x", "y")

    with pytest.raises(ModelError, match="not computed by any operator"):
        imports.imported(file, inputs, [file.tensor((1, 4), scale=0.1)])


def test_another_batch_is_refused() -> None:
    """The kernels take one image."""
    file = File()
    x, y = (file.tensor((2, 4, 4, 1), scale=0.1) for _ in range(2))
    fields = {"filterHeight": 1, "filterWidth": 1, "strideH": 1, "strideW": 1}
    file.operator("MAX_POOL_2D", [x], [y], "Pool2DOptions", **fields)

    with pytest.raises(UnsupportedOp, match="batch of 1"):
        imports.imported(file, [x], [y])


def test_a_float_model_has_one_reason() -> None:
    """A line for each of its layers would say the same."""
    file = File()
    x, w, y = (file.tensor((1, 4), "FLOAT32") for _ in range(3))
    file.operator("MUL", [x, w], [y], "MulOptions")

    with pytest.raises(UnsupportedOp, match="quantize the whole model") as caught:
        imports.imported(file, [x, w], [y])

    assert 1 == len(caught.value.reasons)


def test_every_handler_says_what_is_special() -> None:
    """The page about imports is made from these names."""
    assert {"CONV_2D", "ADD", "SOFTMAX", "RESHAPE"} <= HANDLERS.keys()
    assert all(kind == kind.upper() for kind in HANDLERS)


def test_limits_of_a_fused_function_are_float32_quotients(rng: np.random.Generator) -> None:
    """6 / scale can round to another integer in double. [N3.2]"""
    file = File()
    a, b = (file.tensor((1, 8), scale=0.1, zero_point=4) for _ in range(2))
    y = file.tensor((1, 8), scale=0.047, zero_point=-128)
    file.operator("ADD", [a, b], [y], "AddOptions", fusedActivationFunction=3)

    imports.check(rng, file, [a, b], [y])
