# SPDX-License-Identifier: Apache-2.0
"""The runtime folder holds what the model needs, and no more."""

import re
from pathlib import PurePosixPath

from codeq_compile.emit.runtime import needed
from codeq_compile.resources import runtime_dir
from tests.libraries import planned, small_conv


def test_files_are_copied_unchanged_and_complete() -> None:
    """A missing header is found by the user's compiler only."""
    files = needed(layer.kernel for layer in planned(small_conv()).layers)

    for path, data in files.items():
        if path == "LICENSE":
            continue
        assert (runtime_dir() / path).read_bytes() == data
        for name in re.findall(r'#include "([^"]+)"', data.decode()):
            parts: list[str] = []
            for part in (PurePosixPath(path).parent / name).parts:
                parts = parts[:-1] if part == ".." else [*parts, part]
            assert "/".join(parts) in files
        for name in re.findall(r"#include <(codeq/[^>]+)>", data.decode()):
            assert f"include/{name}" in files
        shared = PurePosixPath(path).with_suffix(".c")
        assert str(shared) in files or not (runtime_dir() / shared).exists()


def test_only_the_models_kernels_are_copied() -> None:
    """Flash is small, and so should be what a reviewer has to read."""
    files = needed(layer.kernel for layer in planned(small_conv()).layers)

    sources = {path for path in files if path.endswith(".c")}
    families = {PurePosixPath(path).parent.name for path in sources}
    # what kernels share stands beside their folders
    assert {"conv2d", "linear", "decode", "src"} == families
    assert "include/codeq/softmax.h" not in files


def test_what_moves_rows_is_copied_where_rows_are_moved() -> None:
    """Without it the library does not link; elsewhere it is in the way."""
    assert {"src/slide/slide.c", "include/codeq/slide.h", "src/bytes.h"} <= {
        *needed([], slides=True)
    }
    assert not {path for path in needed([]) if "slide" in path}


def test_the_licence_goes_with_the_runtime() -> None:
    """Apache-2.0 asks for it."""
    assert b"Apache License" in needed([])["LICENSE"]
