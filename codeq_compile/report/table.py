# SPDX-License-Identifier: Apache-2.0
"""Tables of text, Markdown or on a terminal: of a report, a check, kernels, boards and tools."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import rich.box
import rich.markup
import rich.table

from codeq_compile.build.tools import Need
from codeq_compile.check import TargetCheck
from codeq_compile.emit.format import clip, percent
from codeq_compile.explain import Explanation
from codeq_compile.inspection import Inspection
from codeq_compile.kernels import Kernel
from codeq_compile.profile import Part, Profile, Timing
from codeq_compile.report.collect import (
    CheckReport,
    FlashReport,
    LayerReport,
    RamReport,
    RemovedReport,
    Report,
    StreamReport,
)
from codeq_compile.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A title, column heads and rows of text. Columns of numbers stand to the right.

    Parameters
    ----------
    title : str
        Empty for none.
    columns : tuple of str
    rows : tuple of tuple of str
        One text a column.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def is_numeric(self, column: int) -> bool:
        """True if every row starts with a digit there, or is empty."""
        texts = [row[column] for row in self.rows if row[column] not in {"", "-"}]
        return bool(texts) and all(text.lstrip("+-").lstrip()[:1].isdigit() for text in texts)


def plain(table: Table) -> str:
    """Aligned columns, two spaces apart, no trailing spaces: for files and pipes."""
    rows = [table.columns, *table.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.columns))]
    lines = [table.title] if table.title else []
    for number, row in enumerate(rows):
        lines.append(_line(table, row, widths))
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    return "\n".join(lines) + "\n"


def _line(table: Table, row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        text.rjust(width) if table.is_numeric(column) else text.ljust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def markdown(table: Table) -> str:
    """A table of GitHub's Markdown, without its title."""
    rules = ["--:" if table.is_numeric(c) else "---" for c in range(len(table.columns))]
    rows = [table.columns, rules, *table.rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def terminal(table: Table) -> rich.table.Table:
    """The same for a terminal, with rich."""
    drawn = rich.table.Table(
        title=table.title or None,
        title_justify="left",
        title_style="bold",
        box=rich.box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for column, head in enumerate(table.columns):
        drawn.add_column(
            head, justify="right" if table.is_numeric(column) else "left", overflow="fold"
        )
    for row in table.rows:
        drawn.add_row(*(rich.markup.escape(text) for text in row))
    return drawn


def kernel_table(kernels: Iterable[Kernel]) -> Table:
    """One row a kernel family and instruction set: its packings, each with its widths."""
    groups: dict[tuple[str, str], dict[str, list[int]]] = {}
    for kernel in kernels:
        packings = groups.setdefault((kernel.family, kernel.isa), {})
        if kernel.packing is not None and kernel.bits is not None:
            packings.setdefault(kernel.packing, []).append(kernel.bits)
    return Table(
        title="",
        columns=("kernel", "instruction set", "weights"),
        rows=tuple(
            (family, isa, ", ".join(f"{p} {_widths(bits)}" for p, bits in packings.items()))
            for (family, isa), packings in groups.items()
        ),
    )


def _widths(bits: Iterable[int]) -> str:
    """``1-3 5`` for 1, 2, 3 and 5 bits."""
    spans: list[list[int]] = []
    for width in sorted(bits):
        if spans and width == spans[-1][-1] + 1:
            spans[-1].append(width)
        else:
            spans.append([width])
    return " ".join(f"{s[0]}-{s[-1]}" if len(s) > 1 else str(s[0]) for s in spans)


def target_table(targets: Iterable[Target]) -> Table:
    """One row a board."""
    return Table(
        title="",
        columns=("target", "core", "isa", "flash", "RAM", "run by", "description"),
        rows=tuple(
            (
                target.name,
                target.core,
                " ".join(target.isa),
                _kibibytes(target.memory.part_flash_bytes) if target.memory else "-",
                _kibibytes(target.memory.part_ram_bytes) if target.memory else "-",
                target.run.runner if target.run else "-",
                target.description,
            )
            for target in targets
        ),
    )


def _kibibytes(size: int) -> str:
    return f"{size / 1024:.0f} KiB"


def doctor_table(needs: Iterable[Need]) -> Table:
    """One row a purpose: the tool that serves it, or how to get one."""
    return Table(
        title="",
        columns=("for", "tool", "version", "from"),
        rows=tuple(
            (need.purpose, need.tool.name, need.tool.version, need.tool.source)
            if need.tool
            else (need.purpose, "missing", "", need.advice)
            for need in needs
        ),
    )


def inspection_table(inspection: Inspection) -> Table:
    """One row a layer of the file; reasons are too long for a table and follow it."""
    return Table(
        title=f"{inspection.file}: {inspection.description}".rstrip(": "),
        columns=("", "layer", "operator", "reads", "writes", "MAC", "constants", "supported"),
        rows=tuple(
            (
                str(number),
                clip(layer.name, 40),
                layer.kind,
                ", ".join(layer.inputs),
                ", ".join(layer.outputs),
                _count(layer.macs) if layer.macs else "",
                _count(layer.bytes) if layer.bytes else "",
                "no" if layer.reason else "yes",
            )
            for number, layer in enumerate(inspection.layers)
        ),
    )


def inspection_notes(inspection: Inspection) -> Iterator[str]:
    """Every reason why the model cannot be compiled, and what would help."""
    for number, layer in enumerate(inspection.layers):
        if layer.reason:
            yield f'{number} {layer.kind} "{layer.name}": {layer.reason}'
    yield from inspection.problems


def check_table(checks: Iterable[TargetCheck | CheckReport]) -> Table:
    """One row a target that was compared with the simulation."""
    return Table(
        title="Simulation against C",
        columns=("target", "samples", "with every layer", "bytes compared", "differing", "stack"),
        rows=tuple(
            (
                check.target,
                _count(check.samples),
                _count(check.traced),
                _count(check.bytes_compared),
                _count(check.bytes_differing),
                _optional(check.stack_bytes),
            )
            for check in checks
        ),
    )


def report_tables(report: Report) -> Iterator[Table]:
    """What `codeq report` shows: the whole, accuracy, flash, RAM, layers, checks."""
    yield _whole(report)
    if report.removed.channels:
        yield _removed(report.removed)
    if report.accuracy:
        yield _accuracy(report.accuracy)
    yield _flash(report.flash)
    yield _ram(report.ram)
    if report.streams:
        yield _streams(report.streams)
    yield _layers(report.layers)
    if report.checks:
        yield check_table(report.checks)
    for profile in report.profiles:
        yield profile_table(profile)
    for timing in report.timings:
        yield timing_table(timing)


def explanation_table(explanation: Explanation) -> Table:
    """One row an option: what was chosen, and why the others were not."""
    return Table(
        title=f"l{explanation.index:02d} {explanation.name} ({explanation.op})",
        columns=(
            *("packing", "kernel", "bytes", "scratch", "instructions, predicted"),
            *("predicted within", "verdict"),
        ),
        rows=tuple(
            (
                option.packing or "-",
                option.kernel or "-",
                _optional(option.weights_bytes),
                _optional(option.scratch_bytes),
                _optional(option.instructions),
                "-" if option.error is None else f"{option.error:.1%}",
                option.verdict,
            )
            for option in explanation.options
        ),
    )


def profile_table(profile: Profile) -> Table:
    """One row a layer: instructions, in classes, and an estimate of cycles; glue and total last."""
    macs = sum(layer.macs for layer in profile.layers)
    classes = [name for name, count in profile.total.classes.items() if count]
    rows = [
        (f"l{layer.index:02d}", layer.name, layer.op, layer.kernel, layer.macs, layer.part)
        for layer in profile.layers
    ]
    rows.append(("", f"{profile.name}_run itself", "-", "-", 0, profile.glue))
    rows.append(("", "total", "-", "-", macs, profile.total))
    return Table(
        title=f"Instructions on {profile.target} ({profile.core}), {profile.compiler} "
        f"{profile.optimization}",
        columns=(
            *("", "layer", "op", "kernel", "MACs", "instructions", "a MAC"),
            *("cycles, estimated", "from", "to", *classes),
        ),
        rows=tuple(
            (*texts, _count(macs) if macs else "-", *_part(part, macs, classes))
            for *texts, macs, part in rows
        ),
    )


def timing_table(timing: Timing) -> Table:
    """One row a layer: measured cycles; the whole call last."""
    macs = sum(layer.macs for layer in timing.layers)
    rows = [
        (f"l{layer.index:02d}", layer.name, layer.op, layer.kernel, layer.macs, layer.cycles)
        for layer in timing.layers
    ]
    rows.append(("", "total, without hooks", "-", "-", macs, timing.most))
    return Table(
        title=f"Cycles on {timing.target} ({timing.core}), measured, {timing.compiler} "
        f"{timing.optimization}",
        columns=("", "layer", "op", "kernel", "MACs", "cycles", "a MAC"),
        rows=tuple(
            (
                *texts,
                _count(macs) if macs else "-",
                _count(cycles),
                f"{cycles / macs:.2f}" if macs else "-",
            )
            for *texts, macs, cycles in rows
        ),
    )


def _part(part: Part, macs: int, classes: Iterable[str]) -> tuple[str, ...]:
    cycles = part.estimate
    return (
        _count(part.instructions),
        f"{part.instructions / macs:.2f}" if macs else "-",
        *map(_count, (cycles.likely, cycles.low, cycles.high)),
        *(_count(part.classes[name]) for name in classes),
    )


def _whole(report: Report) -> Table:
    return Table(
        title=f"{report.name}: {report.command}",
        columns=(
            *("target", "weights", "bits, mean", "zeros", "MACs", "MACs done"),
            "instructions, predicted",
        ),
        rows=(
            (
                f"{report.target} ({report.core})",
                _count(report.weights),
                f"{report.bits_mean:.2f}",
                f"{report.zeros:.1%}",
                _count(report.macs),
                _count(report.macs_done),
                _optional(report.instructions),
            ),
        ),
    )


def _removed(removed: RemovedReport) -> Table:
    return Table(
        title="Removed: channels that are constant, or that nobody reads",
        columns=("channels", "weights", "their bytes, dense", "MACs"),
        rows=(
            tuple(
                _count(number)
                for number in (
                    removed.channels,
                    removed.weights,
                    removed.weights_bytes,
                    removed.macs,
                )
            ),
        ),
    )


def _accuracy(stages: Mapping[str, Mapping[str, float]]) -> Table:
    measures = list(dict.fromkeys(name for stage in stages.values() for name in stage))
    return Table(
        title="Accuracy",
        columns=("stage", *measures),
        rows=tuple(
            (stage, *(f"{values[m]:.2%}" if m in values else "-" for m in measures))
            for stage, values in stages.items()
        ),
    )


def _flash(flash: FlashReport) -> Table:
    parts = {
        "weights": flash.weights,
        "  their entropy": flash.entropy,
        "tables, aligned" if flash.compiler else "tables": flash.tables,
        "code": flash.code,
        "  kernels in it": flash.kernels,
        "layer parameters, constants": flash.constants,
        "total, limited by --flash": flash.total,
        "vectors, start-up, test program": flash.board,
    }
    built = f" ({flash.compiler})" if flash.compiler else ""
    return _bytes_table(f"Flash{built}", {k: v for k, v in parts.items() if v is not None})


def _ram(ram: RamReport) -> Table:
    # other kernels, or rows at a time, are other tensors and scratch
    proof = "the least for these kernels" if ram.is_optimal else "not proved to be the least"
    parts = {
        f"arena ({proof})": ram.arena,
        f'  its lower bound, at "{ram.peak}"': ram.lower_bound,
        "  scratch in it": ram.scratch,
        "inputs": ram.inputs,
        "outputs": ram.outputs,
        "state": ram.state,
        "total, limited by --ram": ram.total,
    }
    return _bytes_table("RAM", parts)


def _streams(streams: Iterable[StreamReport]) -> Table:
    return Table(
        title="Layers that are computed some rows at a time",
        columns=("layers", "rows a call", "calls", "bytes of windows"),
        rows=tuple(
            (
                f"l{each.first:02d}..l{each.last:02d}",
                _count(each.rows),
                _count(each.calls),
                _count(sum(each.windows.values())),
            )
            for each in streams
        ),
    )


def _bytes_table(title: str, parts: Mapping[str, int]) -> Table:
    rows = tuple((part, _count(size)) for part, size in parts.items())
    return Table(title=title, columns=("", "bytes"), rows=rows)


def _layers(layers: Iterable[LayerReport]) -> Table:
    return Table(
        title="Layers",
        columns=(
            *("", "layer", "op", "output", "bits", "gap", "zeros"),
            *("packing", "weights", "entropy", "tables", "MACs", "skipped"),
            "instructions, predicted",
        ),
        rows=tuple(
            (
                f"l{layer.index:02d}",
                layer.name,
                layer.op,
                layer.output,
                _optional(layer.bits),
                _optional(layer.gap),
                "-" if layer.zeros is None else percent(layer.zeros).replace(" ", ""),
                layer.packing or "-",
                _count(layer.weights_bytes),
                _count(layer.entropy_bytes) if layer.bits else "-",
                _count(layer.tables_bytes),
                _count(layer.macs),
                _count(layer.macs - layer.macs_done),
                _optional(layer.instructions),
            )
            for layer in layers
        ),
    )


def _count(number: int) -> str:
    """Thousands apart: ``1 234 567``."""
    return f"{number:,}".replace(",", " ")


def _optional(number: int | None) -> str:
    return "-" if number is None else _count(number)
