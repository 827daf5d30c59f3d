# SPDX-License-Identifier: Apache-2.0
"""Where the C runtime and the boards are."""

from pathlib import Path

import pytest

from codeq_compile import resources
from codeq_compile.resources import license_file, runtime_dir, targets_dir


def test_a_checkout_has_them_beside_the_package() -> None:
    """Developers edit these files and expect them to be used."""
    assert (runtime_dir() / "include" / "codeq" / "kernels.inc").is_file()
    assert (targets_dir() / "host" / "target.toml").is_file()
    assert "Apache License" in license_file().read_text(encoding="utf-8")


def test_a_wheel_has_them_inside_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installed codeq must not look at what happens to lie beside site-packages."""
    package = tmp_path / "site-packages" / "codeq_compile"
    for name in ("runtime_c", "targets"):
        (package / "_resources" / name).mkdir(parents=True)
        (package.parent / name).mkdir()
    (package / "_resources" / "LICENSE").write_text("x")
    monkeypatch.setattr(resources, "_PACKAGE", package)

    assert package / "_resources" / "runtime_c" == runtime_dir()
    assert package / "_resources" / "targets" == targets_dir()
    assert package / "_resources" / "LICENSE" == license_file()
