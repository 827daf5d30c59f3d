# SPDX-License-Identifier: Apache-2.0
"""Requantization tables, bounds, and the C structs that all ops share."""

import re
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import codeq_compile.ops  # noqa: F401  # makes the ops known
from codeq_compile import resources
from codeq_compile.errors import SpecViolation
from codeq_compile.ir import CArray, Packed, Weights, op_kinds, op_type
from codeq_compile.ops.base import (
    Requant,
    Scale,
    c_weights,
    make_requant,
    repeated,
    weighted_bound,
    window,
)
from codeq_compile.ops.linear import Linear
from codeq_compile.simulate import simulate
from tests import literal, spec
from tests.graphs import lowered, one_op_graph, random_weights, s8


def _requant(multiplier=(1 << 30,), exponent=(-3,), bias=(0,), zero=0, clamp=(-128, 127)):
    return Requant(
        bias=np.array(bias, np.int32),
        multiplier=np.array(multiplier, np.int32),
        exponent=np.array(exponent, np.int8),
        zero_point=zero,
        clamp_min=clamp[0],
        clamp_max=clamp[1],
    )


def _requantized(requant, acc, bound):
    """The accumulators of one channel through the vectorised road."""
    out = np.empty((len(acc), 1, 1), np.int8)
    requant.prepare(bound, 1)(acc.reshape(-1, 1, 1), out)
    return out.ravel()


@given(
    st.integers(1 << 30, (1 << 31) - 1) | st.sampled_from([0, 1 << 30, (1 << 31) - 1]),
    st.integers(-31, 8),
    st.integers(0, (1 << 31) - 1),
    st.integers(-128, 127),
    st.booleans(),
    st.lists(st.floats(-1, 1) | st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=40),
)
def test_every_road_of_the_requantization_gives_the_spec(
    multiplier, exponent, bound, zero, relu, shares
):
    """float64 is taken where it is exact; a wrong proof would flip single outputs. [N4.2]"""
    bound >>= max(exponent, 0)
    clamp = (zero if relu else -128, 127)
    requant = _requant((multiplier,), (exponent,), zero=zero, clamp=clamp)
    acc = np.array([int(share * bound) for share in shares], np.int64)
    limit = np.array([bound << max(exponent, 0)])

    expected = [literal.to_int8(a, requant, 0) for a in acc.tolist()]

    np.testing.assert_array_equal(expected, _requantized(requant, acc, limit))
    np.testing.assert_array_equal(expected, _requantized(requant, acc.astype(np.float64), limit))


@pytest.mark.parametrize("clamp", [(-128, 127), (-1, 127)], ids=["plain", "relu"])
@pytest.mark.parametrize("exponent", range(-14, 4))
def test_every_tie_of_the_double_rounding_is_met(exponent, clamp):
    """Ties are where one rounding too few, or in the wrong direction, shows. [N4.2]"""
    around = np.arange(-40, 41) * (1 << max(-exponent, 0))  # multiples of an output step
    near = np.arange(-3, 4)
    halves = around[:, None] + (1 << max(-exponent, 0) >> 1) + near
    acc = np.concatenate([(around[:, None] + near).ravel(), halves.ravel()])
    bound = np.array([int(np.abs(acc).max()) << max(exponent, 0)])
    for multiplier in (1 << 30, (1 << 30) + 1, 3 << 29, (1 << 31) - 1):
        requant = _requant((multiplier,), (exponent,), zero=-1, clamp=clamp)

        expected = [literal.to_int8(a, requant, 0) for a in acc.tolist()]

        np.testing.assert_array_equal(expected, _requantized(requant, acc, bound))


@pytest.mark.parametrize(
    ("acc", "multiplier", "exponent", "below"),
    [
        (1156959, 1307675489, -15, 22),
        (1086515, 1457223941, -15, 23),
        (8388607, 1082130433, -16, 65),
        (8618789, 2065637203, -16, 127),
    ],
)
def test_a_product_one_unit_below_a_step_stays_below(acc, multiplier, exponent, below):
    """Floats with too few bits would round it up: there the integer road must be taken. [N4.2]

    Found by searching for factorisations of (step - 2^-31): the hardest values there are.
    """
    for zero, clamp in [(0, (-128, 127)), (100, (100, 127)), (0, (0, 127))]:
        requant = _requant((multiplier,), (exponent,), zero=zero, clamp=clamp)

        expected = literal.clamp(zero + below - 1, clamp)

        assert literal.to_int8(acc, requant, 0) == expected
        assert [expected] == _requantized(requant, np.array([acc]), np.array([acc])).tolist()


def test_the_zero_point_moves_into_the_bias(rng):
    """Kernels multiply the stored values: the bias must carry the zero point. [N4.1]"""
    weights = random_weights(rng, (3, 7), bits=4, gap=2)
    bias = np.array([5, -6, 7], np.int32)
    x = s8(7, zero_point=-100)

    requant = make_requant(
        weights=weights,
        bias=bias,
        input_type=x,
        output_type=s8(3),
        clamp=(-128, 127),
        multiplier_bits=31,
    )

    sums = weights.values.sum(axis=1, dtype=np.int64)
    assert (bias + 100 * sums).tolist() == requant.bias.tolist()


