# SPDX-License-Identifier: Apache-2.0
"""The recipe `fashion`: its network, and the way from its files to a library."""

from pathlib import Path

import pytest

from codeq_train.recipes.fashion import fashion
from tests.train.recipes.files import write_fashion
from tests.train.recipes.smoke import smoke


def test_the_network_has_the_parameters_of_lenet_5(tmp_path: Path) -> None:
    """61,706 of them, if each of its units had a bias as in 1998."""
    write_fashion(tmp_path, 200)
    shapes = [p.shape for p in fashion(tmp_path).network().parameters() if p.dim() > 1]

    assert 61_706 == sum(shape.numel() + shape[0] for shape in shapes)


@pytest.mark.slow
def test_a_short_run_ends_in_a_checked_library(tmp_path: Path) -> None:
    """The whole recipe on a handful of samples."""
    write_fashion(tmp_path, 200)
    report = smoke("fashion", tmp_path, tmp_path)

    assert 0 == sum(check.bytes_differing for check in report.checks)
