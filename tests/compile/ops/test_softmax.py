# SPDX-License-Identifier: Apache-2.0
"""softmax: the golden against loops written from NUMERICS §softmax, and its refusals."""

import numpy as np
import pytest

from codeq_compile.errors import SpecViolation
from codeq_compile.ir import DType, TensorType
from codeq_compile.ops.softmax import MAX_DEPTH, Softmax, SoftmaxParams
from codeq_compile.simulate import simulate
from tests.graphs import Case, lowered, one_op_graph, s8
from tests.literal import clamp, divide_by_pot, high_mul, rescale


def trips(x: TensorType) -> dict[str, float]:
    (node,) = lowered(one_op_graph(Softmax(), [x])).nodes
    return dict(node.op.trips(node.params, (x,), x, None, "softmax", "ref"))


CASES = [
    *(
        Case(name=f"{'x'.join(map(str, shape))}", op=Softmax(), inputs=(s8(*shape, scale=0.1),))
        for shape in [(1,), (2,), (12,), (300,), (3, 7), (2, 3, 5)]
    ),
    *(
        Case(name=f"scale-{scale:g}", op=Softmax(), inputs=(s8(10, scale=scale),))
        for scale in (1e-9, 1e-3, 0.02, 0.124, 0.5, 1.0, 3.7, 31.0, 100.0)
    ),
    Case(name="beta", op=Softmax(beta=0.37), inputs=(s8(10, scale=0.2),)),
    # all equal (samples 1 and 2): the sum of exponentials is the largest possible
    *(
        Case(name=f"depth-{depth}", op=Softmax(), inputs=(s8(depth, scale=0.01),))
        for depth in (255, 256, 257, 511, 512, 513, 1001, MAX_DEPTH)
    ),
]

# gemmlowp's exp_on_negative_values: exp(-2^k) as Q0.31 for the bits of the quarters
BARREL = {
    -2: 1672461947,
    -1: 1302514674,
    0: 790015084,
    1: 290630308,
    2: 39332535,
    3: 720401,
    4: 242,
}


def _exp(a: int) -> int:
    """exp_on_negative_values for five integer bits."""
    if a == 0:
        return (1 << 31) - 1
    quarter = 1 << 24
    in_quarter = (a & (quarter - 1)) - quarter
    x = (in_quarter << 5) + (1 << 28)
    x2 = high_mul(x, x)
    x4_4 = divide_by_pot(high_mul(x2, x2), 2)
    tail = divide_by_pot(high_mul(x4_4 + high_mul(x2, x), 715827883) + x2, 1)
    result = 1895147668 + high_mul(1895147668, x + tail)
    remainder = in_quarter - a
    for exponent, factor in BARREL.items():
        if remainder & 1 << (26 + exponent):
            result = high_mul(result, factor)
    return result


def _reciprocal(a: int) -> int:
    """one_over_one_plus_x_for_x_in_0_1."""
    half = (a + (1 << 31) - 1 + 1) // 2
    x = 1515870810 + high_mul(half, -1010580540)
    for _ in range(3):
        x += high_mul(x, (1 << 29) - high_mul(half, x)) << 2
    return min(x << 1, (1 << 31) - 1)


def _loops(params: SoftmaxParams, x: np.ndarray) -> np.ndarray:
    """NUMERICS §softmax, Semantics."""
    y = []
    for row in x.reshape(-1, x.shape[-1]).tolist():
        exps = [
            _exp(rescale(v - max(row), params.scale.multiplier, params.scale.exponent))
            if v - max(row) >= params.diff_min
            else None
            for v in row
        ]
        total = sum(divide_by_pot(e, 12) for e in exps if e is not None)
        assert total < 1 << 31
        headroom = 32 - total.bit_length()
        reciprocal = _reciprocal((total << headroom) - (1 << 31))
        for e in exps:
            scaled = 0 if e is None else high_mul(reciprocal, e)
            y.append(clamp(divide_by_pot(scaled, 12 - headroom + 23) - 128, (-128, 127)))
    return np.array(y, np.int8).reshape(x.shape)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_golden_equals_the_spec_written_as_loops(case: Case):
    """A wrong golden makes every kernel wrong with it, and no comparison would notice."""
    graph = lowered(case.graph())
    data = case.data()

    expected = [_loops(graph.nodes[0].params, x) for x in data["x0"]]

    np.testing.assert_array_equal(expected, simulate(graph, data)["y"])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_result_is_within_a_step_of_the_real_softmax(case: Case):
    """A probability that is off by more than its resolution would mislead an application."""
    graph = lowered(case.graph())
    data = case.data()
    x = graph.tensors["x0"].grid.dequantize(data["x0"]).astype(np.float64) * case.op.beta

    e = np.exp(x - x.max(axis=-1, keepdims=True))
    expected = np.minimum(256 * e / e.sum(axis=-1, keepdims=True), 255)

    # half a step of rounding, and less than half of fixed-point error
    assert np.abs(expected - 128 - simulate(graph, data)["y"]).max() <= 1


@pytest.mark.parametrize(
    ("label", "op", "x"),
    [
        ("softmax-C1", Softmax(), TensorType(shape=(3,), dtype=DType.S32)),
        ("softmax-C2", Softmax(), s8(MAX_DEPTH + 1)),
        ("softmax-C3", Softmax(beta=0.0), s8(3)),
        ("softmax-C3", Softmax(beta=float("nan")), s8(3)),
    ],
)
def test_an_illegal_softmax_is_refused_by_its_rule(label, op, x):
    """A model that breaks a rule must be refused with the rule's number, not compiled wrongly."""
    with pytest.raises(SpecViolation) as caught:
        one_op_graph(op, [x])

    assert label == caught.value.label


@pytest.mark.parametrize("scale", [0.05, 0.3, 2.0])
def test_exponentials_are_counted_as_for_all_pairs_of_values(scale: float):
    """Which are computed depends on the values: what is predicted is their mean."""
    (node,) = lowered(one_op_graph(Softmax(), [s8(2, scale=scale)])).nodes
    exponentials = largest = factors = 0
    for distance in range(256):
        # two values so far apart; both are met twice
        pairs = 256 if distance == 0 else 2 * (256 - distance)
        largest += 2 * pairs * (2 if distance == 0 else 1)
        if 0 < distance <= -node.params.diff_min:
            exponentials += 2 * pairs
            x = -rescale(-distance, node.params.scale.multiplier, node.params.scale.exponent)
            factors += 2 * pairs * ((x - 1) >> 24).bit_count()
    found = trips(s8(2, scale=scale))

    # differences of sums of powers of 1/256
    close = {"rel": 1e-12}
    assert largest / 65536 == pytest.approx(found["largest values"], **close)
    assert exponentials / 65536 == pytest.approx(found["exponentials"], **close)
    assert factors / 65536 == pytest.approx(found["factors"], **close)


def test_rows_of_a_softmax_are_alike():
    """Four of them take four times as long."""
    one, four = trips(s8(12, scale=0.1)), trips(s8(4, 12, scale=0.1))

    assert four == {name: 4 * each for name, each in one.items()}