def test_a_bias_beyond_int32_is_refused(rng):
    """It would wrap silently on the device. [N4.1]"""
    bias = np.full(2, 2**31 - 1, np.int32)
    weights = random_weights(rng, (2, 300), zeros=0)
    weights = Weights(codes=np.abs(weights.codes), bits=8, scale=weights.scale)

    with pytest.raises(SpecViolation) as caught:
        lowered(one_op_graph(Linear(), [s8(300, zero_point=-128)], weights=weights, bias=bias))

    assert caught.value.label == "N4.1"


def test_the_bound_is_reached_by_the_worst_input(rng):
    """Smaller than the truth it would let overflows through; larger, refuse good models. [N4.3]"""
    weights = Weights(codes=np.array([[127, 127, 5], [-8, 0, 1]], np.int8), bits=8,
                      scale=np.ones(1, np.float32))  # fmt: skip
    requant = _requant((1 << 30, 1 << 30), (2, -2), bias=(-100, 7))

    bound = weighted_bound(requant, weights.values)

    assert [(100 + 128 * 259) << 2, 7 + 128 * 9] == bound.tolist()


def test_an_enormous_shift_keeps_the_bound_beyond_int32():
    """The bound itself must not overflow and look small. [N4.3]"""
    requant = _requant(exponent=(31,), bias=(1,))

    assert weighted_bound(requant, np.full((1, 100_000), -128, np.int8))[0] > 2**31


@pytest.mark.parametrize("real", [2.0**30, 1e300])
def test_a_factor_beyond_all_accumulators_is_refused(real):
    """A scale of 1e-12 in a damaged file must be an error, not an arbitrary shift. [N2.2]"""
    with pytest.raises(SpecViolation) as caught:
        Scale.of(real)

    assert caught.value.label == "N2.2"


FULL = 1 << 30


@pytest.mark.parametrize(
    ("bias", "multiplier", "exponent", "bytes_each"),
    [
        pytest.param((127, -128), (FULL, 31 << 26), (-9, 6), (1, 1), id="a-byte-each"),
        pytest.param((254, -256), (FULL, 31 << 26), (-9, 7), (1, 3), id="exponents-too-far-apart"),
        pytest.param((255, 0), (FULL, 33 << 25), (-9, 6), (2, 2), id="a-fifth-fraction-bit"),
        pytest.param((1 << 30, 0), (FULL, 8191 << 18), (0, 15), (1, 2), id="one-bit-far-up"),
        pytest.param((128, 0), (FULL, 16383 << 17), (0, 0), (1, 3), id="a-13th-fraction-bit"),
        pytest.param((129, 0), (FULL + 1, FULL), (0, 0), (2, 5), id="all-31-bits"),
        pytest.param((0, -32769), ((1 << 31) - (1 << 15), 0), (0, 0), (4, 3), id="a-factor-of-0"),
    ],
)
def test_tables_take_the_fewest_bytes_and_lose_nothing(bias, multiplier, exponent, bytes_each):
    """Tables can outweigh the weights of a small model. [N4.4]"""
    c = _requant(multiplier, exponent, bias).c_params()

    factor_bytes = c["multiplier_bytes"] + (c["exponent"] is not None)
    assert bytes_each == (c["bias_bytes"], factor_bytes)
    assert c["bias_bytes"] == c["bias"].bytes // 2
    assert c["multiplier_bytes"] == c["multiplier"].bytes // 2
    read = [literal.read_factor(c, channel) for channel in range(2)]
    assert list(zip(multiplier, exponent, strict=True)) == read
    assert list(bias) == (c["bias"].data.astype(np.int64) << c["bias_shift"]).tolist()


@pytest.mark.parametrize(("bits", "bytes_each"), [(31, 5), (16, 3), (13, 2), (5, 1)])
def test_the_layer_says_how_many_bits_its_multipliers_keep(rng, bits, bytes_each):
    """Fewer table bytes for a factor that changes by less than 2^-bits. [N2.3]"""
    weights = random_weights(rng, (9, 5))
    wide, narrow = (
        lowered(one_op_graph(Linear(multiplier_bits=n), [s8(5)], weights=weights)).nodes[0].params
        for n in (31, bits)
    )

    c = narrow.requant.c_params()

    assert bytes_each == c["multiplier_bytes"] + (c["exponent"] is not None)
    ratio = np.ldexp(1.0 * narrow.requant.multiplier, narrow.requant.exponent) / np.ldexp(
        1.0 * wide.requant.multiplier, wide.requant.exponent
    )
    assert np.abs(ratio - 1).max() <= 2.0**-bits


@pytest.mark.parametrize("bits", [0, 32])
def test_multipliers_of_no_bits_are_refused(rng, bits):
    """A damaged file must be an error, not a factor of 0. [N2.3]"""
    graph = one_op_graph(Linear(multiplier_bits=bits), [s8(5)], weights=random_weights(rng, (9, 5)))

    with pytest.raises(SpecViolation, match="multiplier_bits"):
        lowered(graph)


