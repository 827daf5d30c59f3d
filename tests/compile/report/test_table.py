# SPDX-License-Identifier: Apache-2.0
"""Tables as text, Markdown and on a terminal."""

import io

import pytest
import rich.console

from codeq_compile.kernels import Kernel
from codeq_compile.report.table import Table, kernel_table, markdown, plain, terminal

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
