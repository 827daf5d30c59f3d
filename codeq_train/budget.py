# SPDX-License-Identifier: Apache-2.0
"""Pressure towards limits on bytes and instructions, adjusted while training."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from codeq_compile.cost import Price

STEERED = ("weights", "flash", "instructions")
"""Budgets that a pressure works towards; they are counted in a plan that keeps RAM's."""

PACKINGS = ("dense", "ternary", "bitmask", "rle", "huffman")
"""Those of which `cost.estimate` knows the size."""

MEASURE_EVERY = 50
"""Steps between two exact counts."""
RAMP = 0.6
"""Share of the steps before `freeze` over which a limit falls from the first size to its value."""
MARGIN = 0.005
"""How far below a limit training aims: what wavers about the aim stays inside."""

_START, _LOWEST, _HIGHEST = 0.1, 0.01, 1000.0
_BAND = 0.03
"""Relative distance from the aim at which the pressure changes at its full rate."""
_LOOKAHEAD = 20.0
"""Steps over which the present trend is expected to go on."""


def _left_of_ramp(done: float) -> float:
    """Share of the way down that is still to go, `done` being the share of the ramp's steps."""
    return (1.0 - min(done, 1.0)) ** 3


class Limit(nn.Module):
    """Dual ascent on ``amount <= limit``, with relative steps.

    The aim falls from the first amount to just below the limit along a cubic over `ramp` steps.
    Every step, with ``excess = amount / aim - 1`` and its trend over the next steps,
    ``log pressure += rate · clamp((excess + trend) / band, -1, 1)``: the pressure finds its order
    of magnitude whatever the task's loss is, and stops growing when the amount falls already.  The
    penalty is ``pressure · max(excess, 0)``: below the aim nothing is pushed.

    Parameters
    ----------
    limit : int
    rate : float
    """

    def __init__(self, limit: int, rate: float) -> None:
        super().__init__()
        self.limit, self.rate = limit, rate
        self.pressure: Tensor
        self.first: Tensor
        self.last: Tensor
        self.trend: Tensor
        self.register_buffer("pressure", torch.tensor(_START))
        self.register_buffer("first", torch.zeros(()))
        self.register_buffer("last", torch.zeros(()))
        self.register_buffer("trend", torch.zeros(()))

    def aim(self, done: float) -> Tensor:
        """What the amount should be now, `done` being the share of the ramp that is over."""
        end = self.limit * (1.0 - MARGIN)
        return end + torch.relu(self.first - end) * _left_of_ramp(done)

    def excess(self, amount: Tensor, done: float) -> Tensor:
        """``amount / aim - 1``: 0-d tensor, differentiable."""
        return amount / self.aim(done) - 1.0

    @torch.no_grad()
    def step(self, amount: Tensor, done: float) -> None:
        """Adjust the pressure to the distance from the aim and to the trend."""
        if not self.first:
            self.first.copy_(amount)
            self.last.copy_(self.excess(amount, done))
        excess = self.excess(amount, done)
        self.trend.lerp_(excess - self.last, 1.0 / _LOOKAHEAD)
        self.last.copy_(excess)
        # what lies below the aim is no reason to let go: only a distance that grows again is met
        # with the full rate
        move = (excess + _LOOKAHEAD * self.trend) / _BAND
        self.pressure *= torch.exp(self.rate * move.clamp(-1.0, 1.0))
        self.pressure.clamp_(_LOWEST, _HIGHEST)

    def penalty(self, amount: Tensor, done: float) -> Tensor:
        """What to add to the loss: 0-d tensor, differentiable in `amount`."""
        return self.pressure.clone() * torch.relu(self.excess(amount, done))


