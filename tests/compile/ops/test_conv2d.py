# SPDX-License-Identifier: Apache-2.0
"""conv2d: the golden against loops written from NUMERICS §conv2d, and its refusals."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from codeq_compile.errors import SpecViolation
from codeq_compile.ir import Packed, TensorType
from codeq_compile.ops.base import ROW_CACHE
from codeq_compile.ops.conv2d import (
    MAX_SPARSE_BYTES,
    MAX_TILE,
    SPARSE_BYTES,
    TILE_BYTES,
    Conv2D,
    Conv2DParams,
)
from codeq_compile.simulate import simulate
from tests.graphs import Case, WeightSpec, grid, lowered, one_op_graph, random_weights, s8
from tests.literal import to_int8, window_pixels

X = s8(5, 6, 5)
W3 = WeightSpec(shape=(6, 3, 3, 5))
SAME = (1, 1, 1, 1)


def _pixels(count: int, weights: WeightSpec, name: str) -> Case:
    return Case(name=name, op=Conv2D(), inputs=(s8(1, count, weights.shape[3]),), weights=weights)


CASES = [
    # geometry
    Case(name="3x3-valid", op=Conv2D(), inputs=(X,), weights=W3),
    Case(name="3x3-same", op=Conv2D(padding=SAME), inputs=(X,), weights=W3),
    *(
        Case(name=f"pad-{side}", op=Conv2D(padding=padding), inputs=(X,), weights=W3)
        for side, padding in {
            "top": (1, 0, 0, 0),
            "bottom": (0, 1, 0, 0),
            "left": (0, 0, 1, 0),
            "right": (0, 0, 0, 1),
            "uneven": (2, 0, 1, 3),
            "beyond-kernel": (4, 4, 4, 4),
        }.items()
    ),
    *(
        Case(name=f"stride{s[0]}{s[1]}", op=Conv2D(stride=s, padding=SAME), inputs=(X,), weights=W3)
        for s in [(2, 1), (1, 2), (2, 2), (3, 2)]
    ),
    *(
        Case(
            name=f"dilation{d[0]}{d[1]}",
            op=Conv2D(dilation=d, padding=(2, 2, 3, 3)),
            inputs=(X,),
            weights=W3,
        )
        for d in [(2, 1), (1, 3), (2, 2)]
    ),
    Case(
        name="stride-and-dilation",
        op=Conv2D(stride=(2, 2), dilation=(2, 2), padding=(2, 1, 1, 2)),
        inputs=(X,),
        weights=W3,
    ),
    Case(
        name="groups2",
        op=Conv2D(groups=2, padding=SAME),
        inputs=(s8(4, 4, 6),),
        weights=WeightSpec(shape=(4, 3, 3, 3)),
    ),
    Case(
        name="groups3-s2",
        op=Conv2D(groups=3, stride=(2, 2), padding=SAME),
        inputs=(s8(5, 4, 6),),
        weights=WeightSpec(shape=(6, 3, 3, 2)),
    ),
    Case(
        name="groups-all",
        op=Conv2D(groups=5, padding=SAME),
        inputs=(X,),
        weights=WeightSpec(shape=(5, 3, 3, 1)),
    ),
    Case(
        name="groups2-1x1",
        op=Conv2D(groups=2),
        inputs=(s8(3, 3, 8),),
        weights=WeightSpec(shape=(6, 1, 1, 4)),
    ),
    Case(
        name="conv1d-k5",
        op=Conv2D(padding=(0, 0, 2, 2)),
        inputs=(s8(1, 19, 3),),
        weights=WeightSpec(shape=(4, 1, 5, 3)),
    ),
    Case(
        name="kws-first-layer",
        op=Conv2D(stride=(2, 2), padding=(4, 5, 1, 1)),
        inputs=(s8(9, 6, 1),),
        weights=WeightSpec(shape=(5, 10, 4, 1)),
    ),
    Case(
        name="one-pixel", op=Conv2D(), inputs=(s8(3, 3, 2),), weights=WeightSpec(shape=(1, 3, 3, 2))
    ),
    # the tile of output pixels, gathered and pointwise
    *(
        _pixels(count + 1, WeightSpec(shape=(3, 1, 2, 3)), f"tile-{count}px")
        for count in (MAX_TILE - 1, MAX_TILE, MAX_TILE + 1, 2 * MAX_TILE + 1)
    ),
    *(
        _pixels(count, WeightSpec(shape=(5, 1, 1, 7)), f"1x1-{count}px")
        for count in (1, MAX_TILE - 1, MAX_TILE, MAX_TILE + 1, 2 * MAX_TILE + 1)
    ),
    Case(
        name="1x1-s2", op=Conv2D(stride=(2, 2)), inputs=(X,), weights=WeightSpec(shape=(6, 1, 1, 5))
    ),
    # as large as their input, but pixels are not patches
    *(
        Case(
            name=f"1x1-s{stride[0]}{stride[1]}-same-size",
            op=Conv2D(stride=stride, padding=padding),
            inputs=(s8(2, 2, 5),),
            weights=WeightSpec(shape=(6, 1, 1, 5)),
        )
        for stride, padding in [((2, 1), (0, 1, 0, 0)), ((1, 2), (0, 0, 0, 1))]
    ),
    *(
        Case(
            name=f"{kernel[0]}x{kernel[1]}-pad{''.join(map(str, padding))}",
            op=Conv2D(padding=padding),
            inputs=(s8(3, 4, 5),),
            weights=WeightSpec(shape=(6, *kernel, 5)),
        )
        for kernel, padding in [
            ((3, 1), (1, 1, 0, 0)),
            ((1, 3), (0, 0, 1, 1)),
            ((1, 1), (1, 0, 0, 0)),
            ((1, 1), (0, 0, 0, 1)),
        ]
    ),
    *(
        _pixels(3, WeightSpec(shape=(2, 1, 2, patch // 2)), f"patch-{patch}")
        for patch in (TILE_BYTES // 2, TILE_BYTES // 2 + 2, TILE_BYTES, TILE_BYTES + 2)
    ),
    # panels of rows, which Helium kernels decode by fours, and rows too long for them
    *(_pixels(7, WeightSpec(shape=(9, 1, width, 257)), f"panels-1x{width}") for width in (1, 2)),
    Case(
        name="groups2-chunks",
        op=Conv2D(groups=2),
        inputs=(s8(1, 6, 2 * 515),),
        weights=WeightSpec(shape=(6, 1, 2, 515)),
    ),
    # the chunk of decoded weights, and the vectors of the DSP and MVE kernels
    *(
        _pixels(2, WeightSpec(shape=(3, 1, 1, c), bits=b), f"1x1-c{c}-w{b}")
        for c in (127, 128, 129, 255, 256, 257, 511, 513)
        for b in (3, 8)
    ),
    *(
        _pixels(5, WeightSpec(shape=(oc, 1, 1, c)), f"1x1-c{c}-oc{oc}")
        for c, oc in [(1, 1), (2, 3), (3, 2), (4, 4), (15, 5), (16, 8), (17, 9), (31, 2), (33, 17)]
    ),
    # as large as their input, and more than one tile where they take its place
    *(
        Case(
            name=f"1x1-square-c{c}",
            op=Conv2D(),
            inputs=(s8(5, 11, c),),
            weights=WeightSpec(shape=(c, 1, 1, c)),
        )
        for c in (24, 26)
    ),
    *(
        _pixels(3, WeightSpec(shape=(2, 1, 2, c)), f"gather-c{c}")
        for c in (1, 8, 16, 17, 127, 128, 129)
    ),
    # windows read from the image by the DSP kernels: eight channels, or sixteen
    *(
        Case(
            name=f"c{c}-{name}",
            op=op,
            inputs=(s8(h, w, c, zero_point=z),),
            weights=WeightSpec(shape=(oc, kh, kw, c), bits=b),
        )
        for name, op, (h, w), z, c, (oc, kh, kw), b in [
            ("3x3-same", Conv2D(padding=SAME), (5, 7), -128, 8, (4, 3, 3), 8),
            ("3x3-same-w3", Conv2D(padding=SAME), (3, 6), 127, 8, (6, 3, 3), 3),
            ("3x3-valid", Conv2D(), (3, 4), -3, 16, (9, 3, 3), 8),
            ("3x3-s2", Conv2D(stride=(2, 2), padding=(0, 1, 0, 1)), (6, 8), 4, 8, (5, 3, 3), 8),
            ("3x3-s12", Conv2D(stride=(1, 2), padding=SAME), (4, 7), 4, 16, (3, 3, 3), 8),
            ("5x5-one-pixel", Conv2D(padding=(2, 2, 2, 2)), (1, 1), 9, 8, (4, 5, 5), 8),
            ("beyond-kernel", Conv2D(padding=(4, 5, 4, 3)), (2, 3), 9, 8, (4, 3, 3), 8),
            (
                "dilated-rows",
                Conv2D(dilation=(3, 1), padding=(3, 3, 1, 1)),
                (5, 4),
                7,
                8,
                (5, 3, 3),
                8,
            ),
            ("dilated-columns", Conv2D(dilation=(1, 2), padding=SAME), (4, 6), 7, 8, (5, 3, 3), 8),
            ("1x1-s2", Conv2D(stride=(2, 2)), (5, 6), 7, 16, (7, 1, 1), 8),
            ("1x1-padded", Conv2D(padding=SAME), (2, 3), 7, 8, (4, 1, 1), 8),
            ("1x1-w5", Conv2D(), (3, 3), 7, 24, (2, 1, 1), 5),
            ("one-column", Conv2D(padding=(1, 1, 1, 1)), (6, 1), 7, 8, (4, 3, 3), 8),
        ]
    ),
    # rows of few channels that a DSP kernel widens: rectified, in bands, with odd ends
    *(
        Case(
            name=f"stem-{name}",
            op=op,
            inputs=(s8(h, w, c, zero_point=z),),
            output=grid(2.0, -7),
            weights=WeightSpec(shape=(oc, kh, kw, c), bits=b),
        )
        for name, op, (h, w), z, c, (oc, kh, kw), b in [
            ("relu", Conv2D(padding=SAME, clamp=(-7, 127)), (4, 5), -128, 3, (8, 3, 3), 8),
            ("relu-w4", Conv2D(padding=SAME, clamp=(-7, 100)), (3, 4), 9, 3, (6, 3, 3), 4),
            ("few", Conv2D(padding=SAME, clamp=(-7, 127)), (3, 4), 9, 2, (3, 3, 3), 8),
            ("bands", Conv2D(stride=(1, 3), clamp=(-7, 127)), (12, 200), 5, 1, (5, 3, 2), 8),
            ("beyond-kernel", Conv2D(padding=(4, 5, 4, 3)), (2, 3), 9, 3, (4, 3, 3), 8),
            ("beyond-row", Conv2D(stride=(1, 4), padding=(0, 0, 4, 0)), (2, 1), 9, 1, (4, 1, 2), 8),
            ("s3", Conv2D(stride=(3, 3), clamp=(-7, 127)), (8, 9), 9, 5, (4, 2, 2), 8),
        ]
    ),
    # rows of weights below, at and above what the DSP kernels cache
    *(
        _pixels(pixels, WeightSpec(shape=(oc, 1, 3, c), bits=b), f"row-{3 * c}-oc{oc}-w{b}")
        for c, oc, pixels, b in [
            (ROW_CACHE // 3, 4, 4, 8),
            (ROW_CACHE // 3 + 1, 5, 8, 8),
            (ROW_CACHE, 3, 3, 8),
            (ROW_CACHE, 6, 9, 4),
        ]
    ),
    # every width and sparsity
    *(
        Case(
            name=f"{kind}-w{bits}-sparse{zeros:.0%}",
            op=op,
            inputs=(x,),
            weights=WeightSpec(shape=shape, bits=bits, zeros=zeros),
        )
        for kind, op, x, shape in [
            ("3x3", Conv2D(padding=(1, 0, 0, 1)), s8(4, 3, 5), (3, 3, 3, 5)),
            ("1x1", Conv2D(), s8(2, 3, 37), (3, 1, 1, 37)),
        ]
        for bits in range(2, 9)
        for zeros in (0.0, 0.5, 0.99, 1.0)
    ),
    *(
        Case(
            name=f"w{bits}-gap{gap}",
            op=Conv2D(padding=SAME),
            inputs=(X,),
            weights=replace(W3, bits=bits, gap=gap, zeros=0.6),
        )
        for bits, gap in [(2, 1), (2, 9), (3, 2), (4, 1), (5, 111), (7, 64)]
    ),
    *(
        Case(
            name=f"levels-{name}",
            op=Conv2D(padding=SAME),
            inputs=(X,),
            weights=replace(W3, bits=bits, levels=levels, zeros=zeros),
        )
        for name, bits, levels, zeros in [
            ("binary", 1, (-1, 1), 0.0),
            ("binary-uneven", 1, (-128, 127), 0.0),
            ("binary-with-zero", 1, (0, 3), 0.5),
            ("one", 1, (7,), 0.0),
            ("ternary-uneven", 2, (-5, 0, 3), 0.5),
            ("codebook3", 3, (-9, -4, -1, 0, 2, 5, 11), 0.3),
            ("codebook4", 4, tuple(range(-112, 128, 15)), 0.0),
            ("codebook7", 7, tuple(range(-64, 64)), 0.9),
        ]
    ),
    # requantization
    *(
        Case(name=name, op=op, inputs=(x,), output=y, weights=weights)
        for name, op, x, y, weights in [
            ("relu", Conv2D(clamp=(-3, 127)), X, grid(0.2, -3), W3),
            ("relu6", Conv2D(clamp=(-128, 90)), X, grid(0.2, -128), W3),
            ("narrow", Conv2D(multiplier_bits=13), X, None, W3),
            ("narrow-relu", Conv2D(multiplier_bits=13, clamp=(5, 100)), X, None, W3),
            ("per-tensor", Conv2D(), X, None, replace(W3, per_channel=False)),
            ("no-bias", Conv2D(padding=SAME), X, None, replace(W3, bias=False)),
            ("zero-low", Conv2D(padding=SAME), s8(5, 6, 5, zero_point=-128), grid(0.2, -128), W3),
            ("zero-high", Conv2D(padding=SAME), s8(5, 6, 5, zero_point=127), grid(0.2, 127), W3),
            ("left-shift", Conv2D(), X, grid(1e-4, 0), replace(W3, bits=3)),
            ("tiny-factor", Conv2D(), X, grid(1e6, 1), W3),
            ("vanishing-factor", Conv2D(), X, grid(1e9, 7), W3),
            ("factor-half", Conv2D(), s8(5, 6, 5, scale=1.0), grid(0.04, 0), replace(W3, bits=2)),
        ]
    ),
]


def _loops(op: Conv2D, params: Conv2DParams, x: np.ndarray, out: tuple[int, ...]) -> np.ndarray:
    """NUMERICS §conv2d, Semantics."""
    size = x.shape[:2]
    kernel = params.weights.shape[1:3]
    in_group, out_group = params.weights.shape[3], out[2] // op.groups
    weights, image = params.weights.tolist(), x.tolist()
    y = np.empty(out, np.int8)
    for oh, ow, oc in np.ndindex(out):
        first = oc // out_group * in_group
        acc = int(params.requant.bias[oc])
        for kh, kw, h, w, inside in window_pixels(
            oh, ow, size, kernel, op.stride, op.dilation, op.padding
        ):
            for c in range(in_group):
                value = image[h][w][first + c] if inside else params.in_zero
                acc += value * weights[oc][kh][kw][c]
        y[oh, ow, oc] = to_int8(acc, params.requant, oc)
    return y


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_golden_equals_the_spec_written_as_loops(case: Case):
    """A wrong golden makes every kernel wrong with it, and no comparison would notice."""
    graph = lowered(case.graph())
    data = case.data()
    (node,) = graph.nodes

    expected = [_loops(node.op, node.params, x, graph.tensors["y"].shape) for x in data["x0"]]

    np.testing.assert_array_equal(expected, simulate(graph, data)["y"])


def test_the_cases_have_distinct_names():
    """Two cases of one name would share their data, and test ids would be ambiguous."""
    names = [case.name for case in CASES]

    assert len(set(names)) == len(names)


def test_batches_that_span_several_blocks_do_not_mix(rng):
    """The simulation works in blocks; a sample must not depend on its neighbours."""
    case = next(case for case in CASES if case.name == "3x3-same")
    graph = lowered(case.graph())
    data = case.data(batch=700)

    together = simulate(graph, data)["y"]

    for i in rng.integers(0, 700, 20):
        np.testing.assert_array_equal(
            simulate(graph, {"x0": data["x0"][i : i + 1]})["y"][0], together[i]
        )


@pytest.mark.parametrize(
    ("label", "op", "x", "shape", "bias"),
    [
        ("conv2d-C1", Conv2D(), TensorType(shape=(8, 5)), (2, 3, 3, 5), None),
        ("conv2d-C2", Conv2D(), X, (2, 3, 3, 4), None),
        ("conv2d-C2", Conv2D(), X, (2, 3, 5), None),
        ("conv2d-C2", Conv2D(groups=2), s8(5, 5, 6), (3, 3, 3, 3), None),
        ("conv2d-C2", Conv2D(groups=0), X, (2, 3, 3, 5), None),
        ("conv2d-C3", Conv2D(), X, (2, 3, 3, 5), np.zeros(3, np.int32)),
        ("conv2d-C4", Conv2D(), X, (2, 7, 3, 5), None),
        ("conv2d-C4", Conv2D(dilation=(3, 1)), X, (2, 3, 3, 5), None),
        ("conv2d-C4", Conv2D(stride=(0, 1)), X, (2, 3, 3, 5), None),
        ("conv2d-C4", Conv2D(padding=(-1, 0, 0, 0)), X, (2, 3, 3, 5), None),
        ("conv2d-C5", Conv2D(clamp=(3, 2)), X, (2, 3, 3, 5), None),
        ("conv2d-C5", Conv2D(clamp=(-129, 2)), X, (2, 3, 3, 5), None),
    ],
)
def test_an_illegal_convolution_is_refused_by_its_rule(rng, label, op, x, shape, bias):
    """A model that breaks a rule must be refused with the rule's number, not compiled wrongly."""
    with pytest.raises(SpecViolation) as caught:
        one_op_graph(op, [x], grid(0.1, 0), weights=random_weights(rng, shape), bias=bias)

    assert label == caught.value.label


