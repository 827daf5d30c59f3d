# SPDX-License-Identifier: Apache-2.0
"""A small training that is killed, resumed and shared by processes; also a script for those.

``python -m tests.train.runs kill CHECKPOINT STEP`` dies of SIGKILL after that step;
``torchrun --nproc-per-node N -m tests.train.runs share DIR`` leaves what each process has.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from codeq_compile import passes
from codeq_train import (
    Callback,
    LayerConfig,
    QuantConfig,
    QuantizedModel,
    Step,
    export,
    fit,
    launch,
    prepare,
)
from codeq_train.config import BudgetConfig
from codeq_train.cost import planned, snapshot
from codeq_train.quantizers.relevance import Relevance
from tests.train.nets import images

EPOCHS, FROZEN, BATCH, SAMPLES = 5, 2, 32, 96
METHODS = {
    "codeq": LayerConfig(bits=4),
    "ecq": LayerConfig(quantizer="ecq", bits=4, relevance="fisher"),
    "channels": LayerConfig(bits=4, structure="channel"),
}


def task() -> tuple[Tensor, Tensor]:
    """Which third of the image holds the bright patch."""
    x = 0.3 * images(SAMPLES, 2, 9, 9)
    y = torch.arange(SAMPLES) % 3
    for sample, place in enumerate(y.tolist()):
        x[sample, :, 3 * place : 3 * place + 3] += 1.0
    return x, y


class Rows(nn.Module):
    """A convolution as wide as the image, dropout and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 6, (3, 9), stride=(3, 1)), nn.BatchNorm2d(6)
        self.dropout, self.head = nn.Dropout(0.1), nn.Linear(18, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(torch.relu(self.norm(self.conv(x))).flatten(1)))


def prepared(method: str = "codeq") -> QuantizedModel:
    return within(METHODS[method], ram=_too_little() if method == "channels" else None)


def within(weights: LayerConfig, *, ram: int | None = None) -> QuantizedModel:
    torch.manual_seed(0)
    config = QuantConfig(weights=weights, budgets=BudgetConfig(weights=260, ram=ram))
    return prepare(Rows(), task()[0], config)


def _too_little() -> int:
    """Bytes of RAM for which a channel has to leave."""
    lowered = passes.run(snapshot(within(LayerConfig(bits=4))))
    return planned(lowered, BudgetConfig(ram=1)).ram_bytes - 4


def noisy(x: Tensor) -> Tensor:
    return x + 0.01 * torch.randn_like(x)


def learn(method: str = "codeq", **options: Any) -> QuantizedModel:
    """The same few epochs each time, unless `options` of `fit` say otherwise."""
    model, data = prepared(method), task()
    usual: dict[str, Any] = {
        "epochs": EPOCHS,
        "batch_size": BATCH,
        "lr": 1e-2,
        "freeze_epochs": FROZEN,
        "validation": data,
        "keep_best": True,
        "augment": noisy,
    }
    fit(model, *data, **usual | options)
    return model


class Kill(Callback):
    """Ends the process after one step, as the kernel would."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step(self, model: nn.Module, step: Step) -> None:
        if step.number == self._step:
            os.kill(os.getpid(), signal.SIGKILL)


class Count(Callback):
    """Counts steps across resumptions."""

    def __init__(self) -> None:
        self.steps = 0

    def on_step(self, model: nn.Module, step: Step) -> None:
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]


class Relevances(Callback):
    """Keeps the relevances after each step, before the next one hands out those of process 0."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def on_step(self, model: nn.Module, step: Step) -> None:
        self.seen += [each.mean.clone() for each in model.modules() if isinstance(each, Relevance)]


def _share(directory: Path) -> None:
    fabric = launch(accelerator="cpu")
    left = {method: _left(method, fabric, directory) for method in METHODS}
    torch.save(left, directory / f"rank{fabric.global_rank}.pt")


def _left(method: str, fabric: Fabric, directory: Path) -> dict[str, Any]:
    seen: list[Tensor] = []

    def watched(x: Tensor) -> Tensor:
        seen.append(x)
        return noisy(x)

    checkpoint = directory / f"{method}.pt"
    relevances = Relevances()
    options: dict[str, Any] = {"augment": watched, "callbacks": [relevances]}
    model = learn(method, fabric=fabric, checkpoint=checkpoint, **options)
    graph = export(model.eval())
    codes = {
        node.name: torch.from_numpy(node.weights.codes)
        for node in graph.nodes
        if node.weights is not None
    }
    return {
        "state": model.state_dict(),
        "codes": codes,
        "first": seen[0],
        "steps": len(seen),
        "relevances": relevances.seen,
    }


if __name__ == "__main__":
    command, place, *rest = sys.argv[1:]
    if command == "kill":
        learn(checkpoint=Path(place), callbacks=[Count(), Kill(int(rest[0]))])
    else:
        _share(Path(place))
