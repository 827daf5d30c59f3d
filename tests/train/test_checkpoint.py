# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: nothing is lost by a kill, nothing foreign is continued, nothing is executed."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from codeq_compile.errors import InputError
from codeq_train import Callback, Epoch, QuantizedModel, Step, fit
from codeq_train import checkpoint as checkpoints
from tests.train.runs import BATCH, EPOCHS, FROZEN, SAMPLES, Count, Rows, learn, task

ROOT = Path(__file__).parents[2]
STEPS = SAMPLES // BATCH  # an epoch


class PowerFailure(Exception):  # noqa: N818  # not an error of ours
    pass


class Fail(Callback):
    """Ends the run in the middle of an epoch."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step(self, model: nn.Module, step: Step) -> None:
        if step.number == self._step:
            raise PowerFailure


@pytest.fixture(scope="module")
def uninterrupted() -> dict[str, torch.Tensor]:
    return learn().state_dict()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, QuantizedModel]:
    """A checkpoint of a whole run, which tests only read, and what the run gave."""
    path = tmp_path_factory.mktemp("run") / "quantized.pt"
    return path, learn(checkpoint=path)


def assert_equal(expected: dict[str, Any], model: QuantizedModel) -> None:
    actual = model.state_dict()

    assert list(expected) == list(actual)
    for name, value in expected.items():
        assert torch.equal(value, actual[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, EPOCHS - FROZEN, EPOCHS - 1], ids=lambda n: f"after {n}")
def test_a_resumed_run_ends_as_if_it_had_not_been_interrupted(
    epoch: int, tmp_path: Path, uninterrupted: dict[str, torch.Tensor]
) -> None:
    """In every phase: weights, statistics, optimizer, schedule, order, noise and the best epoch."""
    path = tmp_path / "run" / "quantized.pt"
    with pytest.raises(PowerFailure):
        learn(checkpoint=path, callbacks=[Fail(epoch * STEPS + 2)])
    epochs: list[Epoch] = []
    model = learn(checkpoint=path, resume=True, on_epoch=epochs.append)

    assert [*range(epoch + 1, EPOCHS + 1)] == [each.number for each in epochs]
    assert_equal(uninterrupted, model)


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, EPOCHS - 1])
def test_channels_that_left_stay_away_after_a_pause(epoch: int, tmp_path: Path) -> None:
    """Which they are, what the loss felt of the others and where their number began is kept."""
    whole = learn("channels").state_dict()
    path = tmp_path / "quantized.pt"
    with pytest.raises(PowerFailure):
        learn("channels", checkpoint=path, callbacks=[Fail(epoch * STEPS + 2)])
    resumed = learn("channels", checkpoint=path, resume=True)

    assert any((value == 0).any() for name, value in whole.items() if name.endswith(".kept"))
    assert_equal(whole, resumed)


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, EPOCHS - 1])
def test_a_killed_process_loses_no_finished_epoch(
    epoch: int, tmp_path: Path, uninterrupted: dict[str, torch.Tensor]
) -> None:
    """A laptop that runs out of power, a job that is preempted."""
    path = tmp_path / "quantized.pt"
    command = [sys.executable, "-m", "tests.train.runs", "kill", path, str(epoch * STEPS + 2)]
    killed = subprocess.run(command, cwd=ROOT, timeout=120, check=False)
    counting = Count()
    epochs: list[Epoch] = []
    model = learn(checkpoint=path, resume=True, callbacks=[counting], on_epoch=epochs.append)

    assert -signal.SIGKILL == killed.returncode
    assert epoch + 1 == epochs[0].number
    assert EPOCHS * STEPS == counting.steps
    assert_equal(uninterrupted, model)


@pytest.mark.slow
def test_a_finished_run_is_not_repeated(finished: tuple[Path, QuantizedModel]) -> None:
    """A sweep over budgets needs the float network once."""
    path, first = finished

    def never(epoch: Epoch) -> None:
        raise AssertionError(f"epoch {epoch.number} was trained again")

    again = learn(checkpoint=path, resume=True, on_epoch=never)

    assert_equal(first.state_dict(), again)
    assert all(layer.use_running_statistics for layer in again.weighted())  # it is still frozen


def test_without_resuming_a_run_starts_anew(tmp_path: Path) -> None:
    """An old file in the folder must not become part of a new result."""
    path, epochs = tmp_path / "float.pt", []
    for _ in range(2):
        fit(Rows(), *task(), epochs=1, checkpoint=path, on_epoch=epochs.append)

    assert [1, 1] == [epoch.number for epoch in epochs]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"lr": 0.02}, "lr was 0.01, is 0.02"),
        ({"epochs": 6}, "epochs was 5, is 6"),
        ({"seed": 1}, "seed was 0, is 1"),
        ({"precision": "bf16-mixed"}, "precision was 32-true, is bf16-mixed"),
        ({"settings": {"recipe": "kws"}}, "recipe was not set, is kws"),
        ({"teacher": torch.sin}, "teacher_share was None, is 0.5"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(
    changed: dict[str, Any], message: str, finished: tuple[Path, QuantizedModel]
) -> None:
    """Half a run with one learning rate and half with another is no result."""
    path, _ = finished

    with pytest.raises(InputError, match=message) as refused:
        learn(checkpoint=path, resume=True, **changed)
    assert str(path) in str(refused.value)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    """And not loaded as far as its names agree."""
    path = tmp_path / "float.pt"
    fit(Rows(), *task(), epochs=1, checkpoint=path)
    other = nn.Sequential(nn.Flatten(), nn.Linear(162, 3))

    with pytest.raises(
        InputError, match=r"network was Rows of .*, is Sequential of 489"
    ) as refused:
        fit(other, *task(), epochs=2, checkpoint=path, resume=True)
    assert "epochs" not in str(refused.value)  # what else differs is no news


class Harmful:
    """What a pickle can do when it is loaded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._path),)


