# SPDX-License-Identifier: Apache-2.0
"""The generated C of three tiny models is kept: every change of it is seen in a review."""

from collections.abc import Callable
from pathlib import Path

import pytest

from codeq_compile.ir import Graph
from tests.golden.emit.models import FOLDER, conv, generated, linear, rows


@pytest.mark.parametrize("graph", [linear, conv, rows])
def test_the_generated_c_is_the_kept_one(graph: Callable[[], Graph], tmp_path: Path) -> None:
    """A refactoring must not change a byte; a change on purpose runs regenerate.py."""
    kept = {
        path.name: path.read_text(encoding="ascii") for path in (FOLDER / graph().name).iterdir()
    }

    assert kept == dict(generated(graph(), tmp_path))