def test_the_pointwise_family_is_offered_only_where_pixels_are_patches(rng):
    """conv2d_1x1 gathers nothing: with a stride, padding or groups it would read wrong pixels."""
    special = {
        case.name
        for case in CASES
        if "conv2d_1x1" in (node := lowered(case.graph()).nodes[0]).op.families(node.params)
    }

    assert {"1x1-c33-oc17", "1x1-w2-sparse99%"} <= special
    assert not special & {"1x1-s2", "groups2-1x1", "3x3-valid", "conv1d-k5"}


@pytest.mark.parametrize(("packing", "each"), [("dense", 1), ("ternary", 1), ("bitmask", 2)])
def test_scratch_holds_the_tile_and_one_decoded_chunk(packing, each):
    """Too little scratch is a buffer overflow on the device. [conv2d-C6]"""
    case = next(case for case in CASES if case.name == "3x3-same")
    graph = lowered(case.graph())
    (node,) = graph.nodes
    packed = Packed(packing=packing, bits=2, data=b"")
    args = (node.params, graph.input_types(node), graph.tensors["y"], packed)

    patch = 3 * 3 * 5

    assert -(-MAX_TILE * patch // 4) * 4 + -(-each * patch // 4) * 4 == node.op.scratch_bytes(
        *args, "conv2d"
    )
    assert 6 * 5 * 6 * patch == node.op.macs(node.params, graph.tensors["y"])


