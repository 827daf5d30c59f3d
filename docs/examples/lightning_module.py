# SPDX-License-Identifier: Apache-2.0
"""codeq with Lightning: the prepared model is a module like any other.

pip install lightning
python docs/examples/lightning_module.py
"""

from typing import Any

import lightning
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from codeq_train import (
    BudgetConfig,
    LayerConfig,
    QuantConfig,
    QuantizedModel,
    export,
    freeze,
    integer_accuracy,
    land,
    parameter_groups,
    prepare,
    regularizer,
)
from codeq_train.recipes.datasets import watch
from codeq_train.recipes.models import watch_net


class Classifier(lightning.LightningModule):
    """A prepared model, its loss and its last phase."""

    def __init__(self, model: QuantizedModel, *, freeze_at: int) -> None:
        super().__init__()
        self.model, self.freeze_at = model, freeze_at

    def on_train_epoch_start(self) -> None:
        if self.current_epoch == self.freeze_at:
            freeze(self.model)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        x, y = batch
        loss = F.cross_entropy(self.model(x), y)
        self.log("loss", loss)
        return loss + regularizer(self.model)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(parameter_groups(self.model, lr=2e-3))
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def main(*, epochs: int = 16, **trainer: Any) -> float:
    """Train and export; returns the accuracy of the integers on people never seen.

    Several devices, precision, loggers and checkpoints are the trainer's, as ever.
    """
    lightning.seed_everything(0)
    data = watch.load()
    batches = DataLoader(TensorDataset(data.train.x, data.train.y), batch_size=64, shuffle=True)
    settings = QuantConfig(weights=LayerConfig(bits=4), budgets=BudgetConfig(weights=7000))
    model = prepare(watch_net(len(data.labels)), data.train.x[:256], settings)

    classifier = Classifier(model, freeze_at=epochs - epochs // 4)
    lightning.Trainer(max_epochs=epochs, accelerator="cpu", **trainer).fit(classifier, batches)

    land(model)  # what the last steps left above the budget is cut
    graph = export(model.eval(), name="watch", labels=data.labels)
    return integer_accuracy(graph, data.test.x, data.test.y)


if __name__ == "__main__":
    print(f"{main():.2%} in integers")
