# SPDX-License-Identifier: Apache-2.0
"""What layers compute while training: BatchNorm's two faces, the bias on its grid, ties."""

import numpy as np
import torch
from torch import nn

from codeq_train import freeze, set_quantization
from codeq_train.layers import AvgPool, Window
from tests.train.nets import ConvNet, images, prepared, randomize_batchnorm


def test_without_quantization_a_prepared_model_is_the_users_model() -> None:
    """What capture rebuilt must be the same network, in evaluation and in training."""
    model = ConvNet()
    model.dropout.p = 0.0
    randomize_batchnorm(model)
    x = images(16, 2, 9, 9)
    ours = prepared(model, x)
    set_quantization(ours, weights=False, activations=False)

    assert torch.allclose(model.eval()(x), ours(x), atol=1e-5)
    assert torch.allclose(model.train()(x), ours.train()(x), atol=1e-5)
    # the running statistics that training left behind are the same too
    assert torch.allclose(model.eval()(x), ours.eval()(x), atol=1e-5)


def test_training_uses_the_batch_and_the_last_phase_the_running_statistics() -> None:
    """In the last phase the network must be the one that is exported."""
    model = ConvNet()
    model.dropout.p = 0.0
    randomize_batchnorm(model)
    x = images(16, 2, 9, 9)
    ours = prepared(model, x)
    evaluated = ours(x)

    assert not torch.allclose(evaluated, ours.train()(x), atol=1e-3)

    ours = prepared(model, x)
    freeze(ours)

    assert torch.equal(evaluated, ours.train()(x))


def test_the_bias_stands_on_the_accumulators_grid() -> None:
    """An unrounded bias puts up to a tenth of a layer's values one step off."""
    ours = prepared(nn.Linear(5, 3), images(64, 5))
    (layer,) = ours.weighted()
    layer.grid.enabled = False
    zero = torch.zeros(1, 5)
    step = layer.input_grid.grid().scale * layer.quantizer.step(layer.weight).flatten()

    steps = (layer(zero) / step).detach().numpy()

    assert np.allclose(steps, np.round(steps), atol=1e-4)
    assert (np.abs(steps - (layer.bias / step).detach().numpy()) <= 0.5 + 1e-4).all()


def test_average_pooling_breaks_ties_as_the_integers_do() -> None:
    """Every fourth mean of 2x2 pixels is a tie; the integers round it away from q = 0."""
    x = torch.tensor([[[[1.0, 2.0, -1.0, -2.0]], [[0.0, 1.0, -1.0, 0.0]]]])
    ours = prepared(lambda x: torch.nn.functional.avg_pool2d(x, (1, 2)), x)
    pool = next(layer for layer in ours.layers if isinstance(layer, AvgPool))
    assert pool.grid is not None
    grid = pool.grid.grid()
    q = torch.arange(-20, 20).reshape(1, 1, 1, 40).float()
    values = (q - grid.zero_point) * grid.scale

    pooled = pool(values).detach().numpy()

    pairs = q.numpy().reshape(-1, 2).sum(1)
    expected = np.copysign(np.floor(np.abs(pairs) / 2 + 0.5), pairs)
    assert np.array_equal(expected, np.round(pooled / grid.scale).ravel() + grid.zero_point)


def test_uneven_padding_is_applied_on_its_sides() -> None:
    """'same' convolutions of even kernels pad behind more than before."""
    window = Window(kernel=(2,), stride=(1,), dilation=(1,), padding=((0, 1),))

    assert not window.is_symmetric
    assert [[[1.0, 2.0, 0.0]]] == window.pad(torch.tensor([[[1.0, 2.0]]])).tolist()
