# SPDX-License-Identifier: Apache-2.0
"""Tables of plain data, as text, Markdown or on a terminal; and the tables of a `report.json`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rich.box
import rich.markup
import rich.table

from codeq_compile.kernels import Kernel

Report = Mapping[str, Any]
"""What `report.json` holds; `report.collect` documents it."""


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
        title=table.title or None, box=rich.box.SIMPLE_HEAD, title_justify="left"
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
