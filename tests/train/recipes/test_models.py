# SPDX-License-Identifier: Apache-2.0
"""The recipes' networks: their published sizes, and that all of them can be exported."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from codeq_compile.passes import run as lower
from codeq_train import export, prepare
from codeq_train.recipes import models

NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[int, ...], float]] = {
    # shapes of one sample, and millions of multiply-accumulates as MLPerf Tiny states them
    "ds_cnn": (models.ds_cnn, (1, 49, 10), (12,), 2.7),
    "resnet8": (models.resnet8, (3, 32, 32), (10,), 12.5),
    "resnet20": (models.resnet20, (3, 32, 32), (10,), 40.8),
    "mobilenet_v1": (models.mobilenet_v1, (3, 96, 96), (2,), 7.5),
    "autoencoder": (models.autoencoder, (640,), (640,), 0.3),
    "bearing_net": (lambda: models.bearing_net(10), (1, 1024), (10,), 0.4),
    "lenet": (models.lenet, (1, 28, 28), (10,), 0.4),
    "wand_net": (lambda: models.wand_net(5), (6, 119), (5,), 0.1),
    "watch_net": (lambda: models.watch_net(7), (6, 128), (7,), 0.3),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_compute_what_was_published(name: str) -> None:
    """A layer too many, or a stride in the wrong place, would be another benchmark."""
    make, shape, output, millions = NETWORKS[name]
    torch.manual_seed(0)
    net = make()
    graph = lower(export(prepare(net, torch.randn(2, *shape)).eval()))
    macs = sum(node.op.macs(node.params, graph.output_type(node)) for node in graph.nodes)

    assert output == tuple(net.eval()(torch.randn(1, *shape)).shape[1:])
    assert millions == round(macs / 1e6, 1)
