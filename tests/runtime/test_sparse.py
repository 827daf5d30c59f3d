# SPDX-License-Identifier: Apache-2.0
"""Sparse kernels where they could break: full lanes, cuts, requantization, damaged bytes."""

import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codeq_compile.build.tools import host_cc
from codeq_compile.ir import Graph, Weights
from codeq_compile.ir.op import Array
from codeq_compile.kernels import Kernel, rows
from codeq_compile.numerics import Int8Array
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.lanes import LANE_BUDGET
from codeq_compile.ops.linear import Linear
from codeq_compile.packing import CODECS, pack
from codeq_compile.simulate import simulate
from tests.compile.ops.test_conv2d import CASES
from tests.graphs import Case, grid, lowered, one_op_graph, random_int8, s8
from tests.runtime.binding import Runtime, compile_c
from tests.runtime.matrix import SPARSE, Job

SAME = (1, 1, 1, 1)


def check(runtime: Runtime, graph: Graph, x: Array, label: str, *, in_place: bool = False) -> None:
    """All packings of a lowered graph of one layer give what the simulation gives."""
    (node,) = graph.nodes
    assert node.weights is not None
    family = f"{node.op.kind}_sparse"
    assert family in node.op.families(node.params), label
    expected = np.asarray(simulate(graph, {"x0": x})["y"])
    for packing in SPARSE:
        kernel = Kernel(family=family, act="s8", bits=node.weights.bits, packing=packing, isa="dsp")
        if kernel not in rows() or not CODECS[packing].applies(node.weights):
            continue
        job = Job(
            kernel=kernel,
            case=Case(name=label, op=node.op, inputs=graph.input_types(node)),
            graph=graph,
            packed=pack(node.weights, packing),
            inputs=(x,),
            expected=expected,
        )
        for sample in range(len(x)):
            np.testing.assert_array_equal(
                expected[sample],
                runtime.run(job, sample, in_place=0 if in_place else None),
                err_msg=f"{label} {packing} {sample}",
            )


def extreme_inputs(shape: tuple[int, ...], rng: np.random.Generator) -> Int8Array:
    """All -128, all 127, alternating by element and by pixel, random: (batch, *shape)."""
    pixels = np.indices(shape)[-2] % 2
    elements = np.indices(shape).sum(axis=0) % 2
    halves = [np.where(half, 127, -128) for half in (pixels, elements)]
    samples = [np.full(shape, -128), np.full(shape, 127), *halves, random_int8(rng, shape)]
    return np.stack(samples).astype(np.int8)


def with_room(graph: Graph, limit: int) -> Graph:
    """The graph, cut for `limit` bytes of scratch."""
    (node,) = graph.nodes
    return graph.with_nodes((replace(node, params=replace(node.params, sparse_bytes=limit)),))


