# SPDX-License-Identifier: Apache-2.0
"""Both networks side by side, and a layer as a regression."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from codeq_train import set_quantization
from codeq_train.posttraining.reconstruction import Regression, Task, regression, walk
from tests.train.nets import Residual, convnet, images, prepared, randomize_batchnorm


def tasks(model: nn.Module, *shape: int, seed: int = 0) -> list[Task]:
    ours = prepared(model, images(8, *shape)) if not hasattr(model, "layers") else model
    reference = copy.deepcopy(ours)
    set_quantization(reference, weights=False, activations=False)
    batches = [(images(5, *shape, seed=seed),), (images(3, *shape, seed=seed + 1),)]
    with torch.no_grad():
        return list(walk(ours, reference, batches))


def see(task: Task, places: int = 1 << 20) -> Regression:
    return regression(task, places=places, generator=torch.Generator().manual_seed(0))


def test_both_networks_are_walked_as_they_are_called() -> None:
    """A layer that is fitted to other inputs than it will get is fitted to nothing."""
    net = Residual()
    randomize_batchnorm(net)
    ours = prepared(net.eval(), images(8, 3, 8, 8))
    *_, head = tasks(ours, 3, 8, 8)
    x = images(5, 3, 8, 8)
    quantized = {layer.origin.name: y for layer, y in ours.run(x)}

    assert torch.equal(quantized[head.layer.origin.inputs[0]], head.inputs[0])
    with torch.no_grad():
        assert torch.allclose(net(x), head.targets[0], atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)), (4, 9, 8)),
        (nn.Conv2d(4, 6, 2, padding="same"), (4, 6, 5)),
        (nn.Conv2d(4, 8, 3, groups=2), (4, 6, 5)),
        (nn.Conv2d(4, 8, 3, groups=4, padding=1), (4, 6, 5)),
        (nn.Conv1d(4, 6, 5, stride=2, padding=2, groups=2), (4, 17)),
        (nn.Linear(5, 3), (5,)),
        (nn.Linear(5, 3, bias=False), (2, 5)),
    ],
)
def test_patches_times_weights_are_the_outputs(layer: nn.Module, shape: tuple[int, ...]) -> None:
    """One order of taps wrong, and every decision is about another weight."""
    (task,) = tasks(layer, *shape)
    seen = see(task)
    outputs = seen.patches @ seen.weight.mT * seen.gain + seen.bias
    with torch.no_grad():
        expected = torch.cat([task.twin.compute(x) for x in task.inputs])
    axis = -1 if isinstance(layer, nn.Linear) else 1
    order = expected.movedim(axis, -1).reshape(-1, expected.shape[axis])

    assert torch.allclose(order, outputs.permute(1, 0, 2).flatten(1), atol=1e-5)


def test_the_float_weights_explain_the_float_outputs_where_inputs_are_exact() -> None:
    """Nothing is missing then: the optimum is where the network is."""
    task = tasks(convnet(), 2, 9, 9)[0]
    exact = Task(layer=task.layer, twin=task.twin, inputs=task.inputs, targets=task.targets)
    with torch.no_grad():
        exact.targets[:] = [task.twin.compute(x) for x in task.inputs]
    for centred in (False, True):
        seen = see(exact)
        _, optimum = seen.normal(centred=centred)

        assert torch.allclose(seen.weight, optimum, atol=1e-4)


def test_the_optimum_makes_up_for_errors_before_the_layer() -> None:
    """The error of the optimum is smaller than that of the float weights."""
    seen = see(tasks(convnet(), 2, 9, 9)[2])
    gram, optimum = seen.normal(centred=False)
    errors = [
        float((seen.targets - seen.patches @ weight.mT).square().sum())
        for weight in (optimum, seen.weight)
    ]

    assert errors[0] < errors[1]
    assert (torch.linalg.eigvalsh(gram) > 0).all()


def test_channels_without_gain_ask_for_nothing() -> None:
    """gamma = 0 makes them constant: no weight can reach their output."""
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4))
    randomize_batchnorm(net)
    (task,) = tasks(net.eval(), 2, 6, 6)
    seen = see(task)

    assert 0.0 == seen.gain[0, 0, 0]
    assert torch.isfinite(seen.targets).all()
    assert torch.allclose((seen.patches @ seen.weight.mT)[..., 0], seen.targets[..., 0])


def test_places_are_a_sample_of_all_batches() -> None:
    """Memory does not grow with the data."""
    task = tasks(convnet(), 2, 9, 9)[0]

    assert 40 == see(task, places=40).patches.shape[1]
    assert 8 * 25 == see(task).patches.shape[1]


def test_the_error_is_in_steps_of_the_output() -> None:
    """A perfect layer is off by rounding alone: sqrt(1/12) of a step."""
    task = tasks(nn.Linear(64, 8), 64)[0]
    task.layer.enabled = False
    assert task.layer.grid is not None
    grid = task.layer.grid.grid()
    ends = [float(end) for end in grid.dequantize(np.array([-128, 127], np.int8))]
    with torch.no_grad():
        task.targets[:] = [task.twin.compute(x).clamp(*ends) for x in task.inputs]
        error = task.error()

    assert 0.25 < error < 0.33
