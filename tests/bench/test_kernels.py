# SPDX-License-Identifier: Apache-2.0
"""The stored figures are those of the kernels as they are, and of the networks as they were."""

from itertools import islice
from pathlib import Path

import pytest

from codeq_compile.build import firmware, tools
from codeq_compile.ir import serial
from codeq_compile.kernels import rows
from codeq_compile.packing import CODECS
from tests.bench import figures, kernels, tables, trades
from tests.boards import EMULATED, found
from tests.networks import NETWORKS, VARIANTS, benchmark

FIGURES = figures.read()
BENCHMARKS = [(network, variant) for network in NETWORKS for variant in VARIANTS]


def _same_tools() -> None:
    """The test is skipped where another compiler is installed: it gives other code."""
    compiler = found(tools.arm_cc)
    found(tools.qemu)
    if (compiler.name, compiler.version) != ("arm-none-eabi-gcc", FIGURES.compilers["gcc"]):
        needed = f"the figures are of arm-none-eabi-gcc {FIGURES.compilers['gcc']}"
        pytest.skip(needed)  # another compiler gives other code


@pytest.mark.slow
@pytest.mark.qemu
@pytest.mark.parametrize("board", EMULATED)
def test_the_figures_of_networks_are_current(board: str) -> None:
    """A kernel that became slower must not hide behind the figure of the one before."""
    _same_tools()
    assert firmware.OPTIMIZATION == FIGURES.optimization

    with kernels.compiled_by("gcc"):
        for each in kernels.network_figures("gcc", [board], ["kws"], VARIANTS):
            assert FIGURES.network(board, "kws", each.variant) == each


@pytest.mark.slow
@pytest.mark.qemu
def test_the_price_of_ram_is_current() -> None:
    """Who saves RAM for it must get the instructions that the page states."""
    _same_tools()

    with kernels.compiled_by("gcc"):
        measured = tuple(islice(trades.streams(), 2))

    assert figures.trades().streams[:2] == measured


@pytest.mark.slow
@pytest.mark.qemu
@pytest.mark.parametrize("board", ["mps2_an386", "mps3_an547"])
def test_the_figures_of_kernels_are_current(board: str) -> None:
    """The table of all kernels shows what is in kernels.inc, and what it executes."""
    _same_tools()

    with kernels.compiled_by("gcc"):
        measured = list(kernels.kernel_figures(board))

    assert [each for each in FIGURES.kernels if each.board == board] == measured


@pytest.mark.slow
def test_every_kernel_serves_a_measured_layer() -> None:
    """A kernel for a core's own instructions needs a figure; `ref` is for the other cores."""
    measured = {each.kernel for each in FIGURES.kernels}

    assert not [row.symbol for row in rows() if row.isa != "ref" and row.symbol not in measured]


def test_every_network_is_measured_on_every_core() -> None:
    """A gap in the table is where a slow core hides."""
    found_figures = {(f.board, f.network, f.variant) for f in FIGURES.networks}

    assert {(b, n, v) for b in EMULATED for n, v in BENCHMARKS} == found_figures


def test_a_networks_layers_and_glue_are_the_whole() -> None:
    """Less than a thousandth of a call is the entry point's own."""
    for each in FIGURES.networks:
        glue = each.instructions - sum(each.layers.values())
        assert 0 < glue < 1000


@pytest.mark.parametrize(("network", "variant"), BENCHMARKS)
def test_benchmarks_never_change(network: str, variant: str) -> None:
    """Figures of two versions can be compared only if they are of one network."""
    digest = serial.digest(benchmark(network, variant))

    for each in FIGURES.networks:
        if (each.network, each.variant) == (network, variant):
            assert digest == each.model


@pytest.mark.parametrize(("network", "variant"), BENCHMARKS)
def test_benchmarks_are_what_the_page_says(network: str, variant: str) -> None:
    """8 bits without a zero, or few bits and many zeros where pruning pays; no dead channel."""
    bits, zeros = {"dense8": (8, 0.0), "sparse4": (4, 0.8), "ternary": (2, 0.9)}[variant]
    weighted = [node for node in benchmark(network, variant).nodes if node.weights is not None]

    for number, node in enumerate(weighted):
        assert node.weights is not None
        codes = node.weights.values
        is_exempt = node.op.kind == "dwconv2d" or (number == 0 and node.op.kind == "conv2d")
        wanted_bits, wanted_zeros = (8, 0.0) if is_exempt else (bits, zeros)
        # a random mask: within five standard deviations, and revived channels
        spread = 5 * (wanted_zeros * (1 - wanted_zeros) / codes.size) ** 0.5
        revived = len(codes) * codes.shape[-1] / codes.size
        assert wanted_bits == node.weights.bits
        assert abs(node.weights.zeros - wanted_zeros) <= spread + (revived if wanted_zeros else 0)
        assert codes.reshape(len(codes), -1).any(axis=1).all()
        assert codes.reshape(-1, codes.shape[-1]).any(axis=0).all()


def test_layers_of_cmsis_nn_are_ours() -> None:
    """A figure beside that of another layer compares nothing."""
    for row in figures.cmsis().layer:
        graph = benchmark(row.network, "dense8")
        for layer in row.layers:
            node = next(node for node in graph.nodes if node.name == layer)
            macs = 0
            if node.weights is not None:
                output = graph.output_type(node)
                pixels = output.elements // output.shape[-1]
                macs = pixels * node.weights.codes.size
            assert row.macs == (macs or graph.input_types(node)[0].elements)
    listed = sorted((r.network, layer) for r in figures.cmsis().layer for layer in r.layers)
    executed = sorted(
        (network, node.name)
        for network in NETWORKS
        for node in benchmark(network, "dense8").nodes
        if node.op.kind not in ("reshape", "softmax")
    )
    assert executed == listed


def test_totals_of_cmsis_nn_are_sums_of_its_layers() -> None:
    """The two tables come from one measurement."""
    cmsis = figures.cmsis()

    for network in NETWORKS:
        layers = [row for row in cmsis.layer if row.network == network]
        for core in ("m4", "m55"):
            total = sum(len(row.layers) * getattr(row, core) for row in layers)
            assert cmsis.networks[core][network] == round(total / 1e6, 2)
        per_mac = sum(len(row.layers) * row.macs * row.m0 for row in layers)
        # layers are given to two digits behind the point
        assert cmsis.networks["m0"][network] == pytest.approx(per_mac / 1e6, rel=0.005)


def test_every_packing_is_measured() -> None:
    """A new codec is in the table from its first day on."""
    measured = {each.packing for each in FIGURES.kernels if each.packing}

    assert set(CODECS) == measured


def test_figures_are_stored_one_a_line(tmp_path: Path) -> None:
    """A change of one figure is a change of one line, which a review can read."""
    figures.write(FIGURES, tmp_path / "figures.json")

    lines = (tmp_path / "figures.json").read_text().splitlines()
    assert figures.read(tmp_path / "figures.json") == FIGURES
    assert len(FIGURES.networks) + len(FIGURES.kernels) == sum("board" in line for line in lines)


def test_a_page_is_generated_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text between tables stays as it was written."""
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- figures: summary; x -->\nold\n<!-- /figures -->\nbehind\n")
    monkeypatch.setattr(tables, "PAGES", (page,))

    tables.write_pages()

    table = tables.generated("summary")
    assert page.read_text() == (
        f"before\n<!-- figures: summary; x -->\n{table}<!-- /figures -->\nbehind\n"
    )