@pytest.mark.parametrize("bits", range(1, 9))
def test_the_layer_multiplies_with_the_levels_of_its_codes(rng, bits):
    """Index plus gap, or the level in the table: the only meaning of a stored weight. [N3.4]"""
    codes = {"levels": (-3, 9)} if bits == 1 else {"gap": 3 if bits < 8 else 0}
    weights = random_weights(rng, (2, 50), bits=bits, zeros=0.3, **codes)
    graph = lowered(one_op_graph(Linear(), [s8(50)], weights=weights))

    expected = [
        weights.levels[i] if weights.levels else i + weights.gap * ((i > 0) - (i < 0))
        for i in weights.codes.ravel().tolist()
    ]

    assert expected == graph.nodes[0].params.weights.ravel().tolist()


def test_a_zero_of_the_input_adds_nothing(rng):
    """Real 0 is exact on every grid: such an input leaves the bias alone. [N3.1] [N3.2] [N3.3]"""
    weights = random_weights(rng, (4, 20), bits=5)
    graph = lowered(one_op_graph(Linear(), [s8(20, zero_point=41)], weights=weights))
    zero = graph.tensors["x0"].grid.quantize(np.zeros((1, 20)))

    assert {41} == set(zero.ravel().tolist())
    assert {graph.tensors["y"].zero_point} == set(simulate(graph, {"x0": zero})["y"][0].tolist())


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3),
       st.integers(0, 3), st.integers(0, 3))  # fmt: skip
def test_windows_are_counted_as_they_fit(size, kernel, stride, dilation, before, after):
    """One row too many reads beyond the image."""
    fit = [
        start
        for start in range(-before, size + after, stride)
        if start + (kernel - 1) * dilation < size + after
    ]
    args = ((size, 1), (kernel, 1), (stride, 1), (dilation, 1), (before, after, 0, 0))

    if fit:
        assert (len(fit), 1) == window("conv2d-C4", *args)
    else:
        with pytest.raises(SpecViolation, match="larger than the padded input"):
            window("conv2d-C4", *args)


@pytest.mark.parametrize(
    ("a", "b", "period"),
    [
        ((3, 4, 5), (3, 4, 5), 60),
        ((3, 4, 5), (4, 5), 20),
        ((3, 4, 5), (1, 1, 5), 5),
        ((1, 1, 5), (5,), 5),
        ((3, 4, 1), (1, 1, 1), 1),
        ((5,), (1,), 1),
    ],
)
def test_the_second_operand_repeats_along_the_first(a, b, period):
    """The kernels index it modulo its size; other broadcasts would read wrong elements."""
    assert period == repeated("add-C2", s8(*a), s8(*b))


# --- the structs of include/codeq are the contract of c_params ---


def _struct(name: str) -> list[str]:
    """Names of the fields of a C struct, in order, from the public headers."""
    headers = (resources.runtime_dir() / "include" / "codeq").glob("*.h")
    source = "\n".join(path.read_text() for path in sorted(headers))
    body = re.search(rf"struct {name} \{{(.*?)\n\}};", source, re.DOTALL)
    assert body is not None, f"no struct {name}"
    fields = re.sub(r"/\*.*?\*/", "", body[1], flags=re.DOTALL)
    return [
        re.search(r"(\w+)(\[\d+\])?\s*$", declarator)[1]
        for field in fields.split(";")
        if field.strip()
        for declarator in field.split(",")
    ]


KERNELS = sorted(kind for kind in op_kinds() if not op_type(kind).is_view)


@pytest.mark.parametrize("kind", KERNELS)
def test_the_c_parameters_are_the_fields_of_the_struct_in_order(kind):
    """Emitted initialisers name every field: a missing one would be a silent 0."""
    graph = spec.example(spec.sections()[kind]).graph
    (node,) = graph.nodes
    packed = None
    if node.weights is not None:
        packed = Packed(packing="dense", bits=8, data=b"\0" * node.weights.codes.size)

    c = node.op.c_params(node.params, graph.input_types(node), graph.tensors["y"], packed)

    assert _struct(f"cq_{kind}_params") == list(c)
    for name, value in c.items():
        if isinstance(value, Mapping):
            own = {"weights", "requant", "sparse", "walk"}
            struct = f"cq_{name}" if name in own else "cq_scale"
            assert _struct(struct) == list(value)


def test_the_weights_struct_carries_the_table_of_levels():
    """Decoders need the table, and its bytes are counted as flash."""
    packed = Packed(packing="dense", bits=1, data=b"\x05", levels=(-3, 7))

    c = c_weights(packed)

    assert isinstance(c["levels"], CArray)
    assert [-3, 7] == c["levels"].data.tolist()
    assert [5] == c["data"].data.tolist()
    assert c_weights(Packed(packing="rle", bits=4, data=b"", run_bits=3))["run_bits"] == 3
