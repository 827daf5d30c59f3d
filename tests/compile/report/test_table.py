# SPDX-License-Identifier: Apache-2.0
"""Tables as text, Markdown and on a terminal."""

import io
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import rich.console

import codeq_compile
from codeq_compile import target
from codeq_compile.build.tools import Need, Tool
from codeq_compile.kernels import Kernel
from codeq_compile.ops.linear import Linear
from codeq_compile.report.collect import CheckReport, FlashReport, RemovedReport, Report
from codeq_compile.report.table import (
    Table,
    doctor_table,
    kernel_table,
    markdown,
    plain,
    report_tables,
    target_table,
    terminal,
)
from tests.graphs import one_op_graph, random_weights, s8

LAYERS = Table(
    title="Layers",
    columns=("layer", "bytes", "zeros"),
    rows=(("stem[0]", "1 311", "61 %"), ("head", "84", "-")),
)


def test_text_is_aligned_with_numbers_to_the_right() -> None:
    """A column of bytes that is not aligned cannot be compared by eye."""
    assert plain(LAYERS) == (
        "Layers\n"
        "layer    bytes  zeros\n"
        "-------  -----  -----\n"
        "stem[0]  1 311   61 %\n"
        "head        84      -\n"
    )


def test_text_has_no_trailing_spaces() -> None:
    """Trailing spaces make a diff of two reports unreadable."""
    table = Table(title="", columns=("name", "note"), rows=(("a", "long note"), ("b", "")))

    assert all(line == line.rstrip() for line in plain(table).splitlines())


def test_markdown_has_one_line_a_row_and_aligns_numbers() -> None:
    """The README's table is this text."""
    assert markdown(LAYERS).splitlines() == [
        "| layer | bytes | zeros |",
        "| --- | --: | --: |",
        "| stem[0] | 1 311 | 61 % |",
        "| head | 84 | - |",
    ]


def test_a_terminal_shows_brackets_of_layer_names() -> None:
    """rich reads [0] as markup: a layer called "stem[red]" must not turn the table red."""
    table = Table(title="", columns=("layer",), rows=(("stem[red]",),))
    out = io.StringIO()

    rich.console.Console(file=out, width=80).print(terminal(table))

    assert "stem[red]" in out.getvalue()


@pytest.mark.parametrize(
    ("bits", "text"),
    [([8], "8"), ([1, 2, 3, 4], "1-4"), ([8, 2, 4, 3], "2-4 8"), ([1, 3, 5], "1 3 5")],
)
def test_widths_are_written_as_spans(bits: list[int], text: str) -> None:
    """The table of kernels has one line a family, whatever number of widths it has."""
    kernels = [Kernel(family="linear", act="s8", isa="ref", bits=b, packing="rle") for b in bits]

    assert kernel_table(kernels).rows == (("linear", "ref", f"rle {text}"),)


