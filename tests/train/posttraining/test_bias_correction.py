# SPDX-License-Identifier: Apache-2.0
"""A channel's mean output is that of the float network again."""

import copy

import pytest
import torch
from torch import nn

from codeq_train import LayerConfig, QuantConfig, set_quantization
from codeq_train.posttraining.bias_correction import correct_bias
from codeq_train.posttraining.reconstruction import Task, walk
from tests.train.nets import images, prepared, randomize_batchnorm

TWO_BITS = QuantConfig(weights=LayerConfig(quantizer="lsq", bits=2))
NETS = {
    "batchnorm": (nn.Sequential(nn.Conv2d(2, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU()), 4),
    "bias": (nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU6()), 4),
    "no bias": (nn.Conv2d(2, 6, 3, bias=False), 4),
    "depthwise": (nn.Conv2d(2, 6, 3, groups=2), 4),
    "linear": (nn.Sequential(nn.Flatten(), nn.Linear(2 * 36, 6)), 2),
}


def mean_error(task: Task) -> torch.Tensor:
    """Per channel, of what the layer computes, rounded bias included."""
    missed = torch.cat([task.layer.compute(x) for x in task.inputs]) - torch.cat(task.targets)
    return missed.double().transpose(0, 1).flatten(1).mean(1).abs()


@pytest.mark.parametrize("kind", NETS)
def test_the_mean_error_is_gone_up_to_the_bias_step(kind: str) -> None:
    """A constant error passes through all layers that follow: the worst kind."""
    net, _ = NETS[kind]
    net = copy.deepcopy(net)
    randomize_batchnorm(net)
    x = images(32, 2, 6, 6) + 1
    ours = prepared(net.eval(), x, config=TWO_BITS)
    reference = copy.deepcopy(ours)
    set_quantization(reference, weights=False, activations=False)
    with torch.no_grad():
        (task,) = walk(ours, reference, [(x[:20],), (x[20:],)])
        before = mean_error(task)
        correct_bias(task)
        after = mean_error(task)
        gain, _ = task.layer.folded()
        step = task.layer.input_grid.scale() * task.layer.levels().scale * gain.abs()
    alive = gain != 0

    assert float(before.max()) > 5 * float(step.max())
    # half a step, and what float32 leaves of a mean over thousands of values
    assert (after[alive] <= 0.51 * step[alive] + 1e-6).all()


def test_layers_of_one_module_are_corrected_apart() -> None:
    """They have one bias in the float network, and errors of their own."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(torch.relu(self.layer(x)))

    torch.manual_seed(0)
    ours = prepared(Twice(), images(16, 4), config=TWO_BITS)
    reference = copy.deepcopy(ours)
    set_quantization(reference, weights=False, activations=False)
    with torch.no_grad():
        for task in walk(ours, reference, [(images(16, 4),)]):
            correct_bias(task)
    first, second = ours.weighted()

    assert not torch.equal(first.bias, second.bias)
