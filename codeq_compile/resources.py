# SPDX-License-Identifier: Apache-2.0
"""Where `runtime_c/` and `targets/` are, in a checkout and in an installed wheel. Nothing else knows."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _find(name: str) -> Path:
    in_wheel = _PACKAGE / "_resources" / name
    return in_wheel if in_wheel.is_dir() else _PACKAGE.parent / name


def runtime_dir() -> Path:
    """Folder of the C runtime: `include/codeq/` and `src/`."""
    return _find("runtime_c")


def targets_dir() -> Path:
    """Folder with one sub-folder a board, and `common/`."""
    return _find("targets")
