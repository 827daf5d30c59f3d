# SPDX-License-Identifier: Apache-2.0
"""The generated tables of the README and of pages of docs/, from the figures."""

import re
from collections.abc import Sequence
from pathlib import Path

from codeq_compile import cost, target
from codeq_compile.ir.serial import write_whole
from codeq_compile.report.table import Table, markdown
from tests.bench import figures
from tests.bench.figures import Cmsis, CmsisLayer, Figures, Methods, NetworkFigure, Spread, Trades
from tests.networks import benchmark

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = (
    ROOT / "README.md",
    *(DOCS / f"{name}.md" for name in ("PERFORMANCE", "IMPORT", "RESULTS")),
)
GENERATED = re.compile(r"(<!-- figures: (\w+)[^\n]*-->\n)(.*?)(<!-- /figures -->)", re.DOTALL)

NETWORKS = {
    "ic": "IC ResNet-8",
    "kws": "KWS DS-CNN",
    "vww": "VWW MobileNetV1",
    "ad": "AD autoencoder",
}
VARIANTS = {
    "dense8": "8 bits, dense",
    "sparse4": "4 bits, 80 % zeros",
    "ternary": "ternary, 90 % zeros",
}
CORES = {
    "microbit": "M0+",
    "mps2_an385": "M3",
    "mps2_an386": "M4",
    "mps2_an500": "M7",
    "mps2_an505": "M33",
    "mps3_an547": "M55",
}
CMSIS = {"microbit": "m0", "mps2_an386": "m4", "mps2_an505": "m33", "mps3_an547": "m55"}
"""Boards for which there are totals of CMSIS-NN."""
SUMMARY = ("microbit", "mps2_an386", "mps3_an547")
WEIGHTED = ("conv2d", "dwconv2d", "linear")
"""Kinds of layers with weights."""


def write_pages() -> None:
    """Put the current tables between the marks of the pages."""
    for page in PAGES:
        text = GENERATED.sub(_replaced, page.read_text(encoding="utf-8"))
        # whoever stops here must find the page as it was
        write_whole(text.encode(), page)


def _replaced(match: re.Match[str]) -> str:
    return match[1] + generated(match[2]) + match[4]


def generated(name: str) -> str:
    """A table of Markdown by the name in its mark."""
    data = figures.read()
    cmsis = figures.cmsis()
    match name:
        case "method":
            return _method(data, cmsis)
        case "summary":
            return markdown(_networks(data, cmsis, SUMMARY, only="dense8"))
        case "networks":
            return markdown(_networks(data, cmsis, tuple(CORES)))
        case "goals":
            return markdown(_goals(data, figures.read(figures.BEFORE)))
        case "memory":
            return markdown(_memory(data))
        case "compilers":
            return markdown(_compilers(data))
        case "layers":
            return markdown(_layers(data, cmsis))
        case "kernels":
            return markdown(_kernels(data))
        case "predictions":
            return markdown(_predictions())
        case "parts":
            return markdown(_parts(data))
        case "loops":
            return markdown(_loops())
        case "streams":
            return markdown(_streams(figures.trades()))
        case "packings":
            return markdown(_packings(figures.trades()))
        case "coarsened":
            return markdown(_coarsened(figures.trades()))
    if name.startswith("methods_"):
        return markdown(_methods(figures.methods(name.removeprefix("methods_"))))
    raise ValueError(f"no table is called {name}")


def _method(data: Figures, cmsis: Cmsis) -> str:
    compilers = ", ".join(f"{name} {version}" for name, version in data.compilers.items())
    theirs = cmsis.provenance
    return (
        f"codeq: {compilers}, {data.optimization}, {data.emulator}. "
        f"{theirs['library']} {theirs['commit']}: {theirs['compiler']}, {theirs['optimization']}, "
        f"{theirs['call']}; without {theirs['left_out']}.\n"
    )


