# SPDX-License-Identifier: Apache-2.0
"""Pooling on the device, against torch."""

import pytest
from torch import Tensor
from torch.nn import functional as F

from codeq_train import integer_distance
from codeq_train.layers import Mean
from tests.train.capture.test_pooling import CASES, IMAGE, SEQUENCE
from tests.train.nets import images, prepared


@pytest.mark.parametrize("shape", [IMAGE, SEQUENCE])
def test_pooling_is_exact_and_means_are_one_step_from_their_integers(
    shape: tuple[int, ...],
) -> None:
    """Windows keep the input's grid, ties included; a global mean is requantized to its own."""
    cases = [(function, kinds) for function, of, kinds in CASES if of == shape]
    x = images(8, *shape[1:])

    def apply(x: Tensor) -> tuple[Tensor, ...]:
        return tuple(function(x) for function, _ in cases)

    ours = prepared(apply, x)
    allowed = {n.origin.name: int(isinstance(n, Mean)) for n in ours.layers}

    distances = integer_distance(ours, x)

    assert {} == {d.layer: d.steps for d in distances if d.steps > allowed[d.layer]}
    assert len(distances) >= len(cases)


def test_a_clamp_behind_pooling_is_fused() -> None:
    """It costs nothing there."""
    x = images(8, 3, 6, 6)

    distances = integer_distance(prepared(lambda x: F.relu(F.max_pool2d(x, 2)), x), x)

    assert ["max_pool2d"] == [d.layer for d in distances][1:]
    assert 0 == max(d.steps for d in distances)
