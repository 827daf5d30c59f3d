# SPDX-License-Identifier: Apache-2.0
"""Imported reshapes, joins, borders, means and searches against TFLite Micro's kernels."""

import numpy as np
import pytest

pytest.importorskip("tflite_micro", reason="needs the package tflite-micro, the oracle")

from codeq_compile.errors import UnsupportedOp
from tests import imports
from tests.graphs import Case
from tests.tflite_author import File

KINDS = ("reshape", "concat", "pad", "mean", "argmax", "upsample2d")


@pytest.mark.parametrize("case", imports.cases(*KINDS), ids=str)
def test_a_layer_that_moves_values_is_the_foreign_one(case: Case) -> None:
    """An axis of the file counts the batch, and an axis of codeq does not."""
    imports.check_case(case)


def test_a_squeeze_and_its_opposite_move_nothing(rng: np.random.Generator) -> None:
    """One-dimensional convolutions are wrapped in these."""
    file = File()
    x = file.tensor((1, 1, 6, 4), scale=0.1, zero_point=3)
    squeezed = file.tensor((1, 6, 4), scale=0.1, zero_point=3)
    y = file.tensor((1, 6, 1, 4), scale=0.1, zero_point=3)
    file.operator("SQUEEZE", [x], [squeezed], "SqueezeOptions", squeezeDims=[1])
    axis = file.constant(np.array([2], np.int32))
    file.operator("EXPAND_DIMS", [squeezed, axis], [y])

    imports.check(rng, file, [x], [y])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_tensors_are_joined_along_any_axis(axis: int, rng: np.random.Generator) -> None:
    """Also along the batch, which codeq's tensors do not have."""
    file = File()
    inputs = [file.tensor((1, 3, 4), scale=0.1, zero_point=3) for _ in range(2)]
    shape = [1, 3, 4]
    shape[axis] *= 2
    y = file.tensor(shape, scale=0.1, zero_point=3)
    file.operator("CONCATENATION", inputs, [y], "ConcatenationOptions", axis=axis)

    imports.check(rng, file, inputs, [y])


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((1, 6, 5), [0, 2, 1]),
        ((1, 3, 4, 5), [0, 3, 1, 2]),
        ((1, 3, 4, 5), [0, 2, 1, 3]),
        ((1, 3, 4), [1, 0, 2]),
        ((1, 3, 4), [2, 1, 0]),
        ((4, 3), [1, 0]),
        ((1, 1, 2, 3, 4), [0, 1, 4, 3, 2]),
    ],
    ids=str,
)
def test_axes_are_exchanged(
    shape: tuple[int, ...], axes: list[int], rng: np.random.Generator
) -> None:
    """Also the batch; where only axes of 1 move, nothing does."""
    file = File()
    x = file.tensor(shape, scale=0.1, zero_point=3)
    y = file.tensor([shape[axis] for axis in axes], scale=0.1, zero_point=3)
    order = file.constant(np.array(axes, np.int32))
    file.operator("TRANSPOSE", [x, order], [y], "TransposeOptions")

    imports.check(rng, file, [x], [y])


@pytest.mark.parametrize("sizes", [[1, 2, 3, 2], [1, -1, -1, -1]], ids=str)
def test_a_part_is_cut_out(sizes: list[int], rng: np.random.Generator) -> None:
    """A size of -1 means the rest."""
    file = File()
    begin = [0, 1, 2, 3]
    shape = [n - b if s == -1 else s for n, b, s in zip((1, 4, 6, 8), begin, sizes, strict=True)]
    x = file.tensor((1, 4, 6, 8), scale=0.1, zero_point=3)
    y = file.tensor(shape, scale=0.1, zero_point=3)
    operands = [file.constant(np.array(each, np.int32)) for each in (begin, sizes)]
    file.operator("SLICE", [x, *operands], [y], "SliceOptions")

    imports.check(rng, file, [x], [y])


