# SPDX-License-Identifier: Apache-2.0
"""ResNet-20: the published network, and the way from its files to a library."""

from pathlib import Path

import pytest

from codeq_train.recipes.resnet20 import resnet20
from tests.train.recipes.pictures import write_binary
from tests.train.recipes.smoke import smoke


def test_the_network_has_twenty_layers_and_the_published_parameters(tmp_path: Path) -> None:
    """269,722 with shortcuts of kind A; those of kind B add two 1x1 convolutions with BatchNorm."""
    write_binary(tmp_path, 20)
    network = resnet20(tmp_path).network()
    shortcuts = (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)

    assert 269_722 + shortcuts == sum(p.numel() for p in network.parameters())
    layers = [n for n, p in network.named_parameters() if p.dim() > 1 and "shortcut" not in n]
    assert 20 == len(layers)


@pytest.mark.slow
def test_a_short_run_ends_in_a_checked_library(tmp_path: Path) -> None:
    """The whole recipe on a handful of pictures."""
    write_binary(tmp_path, 40)
    report = smoke("resnet20", tmp_path, tmp_path, test_samples=4)

    assert 0 == sum(check.bytes_differing for check in report.checks)
