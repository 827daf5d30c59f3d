# SPDX-License-Identifier: Apache-2.0
"""Every test of training draws the same weights, alone or behind others."""

import pytest
import torch

torch.manual_seed(0)  # parameters of tests are drawn while they are collected


@pytest.fixture(autouse=True)
def seed_torch() -> None:
    """What is learned is held to figures: another draw each time would test the draw."""
    torch.manual_seed(0)