@pytest.mark.parametrize(
    ("limits", "masks", "shape"),
    [
        (([0, 1, 0, 0], [1, 4, 6, 8], [1, 2, 1, 3]), {}, [1, 2, 6, 3]),
        (([0, 3, 0, -1], [1, 0, 6, -9], [1, -1, 2, -2]), {}, [1, 3, 3, 4]),
        (
            ([0, 0, 0, 0], [0, 0, 3, 0], [1, 1, 1, 1]),
            {"beginMask": 15, "endMask": 11},
            [1, 4, 3, 8],
        ),
        (([0, 0, -1, 0], [1, 4, 6, 8], [1, 1, 1, 1]), {"shrinkAxisMask": 4}, [1, 4, 8]),
        (
            ([0, 0, 3, 0], [1, 4, 6, 8], [1, 1, 1, 1]),
            {"shrinkAxisMask": 4, "beginMask": 4},
            [1, 4, 8],
        ),
    ],
    ids=str,
)
def test_every_n_th_element_is_taken(
    limits: tuple[list[int], ...], masks: dict[str, int], shape: list[int], rng: np.random.Generator
) -> None:
    """Python's slices, with their negative positions and steps."""
    file = File()
    x = file.tensor((1, 4, 6, 8), scale=0.1, zero_point=3)
    y = file.tensor(shape, scale=0.1, zero_point=3)
    operands = [file.constant(np.array(each, np.int32)) for each in limits]
    file.operator("STRIDED_SLICE", [x, *operands], [y], "StridedSliceOptions", **masks)

    imports.check(rng, file, [x], [y])


@pytest.mark.parametrize("axis", [1, 3, -2])
@pytest.mark.parametrize("kind", ["SPLIT", "SPLIT_V"])
def test_a_tensor_is_split(kind: str, axis: int, rng: np.random.Generator) -> None:
    """Each output is a layer of its own, and all must be right."""
    file = File()
    shape = np.array((1, 4, 6, 8))
    x = file.tensor(shape, scale=0.1, zero_point=3)
    half = shape.copy()
    half[axis] //= 2
    outputs = [file.tensor(half, scale=0.1, zero_point=3) for _ in range(2)]
    at = file.constant(np.array([axis], np.int32))
    if kind == "SPLIT":
        file.operator(kind, [at, x], outputs, "SplitOptions", numSplits=2)
    else:
        sizes = file.constant(half[[axis, axis]].astype(np.int32))
        file.operator(kind, [x, sizes, at], outputs, "SplitVOptions", numSplits=2)

    imports.check(rng, file, [x], outputs)


def test_a_constant_can_be_joined(rng: np.random.Generator) -> None:
    """Positions, say, that are the same for every sample."""
    file = File()
    x = file.tensor((1, 3, 4), scale=0.1, zero_point=3)
    c = file.constant(rng.integers(-128, 128, (1, 3, 2)).astype(np.int8), scale=0.1, zero_point=3)
    y = file.tensor((1, 3, 6), scale=0.1, zero_point=3)
    file.operator("CONCATENATION", [x, c], [y], "ConcatenationOptions", axis=2)

    imports.check(rng, file, [x], [y])


@pytest.mark.parametrize(
    ("shape", "axes", "keep"),
    [
        ((1, 4, 5, 6), [1, 2], True),
        ((1, 4, 5, 6), [2, 1], False),
        ((1, 4, 5, 6), [-3, -2], False),
        ((1, 7, 6), [1], False),
        ((1, 1, 5, 6), [2], True),
        ((1, 4, 5, 6), [1], True),
        ((1, 4, 5, 6), [1, 2, 3], False),
        ((1, 4, 5, 6), [3], True),
        ((1, 4, 5, 6), [2], False),
        ((3, 4, 5, 6), [1, 3], True),
        ((1, 4, 1, 6), [-1, 2], False),
    ],
    ids=str,
)
def test_axes_are_averaged(
    shape: tuple[int, ...], axes: list[int], keep: bool, rng: np.random.Generator
) -> None:
    """Global pooling is written as a mean by some converters, over time or over an image."""
    file = File()
    x = file.tensor(shape, scale=0.1, zero_point=3)
    named = {axis % len(shape) for axis in axes}
    kept = [1 if i in named else n for i, n in enumerate(shape) if keep or i not in named]
    y = file.tensor(kept, scale=0.06, zero_point=-20)
    operand = file.constant(np.array(axes, np.int32))
    file.operator("MEAN", [x, operand], [y], "ReducerOptions", keepDims=keep)

    imports.check(rng, file, [x], [y])


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((1, 9), 1),
        ((1, 9), -1),
        ((1, 9), 0),
        ((9,), 0),
        ((1, 9, 1), 1),
        ((1, 9, 1), 2),
        ((1, 3, 9), 1),
        ((2, 3, 4), 0),
        ((1, 5, 6, 4), 2),
        ((1, 2, 3, 9), 3),
    ],
    ids=str,
)
def test_any_axis_is_searched(shape: tuple[int, ...], axis: int, rng: np.random.Generator) -> None:
    """The class of each pixel is along the last axis, the time of a peak along another one."""
    file = File()
    x = file.tensor(shape, scale=0.1, zero_point=3)
    y = file.tensor([n for i, n in enumerate(shape) if i != axis % len(shape)], "INT32")
    operand = file.constant(np.array([axis], np.int32))
    file.operator("ARG_MAX", [x, operand], [y], "ArgMaxOptions", outputType=2)

    imports.check(rng, file, [x], [y])


