# SPDX-License-Identifier: Apache-2.0
"""codeq with the Trainer of Hugging Face: a wrapper that adds the loss, and a callback.

pip install transformers accelerate
python docs/examples/hugging_face_trainer.py build/trainer
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

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
from codeq_train.recipes.data import Samples
from codeq_train.recipes.datasets import watch
from codeq_train.recipes.models import watch_net


class Windows(Dataset[dict[str, Tensor]]):
    """Samples under the names that `Classifier.forward` gives its arguments."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": self.samples.x[index], "labels": self.samples.y[index]}


class Classifier(nn.Module):
    """A prepared model that gives its own loss, as the Trainer expects."""

    def __init__(self, model: QuantizedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        scores = self.model(x)
        if labels is None:
            return {"logits": scores}
        loss = F.cross_entropy(scores, labels)
        if self.training:
            loss = loss + regularizer(self.model)
        return {"loss": loss, "logits": scores}


class LastPhase(TrainerCallback):
    """Freezes zeros and widths for the last epochs."""

    def __init__(self, *, at: int) -> None:
        self.at = at

    def on_epoch_begin(
        self, args: Any, state: Any, control: Any, model: Classifier | None = None, **_: Any
    ) -> None:
        if model is not None and round(state.epoch or 0) == self.at:
            freeze(model.model)


def main(directory: Path, *, epochs: int = 16) -> float:
    """Train and export; returns the accuracy of the integers on people never seen."""
    torch.manual_seed(0)
    data = watch.load()
    settings = QuantConfig(weights=LayerConfig(bits=4), budgets=BudgetConfig(weights=7000))
    model = prepare(watch_net(len(data.labels)), data.train.x[:256], settings)

    arguments = TrainingArguments(
        output_dir=str(directory),
        num_train_epochs=epochs,
        per_device_train_batch_size=64,
        lr_scheduler_type="cosine",
        max_grad_norm=0.0,  # the learned sizes must feel the budget's full pressure
        save_strategy="epoch",
        save_total_limit=1,
        report_to=[],
        use_cpu=True,
    )
    Trainer(
        model=Classifier(model),
        args=arguments,
        train_dataset=Windows(data.train),
        optimizers=(torch.optim.AdamW(parameter_groups(model, lr=2e-3)), None),
        callbacks=[LastPhase(at=epochs - epochs // 4)],
    ).train()

    land(model)  # what the last steps left above the budget is cut
    graph = export(model.eval(), name="watch", labels=data.labels)
    return integer_accuracy(graph, data.test.x, data.test.y)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(f"{main(Path(sys.argv[1])):.2%} in integers")
