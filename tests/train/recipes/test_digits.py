# SPDX-License-Identifier: Apache-2.0
"""The recipe `digits`: its network, and the way from its files to a library."""

from pathlib import Path

import pytest

from codeq_train.recipes import models
from codeq_train.recipes.digits import digits
from tests.train.recipes.files import write_digits
from tests.train.recipes.smoke import smoke


def test_the_network_is_the_keyword_spotters(tmp_path: Path) -> None:
    """With ten classes instead of twelve, and nothing else."""
    write_digits(tmp_path, 2)
    ours = dict(digits(tmp_path).network().named_parameters())
    spotter = dict(models.ds_cnn(12).named_parameters())

    assert {"classifier.weight", "classifier.bias"} == {
        name for name, parameter in ours.items() if parameter.shape != spotter[name].shape
    }
    assert list(spotter) == list(ours)


@pytest.mark.slow
def test_a_short_run_ends_in_a_checked_library(tmp_path: Path) -> None:
    """The whole recipe on a handful of samples."""
    write_digits(tmp_path, 2)
    report = smoke("digits", tmp_path, tmp_path)

    assert 0 == sum(check.bytes_differing for check in report.checks)
