# SPDX-License-Identifier: Apache-2.0
"""The runtime as a host library, built once a session."""

from pathlib import Path

import pytest

from tests.runtime.binding import Runtime, shared_library

SHIMS = sorted((Path(__file__).parent / "c").glob("shim_*.c"))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All kernels, and the shims through which tests reach static functions."""
    return shared_library(tmp_path_factory.mktemp("runtime"), SHIMS)


@pytest.fixture(scope="session")
def runtime(library: Path) -> Runtime:
    return Runtime(library)
