# SPDX-License-Identifier: Apache-2.0
"""Constants that follow from constants: computed when the model is read."""

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("onnx", reason="writes the files that are read here")

from codeq_compile.errors import UnsupportedOp
from codeq_compile.frontends.onnx.values import Constant, Quantized
from tests.onnx_author import File
from tests.onnx_oracle import imported


def folded(build: Callable[[File], str]) -> Constant | Quantized:
    """What is known of a tensor beside a model that has nothing to do with it."""
    file = File(1)
    x = file.quantized(file.input(1, 4))
    y = file.quantized(file.add("Relu", x))
    name = build(file)
    value = imported(file.unchecked_bytes(y)).values[name]
    assert isinstance(value, Constant | Quantized)
    return value


CASES: dict[str, tuple[Callable[[File], str], object]] = {
    "constant": (lambda f: f.add("Constant", value_ints=[1, 2]), [1, 2]),
    "float": (lambda f: f.add("Constant", value_float=0.5), 0.5),
    "shape": (lambda f: f.add("Shape", "x"), [1, 4]),
    "shape-part": (lambda f: f.add("Shape", "x", start=1), [4]),
    "gather": (lambda f: f.add("Gather", f.integers(5, 6, 7), f.integers(2, 0)), [7, 5]),
    "concat": (lambda f: f.add("Concat", f.integers(1), f.integers(2, 3), axis=0), [1, 2, 3]),
    "slice": (
        lambda f: f.add("Slice", f.integers(1, 2, 3, 4), f.integers(3), f.integers(0),
                        f.integers(0), f.integers(-2)),
        [4, 2],
    ),
    "cast": (lambda f: f.add("Cast", f.constant(np.float32([1.7])), to=7), [1]),
    "add": (lambda f: f.add("Add", f.integers(1), f.integers(2)), [3]),
    "sub": (lambda f: f.add("Sub", f.integers(1), f.integers(2)), [-1]),
    "mul": (lambda f: f.add("Mul", f.integers(3), f.integers(2)), [6]),
    "div": (lambda f: f.add("Div", f.integers(-7), f.integers(2)), [-3]),
    "sqrt": (lambda f: f.add("Sqrt", f.constant(np.float32(4))), 2),
    "identity": (lambda f: f.add("Identity", f.integers(9)), [9]),
    "unsqueeze": (lambda f: f.add("Unsqueeze", f.integers(1, 2), f.integers(0)), [[1, 2]]),
    "transpose": (lambda f: f.add("Transpose", f.constant(np.eye(2, 3))), np.eye(3, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_constant_is_computed(name: str) -> None:
    """Exporters compute shapes in the graph itself."""
    build, expected = CASES[name]
    value = folded(build)

    assert isinstance(value, Constant)
    np.testing.assert_array_equal(expected, value.array)


def test_the_axis_of_scales_moves_with_the_axes() -> None:
    """Weights keep their integers and scales."""

    def build(file: File) -> str:
        w = file.add("Transpose", file.weights(3, 4, axis=0), perm=[1, 0])
        return file.add("Reshape", w, file.integers(2, 2, 3))

    value = folded(build)

    assert isinstance(value, Quantized)
    assert ((2, 2, 3), 2) == (value.shape, value.axis)


@pytest.mark.parametrize(
    ("build", "problem"),
    [
        (lambda f: f.add("Reshape", f.weights(3, 4, axis=0), f.integers(2, 6)), "tears apart"),
        (lambda f: f.add("Gather", f.integers(1), f.integers(5)), "cannot be computed"),
        (lambda f: f.add("Concat", f.integers(1), f.constant([[1]]), axis=0), "cannot be computed"),
        (lambda f: f.add("Cast", f.integers(1), to=16), "casts a constant to type 16"),
        (lambda f: f.add("Mul", *[f.constant(np.zeros(5000))] * 2), "simplify the model"),
        (lambda f: f.add("Reshape", f.integers(1), f.integers(0, 0)), "copies axes"),
    ],
)
def test_what_cannot_be_computed_is_refused(build: Callable[[File], str], problem: str) -> None:
    """With the reason that numpy gives, and not with its traceback."""
    with pytest.raises(UnsupportedOp, match=problem):
        folded(build)
