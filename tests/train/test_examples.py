# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/examples in a short run: codeq works in loops that are not its own."""

import importlib.util
import runpy
import sys
from pathlib import Path
from types import ModuleType

import pytest
from safetensors.torch import load_file

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
CHANCE = 1 / 7
"""Of seven exercises; a few epochs are far above it, and far below what the recipe reaches."""

pytestmark = pytest.mark.slow


def example(name: str, *needed: str) -> ModuleType:
    """The module docs/examples/`name`.py; the test is skipped where a package is missing."""
    for package in needed:
        pytest.importorskip(package, reason="an example for users of this package")
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_plain_loop_trains_and_compiles(tmp_path: Path) -> None:
    """Four calls beside what a user has already, and a C library at the end."""
    module = example("plain_pytorch")

    assert module.main(tmp_path / "watch", float_epochs=3, epochs=5) > 3 * CHANCE
    assert (tmp_path / "watch" / "watch.c").exists()


@pytest.mark.parametrize(
    ("name", "needed"),
    [("plain_pytorch", "torch"), ("hugging_face_trainer", "transformers")],
)
def test_an_example_without_its_folder_says_how_to_call_it(
    name: str, needed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call of a script that somebody found is often a bare one."""
    pytest.importorskip(needed, reason="an example for users of this package")
    path = EXAMPLES / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(path)])

    with pytest.raises(SystemExit, match=rf"python docs/examples/{name}\.py build/"):
        runpy.run_path(str(path), run_name="__main__")


def test_lightning_trains_a_prepared_model() -> None:
    """Its trainer brings devices, precision, logs and checkpoints."""
    module = example("lightning_module", "lightning")
    quiet = {"enable_progress_bar": False, "enable_checkpointing": False, "logger": False}

    assert module.main(epochs=6, enable_model_summary=False, **quiet) > 3 * CHANCE


def test_the_trainer_of_hugging_face_trains_and_saves_a_prepared_model(tmp_path: Path) -> None:
    """It stores with safetensors, which refuses what is shared under two names."""
    module = example("hugging_face_trainer", "transformers", "accelerate")

    assert module.main(tmp_path, epochs=6) > 3 * CHANCE
    (saved,) = tmp_path.glob("checkpoint-*/model.safetensors")
    assert "model.body.classifier.weight" in load_file(saved)
