# SPDX-License-Identifier: Apache-2.0
"""The unicorn board as a program: exit status, faults, and that nothing of ours links to it."""

import ast
from pathlib import Path

import pytest

import codeq_compile
from tests.boards import (
    EMULATED,
    EXECUTE_RAM,
    OVERFLOW_STACK,
    READ_BEHIND_RAM,
    READ_NULL,
    READ_UNMAPPED,
    UNDEFINED_INSTRUCTION,
    WRITE_FLASH,
    WRITE_NULL,
    each,
    failure,
)

BOARDS = tuple(name for name in EMULATED if name != "mps3_an547")


@pytest.mark.parametrize(
    "code",
    [
        READ_NULL,
        WRITE_NULL,
        WRITE_FLASH,
        OVERFLOW_STACK,
        READ_BEHIND_RAM,
        EXECUTE_RAM,
        READ_UNMAPPED,
        UNDEFINED_INSTRUCTION,
    ],
)
@pytest.mark.parametrize("board", each(BOARDS))
def test_a_stray_access_ends_the_run(board, code):
    """A kernel that goes astray must not pass because QEMU is not installed."""
    error = failure(board, code, emulator="unicorn")

    assert 105 == error.status
    assert "FAULT " in error.output
    assert " at pc " in error.output


def test_only_the_runner_imports_unicorn():
    """Its engine is GPLv2: it runs as a process of its own and is never part of codeq's."""
    root = Path(codeq_compile.__file__).parent
    importing = {
        path.name
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Import) and any(n.name == "unicorn" for n in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "unicorn")
    }

    assert {"unicorn_runner.py"} == importing
    assert not any(
        "unicorn_runner" in (node.module or "") or any("unicorn" in n.name for n in node.names)
        for path in root.rglob("*.py")
        if path.name != "unicorn_runner.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
    )
