# SPDX-License-Identifier: Apache-2.0
"""What users can choose reaches C only as harmless identifiers, comments and literals."""

import doctest
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeq_compile.build import tools
from codeq_compile.emit import format as c

HOSTILE = (
    "*/ int x; /*",
    "??/",
    "a\nb\r\x00",
    "naïve 語 \U0001f600",
    'say "hi"\\',
    "%s\t$(rm)",
    "",
    "/*/*/",
    "????//",
)


def test_the_examples_of_the_module_hold() -> None:
    """They are what a reader learns the functions from."""
    assert 0 == doctest.testmod(c).failed


@given(st.text())
def test_an_identifier_is_one_whatever_the_text(text: str) -> None:
    """A tensor name of any language and shape becomes a parameter."""
    word = c.identifier(text)

    assert word.isascii()
    assert word.isidentifier()
    assert word == word.lower()
    assert not c.is_reserved(word)


def test_identifiers_stay_distinct() -> None:
    """Two inputs that differ in a dot only must not become one parameter."""
    taken: set[str] = set()
    for text in ("a.b", "a/b", "a_b", "A B", "a_b_2"):
        taken.add(c.identifier(text, taken))

    assert 5 == len(taken)


@pytest.mark.parametrize("word", ["int", "register", "class", "new", "uint8_t", "cq_run", "linux"])
def test_words_of_c_and_cpp_are_not_used(word: str) -> None:
    """`int *int` does not compile; `class` does until the header is included from C++."""
    assert c.is_reserved(word)
    assert word != c.identifier(word)


@given(st.text())
def test_a_comment_cannot_be_left(text: str) -> None:
    """A layer called `*/` would put its name into the program."""
    plain = c.comment(text)

    assert plain.isascii()
    assert plain.isprintable()
    assert not any(sign in f"{plain} */"[:-2] for sign in ("*/", "/*", "??"))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_string_literal_holds_exactly_the_text(text: str, tmp_path: Path) -> None:
    """Labels are shown to users: an escape that eats the next character changes them."""
    pieces = c.strings(text + "7f", 24)
    source = "#include <stdio.h>\n" + (
        f"static const char text[] = {' '.join(pieces)};\n"
        "int main(void) { fwrite(text, 1, sizeof text - 1, stdout); return 0; }\n"
    )
    (tmp_path / "text.c").write_text(source, encoding="ascii")
    flags = ["-std=c99", "-trigraphs", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    program = tmp_path / "text"
    subprocess.run(
        [*tools.host_cc().command, *flags, str(tmp_path / "text.c"), "-o", str(program)], check=True
    )

    printed = subprocess.run([str(program)], capture_output=True, check=True).stdout

    assert (text + "7f").encode() == printed
    assert all(len(piece) <= 24 for piece in pieces)


@pytest.mark.parametrize(
    ("c_type", "low", "high"),
    [("int8_t", -128, 127), ("uint8_t", 0, 255), ("int32_t", -(1 << 31), (1 << 31) - 1)],
)
def test_tables_keep_their_values_within_100_columns(
    c_type: str, low: int, high: int, rng: np.random.Generator
) -> None:
    """The last row, the extremes and the sign are where a table goes wrong."""
    data = np.array([low, high, 0, *rng.integers(low, high, 38)])

    lines = c.rows(data, c_type)

    words = [word for line in lines for word in line.replace(" ", "").rstrip(",").split(",")]
    assert data.tolist() == [low if word == "INT32_MIN" else int(word, 0) for word in words]
    assert max(map(len, lines)) <= c.WIDTH


def test_a_count_is_grouped_and_a_share_never_lies() -> None:
    """99.96 % must not read as 100 %: then a layer would look empty."""
    assert ("1 234 567", "12") == (c.count(1234567), c.count(12))
    assert (">99 %", "<1 %", "0 %", "100 %") == tuple(map(c.percent, (0.9996, 1e-9, 0.0, 1.0)))


def test_long_names_keep_their_ends() -> None:
    """`model.encoder…attention.out` says more than its first sixty characters."""
    clipped = c.clip("encoder." * 20 + "attention.out", 30)

    assert 30 == len(clipped)
    assert clipped.startswith("encoder.")
    assert clipped.endswith("ion.out")


def test_a_structure_of_zeros_is_left_out() -> None:
    """Every dense layer would show the empty fields of the sparse ones."""
    values: dict[str, c.Value] = {"cut": {"rows": "0", "ones": "0"}, "weights": {"levels": "NULL"}}

    assert ["    .weights = {.levels = NULL},"] == c.fields(values)
    assert ["    .cut = {.rows = 0, .ones = 1},"] == c.fields({"cut": {"rows": "0", "ones": "1"}})
