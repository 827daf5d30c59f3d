# SPDX-License-Identifier: Apache-2.0
"""dwconv2d: the golden against loops written from NUMERICS §dwconv2d, and its refusals."""

from dataclasses import replace

import numpy as np
import pytest

from codeq_compile.errors import SpecViolation
from codeq_compile.ir import Packed, TensorType
from codeq_compile.ops.dwconv2d import DWConv2D, DWConv2DParams
from codeq_compile.simulate import simulate
from tests.graphs import Case, WeightSpec, grid, lowered, one_op_graph, random_weights, s8
from tests.literal import to_int8, window_pixels

X = s8(5, 6, 5)
W3 = WeightSpec(shape=(5, 3, 3))
SAME = (1, 1, 1, 1)

CASES = [
    Case(name="3x3-valid", op=DWConv2D(), inputs=(X,), weights=W3),
    Case(name="3x3-same", op=DWConv2D(padding=SAME), inputs=(X,), weights=W3),
    *(
        Case(name=f"pad-{side}", op=DWConv2D(padding=padding), inputs=(X,), weights=W3)
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
        Case(
            name=f"stride{s[0]}{s[1]}", op=DWConv2D(stride=s, padding=SAME), inputs=(X,), weights=W3
        )
        for s in [(2, 1), (1, 2), (2, 2), (3, 2)]
    ),
    *(
        Case(
            name=f"dilation{d[0]}{d[1]}",
            op=DWConv2D(dilation=d, padding=(2, 2, 3, 3)),
            inputs=(X,),
            weights=W3,
        )
        for d in [(2, 1), (1, 3), (2, 2)]
    ),
    Case(
        name="stride-and-dilation",
        op=DWConv2D(stride=(2, 2), dilation=(2, 2), padding=(2, 1, 1, 2)),
        inputs=(X,),
        weights=W3,
    ),
    *(
        Case(
            name=f"multiplier{m}",
            op=DWConv2D(padding=SAME, stride=(1, 2)),
            inputs=(s8(4, 5, 3),),
            weights=WeightSpec(shape=(3 * m, 3, 3)),
        )
        for m in (2, 3, 8)
    ),
    Case(
        name="one-channel-in",
        op=DWConv2D(padding=SAME),
        inputs=(s8(4, 4, 1),),
        weights=WeightSpec(shape=(7, 3, 3)),
    ),
    Case(
        name="conv1d-k7",
        op=DWConv2D(padding=(0, 0, 3, 3)),
        inputs=(s8(1, 17, 4),),
        weights=WeightSpec(shape=(4, 1, 7)),
    ),
    Case(name="1x1", op=DWConv2D(), inputs=(X,), weights=WeightSpec(shape=(5, 1, 1))),
    # windows in groups of four, and what is left of a row
    *(
        Case(
            name=f"{columns}-columns-s{stride}",
            op=DWConv2D(stride=(stride, stride), padding=SAME),
            inputs=(s8(4, columns, 2),),
            weights=WeightSpec(shape=(2, 3, 3)),
        )
        for columns in range(1, 10)
        for stride in (1, 2)
    ),
    # channels around the vectors of the DSP and MVE kernels
    *(
        Case(
            name=f"c{c}",
            op=DWConv2D(padding=SAME),
            inputs=(s8(3, 3, c),),
            weights=WeightSpec(shape=(c, 3, 3)),
        )
        for c in (1, 2, 3, 4, 15, 16, 17, 33)
    ),
    # bands of the DSP kernel: rows that two of them share, one output in a row, pairs of them
    *(
        Case(
            name=f"band-{h}x{w}-s{stride[0]}{stride[1]}-c{c}",
            op=DWConv2D(stride=stride, padding=padding),
            inputs=(s8(h, w, c),),
            weights=WeightSpec(shape=(c, 3, 3)),
        )
        for h, w, stride, padding, c in [
            (23, 9, (1, 1), SAME, 4),
            (24, 8, (1, 1), SAME, 6),
            (24, 10, (1, 1), (2, 0, 0, 2), 8),
            (40, 3, (2, 1), SAME, 4),
            (25, 14, (2, 2), (0, 1, 0, 1), 5),
            (21, 13, (2, 2), SAME, 4),
            (17, 12, (3, 2), SAME, 4),
            (30, 5, (4, 1), (1, 1, 2, 3), 4),
            (3, 1, (1, 1), SAME, 8),
            (1, 2, (1, 2), (3, 4, 5, 2), 4),
        ]
    ),
    # images wider than the strip of the Helium kernel, rows and columns that no window reads
    *(
        Case(
            name=f"wide-c{c}-s{stride[1]}",
            op=DWConv2D(padding=SAME, stride=stride),
            inputs=(s8(2, width, c),),
            weights=WeightSpec(shape=(c, 3, 3)),
        )
        for c, width, stride in [(17, 64, (1, 1)), (3, 140, (1, 2)), (2, 510, (1, 1))]
    ),
    Case(
        name="wide-multiplier2",
        op=DWConv2D(padding=SAME),
        inputs=(s8(1, 255, 2),),
        weights=WeightSpec(shape=(4, 3, 3)),
    ),
    Case(
        name="stride-beyond-kernel",
        op=DWConv2D(stride=(4, 3), padding=(1, 0, 0, 2)),
        inputs=(s8(9, 8, 3),),
        weights=WeightSpec(shape=(3, 2, 2)),
    ),
    # the chunk of decoded weights
    *(
        Case(
            name=f"taps-{kh * kw}-w{bits}",
            op=DWConv2D(),
            inputs=(s8(kh, kw + 1, 2),),
            weights=WeightSpec(shape=(2, kh, kw), bits=bits),
        )
        for kh, kw in [(5, 51), (16, 16), (1, 257), (19, 27)]
        for bits in (2, 3, 8)
    ),
    *(
        Case(
            name=f"w{bits}-sparse{zeros:.0%}",
            op=DWConv2D(padding=SAME),
            inputs=(X,),
            weights=replace(W3, bits=bits, zeros=zeros),
        )
        for bits in range(2, 9)
        for zeros in (0.0, 0.5, 0.99, 1.0)
    ),
    *(
        Case(
            name=f"w{bits}-gap{gap}",
            op=DWConv2D(padding=SAME),
            inputs=(X,),
            weights=replace(W3, bits=bits, gap=gap, zeros=0.4),
        )
        for bits, gap in [(2, 1), (2, 9), (3, 2), (4, 1), (5, 111), (7, 64)]
    ),
    *(
        Case(
            name=f"levels-{name}",
            op=DWConv2D(padding=SAME),
            inputs=(X,),
            weights=replace(W3, bits=bits, levels=levels),
        )
        for name, bits, levels in [
            ("binary", 1, (-1, 1)),
            ("binary-uneven", 1, (-128, 127)),
            ("binary-largest", 1, (-127, 127)),
            ("always-smallest", 1, (-128, -128)),
            ("ternary-uneven", 2, (-5, 0, 3)),
            ("codebook4", 4, tuple(range(-112, 128, 15))),
            ("codebook7", 7, tuple(range(-64, 64))),
        ]
    ),
    *(
        Case(name=name, op=op, inputs=(x,), output=y, weights=weights)
        for name, op, x, y, weights in [
            ("relu", DWConv2D(clamp=(-3, 127)), X, grid(0.1, -3), W3),
            ("narrow", DWConv2D(multiplier_bits=13), X, None, W3),
            ("per-tensor", DWConv2D(), X, None, replace(W3, per_channel=False)),
            ("no-bias", DWConv2D(padding=SAME), X, None, replace(W3, bias=False)),
            ("zero-low", DWConv2D(padding=SAME), s8(5, 6, 5, zero_point=-128), None, W3),
            ("zero-high", DWConv2D(padding=SAME), s8(5, 6, 5, zero_point=127), None, W3),
            ("left-shift", DWConv2D(), X, grid(1e-4, 0), replace(W3, bits=3)),
            ("tiny-factor", DWConv2D(), X, grid(1e6, 1), W3),
        ]
    ),
]


