# SPDX-License-Identifier: Apache-2.0
"""TensorBoard logs: every curve that one watches while a model shrinks, across resumptions."""

from pathlib import Path

import pytest
import torch

from codeq_train import Epoch, fit
from codeq_train.tensorboard import TensorBoard
from tests.train.runs import EPOCHS, FROZEN, Rows, learn, task

Curves = dict[str, dict[int, float]]


def curves(directory: Path) -> Curves:
    """Value by step of every curve that stands in `directory`."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="reads the logs back"
    )
    events = accumulator.EventAccumulator(str(directory))
    events.Reload()
    return {
        name: {event.step: event.value for event in events.Scalars(name)}
        for name in events.Tags()["scalars"]
    }


@pytest.mark.slow
def test_every_epoch_is_a_point_of_every_curve(tmp_path: Path) -> None:
    """Loss, accuracies, sizes, the pressure of each budget, and what each layer became."""
    epochs: list[Epoch] = []
    learn(callbacks=[TensorBoard(tmp_path)], on_epoch=epochs.append)
    seen = curves(tmp_path)
    every = [*range(1, EPOCHS + 1)]

    for name in ("bits/conv", "bits/head", "zeros/conv", "zeros/head", "size/bits", "size/zeros"):
        assert every == list(seen[name]), name
    assert any(name.startswith("pressure/") for name in seen)
    assert [epoch.loss for epoch in epochs] == pytest.approx([*seen["loss"].values()])
    assert [epoch.accuracy for epoch in epochs] == pytest.approx([*seen["accuracy"].values()])
    assert [epoch.flash_bytes for epoch in epochs] == [*seen["size/bytes"].values()]
    assert every[-FROZEN:] == list(seen["integer/accuracy"])


@pytest.mark.slow
def test_a_float_model_has_no_sizes(tmp_path: Path) -> None:
    """Its curves are the two that it has."""
    fit(Rows(), *task(), epochs=2, callbacks=[TensorBoard(tmp_path)])

    assert {"loss", "accuracy"} == set(curves(tmp_path))


def test_curves_go_on_after_a_resumption(tmp_path: Path) -> None:
    """Not from the start again, and without what a killed run drew beyond its checkpoint."""
    path = tmp_path / "float.pt"

    def stop(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise KeyboardInterrupt

    def run(resume: bool) -> None:
        torch.manual_seed(0)
        log = TensorBoard(tmp_path / "log")
        fit(
            Rows(),
            *task(),
            epochs=4,
            callbacks=[log],
            checkpoint=path,
            resume=resume,
            on_epoch=None if resume else stop,
        )

    with pytest.raises(KeyboardInterrupt):
        run(resume=False)
    run(resume=True)

    assert [1, 2, 3, 4] == list(curves(tmp_path / "log")["loss"])
