# SPDX-License-Identifier: Apache-2.0
"""The controller that steers towards limits."""

import pytest
import torch
from torch import Tensor

from codeq_compile.cost import Price
from codeq_train.budget import MARGIN, PACKINGS, Budget, Limit

PRICES = {"rle": Price(fixed=100.0, per_nonzero=2.5, per_byte=4.0)}
END = 1000 * (1.0 - MARGIN)


def limit(rate: float = 0.1) -> Limit:
    return Limit(1000, rate)


def test_pressure_grows_above_the_aim_and_falls_below_it() -> None:
    """The user gives bytes, not a penalty factor."""
    ours = limit()
    before = float(ours.pressure)
    for _ in range(5):
        ours.step(torch.tensor(1500.0), 1.0)
    high = float(ours.pressure)
    for _ in range(200):
        ours.step(torch.tensor(500.0), 1.0)

    assert high == pytest.approx(before * torch.tensor(0.1 * 5).exp())
    assert float(ours.pressure) < before


def test_what_falls_already_is_not_pressed_harder() -> None:
    """Pressure piled up on the way down would compress the model far below its budget."""
    falling, standing = limit(), limit()
    for step in range(40):
        falling.step(torch.tensor(2000.0 - 20.0 * step), 1.0)
        standing.step(torch.tensor(1200.0), 1.0)

    assert falling.pressure < standing.pressure


def test_below_the_aim_nothing_is_pushed() -> None:
    """The bytes belong to the user: the accuracy that they buy is not given away."""
    ours = limit()
    amount = torch.tensor(900.0, requires_grad=True)

    ours.penalty(amount, 1.0).backward()

    assert 0.0 == float(amount.grad)


def test_the_aim_falls_from_the_first_amount_to_just_below_the_limit() -> None:
    """A sudden target costs accuracy that a slow descent keeps."""
    ours = limit()
    ours.step(torch.tensor(5000.0), 0.0)
    aims = [float(ours.aim(done)) for done in (0.0, 0.25, 0.5, 1.0, 2.0)]

    assert pytest.approx(5000.0) == aims[0]
    assert sorted(aims, reverse=True) == aims
    assert pytest.approx(END + (5000.0 - END) / 8) == aims[2]
    assert pytest.approx(END) == aims[3] == aims[4]


def test_a_model_that_is_small_enough_has_its_limit_as_aim() -> None:
    """It may grow up to it."""
    ours = limit()
    ours.step(torch.tensor(400.0), 0.0)

    assert pytest.approx(END) == float(ours.aim(0.0))


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_the_limit_is_met_by_gradient_descent_whatever_the_loss_weighs(scale: float) -> None:
    """One rate must serve all tasks."""
    budget = Budget({"weights": 1000}, 0.02, 1)
    budget.schedule(1500)
    size = torch.tensor(8.0, requires_grad=True)  # thousands of bytes
    optimizer = torch.optim.Adam([size], 0.02)
    for _ in range(1500):
        amounts = budget.amounts(1000 * size.reshape(1), torch.zeros(1))
        task = scale * (size - 8.0).square() / 64
        optimizer.zero_grad()
        (task + budget.penalty(amounts)).backward()
        optimizer.step()
        budget.step(amounts)

    assert 0.95 < float(size.detach()) < 1.02


def filled(**limits: int) -> Budget:
    budget = Budget(limits, 0.1, 2)
    budget.measure(weights=[600, 90], tables=300, code=4000)
    budget.measure_work(instructions=[8000, 3000], others=345, prices=[PRICES, {}])
    budget.correct(torch.tensor([500.0, 100.0]), torch.tensor([4000.0, 3000.0]))
    return budget


def amounts(budget: Budget, *estimates: float) -> dict[str, Tensor]:
    return budget.amounts(torch.tensor(estimates), torch.tensor([4000.0, 4000.0]))


def test_ram_falls_to_its_limit_as_other_aims_do() -> None:
    """Channels leave one after the other, and the others learn to be without them."""
    budget = Budget({}, 0.1, 1, ram=1000)
    budget.schedule(100)
    aims = []
    for _ in range(0, 80, 10):
        aims.append(budget.ram_aim(3000))
        budget.steps += 10

    assert 3000 == aims[0]
    assert sorted(aims, reverse=True) == aims
    assert [1000, 1000] == aims[-2:]
    assert 1000 + int(2000 * (1 - 30 / 60) ** 3) == aims[3]
    assert 1000 == Budget({}, 0.1, 1, ram=1000).ram_aim(3000)
    assert 0.0 == float(budget.penalty({}))
    assert 0.0 == budget.excess({})


def test_an_exact_count_sets_each_layers_estimate_right() -> None:
    """One factor for all layers would hide one layer's error behind another's."""
    found = amounts(filled(weights=1, flash=1, instructions=1), 500.0, 200.0)

    assert 600 + 180 + 300 == float(found["weights"])
    assert 600 + 180 + 300 + 4000 == float(found["flash"])
    assert 8000 + 4000 + 345 == float(found["instructions"])


def test_the_largest_excess_steers() -> None:
    """Of two budgets both must hold."""
    budget = filled(weights=990, instructions=6000)

    assert pytest.approx(12345 / (6000 * (1 - MARGIN)) - 1) == budget.excess(
        amounts(budget, 500.0, 100.0)
    )


def test_its_state_is_part_of_a_checkpoint() -> None:
    """A resumed run must not start from no pressure, nor from another ramp."""
    budget, other = filled(weights=1000), Budget({"weights": 1000}, 0.1, 2)
    budget.schedule(1000)
    for _ in range(3):
        budget.step(amounts(budget, 5000.0, 100.0))
    other.load_state_dict(budget.state_dict())

    assert budget.done == other.done > 0
    estimates = torch.tensor([5000.0, 90.0])
    pressed = [b.penalty(b.amounts(estimates, torch.zeros(2))) for b in (budget, other)]
    assert pressed[0] == pressed[1] > 0


def test_prices_are_kept_by_packing() -> None:
    """What a kernel costs on the target must survive a checkpoint, as the counts do."""
    budget, other = filled(instructions=1), Budget({"instructions": 1}, 0.1, 2)
    other.load_state_dict(budget.state_dict())
    rle = PACKINGS.index("rle")

    assert [100.0, 2.5, 4.0] == other.prices[0, rle].tolist()
    assert bool(other.prices[0, PACKINGS.index("dense")].isnan().all())
    assert bool(other.prices[1].isnan().all())
