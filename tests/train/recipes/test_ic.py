# SPDX-License-Identifier: Apache-2.0
"""The image classifier: the published network, and the way from its files to a library."""

from pathlib import Path

import pytest

from codeq_train.recipes.ic import ic
from tests.train.recipes.pictures import write_binary
from tests.train.recipes.smoke import smoke


def test_the_network_is_that_of_mlperf_tiny(tmp_path: Path) -> None:
    """Another network would be compared with the wrong reference."""
    write_binary(tmp_path, 20)
    network = ic(tmp_path).network()
    learned = sum(p.numel() for p in network.parameters())
    running = sum(b.numel() for name, b in network.named_buffers() if "running" in name)
    # Keras has a bias in each of the seven convolutions before a BatchNorm, which undoes it
    undone = 3 * 16 + 2 * 32 + 2 * 64

    assert 78_666 == learned + running + undone


@pytest.mark.slow
def test_a_short_run_ends_in_a_checked_library(tmp_path: Path) -> None:
    """The whole recipe on a handful of pictures."""
    write_binary(tmp_path, 40)
    report = smoke("ic", tmp_path, tmp_path, test_samples=4)

    assert 0 == sum(check.bytes_differing for check in report.checks)
