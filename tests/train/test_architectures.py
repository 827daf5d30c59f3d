# SPDX-License-Identifier: Apache-2.0
"""The networks of MLPerf Tiny, trained-looking: every layer is one step from its integers."""

from collections.abc import Callable

import pytest
from torch import nn

from codeq_train import integer_distance
from codeq_train.recipes.models import autoencoder, ds_cnn, mobilenet_v1, resnet8
from tests.train.nets import images, prepared, randomize_batchnorm


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        pytest.param(ds_cnn, (4, 1, 49, 10), id="ds_cnn"),
        pytest.param(resnet8, (4, 3, 32, 32), id="resnet8"),
        pytest.param(mobilenet_v1, (2, 3, 96, 96), id="mobilenet_v1", marks=pytest.mark.slow),
        pytest.param(autoencoder, (8, 640), id="autoencoder"),
    ],
)
def test_every_layer_is_at_most_one_step_from_its_integers(
    build: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    """Residuals, depthwise layers, uneven padding, negative and vanishing gammas, all at once."""
    network = build()
    randomize_batchnorm(network)
    x = images(*shape)

    distances = integer_distance(prepared(network, x), x)

    assert {} == {d.layer: d.steps for d in distances if d.steps > 1}
    # rounding twice, as TFLite does, moves 2^-(n+1) of values that are shifted right by n bits;
    # the last layer has so few values that one of them would be a large share
    assert max(d.share for d in distances[:-1]) < 0.15
