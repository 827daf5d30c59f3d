# SPDX-License-Identifier: Apache-2.0
"""The manifest: what was emitted is found again, and what was changed is named."""

from pathlib import Path

import msgspec
import pytest

from codeq_compile import manifest
from codeq_compile.errors import InputError
from tests.libraries import emitted, rows, small_conv


def test_what_is_read_is_what_was_emitted(tmp_path: Path) -> None:
    """Build and check know a library by this file only."""
    library = emitted(small_conv(), tmp_path)

    assert library == manifest.read(tmp_path)
    assert () == library.changed(tmp_path)
    everything = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert everything == {*library.files, manifest.FILE_NAME}
    assert {*library.sources, library.model} < {*library.files}


def test_changed_and_missing_files_are_named(tmp_path: Path) -> None:
    """A difference is explained at once if the message names the edited file."""
    library = emitted(small_conv(), tmp_path)
    (tmp_path / "small.c").write_text("edited")
    (tmp_path / "small.h").unlink()

    assert ("small.c", "small.h") == library.changed(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"format": 1}', "damaged or of another version"),
        ("{", "into another folder or once this one is deleted"),
        (None, "not an emitted library"),
    ],
)
def test_a_bad_manifest_is_an_input_error(text: str | None, message: str, tmp_path: Path) -> None:
    """Users point at wrong folders and half-copied ones."""
    if text is not None:
        (tmp_path / manifest.FILE_NAME).write_text(text)

    with pytest.raises(InputError, match=message):
        manifest.read(tmp_path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    """A field that changed its meaning must not be read with the old one."""
    library = emitted(small_conv(), tmp_path)
    manifest.write(msgspec.structs.replace(library, format=99), tmp_path)

    with pytest.raises(InputError, match="has format 99"):
        manifest.read(tmp_path)


@pytest.mark.parametrize("path", ["../outside.c", "/etc/passwd"])
def test_a_manifest_names_files_of_its_own_folder_only(path: str, tmp_path: Path) -> None:
    """A library from somebody else must not make `check` compile a file of the user's."""
    library = emitted(small_conv(), tmp_path)
    manifest.write(msgspec.structs.replace(library, sources=(path,)), tmp_path)

    with pytest.raises(InputError, match="outside its folder"):
        manifest.read(tmp_path)


def test_calls_are_in_order_unless_the_manifest_says_otherwise(tmp_path: Path) -> None:
    """Traces and profiles are told apart by this order only."""
    whole = emitted(small_conv(), tmp_path / "whole")
    streamed = emitted(rows(), tmp_path / "rows", stream="auto")

    assert (1, 2) == whole.order
    assert {1, 2, 3, 4} == {*streamed.order}
    assert streamed.order == streamed.calls == manifest.read(tmp_path / "rows").calls


def test_calls_of_layers_that_are_not_there_are_refused(tmp_path: Path) -> None:
    """Whoever wrote the file: what is read from it must not crash the reader."""
    library = emitted(small_conv(), tmp_path)
    manifest.write(msgspec.structs.replace(library, calls=(1, 3)), tmp_path)

    with pytest.raises(InputError, match="names layers that it does not describe"):
        manifest.read(tmp_path)
