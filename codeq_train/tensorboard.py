# SPDX-License-Identifier: Apache-2.0
"""TensorBoard logs of a training: accuracy, size and pressure, and what each layer became."""

from pathlib import Path
from typing import Any

from torch import nn

from codeq_train.checkpoint import State
from codeq_train.cost import layer_costs
from codeq_train.loop import Callback, Epoch
from codeq_train.model import QuantizedModel


class TensorBoard(Callback):
    """Writes one point a curve and epoch; after a resumption the curves go on.

    Parameters
    ----------
    directory : Path
        For the event files.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._writer: Any = None
        self._epoch = 0

    def on_epoch(self, model: nn.Module, epoch: Epoch) -> None:
        """Write the epoch's figures."""
        points = {"loss": epoch.loss, "accuracy": epoch.accuracy}
        points |= {f"integer/{name}": value for name, value in (epoch.integers or {}).items()}
        if isinstance(model, QuantizedModel):
            points |= _sizes(model, epoch)
        writer = self._open()
        for name, value in points.items():
            writer.add_scalar(name, value, epoch.number)
        writer.flush()
        self._epoch = epoch.number

    def _open(self) -> Any:
        if self._writer is None:
            # its import takes a second, and most runs do without
            from torch.utils.tensorboard import SummaryWriter

            # points beyond the checkpoint belong to the run that was killed
            self._writer = SummaryWriter(str(self._directory), purge_step=self._epoch + 1)
        return self._writer

    def state_dict(self) -> State:
        return {"epoch": self._epoch}

    def load_state_dict(self, state: State) -> None:
        self._epoch = state["epoch"]


def _sizes(model: QuantizedModel, epoch: Epoch) -> dict[str, float]:
    points: dict[str, float] = {
        "size/bits": epoch.mean_bits,
        "size/zeros": epoch.sparsity,
        "size/bytes": epoch.flash_bytes,
    }
    for cost in layer_costs(model):
        points[f"bits/{cost.name}"] = cost.bits
        points[f"zeros/{cost.name}"] = cost.sparsity
    for name, value in model.named_buffers():
        owner, _, leaf = name.rpartition(".")
        if leaf == "pressure":
            points[f"pressure/{owner}"] = float(value)
    return points
