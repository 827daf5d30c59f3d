# SPDX-License-Identifier: Apache-2.0
"""Operators that move and select values, against onnxruntime."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="the interpreter that is compared with")

from codeq_compile.errors import UnsupportedOp
from codeq_compile.frontends.onnx.convert import Imported
from tests.onnx_author import File
from tests.onnx_oracle import check, imported

Build = Callable[[File, str], str]


def moved(build: Build, *shape: int, **options: Any) -> bytes:
    """An image through an operator that keeps its grid: every integer is known."""
    file = File(1, dtype="uint8", **options)
    grid = (0.02, 100)
    x = file.quantized(file.input(*(shape or (1, 4, 8, 10))), grid)
    return file.bytes(file.quantized(build(file, x), grid))


def exact(data: bytes, rng: np.random.Generator) -> Imported:
    """Nothing is rounded where nothing is computed."""
    return check(data, rng, largest=0.0, mean=0.0)


def kinds(model: Imported) -> list[str]:
    return [node.op.kind for node in model.graph.nodes if node.op.kind != "reshape"]


FORMS: dict[str, Build] = {
    "reshape": lambda f, x: f.add("Reshape", x, f.integers(1, 2, -1, 10)),
    "reshape-copy": lambda f, x: f.add("Reshape", x, f.integers(0, 0, -1)),
    "flatten": lambda f, x: f.add("Flatten", x),
    "flatten-2": lambda f, x: f.add("Flatten", x, axis=2),
    "nhwc": lambda f, x: f.add("Transpose", x, perm=[0, 2, 3, 1]),
    "nwch": lambda f, x: f.add("Transpose", x, perm=[0, 3, 1, 2]),
    "reversed": lambda f, x: f.add("Transpose", x),
    "unsqueeze": lambda f, x: f.add("Unsqueeze", x, f.integers(-1, 1)),
    "squeeze": lambda f, x: f.add("Squeeze", x, f.integers(0)),
    "shuffle": lambda f, x: f.add(
        "Reshape",
        f.add("Transpose", f.add("Reshape", x, f.integers(1, 2, 2, 8, 10)), perm=[0, 2, 1, 3, 4]),
        f.integers(1, 4, 8, 10),
    ),
    "dropout": lambda f, x: f.add("Dropout", f.add("Identity", x)),
    "slice": lambda f, x: f.add("Slice", x, f.integers(1, 2), f.integers(3, 7), f.integers(1, 3)),
    "slice-back": lambda f, x: f.add(
        "Slice", x, f.integers(-1, 7), f.integers(-100, 1), f.integers(2, 3), f.integers(-3, -2)
    ),
    "gather": lambda f, x: f.add("Gather", x, f.constant(np.array(-1)), axis=1),
    "gather-one": lambda f, x: f.add("Gather", x, f.integers(3), axis=2),
    "pad": lambda f, x: f.add(
        "Pad", x, f.integers(0, 0, 1, 2, 0, 0, 3, 0), f.constant(np.float32(0.5))
    ),
    "pad-axes": lambda f, x: f.add("Pad", x, f.integers(1, 2, 3, 0), "", f.integers(1, -1)),
    "concat": lambda f, x: f.add("Concat", x, f.add("Relu", x), x, axis=1),
    "concat-rows": lambda f, x: f.add("Concat", x, x, axis=-2),
    "resize": lambda f, x: f.add(
        "Resize", x, "", f.constant(np.float32([1, 1, 2, 3])), mode="nearest",
        coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    ),
    "resize-sizes": lambda f, x: f.add("Resize", x, "", "", f.integers(1, 4, 16, 30)),
    "shape": lambda f, x: f.add(
        "Reshape",
        x,
        f.add("Concat", f.add("Gather", f.add("Shape", x), f.integers(0)), f.integers(-1), axis=0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_values_are_where_onnx_has_them(form: str, rng: np.random.Generator) -> None:
    """A pixel in the wrong place is no rounding error."""
    exact(moved(FORMS[form]), rng)


@pytest.mark.parametrize(
    ("form", "shape"),
    [
        *((form, (1, 1, 8, 10)) for form in ("flatten", "pad", "concat", "slice-back", "nhwc")),
        *((form, (1, 4, 1, 10)) for form in ("flatten", "pad", "concat", "nhwc")),
    ],
)
def test_axes_of_one_are_nowhere(
    form: str, shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    """Until something is put beside them."""
    exact(moved(FORMS[form], *shape), rng)


def test_nothing_is_copied_without_need() -> None:
    """A model of TensorFlow is full of transposes around its convolutions."""
    file = File(2)
    x = file.quantized(file.input(1, 8, 10, 3))
    y = file.add("Conv", file.add("Transpose", x, perm=[0, 3, 1, 2]), file.weights(4, 3, 3, 3))
    y = file.add("Transpose", file.quantized(y), perm=[0, 2, 3, 1])

    model = imported(file.bytes(y))

    assert ["conv2d"] == kinds(model)
    assert (8, 10, 3) == model.graph.tensors["x"].shape


@pytest.mark.parametrize("kind", ["Concat", "Pad"])
def test_channels_that_are_put_beside_one_stand_last(kind: str) -> None:
    """Else the image would be moved before the next convolution."""
    file = File(2)
    x = file.quantized(file.input(1, 1, 8, 10), (0.1, 0))
    borders = file.integers(0, 1, 0, 0, 0, 1, 0, 0)
    y = file.add(kind, x, borders) if kind == "Pad" else file.add(kind, x, x, x, axis=1)
    y = file.add("Conv", file.quantized(y, (0.1, 0)), file.weights(4, 3, 3, 3))

    model = imported(file.bytes(file.quantized(y)))

    assert "transpose" not in kinds(model)


def test_a_split_has_as_many_slices_as_outputs(rng: np.random.Generator) -> None:
    """By sizes, or in equal parts of which the last may be smaller."""
    for arguments, numbers in (([1, 3], {"axis": 1}), ([], {"axis": 2, "num_outputs": 3})):
        file = File(3)
        x = file.quantized(file.input(1, 4, 8, 10), (0.02, 5))
        sizes = [file.integers(*arguments)] if arguments else []
        parts = file.add("Split", x, *sizes, outputs=len(arguments) or 3, **numbers)

        exact(file.bytes(*(file.quantized(part, (0.02, 5)) for part in parts)), rng)


@pytest.mark.parametrize("axes", [(2, 3), (1,), (2,), (-1, 1), (1, 2, 3)])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_means_over_any_axes(
    axes: tuple[int, ...], keepdims: int, rng: np.random.Generator
) -> None:
    """Those that do not come first in memory are moved there."""
    file = File(4)
    x = file.quantized(file.input(1, 4, 6, 5))
    y = file.add("ReduceMean", x, file.integers(*axes), keepdims=keepdims)

    # a mean has few bits behind the point, where [N2.6] rounds twice
    check(file.bytes(file.quantized(y)), rng, mean=0.5)


def test_axes_were_attributes_once(rng: np.random.Generator) -> None:
    """Until version 17 of the operators."""
    file = File(4, opset=13)
    x = file.quantized(file.input(1, 4, 6, 5))
    y = file.add("ReduceMean", x, axes=[2, 3])

    check(file.bytes(file.quantized(y)), rng, mean=0.5)


@pytest.mark.parametrize(
    ("shape", "axis", "keepdims"), [((1, 12), 1, 0), ((1, 12), -1, 1), ((1, 4, 3, 5), 1, 0)]
)
def test_the_place_of_the_largest(
    shape: tuple[int, ...], axis: int, keepdims: int, rng: np.random.Generator
) -> None:
    """A class number."""
    file = File(5)
    x = file.quantized(file.input(*shape))

    exact(file.bytes(file.add("ArgMax", x, axis=axis, keepdims=keepdims)), rng)


def test_a_table_of_constants_is_looked_up(rng: np.random.Generator) -> None:
    """How `codeq export` writes functions without a name."""
    file = File(6)
    file.inputs.clear()
    grid = file.grid(0.05, 3)
    q = file.add("QuantizeLinear", file.input(1, 40), *grid)
    index = file.add("Add", file.add("Cast", q, to=6), file.constant(np.int32(128)))
    table = file.constant(rng.integers(-128, 128, 256).astype(np.int8))
    y = file.add("DequantizeLinear", file.add("Gather", table, index), *file.grid(0.1, 7))

    assert ["lut"] == kinds(exact(file.bytes(y), rng))


def test_what_cannot_be_is_refused_with_the_way_out() -> None:
    """The limits of the kernels, in words."""

    def refused(build: Build) -> str:
        file = File(7)
        x = file.quantized(file.input(1, 4, 8, 10), (0.1, 0))
        with pytest.raises(UnsupportedOp) as caught:
            imported(file.unchecked_bytes(file.quantized(build(file, x), (0.1, 0))))
        return str(caught.value)

    shape = "Reshape"
    assert "cannot become" in refused(lambda f, x: f.add(shape, x, f.integers(1, 7)))
    assert "cannot become" in refused(lambda f, x: f.add(shape, x, f.integers(-1, -1)))
    assert "cannot become" in refused(lambda f, x: f.add(shape, x, f.integers(1 << 62, 4, 4)))
    assert "not all are 1" in refused(lambda f, x: f.add("Squeeze", x, f.integers(1)))
    assert "is no order" in refused(lambda f, x: f.add("Transpose", x, perm=[0, 0, 1, 2]))
    assert "selects nothing" in refused(
        lambda f, x: f.add("Slice", x, f.integers(3), f.integers(3), f.integers(1))
    )
    assert "use Slice or Split" in refused(
        lambda f, x: f.add("Gather", x, f.integers(1, 2), axis=1)
    )
    assert "its mode is reflect" in refused(
        lambda f, x: f.add("Pad", x, f.integers(*[1] * 8), mode="reflect")
    )
    assert "crop with a Slice" in refused(
        lambda f, x: f.add("Pad", x, f.integers(0, 0, -1, 0, 0, 0, 0, 0))
    )
    assert "only whole factors" in refused(
        lambda f, x: f.add("Resize", x, "", "", f.integers(1, 4, 12, 10))
    )
    assert "to the nearest pixel" in refused(
        lambda f, x: f.add("Resize", x, "", "", f.integers(1, 4, 16, 20), mode="linear")
    )
    assert "no whole multiples" in refused(
        lambda f, x: f.add(
            "Resize", x, "", "", f.integers(1, 4, 24, 20),
            coordinate_transformation_mode="align_corners",
        )
    )  # fmt: skip
    assert "to be joined" not in refused(
        lambda f, x: f.add("Concat", x, f.add("Flatten", x), axis=1)
    )
