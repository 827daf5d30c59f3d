# SPDX-License-Identifier: Apache-2.0
"""Padding, joining and reshaping on the device, against torch."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from codeq_compile import passes
from codeq_compile.errors import UnsupportedOp
from codeq_compile.simulate import simulate
from codeq_train import export, to_graph_inputs
from tests.train.nets import images, prepared

IMAGE = (4, 3, 4, 6)


def outputs(function: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor, np.ndarray]:
    """What torch gives, and the integers as real values in memory order."""
    ours = prepared(function, *inputs)
    graph = export(ours)
    q = simulate(passes.run(graph), to_graph_inputs(graph, *inputs))["output"]
    grid = graph.tensors["output"].grid
    assert grid is not None
    return ours(*inputs).detach(), grid.dequantize(q)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.pad(F.max_pool2d(x, 1), (1, 2, 0, 3)),
        lambda x: F.pad(F.max_pool2d(x, 1), (0, 0, 0, 0, 1, 2), value=0.5),
        lambda x: torch.cat([F.max_pool2d(x, 1), F.max_pool2d(x, 1)], 1),
        lambda x: torch.cat([F.max_pool2d(x, 1), F.max_pool2d(x, 1)], 2),
        lambda x: torch.cat([F.max_pool2d(x, 1), F.max_pool2d(x, 1)], 3),
    ],
)
def test_images_are_padded_and_joined_along_each_axis(function: Callable[[Tensor], Tensor]) -> None:
    """torch's channel axis is the device's last one."""
    expected, actual = outputs(function, images(*IMAGE))

    assert np.array_equal(np.moveaxis(expected.numpy(), 1, -1), actual)


@pytest.mark.parametrize("axis", [1, 2])
def test_sequences_are_joined_along_each_axis(axis: int) -> None:
    """(channels, length) is (1, length, channels) on the device."""
    x = images(4, 3, 8)

    expected, actual = outputs(
        lambda x: torch.cat([F.max_pool1d(x, 1), F.max_pool1d(x, 1)], axis), x
    )

    assert np.array_equal(expected.transpose(1, 2).numpy(), actual[:, 0])


def test_a_linear_layer_behind_joined_and_flattened_images_finds_its_columns() -> None:
    """Each part was flattened in its own order."""
    weight = images(5, 3 * 4 * 6 + 2 * 3 * 3, seed=3)
    linear = torch.nn.Linear(*weight.shape[::-1])
    linear.weight.data.copy_(weight)

    class Joined(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = linear

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            parts = [F.max_pool2d(a, 1).flatten(1), F.max_pool2d(b, 1).flatten(1)]
            return self.linear(torch.cat(parts, 1))

    ours = prepared(Joined(), images(*IMAGE), images(4, 2, 3, 3, seed=1))
    graph = export(ours)
    inputs = images(*IMAGE), images(4, 2, 3, 3, seed=1)
    q = simulate(passes.run(graph), to_graph_inputs(graph, *inputs))["output"]
    grid = graph.tensors["output"].grid
    assert grid is not None

    steps = np.abs(grid.dequantize(q) - ours(*inputs).detach().numpy()) / grid.scale

    assert steps.max() < 1.5


def test_a_transposed_input_is_taken_as_it_comes() -> None:
    """Sensor windows are (length, channels): the first transpose must not cost a copy."""
    x = images(4, 20, 3)
    conv = torch.nn.Conv1d(3, 5, 3)

    class Windows(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x.transpose(1, 2))

    graph = export(prepared(Windows(), x))
    arrays = to_graph_inputs(graph, x)

    assert (20, 3) == graph.tensors["x"].shape
    assert ["reshape", "conv2d"] == [node.op.kind for node in graph.nodes]
    grid = graph.tensors["x"].grid
    assert grid is not None
    assert np.array_equal(grid.quantize(x.numpy()), arrays["x"])


def test_a_scrambled_output_is_refused() -> None:
    """The caller could not tell which element is which."""
    with pytest.raises(UnsupportedOp, match="neither torch's nor channels-last"):
        prepared(lambda x: F.max_pool2d(x, 1).permute(0, 3, 1, 2), images(*IMAGE))


def test_dropout_leaves_nothing() -> None:
    """It is a training device."""
    graph = export(prepared(lambda x: F.dropout(torch.tanh(x), 0.5, False), images(4, 6)))

    assert ["lut"] == [node.op.kind for node in graph.nodes]
