# SPDX-License-Identifier: Apache-2.0
"""codeq in a plain PyTorch loop: five calls beside what you have already.

python docs/examples/plain_pytorch.py build/watch
"""

import sys
from pathlib import Path

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import codeq_compile
from codeq_train import (
    BudgetConfig,
    LayerConfig,
    QuantConfig,
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


def main(directory: Path, *, float_epochs: int = 15, epochs: int = 15) -> float:
    """Train, export and compile; returns the accuracy of the integers on people never seen."""
    torch.manual_seed(0)
    data = watch.load()
    batches = DataLoader(TensorDataset(data.train.x, data.train.y), batch_size=64, shuffle=True)

    network = watch_net(len(data.labels))
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(float_epochs):
        for x, y in batches:
            optimizer.zero_grad()
            F.cross_entropy(network(x), y).backward()
            optimizer.step()

    # 1. A copy that computes with quantized weights and activations: at most 4 bits, 7,000 bytes
    settings = QuantConfig(weights=LayerConfig(bits=4), budgets=BudgetConfig(weights=7000))
    model = prepare(network.eval(), data.train.x[:256], settings)

    # 2. Quantizers have their own learning rates and never decay
    optimizer = torch.optim.AdamW(parameter_groups(model, lr=2e-3, weight_decay=0.02))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(batches))
    last = epochs // 4
    model.schedule((epochs - last) * len(batches))  # so many steps in which the size comes down
    for epoch in range(epochs):
        if epoch == epochs - last:
            freeze(model)  # 4. The last quarter: zeros and widths are fixed, BatchNorm is folded
        for x, y in batches:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y) + regularizer(model)  # 3. The price of bytes
            loss.backward()
            optimizer.step()
            schedule.step()

    land(model)  # 5. What the last steps left above the budget is cut
    graph = export(model.eval(), name="watch", labels=data.labels)
    codeq_compile.compile(graph, directory, target="host")
    return integer_accuracy(graph, data.test.x, data.test.y)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(f"{main(Path(sys.argv[1])):.2%} in integers")