def _predictions() -> Table:
    """Errors of the cost model: a row a kernel family, a column a core."""
    models = {(m.family, m.isa, m.core): m for m in cost.table().models}
    cores = {target.load(board).core: title for board, title in CORES.items()}

    def cell(family: str, isa: str, core: str) -> str:
        model = models.get((family, isa, core))
        return f"{100 * model.mean:.1f}, {100 * model.worst:.1f}" if model else "-"

    return Table(
        title="",
        columns=("kernels", *cores.values()),
        rows=tuple(
            (f"{family} {isa}", *(cell(family, isa, core) for core in cores))
            for family, isa in sorted({(family, isa) for family, isa, _ in models})
        ),
    )


LOOPS = (
    ("conv2d_sparse", "nonzeros added", "sparse convolution, a weight of 1 or -1 for 16 pixels"),
    ("conv2d_sparse", "nonzeros multiplied", "the same, any other weight"),
    ("conv2d_sparse", "gaps direct", "without lists, any weight for 12 pixels"),
    ("linear_sparse", "stream bytes", "linear from gaps, a weight that is not 0"),
    ("linear_sparse", "nonzeros as signs", "linear from places of signs, such a weight"),
    ("linear_sparse", "nonzeros of 4 bits", "linear from places and codes, such a weight"),
    ("linear", "steps of 4 bits", "linear from fields of 4 bits, 32 weights"),
    ("dwconv2d_3x3", "outputs in fours", "depthwise 3x3, an output in stride 1"),
    ("dwconv2d_3x3", "outputs in strided pairs", "depthwise 3x3, an output in stride 2"),
    ("add", "elements by table, rectified", "sum of two tensors by a table, an element"),
)
"""Inner loops of the Cortex-M4: kernel, trip and what that is."""


def _loops() -> Table:
    """What a trip costs, as the cost model has it."""
    models = {m.family: m for m in cost.table().models if (m.core, m.isa) == ("cortex-m4", "dsp")}
    return Table(
        title="",
        columns=("loop", "instructions"),
        rows=tuple((about, f"{models[f].instructions[trip]:.1f}") for f, trip, about in LOOPS),
    )


PARTS = ("first layer", "depthwise", "other weights", "the rest")


def _parts(data: Figures) -> Table:
    """Millions of instructions of sparse networks on the M4, by kind of layer, and the goal."""
    lines = []
    for network in NETWORKS:
        for variant in ("sparse4", "ternary"):
            figure = data.network("mps2_an386", network, variant)
            assert figure is not None
            kinds = {node.name: node.op.kind for node in benchmark(network, variant).nodes}
            first, *weighted = (n for n, kind in kinds.items() if kind in WEIGHTED)
            depthwise = [name for name in weighted if kinds[name] == "dwconv2d"]
            other = [name for name in weighted if kinds[name] != "dwconv2d"]
            sums = [sum(figure.layers[n] for n in names) for names in ([first], depthwise, other)]
            sums += [figure.instructions - sum(sums), figure.instructions]
            cells = (_millions(each) if each else "-" for each in sums)
            goal = figures.goals()["mps2_an386"][variant][network]
            lines.append((NETWORKS[network], VARIANTS[variant], *cells, f"{goal:g}"))
    return Table(title="", columns=("network", "weights", *PARTS, "all", "goal"), rows=tuple(lines))


def _streams(trades: Trades) -> Table:
    """RAM, instructions and flash of networks with and without streams, inputs in the arena."""
    return Table(
        title="",
        columns=(
            *("network", "weights", "options", "RAM", "millions of instructions"),
            *("flash", "of it code", "streams"),
        ),
        rows=tuple(
            (
                NETWORKS[each.network],
                VARIANTS[each.variant],
                f"`{each.options}`" if each.options else "",
                _count(each.ram),
                _millions(each.instructions),
                _count(each.flash),
                _count(each.code),
                "; ".join(each.streams),
            )
            for each in trades.streams
        ),
    )


