# SPDX-License-Identifier: Apache-2.0
"""The wheel: what it holds, and that it works outside the checkout and without PyTorch."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from codeq_compile import ir
from codeq_compile.ops.linear import Linear
from tests.graphs import one_op_graph, random_weights, s8

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_runtime_boards_templates_and_data(wheel: Path) -> None:
    """A file that stays in the checkout is missed only by those who install with pip."""
    tops = ("codeq_compile", "codeq_train", "runtime_c", "targets")
    paths = (path for top in tops for path in (ROOT / top).rglob("*") if path.is_file())
    tracked = [path.relative_to(ROOT).as_posix() for path in paths if path.suffix != ".pyc"]
    resources = ("runtime_c/", "targets/")
    expected = {
        f"codeq_compile/_resources/{path}" if path.startswith(resources) else path
        for path in tracked
    }

    assert not expected - set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_its_licence_and_no_tests(wheel: Path) -> None:
    """A `tests` package in site-packages would shadow that of every other project."""
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}

    assert {"codeq_compile", "codeq_train"} == {top for top in tops if "." not in top}
    assert [name for name in names if name.endswith("licenses/LICENSE")]


def test_the_wheel_compiles_a_model_without_torch(wheel: Path, tmp_path: Path) -> None:
    """Whoever only compiles must not need gigabytes of PyTorch, nor a clone of this repository."""
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    ir.save(_model(), tmp_path / "model.cq")
    program = (
        "import sys; sys.modules['torch'] = sys.modules['codeq_train'] = None\n"
        f"sys.path.insert(0, {str(site)!r})\n"
        "import codeq_compile; from codeq_compile.cli import main\n"
        f"assert codeq_compile.__file__.startswith({str(site)!r})\n"
        "main(['compile', 'model.cq', '-o', 'library', '--target', 'mps2_an386'])\n"
    )

    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)

    assert (tmp_path / "library" / "one.c").is_file()
    assert (tmp_path / "library" / "runtime" / "include" / "codeq" / "linear.h").is_file()


def _model() -> ir.Graph:
    import numpy as np

    weights = random_weights(np.random.default_rng(0), (4, 16), bits=4, zeros=0.5)
    return one_op_graph(Linear(), [s8(16)], weights=weights)