def _loops(op: DWConv2D, params: DWConv2DParams, x: np.ndarray, out: tuple[int, ...]) -> np.ndarray:
    """NUMERICS §dwconv2d, Semantics."""
    multiplier = out[2] // x.shape[2]
    weights, image = params.weights.tolist(), x.tolist()
    y = np.empty(out, np.int8)
    for oh, ow, oc in np.ndindex(out):
        acc = int(params.requant.bias[oc])
        for kh, kw, h, w, inside in window_pixels(
            oh, ow, x.shape[:2], params.weights.shape[1:], op.stride, op.dilation, op.padding
        ):
            acc += (image[h][w][oc // multiplier] if inside else params.in_zero) * weights[oc][kh][
                kw
            ]
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


@pytest.mark.parametrize(
    ("label", "op", "x", "shape", "bias"),
    [
        ("dwconv2d-C1", DWConv2D(), TensorType(shape=(8, 5)), (5, 3, 3), None),
        ("dwconv2d-C2", DWConv2D(), X, (6, 3, 3), None),
        ("dwconv2d-C2", DWConv2D(), X, (5, 3, 3, 1), None),
        ("dwconv2d-C3", DWConv2D(), X, (5, 3, 3), np.zeros(1, np.int32)),
        ("dwconv2d-C4", DWConv2D(), X, (5, 7, 3), None),
        ("dwconv2d-C5", DWConv2D(clamp=(0, 128)), X, (5, 3, 3), None),
    ],
)
def test_an_illegal_depthwise_convolution_is_refused_by_its_rule(rng, label, op, x, shape, bias):
    """A model that breaks a rule must be refused with the rule's number, not compiled wrongly."""
    with pytest.raises(SpecViolation) as caught:
        one_op_graph(op, [x], grid(0.1, 0), weights=random_weights(rng, shape), bias=bias)

    assert label == caught.value.label


@pytest.mark.parametrize(("bits", "expected"), [(4, 12), (8, 0)])
def test_scratch_holds_one_decoded_channel(bits, expected):
    """Too little scratch overflows on the device; plain bytes need none. [dwconv2d-C6]"""
    case = next(case for case in CASES if case.name == "multiplier2")
    graph = lowered(case.graph())
    (node,) = graph.nodes
    packed = Packed(packing="dense", bits=bits, data=b"")
    args = (node.params, graph.input_types(node), graph.tensors["y"], packed, "dwconv2d")

    assert expected == node.op.scratch_bytes(*args)  # 9 weights, filled up to a word
    assert 4 * 3 * 6 * 9 == node.op.macs(node.params, graph.tensors["y"])


@pytest.mark.parametrize(("bits", "expected"), [(4, 8 * 9 + 12), (8, 8 * 9)])
def test_dsp_kernels_have_room_for_weights_of_four_channels(bits, expected):
    """Two words a tap, then a decoded channel. [dwconv2d-C11]"""
    case = next(case for case in CASES if case.name == "multiplier2")
    graph = lowered(case.graph())
    (node,) = graph.nodes
    packed = Packed(packing="dense", bits=bits, data=b"")
    args = (node.params, graph.input_types(node), graph.tensors["y"], packed, "dwconv2d", "dsp")

    assert expected == node.op.scratch_bytes(*args)


@pytest.mark.parametrize(
    ("name", "rows", "words"),
    [
        ("band-23x9-s11-c4", 10, 13),  # turned: eight of nine columns of outputs
        ("band-24x8-s11-c6", 12, 5),
        ("band-25x14-s22-c5", 17, 8),  # eight rows of outputs are more than 960 bytes
        ("band-3x1-s11-c8", 3, 3),  # turned: a row of three pixels
    ],
)
def test_dsp_kernels_have_room_for_a_band_of_rows(name, rows, words):
    """Too little scratch is a buffer overflow on the device. [dwconv2d-C7]"""
    case = next(case for case in CASES if case.name == name)
    graph = lowered(case.graph())
    (node,) = graph.nodes
    packed = Packed(packing="dense", bits=4, data=b"")
    args = (node.params, graph.input_types(node), graph.tensors["y"], packed)

    assert 16 * rows * words == node.op.scratch_bytes(*args, "dwconv2d_3x3", "dsp")


def test_the_3x3_family_is_offered_only_where_it_serves():
    """It reads four channels at once and each of them once: other layers would be wrong."""
    special = {
        case.name
        for case in CASES
        if "dwconv2d_3x3" in (node := lowered(case.graph()).nodes[0]).op.families(node.params)
    }

    assert {"3x3-same", "stride22", "c4", "band-40x3-s21-c4"} <= special
    assert not special & {"c3", "dilation21", "multiplier2", "one-channel-in", "1x1", "conv1d-k7"}


@pytest.mark.parametrize(
    ("op", "inputs", "kernel", "weights", "strip"),
    [
        (DWConv2D(padding=SAME), (5, 6, 16), (3, 3), 16 * 9, 3 * (8 * 16 + 16)),
        (DWConv2D(padding=SAME), (5, 6, 8), (3, 3), 16 * 9, 3 * (8 * 8 + 16)),
        (DWConv2D(padding=SAME, stride=(2, 2)), (4, 6, 8), (3, 3), 16 * 9, 3 * (7 * 16 + 16)),
        (DWConv2D(padding=SAME), (5, 62, 16), (3, 3), 16 * 9, 3 * (63 * 16 + 16)),
        (DWConv2D(dilation=(2, 3)), (9, 9, 5), (3, 2), 16 * 6, 5 * (9 * 16 + 16)),
        (DWConv2D(), (200, 3, 16), (200, 2), 16 * 400, 200 * (2 * 16 + 16)),
    ],
)
def test_scratch_of_helium_kernels_holds_a_strip(rng, op, inputs, kernel, weights, strip):
    """Too little scratch overflows on the device; too much costs every model. [dwconv2d-C8]"""
    codes = random_weights(rng, (inputs[2], *kernel))
    graph = lowered(one_op_graph(op, [s8(*inputs)], weights=codes))
    (node,) = graph.nodes
    packed = Packed(packing="dense", bits=4, data=b"")
    args = (node.params, graph.input_types(node), graph.tensors["y"], packed, "dwconv2d", "mve")

    assert weights + strip == node.op.scratch_bytes(*args)