class Budget(nn.Module):
    """All limits of a model that training can move, and what exact counts said last.

    Parameters
    ----------
    limits : mapping of str to int
        Of `STEERED`.
    rate : float
        Of the pressures, per step.
    layers : int
        Layers with weights.
    ram : int, optional
        Bytes, where channels can leave for it.
    """

    def __init__(
        self, limits: Mapping[str, int], rate: float, layers: int, *, ram: int | None = None
    ) -> None:
        super().__init__()
        self.limits = nn.ModuleDict({name: Limit(limit, rate) for name, limit in limits.items()})
        self.ram = ram
        self.first_ram: Tensor
        self.register_buffer("first_ram", torch.zeros((), dtype=torch.int64))
        self.known_code: dict[tuple[str, ...], int] = {}
        """Bytes of code and constants by the kernels that are linked."""
        self.corrections: Tensor
        self.tables: Tensor
        self.code: Tensor
        self.steps: Tensor
        self.ramp: Tensor
        self.register_buffer("corrections", torch.ones(layers))
        self.weights: Tensor
        self.prices: Tensor
        self.instructions: Tensor
        self.work_corrections: Tensor
        self.other_instructions: Tensor
        self.register_buffer("weights", torch.zeros(layers))
        # counts of instructions beyond 2^24 must not be rounded
        double = torch.float64
        self.register_buffer("prices", torch.zeros(layers, len(PACKINGS), 3, dtype=double))
        self.register_buffer("instructions", torch.zeros(layers, dtype=double))
        self.register_buffer("work_corrections", torch.ones(layers, dtype=double))
        self.register_buffer("other_instructions", torch.zeros((), dtype=double))
        self.register_buffer("tables", torch.zeros(()))
        self.register_buffer("code", torch.zeros(()))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("ramp", torch.zeros((), dtype=torch.int64))

    def schedule(self, steps: int) -> None:
        """Say how many steps come before `freeze`; else the limits hold from the first step on."""
        self.ramp.fill_(int(RAMP * steps))

    @property
    def done(self) -> float:
        """Share of the ramp that is over, up to 1."""
        ramp = int(self.ramp)
        return min(int(self.steps) / ramp, 1.0) if ramp else 1.0

    def ram_aim(self, now: int) -> int:
        """Bytes of RAM that a model may take at this step, `now` being what it takes.

        They fall as the aims of all limits do.
        """
        assert self.ram is not None
        if not self.first_ram:
            self.first_ram.fill_(now)
        above = max(int(self.first_ram) - self.ram, 0)
        return self.ram + int(above * _left_of_ramp(self.done))

    @property
    def is_ramp_over(self) -> bool:
        """This is the first step whose aim is the limit itself."""
        return 0 < int(self.ramp) == int(self.steps)

    @property
    def wants_measure(self) -> bool:
        """An exact count is due."""
        return int(self.steps) % MEASURE_EVERY == 0

    def measure(
        self,
        *,
        weights: Sequence[int],
        tables: int,
        code: int,
    ) -> None:
        """Take over an exact count.

        Parameters
        ----------
        weights : sequence of int
            Bytes of the weights of each layer.
        tables, code : int
            Bytes of all tables; of code, constants and longer packings, where flash is limited.
        """
        self.weights.copy_(self.weights.new_tensor([float(count) for count in weights]))
        self.tables.fill_(float(tables))
        self.code.fill_(float(code))

    def measure_work(
        self,
        *,
        instructions: Sequence[int],
        others: int,
        prices: Sequence[Mapping[str, Price]],
    ) -> None:
        """Take over a prediction of the compiler.

        Parameters
        ----------
        instructions : sequence of int
            Of each layer with weights.
        others : int
            Of all other layers together.
        prices : sequence of mapping of str to Price
            Of each layer with weights, by packing.
        """
        self.instructions.copy_(self.instructions.new_tensor([float(n) for n in instructions]))
        self.other_instructions.fill_(float(others))
        self.prices.fill_(torch.nan)
        for layer, known in enumerate(prices):
            for place, name in enumerate(PACKINGS):
                if name in known:
                    price = known[name]
                    terms = (price.fixed, price.per_nonzero, price.per_byte)
                    self.prices[layer, place] = self.prices.new_tensor(terms)

    def correct(self, estimates: Tensor, work: Tensor) -> None:
        """Set the estimates right, layer by layer, by the last exact count.

        Parameters
        ----------
        estimates : float tensor of shape (layers,)
            Bytes of weights, made at the time of the count.
        work : float tensor of shape (layers,)
            Instructions, likewise.
        """
        self.corrections.copy_(self.weights / estimates.detach().clamp(min=1.0))
        self.work_corrections.copy_(self.instructions / work.detach().clamp(min=1.0))

    def amounts(self, estimates: Tensor, work: Tensor) -> dict[str, Tensor]:
        """What each limit holds down: 0-d tensors, differentiable.

        Parameters
        ----------
        estimates : float tensor of shape (layers,)
            Bytes of weights, as estimated.
        work : float tensor of shape (layers,)
            Instructions, as estimated.
        """
        weights = (estimates * self.corrections).sum() + self.tables
        executed = (work * self.work_corrections).sum() + self.other_instructions
        instructions = executed.to(weights.dtype)
        every = {"weights": weights, "flash": weights + self.code, "instructions": instructions}
        return {name: every[name] for name in self.limits}

    def excess(self, amounts: Mapping[str, Tensor]) -> float:
        """The largest distance from an aim, relative to it."""
        every = (self._limit(n).excess(a.detach(), self.done) for n, a in amounts.items())
        return max(map(float, every), default=0.0)

    def step(self, amounts: Mapping[str, Tensor]) -> None:
        """Adjust all pressures, once a training step."""
        for name, amount in amounts.items():
            self._limit(name).step(amount.detach(), self.done)
        self.steps += 1

    def penalty(self, amounts: Mapping[str, Tensor]) -> Tensor:
        """Sum over the limits: 0-d tensor, differentiable."""
        every = (self._limit(name).penalty(a, self.done) for name, a in amounts.items())
        return sum(every, start=self.tables.new_zeros(()))

    def _limit(self, name: str) -> Limit:
        limit = self.limits[name]
        assert isinstance(limit, Limit)
        return limit
