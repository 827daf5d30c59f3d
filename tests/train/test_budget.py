# SPDX-License-Identifier: Apache-2.0
"""The controller that steers towards a number of bytes."""

import torch

from codeq_train.budget import Budget


def test_pressure_grows_above_the_target_and_falls_below_it() -> None:
    """The user gives bytes, not a penalty factor."""
    budget = Budget(1000, 0.1)
    for _ in range(5):
        budget.step(torch.tensor(1500.0))
    high = float(budget.pressure)
    for _ in range(2):
        budget.step(torch.tensor(500.0))

    assert abs(high - 5 * 0.1 * 0.5) < 1e-6
    assert abs(float(budget.pressure) - (high - 2 * 0.1 * 0.5)) < 1e-6


def test_below_the_target_nothing_is_pushed() -> None:
    """What the pressure has piled up must not compress the model further."""
    budget = Budget(1000, 0.1)
    budget.pressure.fill_(3.0)
    estimate = torch.tensor(900.0, requires_grad=True)

    budget.penalty(estimate).backward()

    assert 0.0 == float(estimate.grad)


def test_an_exact_count_sets_the_estimate_right() -> None:
    """Tables count too, and no estimate is a codec."""
    budget = Budget(1000, 0.1)
    estimate = torch.tensor(500.0)
    budget.measure(estimate, weight_bytes=600, table_bytes=300)

    assert torch.isclose(torch.tensor(-0.1), budget.excess(estimate))


def test_the_target_is_reached_by_gradient_descent() -> None:
    """The loop of pressure and penalty must settle at the target, not run through it."""
    budget = Budget(1000, 0.02)
    size = torch.tensor(8.0, requires_grad=True)  # thousands of bytes
    optimizer = torch.optim.Adam([size], 0.02)
    for _ in range(2000):
        estimate = 1000 * size
        task = 0.01 * (size - 8.0).square()
        optimizer.zero_grad()
        (task + budget.penalty(estimate)).backward()
        optimizer.step()
        budget.step(estimate.detach())

    assert 0.85 < float(size.detach()) < 1.1


def test_its_state_is_part_of_a_checkpoint() -> None:
    """A resumed run must not start from no pressure."""
    budget, other = Budget(1000, 0.1), Budget(1000, 0.1)
    budget.step(torch.tensor(5000.0))
    other.load_state_dict(budget.state_dict())

    assert budget.pressure == other.pressure > 0
