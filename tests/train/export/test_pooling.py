# SPDX-License-Identifier: Apache-2.0
"""Pooling on the device, against torch."""

from collections.abc import Callable

import pytest
from torch import Tensor
from torch.nn import functional as F

from codeq_train import integer_distance
from tests.train.capture.test_pooling import CASES
from tests.train.nets import images, prepared


@pytest.mark.parametrize(("function", "shape", "kinds"), CASES)
def test_pooling_is_exact_and_means_are_one_step_from_their_integers(
    function: Callable[[Tensor], Tensor], shape: tuple[int, ...], kinds: list[str]
) -> None:
    """Windows keep the input's grid, ties included; a global mean is requantized to its own."""
    x = images(8, *shape[1:])

    distances = integer_distance(prepared(function, x), x)

    assert max(d.steps for d in distances) <= (1 if "Mean" in kinds else 0)


def test_a_clamp_behind_pooling_is_fused() -> None:
    """It costs nothing there."""
    x = images(8, 3, 6, 6)

    distances = integer_distance(prepared(lambda x: F.relu(F.max_pool2d(x, 2)), x), x)

    assert ["max_pool2d"] == [d.layer for d in distances][1:]
    assert 0 == max(d.steps for d in distances)
