# SPDX-License-Identifier: Apache-2.0
"""The recipe `bearings`: its network, and the way from its files to a library."""

from pathlib import Path

import pytest

from codeq_train.recipes.bearings import bearings
from tests.train.recipes.files import write_bearings
from tests.train.recipes.smoke import smoke


def test_the_network_has_about_ten_thousand_weights(tmp_path: Path) -> None:
    """Accuracy and bytes are stated for this size."""
    write_bearings(tmp_path, 8 * 1024)
    weights = sum(p.numel() for p in bearings(tmp_path).network().parameters() if p.dim() > 1)

    assert 10_720 == weights


@pytest.mark.slow
def test_a_short_run_ends_in_a_checked_library(tmp_path: Path) -> None:
    """The whole recipe on a handful of samples."""
    write_bearings(tmp_path, 8 * 1024)
    report = smoke("bearings", tmp_path, tmp_path)

    assert 0 == sum(check.bytes_differing for check in report.checks)
