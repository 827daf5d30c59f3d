# SPDX-License-Identifier: Apache-2.0
"""What handlers have in common: names, types, limits, and refusals that come all at once."""

import numpy as np
import pytest

pytest.importorskip("tflite_micro", reason="its schema writes the files that are read here")

from codeq_compile.errors import UnsupportedOp
from codeq_compile.frontends.tflite import HANDLERS, schema
from tests import imports
from tests.tflite_author import File


def test_a_batch_of_one_is_no_axis() -> None:
    """The C of a model handles one sample at a time."""
    graph = imports.imported(*imports.relu_chain("x", "y"))

    assert (4,) == graph.tensors["x"].shape


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


def test_a_tensor_that_is_written_twice_is_refused() -> None:
    """The second value would be taken for the first."""
    file, inputs, outputs = imports.relu_chain("x", "y")
    file.operator("RELU", inputs, outputs)

    with pytest.raises(UnsupportedOp, match="written twice"):
        imports.imported(file, inputs, outputs)


def test_another_batch_is_refused() -> None:
    """The kernels take one image."""
    file = File()
    x, y = (file.tensor((2, 4, 4, 1), scale=0.1) for _ in range(2))
    fields = {"filterHeight": 1, "filterWidth": 1, "strideH": 1, "strideW": 1}
    file.operator("MAX_POOL_2D", [x], [y], "Pool2DOptions", **fields)

    with pytest.raises(UnsupportedOp, match="batch of 1"):
        imports.imported(file, [x], [y])


def test_every_handler_says_what_is_special() -> None:
    """The page about imports is made from the names of the operators and these lines."""
    assert HANDLERS.keys() <= set(schema.BUILTINS)
    assert all((handler.__doc__ or "").endswith(".") for handler in HANDLERS.values())


def test_limits_of_a_fused_function_are_float32_quotients(rng: np.random.Generator) -> None:
    """6 / scale can round to another integer in double. [N3.2]"""
    file = File()
    a, b = (file.tensor((1, 8), scale=0.1, zero_point=4) for _ in range(2))
    y = file.tensor((1, 8), scale=0.047, zero_point=-128)
    file.operator("ADD", [a, b], [y], "AddOptions", fusedActivationFunction=3)

    imports.check(rng, file, [a, b], [y])
