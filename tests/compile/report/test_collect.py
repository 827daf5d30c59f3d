# SPDX-License-Identifier: Apache-2.0
"""`report.json` says what was planned, and grows with what is measured later."""

from pathlib import Path

import numpy as np
import pytest

import codeq_compile
from codeq_compile.errors import InputError
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.linear import Linear
from codeq_compile.plan import Plan
from codeq_compile.report import collect
from codeq_compile.report.collect import CheckReport, RemovedReport, Report
from tests.graphs import one_op_graph, random_weights, s8
from tests.libraries import emitted, planned, rows
from tests.networks import ds_cnn
from tests.strategies import GraphBuilder


@pytest.fixture(scope="module")
def plan() -> Plan:
    return planned(ds_cnn(np.random.default_rng(0)))


@pytest.fixture
def report(plan: Plan, tmp_path: Path) -> Report:
    """Of a library in `tmp_path`."""
    report = collect.collect(plan, emitted(ds_cnn(np.random.default_rng(0)), tmp_path))
    collect.write(report, tmp_path)
    return report


def check_on(target: str, differing: int = 0) -> CheckReport:
    return CheckReport(
        target=target,
        samples=3,
        traced=2,
        bytes_compared=100,
        bytes_differing=differing,
        stack_bytes=None,
    )


def test_the_whole_is_the_sum_of_its_layers(plan: Plan, report: Report) -> None:
    """Readers add up columns; a total that differs makes all of it doubtful."""
    layers = report.layers

    assert report.flash.weights == sum(layer.weights_bytes for layer in layers)
    assert report.flash.tables == sum(layer.tables_bytes for layer in layers)
    assert report.flash.entropy == sum(layer.entropy_bytes for layer in layers)
    assert (report.macs, report.macs_done) == (
        sum(layer.macs for layer in layers),
        sum(layer.macs_done for layer in layers),
    )
    weighted = [layer.node.weights for layer in plan.layers if layer.node.weights]
    stored = sum(each.bits * each.codes.size for each in weighted)
    assert report.weights == sum(each.codes.size for each in weighted)
    assert report.bits_mean == stored / report.weights
    zeros = sum(int(np.sum(each.values == 0)) for each in weighted)
    assert report.zeros == pytest.approx(zeros / report.weights, abs=1e-12)  # sums of shares


def test_ram_counts_inputs_and_outputs(plan: Plan, report: Report) -> None:
    """An arena alone is not what the model needs."""
    ram = report.ram

    assert ram.total == ram.arena + ram.inputs + ram.outputs + ram.state
    assert (490, 12) == (ram.inputs, ram.outputs)
    assert ram.arena >= ram.lower_bound >= ram.scratch > 0
    assert ram.is_optimal == plan.memory.is_optimal


def test_what_left_the_model_is_told(tmp_path: Path, rng: np.random.Generator) -> None:
    """Two of three channels are dead: the numbers of the library alone would not show it."""
    builder = GraphBuilder(rng)
    stem = random_weights(rng, (3, 3, 3, 2), bits=4)
    stem.codes[[0, 2]] = 0
    x = builder.add(Conv2D(), builder.input(s8(4, 4, 2)), weights=stem)
    graph = builder.graph(builder.add(Conv2D(), x, weights=random_weights(rng, (5, 1, 1, 3))))

    report = codeq_compile.compile(graph, tmp_path / "out", target="host").report

    removed = report.removed
    assert (2, 2 * 18 + 2 * 5) == (removed.channels, removed.weights)
    assert 2 * 18 // 2 + 2 * 5 == removed.weights_bytes
    assert 4 * (2 * 18 + 2 * 5) == removed.macs
    assert 3 * 18 + 3 * 5 == report.weights + removed.weights
    assert report == collect.read(tmp_path / "out")


def test_a_model_without_dead_channels_loses_nothing(tmp_path: Path) -> None:
    """Nothing is said of what did not happen."""
    weights = random_weights(np.random.default_rng(0), (3, 4))
    graph = one_op_graph(Linear(), [s8(4)], weights=weights)

    assert RemovedReport() == codeq_compile.compile(graph, tmp_path, target="host").report.removed


def test_packings_and_their_rivals_are_told(plan: Plan, report: Report) -> None:
    """Which packing was taken, and what the others would have cost."""
    for layer, told in zip(plan.layers, report.layers, strict=True):
        assert layer.costs == told.packing_bytes
        if layer.packed is not None:
            assert layer.packed.packing == told.packing
            assert min(told.packing_bytes.values()) == told.packing_bytes[layer.packed.packing]


def test_what_is_written_is_read_again(report: Report, tmp_path: Path) -> None:
    """And twice the same bytes."""
    before = (tmp_path / collect.FILE_NAME).read_bytes()
    collect.write(collect.read(tmp_path), tmp_path)

    assert report == collect.read(tmp_path)
    assert before == (tmp_path / collect.FILE_NAME).read_bytes()


def test_accuracies_and_checks_are_added(report: Report, tmp_path: Path) -> None:
    """They are measured after the compilation, by others, one after the other."""
    collect.add_accuracy(tmp_path, {"float": {"accuracy": 0.5}})
    collect.add_accuracy(tmp_path, {"integer": {"accuracy": 0.25}})
    collect.add_checks(tmp_path, [check_on("host", differing=9), check_on("microbit")])
    collect.add_checks(tmp_path, [check_on("host")])

    grown = collect.read(tmp_path)

    assert {"float": {"accuracy": 0.5}, "integer": {"accuracy": 0.25}} == grown.accuracy
    assert [check_on("microbit"), check_on("host")] == list(grown.checks)
    assert report.layers == grown.layers


@pytest.mark.parametrize("text", ["{", '{"format": 1}', None])
def test_a_bad_report_is_an_input_error(text: str | None, tmp_path: Path) -> None:
    """`codeq report DIR` on another folder must say so."""
    if text is not None:
        (tmp_path / collect.FILE_NAME).write_text(text)

    with pytest.raises(InputError, match=r"report\.json"):
        collect.read(tmp_path)


@pytest.mark.slow
def test_sizes_come_from_the_image_where_one_was_linked(tmp_path: Path) -> None:
    """Code cannot be known before the linker has dropped what is not called."""
    graph = ds_cnn(np.random.default_rng(0))

    flash = codeq_compile.compile(graph, tmp_path / "out", target="mps2_an386").report.flash

    if flash.compiler is None:
        pytest.skip("sizes of a linked image need a compiler: apt install gcc-arm-none-eabi")
    assert None not in (flash.code, flash.constants, flash.total)
    parts = (flash.weights, flash.tables, flash.code, flash.constants)
    assert flash.total == sum(part for part in parts if part is not None)


def test_streams_are_told_with_their_windows(tmp_path: Path) -> None:
    """Whoever wonders about the time must learn that layers are called row by row, and for what."""
    plan = planned(rows(), stream="auto")
    (placed,) = plan.memory.streams

    report = collect.collect(plan, emitted(rows(), tmp_path, stream="auto"))

    (stream,) = report.streams
    assert (1, 4, len(placed.steps)) == (stream.first, stream.last, stream.calls)
    sizes = {buffer.name: buffer.bytes for buffer in plan.memory.buffers}
    for name, size in stream.windows.items():
        assert sizes[name] - 4 < size <= sizes[name]
    assert () == collect.collect(planned(rows()), emitted(rows(), tmp_path)).streams