@pytest.mark.parametrize("shape", [(1, 5), (1, 5, 3), (1, 4, 5, 3)], ids=str)
def test_tensors_of_fewer_axes_are_padded(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    """A sequence is padded along time only."""
    file = File()
    borders = np.array([(0, 0), *((i + 1, 2) for i in range(len(shape) - 1))], np.int32)
    x = file.tensor(shape, scale=0.1, zero_point=3)
    y = file.tensor(np.array(shape) + borders.sum(axis=1), scale=0.1, zero_point=3)
    file.operator("PAD", [x, file.constant(borders)], [y], "PadOptions")

    imports.check(rng, file, [x], [y])


@pytest.mark.parametrize("mode", [0, 1], ids=["reflect", "symmetric"])
@pytest.mark.parametrize(
    "borders",
    [
        [(0, 0), (2, 1), (1, 3), (0, 0)],
        [(0, 0), (0, 0), (3, 0), (0, 0)],
        [(0, 0), (1, 1), (0, 2), (2, 1)],
        [(0, 0)] * 4,
    ],
    ids=str,
)
def test_borders_mirror_the_image(
    mode: int, borders: list[tuple[int, int]], rng: np.random.Generator
) -> None:
    """With the pixel at the border once or twice."""
    file = File()
    shape = np.array((1, 4, 6, 3))
    x = file.tensor(shape, scale=0.1, zero_point=3)
    y = file.tensor(shape + np.array(borders).sum(axis=1), scale=0.1, zero_point=3)
    operand = file.constant(np.array(borders, np.int32))
    file.operator("MIRROR_PAD", [x, operand], [y], "MirrorPadOptions", mode=mode)

    imports.check(rng, file, [x], [y])


@pytest.mark.parametrize("half_pixel_centers", [False, True])
def test_pixels_are_repeated_by_whole_factors(
    half_pixel_centers: bool, rng: np.random.Generator
) -> None:
    """Both conventions of positions are the same for whole factors."""
    file = File()
    x = file.tensor((1, 3, 4, 2), scale=0.1, zero_point=3)
    y = file.tensor((1, 6, 12, 2), scale=0.1, zero_point=3)
    size = file.constant(np.array([6, 12], np.int32))
    options = "ResizeNearestNeighborOptions"
    fields = {"halfPixelCenters": half_pixel_centers}
    file.operator("RESIZE_NEAREST_NEIGHBOR", [x, size], [y], options, **fields)

    imports.check(rng, file, [x], [y])


def refused(change: str) -> tuple[File, list[int], list[int]]:
    file = File()
    x = file.tensor((1, 4, 6, 8), scale=0.1, name="x")
    match change:
        case "argmax":
            y = file.tensor((1, 4, 8), "INT32", name="y")
            axes = file.constant(np.array([1, 2], np.int32))
            file.operator("ARG_MAX", [x, axes], [y], "ArgMaxOptions", outputType=2)
        case "wide index":
            y = file.tensor((1, 4, 6), "INT64", name="y")
            axis = file.constant(np.array([3], np.int32))
            file.operator("ARG_MAX", [x, axis], [y], "ArgMaxOptions", outputType=4)
        case "resize":
            y = file.tensor((1, 6, 9, 8), scale=0.1, name="y")
            size = file.constant(np.array([6, 9], np.int32))
            options = "ResizeNearestNeighborOptions"
            file.operator("RESIZE_NEAREST_NEIGHBOR", [x, size], [y], options)
        case "corners":
            y = file.tensor((1, 12, 18, 8), scale=0.1, name="y")
            size = file.constant(np.array([12, 18], np.int32))
            options = "ResizeNearestNeighborOptions"
            fields = {"alignCorners": True}
            file.operator("RESIZE_NEAREST_NEIGHBOR", [x, size], [y], options, **fields)
        case "borders":
            y = file.tensor((1, 4, 6, 8), scale=0.1, name="y")
            file.operator("PAD", [x, file.constant(np.zeros(4, np.int32))], [y], "PadOptions")
        case "no value":
            y = file.tensor((1, 4, 6, 8), scale=0.1, name="y")
            borders = file.constant(np.zeros((4, 2), np.int32))
            value = file.tensor((0,), data=b"1", scale=0.1)
            file.operator("PADV2", [x, borders, value], [y], "PadV2Options")
        case "no axis":
            y = file.tensor((1, 4, 6, 8), scale=0.1, name="y")
            axis = file.tensor((0,), "INT32", data=bytes(4))
            file.operator("SPLIT", [axis, x], [y], "SplitOptions", numSplits=1)
        case "batch":
            y = file.tensor((2, 4, 6, 8), scale=0.1, name="y")
            borders = np.array([[1, 0], [0, 0], [0, 0], [0, 0]], np.int32)
            file.operator("PAD", [x, file.constant(borders)], [y], "PadOptions")
        case "order":
            y = file.tensor((1, 4, 6, 8), scale=0.1, name="y")
            order = file.constant(np.array([0, 1, 2, 2], np.int32))
            file.operator("TRANSPOSE", [x, order], [y], "TransposeOptions")
        case "part":
            y = file.tensor((1, 4, 6, 8), scale=0.1, name="y")
            limits = [file.constant(np.array(each, np.int32)) for each in ([0, 0], [1, 4])]
            file.operator("SLICE", [x, *limits], [y], "SliceOptions")
        case "outside":
            y = file.tensor((1, 4, 6, 8), scale=0.1, name="y")
            limits = [
                file.constant(np.array(each, np.int32)) for each in ([0, 0, 0, 9], [1, 4, 6, 8])
            ]
            file.operator("SLICE", [x, *limits], [y], "SliceOptions")
        case "nothing":
            y = file.tensor((1, 4, 6, 8), scale=0.1, name="y")
            limits = [file.constant(np.array(each, np.int32)) for each in ([0], [0], [1])]
            file.operator("STRIDED_SLICE", [x, *limits], [y], "StridedSliceOptions")
        case "mirror":
            y = file.tensor((1, 8, 6, 8), scale=0.1, name="y")
            borders = file.constant(np.array([0, 0, 4, 0, 0, 0, 0, 0], np.int32))
            file.operator("MIRROR_PAD", [x, borders], [y], "MirrorPadOptions")
        case "axis":
            y = file.tensor((1, 4, 6, 8), scale=0.1, name="y")
            file.operator("CONCATENATION", [x], [y], "ConcatenationOptions", axis=4)
        case "function":
            y = file.tensor((1, 4, 6, 8), scale=0.1, name="y")
            fields = {"axis": 1, "fusedActivationFunction": 1}
            file.operator("CONCATENATION", [x], [y], "ConcatenationOptions", **fields)
        case _:
            y = file.tensor((1, 4, 6, 9), scale=0.1, name="y")
            file.operator("SQUEEZE", [x], [y])
    return file, [x], [y]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("argmax", "2 axes, and one is expected"),
        ("wide index", "let it give int32"),
        ("resize", "only whole factors"),
        ("corners", "leave align_corners out"),
        ("borders", "4 borders"),
        ("no value", "0 values, and one is expected"),
        ("no axis", "0 axes, and one is expected"),
        ("batch", "pads axis 0"),
        ("order", "no order of the axes"),
        ("part", "do not fit"),
        ("outside", "are not within 8"),
        ("nothing", "selects nothing"),
        ("mirror", "mirrors 4 of 4"),
        ("axis", "names axis 4"),
        ("function", "fused function"),
        ("elements", "192 elements"),
    ],
)
def test_what_codeq_has_no_rule_for_is_refused(change: str, message: str) -> None:
    """Nearly the same is not the same: a wrong axis gives a model that answers anything."""
    with pytest.raises(UnsupportedOp, match=message):
        imports.imported(*refused(change))
