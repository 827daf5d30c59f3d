# SPDX-License-Identifier: Apache-2.0
"""The one module that knows where `runtime_c/`, `targets/` and LICENSE are: checkout or wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _find(name: str) -> Path:
    in_wheel = _PACKAGE / "_resources" / name
    return in_wheel if in_wheel.exists() else _PACKAGE.parent / name


def runtime_dir() -> Path:
    """Folder of the C runtime: `include/codeq/` and `src/`."""
    return _find("runtime_c")


def targets_dir() -> Path:
    """Folder with one sub-folder a board, and `common/`."""
    return _find("targets")


def license_file() -> Path:
    """Text of the licence, which goes with every copy of the runtime."""
    return _find("LICENSE")
