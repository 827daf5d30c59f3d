# SPDX-License-Identifier: Apache-2.0
"""Labels of docs/NUMERICS.md and docs/FORMATS.md: Python, C and tests cite every one, and no other.

A label is defined once, in bold or at the end of a heading.  It is cited as ``[N2.6]``, or as the
string ``"conv2d-C4"`` of an error.
"""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from tests import spec

ROOT = Path(__file__).resolve().parent.parent
FORMATS = ROOT / "docs" / "FORMATS.md"

LABEL = r"N\d+\.\d+|F\d+|[a-z][a-z0-9]*-C\d+"
HEADING = re.compile(rf"^#+ .*\[({LABEL})\]$", re.MULTILINE)
CITATION = re.compile(rf"""\[({LABEL})\]|["'`]({LABEL})\b""")

PLACES = {
    "Python": (("codeq_compile", "codeq_train"), (".py",)),
    "C": (("runtime_c",), (".h", ".c")),
    "tests": (("tests",), (".py", ".c")),
}


@cache
def defined() -> dict[str, bool]:
    """Every label, and whether it binds the compiler only."""
    formats = dict.fromkeys(HEADING.findall(FORMATS.read_text(encoding="utf-8")), False)
    # C reads neither the model file nor anything else of the disk
    formats["F9"] = True
    return spec.labels() | formats


@cache
def cited(place: str) -> dict[str, str]:
    """Labels cited in a place, each with one file that does."""
    folders, suffixes = PLACES[place]
    paths = {path for folder in folders for path in (ROOT / folder).rglob("*")} - {Path(__file__)}
    files = sorted(path for path in paths if path.suffix in suffixes)
    return {label: str(path.relative_to(ROOT)) for path in files for label in citations(path)}


def citations(path: Path) -> Iterable[str]:
    found = CITATION.findall(path.read_text(encoding="utf-8"))
    return (bracketed or quoted for bracketed, quoted in found)


def test_the_specification_defines_labels() -> None:
    """The tests below would pass on a page whose form this file no longer understands."""
    assert {"N2.6", "N4.3", "conv2d-C1", "F5"} <= defined().keys()


@pytest.mark.parametrize("place", PLACES)
def test_every_cited_label_exists(place: str) -> None:
    """A reader who looks a rule up must find it."""
    unknown = {label: path for label, path in cited(place).items() if label not in defined()}

    assert not unknown


@pytest.mark.parametrize("place", ["Python", "tests"])
def test_every_rule_is_cited(place: str) -> None:
    """A rule that no code cites is perhaps not kept; one that no test cites is not checked."""
    assert not sorted(defined().keys() - cited(place).keys())


def test_every_rule_that_binds_c_is_cited_in_c() -> None:
    """A reader of the runtime must find the rule that a kernel implements."""
    binding = {label for label, is_compile_time in defined().items() if not is_compile_time}

    assert not sorted(binding - cited("C").keys())


@pytest.mark.parametrize("page", [spec.NUMERICS, FORMATS], ids=lambda page: page.name)
def test_the_pages_cite_only_labels_that_exist(page: Path) -> None:
    """A reference to a rule that was renumbered misleads."""
    assert not set(citations(page)) - defined().keys()


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("rounds half up [N2.4]", ["N2.4"]),
        ('SpecViolation("conv2d-C4", message)', ["conv2d-C4"]),
        ('match="conv2d-C4: the window"', ["conv2d-C4"]),
        ("/* [F3], [N3.4] */", ["F3", "N3.4"]),
        ("array[N2]", []),
    ],
)
def test_citations_are_found(text: str, labels: list[str], tmp_path: Path) -> None:
    """A citation that is overlooked makes this file's tests fail where nothing is wrong."""
    path = tmp_path / "source.py"
    path.write_text(text, encoding="utf-8")

    assert labels == list(citations(path))