def row_of(magnitudes: Iterable[int], signs: str, length: int) -> Int8Array:
    """Weights with these magnitudes, spread over `length` places."""
    values = np.array(list(magnitudes))
    if signs == "alternating":
        values[1::2] *= -1
    elif signs == "minus":
        values *= -1
    row = np.zeros(length, np.int8)
    row[:: length // len(values)][: len(values)] = values
    return row


@pytest.mark.parametrize("signs", ["plus", "minus", "alternating"])
@pytest.mark.parametrize("total", [n * LANE_BUDGET + more for n in (1, 2) for more in (-1, 0, 1)])
def test_sums_at_the_limit_of_a_lane_are_exact(runtime, rng, total, signs):
    """One unit more than 16 bits hold would turn the largest sum into the smallest."""
    length = 600
    rows = []
    for unit in (1, 2, 3, 7, 127):
        count, rest = divmod(total, unit)
        rows.append(row_of([unit] * count + [rest] * (rest > 0), signs, length))
    # the limit is met by ones on top of twos, on top of others
    rows.append(row_of([7, 2, 1] * (total // 10) + [1] * (total % 10), signs, length))
    codes = np.stack(rows).reshape(len(rows), 1, 1, length)
    weights = Weights(codes=codes, bits=8, scale=np.full(len(rows), 0.01, np.float32))
    x = s8(1, 16, length, zero_point=0)
    graph = lowered(one_op_graph(Conv2D(), [x], grid(5.0, 0), weights=weights))

    check(runtime, graph, extreme_inputs((1, 16, length), rng), f"{total} {signs}")


@pytest.mark.parametrize("bits", range(2, 7))
@pytest.mark.parametrize("pixels", [7, 9, 36])
def test_small_images_need_no_lists(runtime, rng, pixels, bits):
    """A sum of the lower lane that left it would be one too many in the upper one."""
    length = 520
    largest = 2 ** (bits - 1) - 1
    most = [largest] * (LANE_BUDGET // largest) + [1] * (LANE_BUDGET % largest)
    rows = [row_of(most, signs, length) for signs in ("plus", "minus", "alternating")]
    rows.append(row_of([largest], "plus", length))
    x = s8(1, pixels, length, zero_point=0)
    for more in (0, 1):
        rows[0][-1] = more
        codes = np.stack(rows).reshape(len(rows), 1, 1, length)
        weights = Weights(codes=codes, bits=bits, scale=np.full(len(rows), 0.01, np.float32))
        graph = lowered(one_op_graph(Conv2D(), [x], grid(5.0, -128), weights=weights))
        graph = with_room(graph, 1 << 16)
        (node,) = graph.nodes
        types = graph.input_types(node), graph.output_type(node)
        cut = node.op.c_params(node.params, *types, pack(node.weights, "gap"))["sparse"]

        assert (cut["kept"] == 0) == (more == 0)
        check(runtime, graph, extreme_inputs((1, pixels, length), rng), f"{pixels} {bits} {more}")


@pytest.mark.parametrize("gap", [0, 9, 126])
def test_a_sign_grid_counts_in_units_of_its_magnitude(runtime, rng, gap):
    """Ternary weights of any magnitude are additions; as many as the budget fill a lane."""
    length = 600
    rows = [
        row_of([1] * count, signs, length)
        for count in (LANE_BUDGET - 1, LANE_BUDGET, LANE_BUDGET + 1, 600)
        for signs in ("plus", "minus", "alternating")
    ]
    codes = np.stack(rows).reshape(len(rows), 1, 1, length)
    weights = Weights(codes=codes, bits=2, gap=gap, scale=np.full(len(rows), 0.01, np.float32))
    x = s8(1, 17, length, zero_point=0)
    graph = lowered(one_op_graph(Conv2D(), [x], grid(5.0 * (gap + 1), -128), weights=weights))

    check(runtime, graph, extreme_inputs((1, 17, length), rng), f"gap {gap}")


@pytest.mark.parametrize("bits", range(2, 7))
def test_a_chunk_of_the_largest_products_is_exact(runtime, rng, bits):
    """Sums stand in the upper bits of a register: one product more than a block has overflows."""
    largest = 2 ** (bits - 1) - 1
    filled = np.full(600, largest, np.int8)
    lengths = [np.where(np.arange(600) < length, largest, 0) for length in (*range(9), 253)]
    random = rng.integers(-largest, largest + 1, 600) * (rng.random(600) < 0.3)
    codes = np.stack([filled, -filled, *lengths, random]).astype(np.int8)
    weights = Weights(codes=codes, bits=bits, scale=np.full(len(codes), 0.01, np.float32))
    graph = lowered(
        one_op_graph(Linear(), [s8(2, 600, zero_point=0)], grid(10.0, 0), weights=weights)
    )

    check(runtime, graph, extreme_inputs((2, 600), rng), f"{bits} bits")


@pytest.mark.parametrize("zero_point", [-128, 0, 5, 127])
@pytest.mark.parametrize("clamp", [(-128, 127), (5, 127), (-128, 90)], ids=str)
def test_every_factor_requantizes_as_the_specification_says(runtime, rng, zero_point, clamp):
    """Short forms of the double rounding must not differ in any accumulator, ties included."""
    # powers of two make ties of every kind; the others make none
    scales = [2.0**e * m for e in range(-13, 6) for m in (1.0, 1.5, 1.999, rng.uniform(1, 2))]
    taps = [1, -1, 2, -2, 3, 64, 127, -128]
    codes = np.array([[taps[i % len(taps)]] for i in range(len(scales))], np.int8)
    weights = Weights(codes=codes.reshape(-1, 1, 1, 1), bits=8, scale=np.array(scales, np.float32))
    bias = rng.integers(-3, 4, len(scales)).astype(np.int32)
    bias[::5] = rng.integers(-(1 << 16), 1 << 16, len(bias[::5]))
    x = s8(16, 16, 1, scale=1.0, zero_point=0)
    graph = lowered(
        one_op_graph(Conv2D(clamp=clamp), [x], grid(1.0, zero_point), weights=weights, bias=bias)
    )
    values = np.arange(-128, 128, dtype=np.int8).reshape(1, 16, 16, 1)

    check(runtime, graph, values, f"{zero_point} {clamp}")


@pytest.mark.parametrize("limit", [0, 400, 900, 1 << 14])
def test_every_cut_gives_the_same(runtime, limit):
    """Strips that end inside of the image, lists that are read once or for every strip."""
    for case in CASES:
        if case.weights is None or case.weights.bits != 8 or case.weights.gap:
            continue
        sparse = replace(case, weights=replace(case.weights, bits=4, zeros=0.7))
        graph = with_room(lowered(sparse.graph()), limit)
        (node,) = graph.nodes
        if "conv2d_sparse" in node.op.families(node.params):
            check(runtime, graph, sparse.data()["x0"], f"{case} in {limit}")


@pytest.mark.parametrize(
    ("size", "op"),
    [
        ((1, 64), Conv2D(padding=(0, 0, 2, 2))),
        ((64, 1), Conv2D(padding=(2, 2, 0, 0))),
        ((19, 18), Conv2D(padding=SAME)),
        ((17, 35), Conv2D(padding=SAME, stride=(2, 2))),
        ((23, 22), Conv2D(padding=(2, 2, 3, 3), dilation=(2, 3))),
        ((21, 20), Conv2D(padding=SAME, groups=2)),
        ((25, 5), Conv2D()),
    ],
    ids=str,
)
@pytest.mark.parametrize("limit", [0, 2000, 1 << 14])
def test_images_larger_than_a_strip(runtime, rng, size, op, limit):
    """Every part of the output meets its own edge of the image, or none."""
    kernel = (1, 5) if size[0] == 1 else (5, 1) if size[1] == 1 else (3, 3)
    if size == (25, 5):
        kernel = (1, 1)
    channels = 6
    shape = (4, *kernel, channels // op.groups)
    codes = (rng.integers(-7, 8, shape) * (rng.random(shape) < 0.3)).astype(np.int8)
    weights = Weights(codes=codes, bits=4, scale=np.full(4, 0.02, np.float32))
    x = s8(*size, channels, zero_point=-7)
    graph = with_room(lowered(one_op_graph(op, [x], weights=weights)), limit)

    check(runtime, graph, extreme_inputs((*size, channels), rng), f"{size} in {limit}")


@pytest.mark.parametrize("limit", [0, 700, 1 << 14])
@pytest.mark.parametrize("pixels", [4, 16, 17, 70, 125])
def test_a_pointwise_convolution_may_replace_its_input(runtime, rng, pixels, limit):
    """The memory plan gives both one buffer: no pixel may be read after it was written."""
    codes = (rng.integers(-7, 8, (9, 1, 1, 9)) * (rng.random((9, 1, 1, 9)) < 0.4)).astype(np.int8)
    weights = Weights(codes=codes, bits=4, scale=np.full(9, 0.02, np.float32))
    graph = with_room(lowered(one_op_graph(Conv2D(), [s8(1, pixels, 9)], weights=weights)), limit)

    check(
        runtime, graph, extreme_inputs((1, pixels, 9), rng), f"{pixels} in {limit}", in_place=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("kernels", ["-DHOSTILE_DSP", "-DHOSTILE_SWAR"])
def test_damaged_streams_leave_no_buffer(kernels: str, tmp_path: Path):
    """A checked build stops at the weight that is not there, before it touches foreign memory."""
    compiler = host_cc()
    if compiler.name != "gcc":
        pytest.skip(f"{compiler.name} is not asked for sanitizers; gcc is")
    program = compile_c(
        tmp_path / "hostile",
        [Path(__file__).parent / "c" / "hostile.c"],
        [kernels, "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    )

    for seed in range(3):
        done = subprocess.run([program, str(seed), "1000"], capture_output=True, text=True)

        assert done.returncode == 0, done.stderr[:4000]
        calls, _, stopped, _ = done.stdout.replace(",", "").split()
        assert 0 < int(stopped) < int(calls)
