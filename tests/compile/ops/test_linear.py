# SPDX-License-Identifier: Apache-2.0
"""linear: the golden against loops written from NUMERICS §linear, and its refusals."""

from dataclasses import replace

import numpy as np
import pytest

from codeq_compile.errors import SpecViolation
from codeq_compile.ir import DType, Packed, TensorType
from codeq_compile.ops.base import CHUNK
from codeq_compile.ops.linear import Linear, LinearParams
from codeq_compile.simulate import simulate
from tests.graphs import Case, WeightSpec, grid, lowered, one_op_graph, random_weights, s8
from tests.literal import to_int8

X = s8(37)
W = WeightSpec(shape=(5, 37))


def _features(inputs: int, outputs: int, bits: int = 8) -> Case:
    return Case(
        name=f"{inputs}-to-{outputs}-w{bits}",
        op=Linear(),
        inputs=(s8(inputs),),
        weights=WeightSpec(shape=(outputs, inputs), bits=bits),
    )


CASES = [
    *(_features(i, o) for i, o in [(1, 1), (1, 9), (2, 2), (3, 4), (4, 3), (7, 1), (64, 12)]),
    *(_features(i, 3) for i in (15, 16, 17, 31, 32, 33, 127, 128, 129)),
    *(_features(i, o) for i, o in [(8, 5), (24, 4), (264, 6)]),  # rows of whole bytes, not of steps
    _features(513, 9),  # more rows than a Helium kernel decodes at a time
    # the chunk of decoded weights
    *(_features(i, 3, bits) for i in (255, 256, 257, 511, 512, 513) for bits in (2, 3, 5)),
    *(
        Case(
            name=f"rows{'x'.join(map(str, shape))}",
            op=Linear(),
            inputs=(s8(*shape),),
            weights=WeightSpec(shape=(4, 6)),
        )
        for shape in [(1, 6), (2, 6), (9, 6), (2, 3, 6)]
    ),
    *(
        Case(
            name=f"w{bits}-sparse{zeros:.0%}",
            op=Linear(),
            inputs=(X,),
            weights=replace(W, bits=bits, zeros=zeros),
        )
        for bits in range(2, 9)
        for zeros in (0.0, 0.5, 0.99, 1.0)
    ),
    *(
        Case(
            name=f"long-sparse{zeros:.0%}-w{bits}",
            op=Linear(),
            inputs=(s8(700),),
            weights=WeightSpec(shape=(3, 700), bits=bits, zeros=zeros),
        )
        for zeros in (0.5, 0.99, 1.0)
        for bits in (2, 4, 8)
    ),
    *(
        Case(
            name=f"w{bits}-gap{gap}",
            op=Linear(),
            inputs=(X,),
            weights=replace(W, bits=bits, gap=gap, zeros=0.5),
        )
        for bits, gap in [(2, 1), (2, 9), (3, 2), (4, 1), (5, 111), (7, 64)]
    ),
    *(
        Case(
            name=f"levels-{name}",
            op=Linear(),
            inputs=(X,),
            weights=replace(W, bits=bits, levels=levels, zeros=zeros),
        )
        for name, bits, levels, zeros in [
            ("binary", 1, (-1, 1), 0.0),
            ("binary-uneven", 1, (-128, 127), 0.0),
            ("ternary-uneven", 2, (-5, 0, 3), 0.5),
            ("codebook3", 3, (-9, -4, -1, 0, 2, 5, 11), 0.3),
            ("codebook7", 7, tuple(range(-64, 64)), 0.9),
        ]
    ),
    *(
        Case(name=name, op=op, inputs=(x,), output=y, weights=weights)
        for name, op, x, y, weights in [
            ("relu", Linear(clamp=(-3, 127)), X, grid(0.1, -3), W),
            ("narrow", Linear(multiplier_bits=13), X, None, W),
            ("per-tensor", Linear(), X, None, replace(W, per_channel=False)),
            ("no-bias", Linear(), X, None, replace(W, bias=False)),
            ("zero-low", Linear(), s8(37, zero_point=-128), None, W),
            ("zero-high", Linear(), s8(37, zero_point=127), None, W),
            ("left-shift", Linear(), X, grid(1e-4, 0), replace(W, bits=3)),
            ("tiny-factor", Linear(), X, grid(1e6, 1), W),
        ]
    ),
]


def _loops(params: LinearParams, x: np.ndarray) -> np.ndarray:
    """NUMERICS §linear, Semantics."""
    rows = x.reshape(-1, params.weights.shape[1]).tolist()
    weights = params.weights.tolist()
    y = np.empty((len(rows), len(weights)), np.int8)
    for r, row in enumerate(rows):
        for o, column in enumerate(weights):
            acc = int(params.requant.bias[o])
            for value, weight in zip(row, column, strict=True):
                acc += value * weight
            y[r, o] = to_int8(acc, params.requant, o)
    return y.reshape(*x.shape[:-1], len(weights))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_golden_equals_the_spec_written_as_loops(case: Case):
    """A wrong golden makes every kernel wrong with it, and no comparison would notice."""
    graph = lowered(case.graph())
    data = case.data()
    (node,) = graph.nodes

    expected = [_loops(node.params, x) for x in data["x0"]]

    np.testing.assert_array_equal(expected, simulate(graph, data)["y"])