def dsp_layer(name: str, family: str) -> tuple[int, Callable[[int], int]]:
    """Weights of a row, and the scratch of a dsp kernel by the width of dense weights."""
    case = next(case for case in CASES if case.name == name)
    graph = lowered(case.graph())
    (node,) = graph.nodes

    def scratch(bits: int) -> int:
        packed = Packed(packing="dense", bits=bits, data=b"")
        args = (node.params, graph.input_types(node), graph.tensors["y"], packed)
        return int(node.op.scratch_bytes(*args, family, "dsp"))

    return node.params.weights[0].size, scratch


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("c8-3x3-same", 16 * 9),  # sums of the taps
        ("c16-1x1-s2", 16),
        ("c24-1x1-w5", 16),  # the sums of one tap
        ("3x3-same", 21 * 48),  # patches of 45 inputs, filled up to eight
        ("kws-first-layer", 15 * 40),  # all pixels
        (f"row-{3 * ROW_CACHE}-oc3-w8", 3 * ROW_CACHE),  # one pixel
    ],
)
def test_dsp_kernels_have_room_for_four_rows(name, extra):
    """Too little scratch is a buffer overflow on the device. [conv2d-C8]"""
    length, scratch = dsp_layer(name, "conv2d")
    cached = min(length, ROW_CACHE)
    assert 64 * -(-cached // 8) + extra == scratch(8)
    assert scratch(8) + 2 * (-(-cached // 4) * 4) == scratch(4)


@pytest.mark.parametrize(
    ("name", "pairs", "rows", "row"),
    [
        ("stem-relu", 15, 6, 22),  # 7 pixels of 3 inputs, and one
        ("stem-bands", 5, 11, 200),  # nine of ten rows of outputs; as many pairs as a step
        ("kws-first-layer", 20, 18, 8),
    ],
)
def test_dsp_kernels_have_room_for_a_band_of_few_channels(name, pairs, rows, row):
    """Too little scratch is a buffer overflow on the device. [conv2d-C12]"""
    length, scratch = dsp_layer(name, "conv2d_stem")
    assert 16 + 20 * pairs + 32 + 2 * rows * row + 4 == scratch(8)
    assert scratch(8) + -(-length // 4) * 4 == scratch(4)


def test_the_stem_family_is_offered_where_input_channels_are_few():
    """It knows neither groups nor dilation; eight channels are faster where they stand."""
    special = {
        case.name
        for case in CASES
        if "conv2d_stem" in (node := lowered(case.graph()).nodes[0]).op.families(node.params)
    }

    assert {"3x3-same", "kws-first-layer", "stride22", "1x1-s2", "stem-bands"} <= special
    assert not special & {"groups2", "dilation21", "c8-3x3-same", "1x1-c4-oc4", "patch-2050"}


@pytest.mark.parametrize(
    ("kernel", "channels", "pixels", "tile"),
    [(3, 3, 30, 30), (3, 5, 100, 45), (3, 75, 16, 3), (3, 100, 16, 2), (3, 300, 16, 1)],
)
def test_scratch_of_helium_kernels_holds_patches_and_a_panel(rng, kernel, channels, pixels, tile):
    """Too little scratch is a buffer overflow on the device. [conv2d-C9]"""
    weights = random_weights(rng, (6, kernel, kernel, channels))
    graph = lowered(
        one_op_graph(Conv2D(), [s8(kernel, pixels + kernel - 1, channels)], weights=weights)
    )
    (node,) = graph.nodes
    patch = kernel * kernel * channels
    panel = {27: 6, 45: 6, 675: 4, 900: 4}.get(patch, 0) * patch or 256
    args = (node.params, graph.input_types(node), graph.tensors["y"])

    for bits, decoded in ((8, 0), (4, panel)):
        packed = Packed(packing="dense", bits=bits, data=b"")
        expected = -(-tile * patch // 4) * 4 + -(-decoded // 4) * 4
        assert expected == node.op.scratch_bytes(*args, packed, "conv2d", "mve")


def test_the_sparse_family_is_offered_where_it_fills_its_lanes():
    """With one to three pixels the general kernel does less; an endless row has no room."""

    def families(size: tuple[int, int], channels: int) -> tuple[str, ...]:
        case = Case(
            name=f"{size} {channels}",
            op=Conv2D(padding=SAME),
            inputs=(s8(*size, channels),),
            weights=WeightSpec(shape=(2, 3, 3, channels), bits=4, zeros=0.9),
        )
        (node,) = lowered(case.graph()).nodes
        return node.op.families(node.params)

    assert ("conv2d_sparse", "conv2d") == families((2, 2), 8)
    assert ("conv2d",) == families((1, 3), 8)
    assert ("conv2d",) == families((8, 8), 300)


def test_scratch_that_is_offered_is_used_where_it_helps():
    """A sparse kernel decodes its weights once for each strip: fewer strips are faster."""
    case = Case(
        name="roomy",
        op=Conv2D(padding=SAME),
        inputs=(s8(24, 24, 32),),
        weights=WeightSpec(shape=(48, 3, 3, 32), bits=4, zeros=0.8),
    )
    graph = lowered(case.graph())
    (node,) = graph.nodes
    packed = Packed(packing="rle", bits=4, data=b"")

    def scratch(params: Conv2DParams) -> int:
        types = (graph.input_types(node), graph.tensors["y"])
        return node.op.scratch_bytes(params, *types, packed, "conv2d_sparse")

    first = scratch(node.params)
    assert first <= SPARSE_BYTES
    assert first == scratch(node.op.with_scratch(node.params, 100))
    assert SPARSE_BYTES < scratch(node.op.with_scratch(node.params, 1 << 20)) <= MAX_SPARSE_BYTES


def test_only_a_pointwise_convolution_that_gathers_overwrites_its_input():
    """Others read an input pixel again after the first output it is part of. [conv2d-C11]"""

    def overwrites(name: str, family: str, isa: str) -> tuple[tuple[int, ...], ...]:
        case = next(case for case in CASES if case.name == name)
        (node,) = lowered(case.graph()).nodes
        assert () == node.op.overwrites(node.params)
        free = node.op.with_kernel(node.params, family, isa)
        asked = node.op.overwriting(free, family, isa)
        return node.op.overwrites(free), node.op.overwrites(asked)

    assert ((0,), (0,)) == overwrites("1x1-c4-oc4", "conv2d_sparse", "dsp")
    assert ((0,), (0,)) == overwrites("1x1-c4-oc4", "conv2d", "swar")
    assert ((), (0,)) == overwrites("1x1-c4-oc4", "conv2d", "dsp")
    assert ((), ()) == overwrites("1x1-c4-oc4", "conv2d", "ref")
    assert ((), (0,)) == overwrites("1x1-c4-oc4", "conv2d_1x1", "dsp")
    assert ((), ()) == overwrites("1x1-c4-oc4", "conv2d_1x1", "mve")
    assert ((), ()) == overwrites("3x3-same", "conv2d_sparse", "dsp")
    assert ((), ()) == overwrites("3x3-same", "conv2d", "dsp")
    assert ((), ()) == overwrites("groups2-1x1", "conv2d_sparse", "dsp")
    assert ((), ()) == overwrites("groups2-1x1", "conv2d", "swar")
    assert ((), ()) == overwrites("1x1-s21-same-size", "conv2d", "swar")
