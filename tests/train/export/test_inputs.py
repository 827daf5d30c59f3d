# SPDX-License-Identifier: Apache-2.0
"""Torch inputs become the integers that a compiled model takes."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from codeq_compile.errors import InputError
from codeq_train import export, integer_distance, to_graph_inputs
from tests.train.nets import images, prepared


@pytest.mark.parametrize(
    ("function", "shape", "turned"),
    [
        (lambda x: F.max_pool2d(x, 2), (5, 3, 4, 6), (0, 2, 3, 1)),
        (lambda x: F.max_pool2d(x, 2), (5, 1, 4, 6), (0, 2, 3, 1)),
        (lambda x: F.max_pool1d(x, 2), (5, 3, 8), (0, 2, 1)),
        (lambda x: F.max_pool1d(x.transpose(1, 2), 2), (5, 8, 3), (0, 1, 2)),
        (torch.tanh, (5, 7), (0, 1)),
    ],
)
def test_axes_are_turned_as_the_exported_model_wants_them(
    function: object, shape: tuple[int, ...], turned: tuple[int, ...]
) -> None:
    """A transposed input gives plausible nonsense."""
    x = images(*shape)
    graph = export(prepared(function, x))
    (name,) = graph.inputs
    kind = graph.tensors[name]
    assert kind.grid is not None

    expected = kind.grid.quantize(x.numpy().transpose(turned)).reshape(5, *kind.shape)

    assert np.array_equal(expected, to_graph_inputs(graph, x)[name])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (lambda x: [(x,)], "an input is a tuple: give tensors, each as an argument"),
        (lambda x: [x.numpy()], "an input is a ndarray"),
        (lambda x: [x, x], "takes 1 inputs, not 2"),
        (lambda x: [x.permute(0, 2, 3, 1)], r"shape \(2, 4, 6, 3\) does not give samples of s8"),
        (lambda x: [x[0]], "must have 3 dimensions after the batch"),
    ],
)
def test_what_is_not_the_models_input_is_refused(inputs: object, message: str) -> None:
    """A transposed batch has as many values as a right one, and gives plausible nonsense."""
    x = images(2, 3, 4, 6)
    ours = prepared(lambda x: F.max_pool2d(x, 2), x)
    given = inputs(x)

    with pytest.raises(InputError, match=message):
        to_graph_inputs(export(ours), *given)
    with pytest.raises(InputError, match=message):
        integer_distance(ours, *given)
