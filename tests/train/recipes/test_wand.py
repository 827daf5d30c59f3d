# SPDX-License-Identifier: Apache-2.0
"""The recipe `wand`: its network, and the way from its files to a library."""

from pathlib import Path

import pytest

from codeq_train.recipes.wand import wand
from tests.train.recipes.files import write_gestures
from tests.train.recipes.smoke import smoke


def test_the_network_takes_recordings_as_long_as_they_are(tmp_path: Path) -> None:
    """119 samples are no power of two: nothing may be cut off or need padding by the user."""
    write_gestures(tmp_path, 25)
    recipe = wand(tmp_path)

    assert (32, 2) == tuple(recipe.network()(recipe.dataset.train.x).shape)


@pytest.mark.slow
def test_a_short_run_ends_in_a_checked_library(tmp_path: Path) -> None:
    """The whole recipe on a handful of samples."""
    write_gestures(tmp_path, 25)
    report = smoke("wand", tmp_path, tmp_path)

    assert 0 == sum(check.bytes_differing for check in report.checks)