def _packings(trades: Trades) -> Table:
    """Flash and instructions of models in the three packings that choose for themselves."""
    found = {(each.model, each.board, each.packing): each for each in trades.packings}
    asked = list(dict.fromkeys(each.packing for each in trades.packings))
    return Table(
        title="",
        columns=(
            *("model", "core"),
            *(f"flash, `{packing}`" for packing in asked),
            *(f"instructions, `{packing}`" for packing in asked),
        ),
        rows=tuple(
            (
                model,
                CORES[board],
                *(_count(found[model, board, packing].flash) for packing in asked),
                *(_count(found[model, board, packing].instructions) for packing in asked),
            )
            for model, board in dict.fromkeys((each.model, each.board) for each in found.values())
        ),
    )


def _coarsened(trades: Trades) -> Table:
    """Bytes and answers of models with fewer bits."""
    return Table(
        title="",
        columns=(
            *("model", "asked for", "weights and tables", "samples"),
            *("accuracy", "answers as before"),
        ),
        rows=tuple(
            (
                each.model,
                "as imported"
                if each.limit is None
                else each.limit + (", `--packing small`" if each.packing == "small" else ""),
                _count(each.bytes),
                _count(each.samples),
                f"{each.accuracy:.1%}",
                "" if each.limit is None else f"{each.same_answer:.1%}",
            )
            for each in trades.coarsened
        ),
    )


def _methods(methods: Methods) -> Table:
    """Accuracy of the integers within limits of bytes: a row a method, then the float networks."""
    found = {(each.method, each.weights): each for each in methods.groups}
    failed = {(each.point.method, each.point.weights) for each in methods.failures}
    every = {*found, *failed}
    limits = sorted({weights for _, weights in every})
    names = dict.fromkeys(name for name, _ in (*found, *sorted(failed)))
    floats = {each.weights: each for each in sorted(methods.groups, key=lambda g: len(g.seeds))}

    def spread(found: Spread, seeds: Sequence[int]) -> str:
        wide = f" ± {100 * found.sd:.2f}" if len(seeds) > 1 else ""
        return f"{100 * found.mean:.2f}{wide} %"

    def cell(key: tuple[str, int]) -> str:
        if key not in found:
            return "does not fit" if key in failed else ""
        each = found[key]
        return (
            f"{spread(each.test, each.seeds)} ({100 * each.balanced.mean:.2f}) "
            f"in {_count(round(each.bytes.mean))}; {len(each.seeds)}"
        )

    return Table(
        title="",
        columns=("method", *(f"within {limit / 1024:.3g} KiB" for limit in limits)),
        rows=(
            *((f"`{name}`", *(cell((name, limit)) for limit in limits)) for name in names),
            ("float", *(spread(floats[n].float_test, floats[n].seeds) for n in limits)),
        ),
    )


def _millions(count: float) -> str:
    """Three digits: ``14.7``, ``1.78``, ``0.147``."""
    value = count / 1e6
    digits = next((n for n, limit in ((1, 9.995), (2, 0.9995)) if value >= limit), 3)
    return f"{value:.{digits}f}"


def _networks(data: Figures, cmsis: Cmsis, boards: Sequence[str], only: str | None = None) -> Table:
    """Millions of instructions: a row a core and form of weights, CMSIS-NN's above its core's."""
    lines = []
    for board in boards:
        if board in CMSIS:
            totals = cmsis.networks[CMSIS[board]]
            lines.append(
                (CORES[board], "CMSIS-NN, 8 bits", *(_millions(1e6 * totals[n]) for n in NETWORKS))
            )
        for variant, title in VARIANTS.items():
            found = [data.network(board, network, variant) for network in NETWORKS]
            if only in (None, variant) and all(found):
                cells = (_millions(each.instructions) for each in found if each)
                lines.append((CORES[board], f"codeq, {title}", *cells))
    return Table(title="", columns=("", "weights", *NETWORKS.values()), rows=tuple(lines))


