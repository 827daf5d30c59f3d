# SPDX-License-Identifier: Apache-2.0
"""svdf: the golden against loops written from NUMERICS §svdf, its state, and its refusals."""

from dataclasses import replace

import numpy as np
import pytest

from codeq_compile.errors import ModelError, SpecViolation
from codeq_compile.ir import DType, TensorType
from codeq_compile.ops.svdf import Svdf, SvdfParams
from codeq_compile.passes import run
from codeq_compile.simulate import simulate
from tests.graphs import Case, WeightSpec, grid, lowered, one_op_graph, random_weights, s8, s16
from tests.literal import clamp, rescale


def _time(bits: int, filters: int, memory: int) -> TensorType:
    kind = s8 if bits == 8 else s16
    return kind(filters, memory, scale=2.0 ** (1 - bits), zero_point=0)


CASES = [
    Case(
        name=f"{bits}-bit-{inputs}x{filters}x{memory}-rank{rank}-zero{zero}",
        op=Svdf(rank=rank, state_scale=float(np.float32(scale)), state_zero=zero),
        inputs=(s8(inputs, scale=0.05, zero_point=-20), _time(bits, filters, memory)),
        output=grid(0.02 * rank, -128),
        weights=WeightSpec(shape=(filters, inputs), per_channel=False, bias=rank == 1),
    )
    for bits, inputs, filters, memory, rank, zero, scale in (
        (16, 96, 8, 8, 1, 0, 0.0037),
        (16, 1, 1, 1, 1, 0, 0.0001),
        (16, 300, 6, 3, 2, 0, 0.001),
        # features that leave int16 before they are limited, sums that leave int32
        (16, 64, 4, 40, 4, 0, 0.0000003),
        (8, 16, 8, 10, 1, -50, 0.4),
        (8, 40, 6, 3, 3, 25, 0.1),
        # features that leave int8 behind the zero point
        (8, 40, 6, 3, 1, 100, 0.002),
        (8, 40, 6, 3, 1, -100, 0.002),
    )
]


def _wrap(value: int, bits: int) -> int:
    return (value + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))


def _loops(op: Svdf, params: SvdfParams, bits: int, x: np.ndarray, time: np.ndarray) -> list:
    """NUMERICS §svdf, Semantics."""
    filters, memory = time.shape[1:]
    state = [[op.state_zero] * memory for _ in range(filters)]
    limits = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    outputs = []
    for sample, weights_over_time in zip(x.tolist(), time.tolist(), strict=True):
        totals = params.bias.tolist()
        for f in range(filters):
            # the folded start holds the zero point of the input
            acc = int(params.start[f])
            acc += sum(v * w for v, w in zip(sample, params.weights[f].tolist(), strict=True))
            scale = params.feature_scale
            scaled = clamp(rescale(acc, scale.multiplier, scale.exponent), limits)
            state[f] = [*state[f][1:], _wrap(op.state_zero + scaled, bits)]
            totals[f // op.rank] += sum(
                w * (s - op.state_zero) for w, s in zip(weights_over_time[f], state[f], strict=True)
            )
        scale = params.out_scale
        outputs.append(
            [
                clamp(
                    params.out_zero + rescale(_wrap(t, 32), scale.multiplier, scale.exponent),
                    (-128, 127),
                )
                for t in totals
            ]
        )
    return outputs


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_golden_equals_the_spec_written_as_loops(case: Case):
    """A wrong golden makes every kernel wrong with it, and no comparison would notice. [svdf-C1]"""
    graph = lowered(case.graph())
    data = case.data(batch=13)
    bits = graph.tensors["x1"].dtype.bits

    expected = _loops(case.op, graph.nodes[0].params, bits, data["x0"], data["x1"])

    np.testing.assert_array_equal(expected, simulate(graph, data)["y"])


def test_a_simulation_starts_from_silence():
    """Two runs on the same samples must agree, whatever ran before. [svdf-C1]"""
    graph = lowered(CASES[4].graph())
    data = CASES[4].data(batch=5)

    first, again = simulate(graph, data)["y"], simulate(graph, data)["y"]

    np.testing.assert_array_equal(first, again)
    alone = simulate(graph, {name: array[4:] for name, array in data.items()})["y"]
    assert (first[4] != alone[0]).any(), "the last sample should remember the others"


def test_the_state_is_as_large_as_the_time_weights():
    """The caller's memory is declared from this. [svdf-C5]"""
    for case, size, fill in ((CASES[0], 8 * 8 * 2, 0), (CASES[4], 8 * 10, -50 & 0xFF)):
        (node,) = lowered(case.graph()).nodes

        assert size == node.op.state_bytes(node.params)
        assert fill == node.op.state_fill(node.params)


def test_factors_can_be_formed_in_float32():
    """Kernels until 2026 did: some multipliers differ in their last bits. [svdf-C7]"""
    case = CASES[0]
    new, old = (
        lowered(replace(case, op=replace(case.op, float32_scales=value)).graph()).nodes[0].params
        for value in (False, True)
    )

    assert new.feature_scale != old.feature_scale
    assert abs(new.feature_scale.multiplier / old.feature_scale.multiplier - 1) < 2.0**-22


@pytest.mark.parametrize(
    ("label", "op", "inputs", "shape", "bias"),
    [
        ("svdf-C1", Svdf(rank=1, state_scale=1.0), [s8(4)], (2, 4), None),
        (
            "svdf-C1",
            Svdf(rank=1, state_scale=1.0),
            [s8(4), TensorType(shape=(2, 3), dtype=DType.S32)],
            (2, 4),
            None,
        ),
        ("svdf-C2", Svdf(rank=1, state_scale=1.0), [s8(5), _time(8, 2, 3)], (2, 4), None),
        ("svdf-C2", Svdf(rank=1, state_scale=1.0), [s8(4), _time(8, 3, 3)], (2, 4), None),
        ("svdf-C2", Svdf(rank=3, state_scale=1.0), [s8(4), _time(8, 2, 3)], (2, 4), None),
        ("svdf-C3", Svdf(rank=2, state_scale=1.0), [s8(4), _time(8, 2, 3)], (2, 4), 2),
        (
            "svdf-C4",
            Svdf(rank=1, state_scale=1.0, state_zero=1),
            [s8(4), _time(16, 2, 3)],
            (2, 4),
            None,
        ),
        (
            "svdf-C4",
            Svdf(rank=1, state_scale=1.0),
            [s8(4), s8(2, 3, zero_point=1)],
            (2, 4),
            None,
        ),
    ],
)
def test_an_illegal_layer_is_refused_by_its_rule(label, op, inputs, shape, bias, rng):
    """A model that breaks a rule must be refused with the rule's number, not compiled wrongly."""
    weights = random_weights(rng, shape, per_channel=False)

    with pytest.raises(SpecViolation) as caught:
        one_op_graph(
            op,
            inputs,
            grid(1.0, 0),
            weights=weights,
            bias=None if bias is None else np.zeros(bias, np.int32),
        )

    assert label == caught.value.label


def test_a_factor_that_would_shift_the_sum_is_refused(rng):
    """What wraps around must not be shifted out of int32 besides. [svdf-C6]"""
    weights = random_weights(rng, (2, 4), per_channel=False)
    inputs = [s8(4), _time(16, 2, 3)]
    graph = one_op_graph(Svdf(rank=1, state_scale=1.0), inputs, grid(1e-6, 0), weights=weights)

    with pytest.raises(ModelError, match=r"N4\.3"):
        run(graph)