def test_kernels_without_weights_have_an_empty_cell() -> None:
    """An addition has no packing."""
    assert kernel_table([Kernel(family="add", act="s8", isa="ref")]).rows == (("add", "ref", ""),)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Of one fully connected layer: 30 weights of 3 bits, gap 1, on this machine."""
    weights = random_weights(np.random.default_rng(1), (3, 10), bits=3, zeros=0.4, gap=1)
    graph = one_op_graph(Linear(), [s8(10)], weights=weights)
    node = replace(graph.nodes[0], name="head[0]")
    folder = tmp_path_factory.mktemp("report") / "one"
    return codeq_compile.compile(replace(graph, nodes=(node,)), folder, target="host").report


def texts(report: Report) -> dict[str, str]:
    return {table.title.partition(":")[0]: plain(table) for table in report_tables(report)}


def test_a_layer_is_told_with_its_bits_gap_zeros_packing_and_cost(report: Report) -> None:
    """What a layer costs and why is what the whole project is about."""
    (layer,) = report.layers
    row = texts(report)["Layers"].splitlines()[-1]

    assert ["l01", "head[0]", "linear", "s8[3]", "3", "1", f"{layer.zeros:.0%}"] == row.split()[:7]
    sizes = (layer.weights_bytes, layer.entropy_bytes, layer.tables_bytes)
    assert [layer.packing, *map(str, sizes)] == row.split()[7:11]
    assert [str(layer.macs), str(layer.macs - layer.macs_done), "-"] == row.split()[11:]


@pytest.mark.parametrize(("zeros", "text"), [(0.006, "<1%"), (0.997, ">99%")])
def test_nearly_none_and_nearly_all_zeros_are_told_as_in_the_c(
    report: Report, zeros: float, text: str
) -> None:
    """With "<1 % zero" in a comment and 1% in the report, one of the two looks wrong."""
    layers = tuple(msgspec.structs.replace(each, zeros=zeros) for each in report.layers)
    told = texts(msgspec.structs.replace(report, layers=layers))["Layers"]

    assert text == told.splitlines()[-1].split()[6]


def test_removed_channels_are_told_where_there_are_any(report: Report) -> None:
    """Who wonders where half of the MACs went finds them; who lost none is not bothered."""
    removed = RemovedReport(channels=2, weights=46, weights_bytes=28, macs=1840)
    told = texts(msgspec.structs.replace(report, removed=removed))["Removed"]

    assert ["2", "46", "28", "1", "840"] == told.splitlines()[-1].split()
    assert "Removed" not in texts(report)


def test_the_arena_stands_beside_its_lower_bound(report: Report) -> None:
    """A plan that is not the smallest must not hide it."""
    proved = texts(report)["RAM"]
    ram = msgspec.structs.replace(report.ram, is_optimal=False, arena=report.ram.lower_bound + 8)
    unproved = texts(msgspec.structs.replace(report, ram=ram))["RAM"]

    assert "arena (the least for these kernels)" in proved
    assert "arena (not proved to be the least)" in unproved
    assert str(report.ram.lower_bound) in proved


def test_flash_without_a_linked_image_shows_what_is_known(report: Report) -> None:
    """Without a cross compiler nobody knows the code's size: 0 would be a lie."""
    known = texts(report)["Flash"]
    flash = FlashReport(
        weights=1, tables=2, entropy=1, code=3, constants=4, total=10, board=5, compiler="cc"
    )
    linked = texts(msgspec.structs.replace(report, flash=flash))["Flash (cc)"]

    assert "code" not in known
    # the linked image has padding between tables: the sum over the layers is another number
    assert (False, True) == ("aligned" in known, "tables, aligned" in linked)
    assert ["total,", "limited", "by", "--flash", "10"] == linked.splitlines()[-2].split()


def test_accuracy_has_one_row_a_stage(report: Report) -> None:
    """Float, fake-quantized and integer accuracy stand under each other, or the loss is hidden."""
    stages = {"float": {"accuracy": 0.875}, "integer": {"accuracy": 0.87, "balanced": 0.8}}

    rows = texts(msgspec.structs.replace(report, accuracy=stages))["Accuracy"].splitlines()[-2:]

    assert [["float", "87.50%", "-"], ["integer", "87.00%", "80.00%"]] == [r.split() for r in rows]


def test_a_report_that_was_never_checked_says_nothing_of_it(report: Report) -> None:
    """An empty table of checks would look like a check that found nothing."""
    done = CheckReport(
        target="host",
        samples=18,
        traced=4,
        bytes_compared=1234,
        bytes_differing=0,
        stack_bytes=None,
    )

    assert "Simulation against C" not in texts(report)
    row = texts(msgspec.structs.replace(report, checks=(done,)))["Simulation against C"]
    assert ["host", "18", "4", "1", "234", "0", "-"] == row.splitlines()[-1].split()


def test_a_board_shows_the_memory_of_the_real_part() -> None:
    """The emulated micro:bit has megabytes; nobody can buy that."""
    board = target.load("microbit")
    assert board.memory is not None

    (row,) = target_table([board]).rows

    assert f"{board.memory.real_flash_bytes // 1024} KiB" in row
    assert f"{board.memory.real_ram_bytes // 1024} KiB" in row


def test_a_missing_tool_comes_with_the_way_to_get_it() -> None:
    """The second thing that a user wants to know."""
    found = Tool(name="gcc", command=("gcc",), version="12.2", source="/usr/bin/gcc")
    needs = [
        Need(purpose="checks", tool=found, advice=""),
        Need(purpose="boards", tool=None, advice="pip install pyocd"),
    ]

    assert doctor_table(needs).rows == (
        ("checks", "gcc", "12.2", "/usr/bin/gcc"),
        ("boards", "missing", "", "pip install pyocd"),
    )