def _goals(data: Figures, before: Figures) -> Table:
    """Each goal with the figure before and now."""
    lines = []
    for board, variants in figures.goals().items():
        for variant, networks in variants.items():
            for network, goal in networks.items():
                now, then = (f.network(board, network, variant) for f in (data, before))
                assert now is not None
                assert then is not None
                lines.append(
                    (
                        CORES[board],
                        VARIANTS[variant],
                        NETWORKS[network],
                        _millions(then.instructions),
                        _millions(now.instructions),
                        f"{goal:g}",
                        "met" if now.instructions <= goal * 1e6 else "not yet",
                    )
                )
    columns = ("", "weights", "network", "before", "now", "goal", "")
    return Table(title="", columns=columns, rows=tuple(lines))


def _memory(data: Figures) -> Table:
    """Bytes of each network on the M4."""
    found = [
        (network, variant, data.network("mps2_an386", network, variant))
        for network in NETWORKS
        for variant in VARIANTS
    ]
    return Table(
        title="",
        columns=("network", "weights", "RAM", "flash", "of it code", "of it kernels"),
        rows=tuple(
            (
                NETWORKS[n],
                VARIANTS[v],
                *map(_count, (each.ram, each.flash, each.code, each.kernels)),
            )
            for n, v, each in found
            if each
        ),
    )


def _compilers(data: Figures) -> Table:
    """Both compilers' instructions, in millions, and the second's beside the first's."""
    pairs = [
        (each, data.network(each.board, each.network, each.variant, "gcc"))
        for each in data.networks
        if each.compiler == "zig"
    ]
    return Table(
        title="",
        columns=("", "network", "weights", "gcc", "zig's clang", "difference"),
        rows=tuple(
            (
                CORES[zig.board],
                NETWORKS[zig.network],
                VARIANTS[zig.variant],
                _millions(gcc.instructions),
                _millions(zig.instructions),
                f"{zig.instructions / gcc.instructions - 1:+.0%}",
            )
            for zig, gcc in pairs
            if gcc
        ),
    )


def _layers(data: Figures, cmsis: Cmsis) -> Table:
    """Instructions a MAC, layer by layer, at 8 bits dense."""
    return Table(
        title="",
        columns=(
            *("network", "layer", "times", "MACs"),
            *(f"{core} {who}" for core in ("M4", "M55", "M0+") for who in ("CMSIS-NN", "codeq")),
        ),
        rows=tuple(_layer(data, row) for row in cmsis.layer),
    )


def _layer(data: Figures, row: CmsisLayer) -> tuple[str, ...]:
    theirs = (row.m4 / row.macs, row.m55 / row.macs, row.m0)
    ours = (
        _mean(data.network(board, row.network, "dense8"), row)
        for board in ("mps2_an386", "mps3_an547", "microbit")
    )
    cells = (f"{value:.2f}" for pair in zip(theirs, ours, strict=True) for value in pair)
    return (NETWORKS[row.network], row.name, str(len(row.layers)), _count(row.macs), *cells)


def _mean(figure: NetworkFigure | None, row: CmsisLayer) -> float:
    """Instructions a MAC over all layers of a shape."""
    assert figure is not None
    return sum(figure.layers[name] for name in row.layers) / len(row.layers) / row.macs


def _kernels(data: Figures) -> Table:
    """Instructions a MAC: one row a layer, packing and width, one column a core."""
    lines: dict[tuple[str, str, str], dict[str, str]] = {}
    for each in data.kernels:
        key = (each.layer, each.packing or "-", str(each.bits or "-"))
        isa = each.kernel.rpartition("_")[2]
        cell = f"{each.instructions / each.macs:.2f}"
        lines.setdefault(key, {})[each.board] = cell if isa == "ref" else f"{cell} {isa}"
    return Table(
        title="",
        columns=("layer", "packing", "bits", *CORES.values()),
        rows=tuple(
            (*key, *(found.get(board, "-") for board in CORES)) for key, found in lines.items()
        ),
    )


def _count(number: int) -> str:
    return f"{number:,}".replace(",", " ")
