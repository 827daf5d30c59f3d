# SPDX-License-Identifier: Apache-2.0
"""A trained network on integers, without training it again and without labels.

    python docs/examples/post_training.py

The float network recognises exercises from a smartwatch (the data ships with codeq); it is trained
here only because an example needs one.
"""

import torch

import codeq_train
from codeq_train import LayerConfig, QuantConfig, export, integer_accuracy, quantize
from codeq_train.recipes import models
from codeq_train.recipes.datasets import watch

data = watch.load()
network = models.watch_net(len(data.labels))
positions = torch.arange(len(data.train))
codeq_train.fit(network, positions, data.train.y, epochs=4, lr=5e-3, augment=data.draw)
network.eval()
print(f"float: {codeq_train.evaluate(network, data.test.x, data.test.y):.1%}")

inputs = data.train.x[::8].split(64)  # some 300 windows, no labels
for bits in (8, 4):
    config = QuantConfig(weights=LayerConfig(quantizer="lsq", bits=bits))
    for technique, rounding, bias_correction in (
        ("nearest level", "nearest", False),
        ("+ corrected biases", "nearest", True),
        ("AdaRound", codeq_train.AdaRound(iterations=200), True),
        ("error feedback", "error_feedback", True),
    ):
        model = quantize(
            network, inputs, config, rounding=rounding, bias_correction=bias_correction
        )
        accuracy = integer_accuracy(export(model), data.test.x, data.test.y)
        print(f"{bits} bits, {technique}: {accuracy:.1%} in integers")

budget = QuantConfig(budgets=codeq_train.BudgetConfig(weights="5K"))
model = quantize(network, inputs, budget)  # widths and zeros of each layer by error and bytes
print(f"{codeq_train.projected_bytes(model)} bytes of weights and tables:", end=" ")
print(f"{integer_accuracy(export(model), data.test.x, data.test.y):.1%} in integers")