def test_loading_executes_nothing(tmp_path: Path) -> None:
    """Checkpoints are passed on."""
    path, harm = tmp_path / "quantized.pt", tmp_path / "harm"
    torch.save({"format": checkpoints.FORMAT, "settings": {}, "epoch": Harmful(harm)}, path)

    with pytest.raises(InputError, match="no checkpoint"):
        checkpoints.load(path, {})
    assert not harm.exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 half of one"])
def test_a_damaged_file_is_refused(content: bytes, tmp_path: Path) -> None:
    """With its name and the way out, not with torch's page on how to load it all the same."""
    path = tmp_path / "quantized.pt"
    path.write_bytes(content)

    with pytest.raises(InputError, match="is no checkpoint") as refused:
        checkpoints.load(path, {})
    assert "give another file, or remove it and start anew" in str(refused.value)
    assert "weights_only" not in str(refused.value)


def test_a_folder_in_a_checkpoints_place_is_refused(tmp_path: Path) -> None:
    """Not after an epoch, and not as a word of the operating system alone."""
    with pytest.raises(InputError, match="is no checkpoint that can be read: Is a directory"):
        checkpoints.load(tmp_path, {})


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    """A state_dict is no checkpoint."""
    path = tmp_path / "weights.pt"
    torch.save({"weight": torch.zeros(3)}, path)

    with pytest.raises(InputError, match="is no checkpoint"):
        checkpoints.load(path, {})


def test_a_kill_while_writing_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is written in place is lost with the run."""
    path = tmp_path / "quantized.pt"
    checkpoints.save(path, {"settings": {}, "epoch": 1})

    def killed(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(path, {"settings": {}, "epoch": 2})

    assert 1 == checkpoints.load(path, {})["epoch"]
    assert [path] == list(tmp_path.iterdir())


def test_every_generator_continues_where_it_was(tmp_path: Path) -> None:
    """Augmentation draws from any of them."""

    def draw() -> tuple[float, ...]:
        return random.gauss(0, 1), np.random.normal(), np.random.randint(99), float(torch.rand(()))

    device = torch.device("cpu")
    draw()  # so that half of a pair of normal numbers is waiting
    path = tmp_path / "random.pt"
    checkpoints.save(path, {"settings": {}, "random": checkpoints.random_state(device)})
    expected = draw(), draw()
    checkpoints.set_random_state(checkpoints.load(path, {})["random"], device)

    assert expected == (draw(), draw())