def test_the_cases_have_distinct_names():
    """Two cases of one name would share their data, and test ids would be ambiguous."""
    names = [case.name for case in CASES]

    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("label", "op", "x", "shape", "bias"),
    [
        ("linear-C1", Linear(), TensorType(shape=(5,), dtype=DType.S32), (2, 5), None),
        ("linear-C2", Linear(), X, (2, 36), None),
        ("linear-C2", Linear(), X, (2, 37, 1), None),
        ("linear-C3", Linear(), X, (2, 37), np.zeros(3, np.int32)),
        ("linear-C4", Linear(clamp=(1, 0)), X, (2, 37), None),
    ],
)
def test_an_illegal_linear_layer_is_refused_by_its_rule(rng, label, op, x, shape, bias):
    """A model that breaks a rule must be refused with the rule's number, not compiled wrongly."""
    with pytest.raises(SpecViolation) as caught:
        one_op_graph(op, [x], grid(0.1, 0), weights=random_weights(rng, shape), bias=bias)

    assert label == caught.value.label


@pytest.mark.parametrize(
    ("packing", "bits", "inputs", "expected"),
    [
        ("dense", 4, 3, 4),
        ("dense", 4, 257, 256),
        ("rle", 8, 3, 8),
        ("rle", 8, 300, 512),
        ("dense", 8, 257, 0),
    ],
)
def test_scratch_holds_one_decoded_chunk(rng, packing, bits, inputs, expected):
    """Too little scratch is a buffer overflow on the device; plain bytes need none. [linear-C5]"""
    graph = lowered(one_op_graph(Linear(), [s8(inputs)], weights=random_weights(rng, (2, inputs))))
    (node,) = graph.nodes
    packed = Packed(packing=packing, bits=bits, data=b"")
    args = (node.params, graph.input_types(node), graph.tensors["y"], packed, "linear")

    assert expected == node.op.scratch_bytes(*args)
    assert 2 * inputs == node.op.macs(node.params, graph.tensors["y"])


def test_dsp_kernels_have_room_for_a_widened_vector(rng):
    """Too little scratch is a buffer overflow on the device. [linear-C6]"""

    def scratch(bits: int, features: int = 37, gap: int = 0) -> int:
        weights = random_weights(rng, (2, features))
        graph = lowered(one_op_graph(Linear(), [s8(features)], weights=weights))
        (node,) = graph.nodes
        packed = Packed(packing="dense", bits=bits, data=b"", gap=gap)
        args = (node.params, graph.input_types(node), graph.tensors["y"], packed)
        return int(node.op.scratch_bytes(*args, "linear", "dsp"))

    assert 2 * 40 == scratch(8)
    assert 2 * 40 + 4 * CHUNK == scratch(4)
    assert 2 * 48 == scratch(4, features=40)
    assert 2 * 64 == scratch(1, features=40)
    assert 2 * 48 == scratch(2, features=40, gap=3)
    assert 2 * 40 + 4 * CHUNK == scratch(4, features=40, gap=3)


@pytest.mark.parametrize("isa", ["dsp", "swar"])
def test_signs_have_room_for_a_vector_and_minus_it(rng, isa):
    """Too little scratch is a buffer overflow on the device. [linear-C9]"""
    weights = random_weights(rng, (2, 37), bits=2)
    graph = lowered(one_op_graph(Linear(), [s8(37)], weights=weights))
    (node,) = graph.nodes
    kinds = graph.input_types(node), graph.tensors["y"]

    def scratch(packing: str, bits: int) -> int:
        packed = Packed(packing=packing, bits=bits, data=b"")
        return int(node.op.scratch_bytes(node.params, *kinds, packed, "linear_sparse", isa))

    assert 16 * 10 == scratch("csr", 2)
    assert 0 == scratch("csr", 4) == scratch("csr", 8) == scratch("gap", 2)


def test_swar_kernels_have_room_for_a_row_that_is_not_at_words(rng):
    """Too little scratch is a buffer overflow on the device. [linear-C7]"""
    weights = random_weights(rng, (2, 40), bits=4)
    graph = lowered(one_op_graph(Linear(), [s8(40)], weights=weights))
    (node,) = graph.nodes
    packed = Packed(packing="dense", bits=4, data=b"")
    args = (node.params, graph.input_types(node), graph.tensors["y"], packed)

    assert 2 * 48 + CHUNK == node.op.scratch_bytes(*args, "linear", "swar")


@pytest.mark.parametrize(
    ("packing", "bits", "inputs", "outputs", "expected"),
    [
        ("dense", 4, 3, 2, 8),  # both rows
        ("dense", 4, 64, 100, 32 * 64),  # as many fours of rows as 2048 weights are
        ("dense", 4, 300, 10, 4 * 300),  # four rows, more than 2048 weights or not
        ("ternary", 2, 1024, 10, 4 * 1024),
        ("dense", 4, 1025, 10, 256),  # a chunk
        ("dense", 8, 64, 100, 0),
        ("rle", 8, 3, 2, 2 * 256 + 8),
        ("bitmask", 4, 1025, 10, 2 * 256 + 256),
    ],
)
def test_scratch_of_helium_kernels_holds_a_panel_of_rows(
    rng, packing, bits, inputs, outputs, expected
):
    """Too little scratch is a buffer overflow on the device. [linear-C5] [F3]"""
    weights = random_weights(rng, (outputs, inputs))
    graph = lowered(one_op_graph(Linear(), [s8(inputs)], weights=weights))
    (node,) = graph.nodes
    packed = Packed(packing=packing, bits=bits, data=b"")
    args = (node.params, graph.input_types(node), graph.tensors["y"], packed, "linear", "mve")

    assert expected == node.op.scratch_bytes(*args)
