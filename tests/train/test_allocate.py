# SPDX-License-Identifier: Apache-2.0
"""Widths in closed form where the Hessian is known, and budgets met byte for byte."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import codeq_train.allocate
from codeq_compile.errors import DoesNotFit, InputError
from codeq_train import LayerConfig, QuantConfig, QuantizedModel, prepare, projected_bytes
from codeq_train.allocate import (
    Allocation,
    Candidate,
    Choice,
    allocate,
    closed_form,
    knapsack,
    water_filling,
)
from codeq_train.curvature import Batch
from codeq_train.quantizers import make_quantizer
from tests.train.nets import ConvNet, images

HEADS = (("sharp", 64.0), ("middle", 4.0), ("flat", 0.01))
"""Three layers beside each other and how much the error of each counts."""


class Heads(nn.Module):
    """Linear layers that read one input: the Hessian of a quadratic loss is known."""

    def __init__(self) -> None:
        super().__init__()
        for name, _ in HEADS:
            self.add_module(name, nn.Linear(16, 8, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.get_submodule(name)(x) for name, _ in HEADS], 1)


def quadratic(outputs: Tensor, target: Tensor) -> Tensor:
    """``sum_l c_l · ||W_l - W_l*||²``, for inputs that are the rows of ``4 · I``."""
    factors = torch.tensor([factor for _, factor in HEADS]).repeat_interleave(8)
    return (factors * (outputs - target).square()).sum(1).mean()


@pytest.fixture
def heads() -> Heads:
    torch.manual_seed(3)
    return Heads()


@pytest.fixture
def at_optimum(heads: Heads) -> list[Batch]:
    """Samples whose loss is least, and 0, with the weights as they are."""
    x = 4.0 * torch.eye(16)
    return [(x, heads(x).detach())]


def curvature(factor: float) -> float:
    """Second derivative along any weight: mean over 16 samples, one of which is 4, squared."""
    return 2 * factor * 16 / 16


def test_on_a_quadratic_the_widths_are_the_closed_form(
    heads: Heads, at_optimum: list[Batch]
) -> None:
    """``b = 1/2 · log2(ln 2 · v · S² · Tr(H) / (price · n))``, one price for all layers."""
    allocation = allocate(heads, at_optimum, quadratic, 250, method="closed_form")
    prices = []
    for width, (name, factor) in zip(allocation.widths, HEADS, strict=True):
        largest = heads.get_submodule(name).weight.detach().abs().amax(1)
        noise = float((2 * largest).square().mean()) / 12
        expected = math.log(2) * noise * curvature(factor)
        prices.append(expected / 4**width.ideal_bits)

        assert (name,) == width.names
        assert curvature(factor) == pytest.approx(width.curvature)
        # the price is where one layer is about to be rounded down: there, and only there, a half
        assert abs(width.bits - min(max(width.ideal_bits, 2), 8)) <= 0.5 + 1e-9

    assert prices[0] == pytest.approx(prices[1]) == pytest.approx(prices[2])
    assert allocation.bytes <= 250


def test_on_a_quadratic_the_predicted_loss_is_the_true_one(
    heads: Heads, at_optimum: list[Batch]
) -> None:
    """The prediction ranks allocations: at the optimum of a quadratic it must be exact."""
    allocation = allocate(heads, at_optimum, quadratic, 300)
    ((x, y),) = at_optimum
    config = QuantConfig(weights=LayerConfig(quantizer="lsq"), layers=allocation.layers)
    model = prepare(heads, x, config)
    for layer in model.weighted():
        heads.get_submodule(layer.origin.name).weight.data = layer.levels().dequantize()

    assert float(quadratic(heads(x), y).detach()) == pytest.approx(
        allocation.loss_increase, rel=1e-4
    )


def test_no_lower_price_fits() -> None:
    """Bytes that are left over are accuracy that is given away."""
    candidates = [
        Candidate(
            names=(str(number),),
            weights=100,
            curvature=10.0**-number,
            noise=1.0,
            choices=tuple(Choice(bits=b, bytes=100 * b // 8, error=4.0**-b) for b in range(2, 9)),
        )
        for number in range(4)
    ]

    def needed(price: float) -> int:
        widths = [min(max(round(c.ideal_bits(price)), 2), 8) for c in candidates]
        return sum(100 * width // 8 for width in widths)

    for budget in (100, 150, 222, 400, 10_000):
        order, price = water_filling(candidates, budget)
        used = sum(c.choices[i].bytes for c, i in zip(candidates, order, strict=True))

        assert used <= budget
        assert used == 400 or used == needed(price * 1.001)
        assert used == 400 or needed(price * 0.999) > budget


def test_a_bit_more_quarters_the_noise_that_is_ideal() -> None:
    """A bit is worth a factor four of curvature, of noise and of price."""
    bits = closed_form(1.0, 1.0, 1e-3)

    assert bits + 1 == pytest.approx(closed_form(4.0, 1.0, 1e-3))
    assert bits + 1 == pytest.approx(closed_form(1.0, 4.0, 1e-3))
    assert bits + 1 == pytest.approx(closed_form(1.0, 1.0, 0.25e-3))


@pytest.mark.parametrize("states", [1 << 17, 40])
def test_the_knapsack_is_as_good_as_trying_everything(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, states: int
) -> None:
    """Greedy choices leave bytes unused; counted in units the budget must still hold."""
    monkeypatch.setattr(codeq_train.allocate, "_STATES", states)
    for _ in range(20):
        rows = [
            sorted(zip(rng.integers(5, 60, 4).tolist(), rng.random(4).tolist(), strict=True))
            for _ in range(4)
        ]
        budget = int(rng.integers(sum(row[0][0] for row in rows), 240))
        order = knapsack(rows, budget)
        used, loss = (
            sum(row[i][what] for row, i in zip(rows, order, strict=True)) for what in (0, 1)
        )
        unit = -(-budget // states)
        least = min(
            sum(loss for _, loss in picked)
            for picked in itertools.product(*rows)
            if sum(size for size, _ in picked) <= budget - (unit - 1) * (len(rows) + 1)
            or picked == tuple(row[0] for row in rows)
        )

        assert used <= budget
        assert loss <= least + 1e-12


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    return [(images(32, 2, 9, 9, seed=seed), torch.arange(32) % 3) for seed in range(2)]


@pytest.fixture(scope="module")
def net() -> ConvNet:
    torch.manual_seed(0)
    return ConvNet()


@pytest.fixture(scope="module")
def model(net: ConvNet, batches: list[Batch]) -> QuantizedModel:
    return prepare(net, batches[0][0])


def rounded(model: QuantizedModel, allocation: Allocation) -> QuantizedModel:
    """A copy with these widths; prepared anew, it would have other grids of activations too."""
    config = QuantConfig(weights=LayerConfig(quantizer="lsq"), layers=allocation.layers)
    again = copy.deepcopy(model)
    for layer in again.weighted():
        layer.quantizer = make_quantizer(layer.weight, config.layer(layer.origin.name))
    return again


@pytest.mark.slow
@pytest.mark.parametrize(("method", "curvature"), [("exact", "hessian"), ("closed_form", "fisher")])
def test_budgets_are_met_in_the_compilers_own_bytes(
    model: QuantizedModel, batches: list[Batch], method: str, curvature: str
) -> None:
    """The promise is about flash: bytes of packed weights and tables, not bits times weights."""
    largest = allocate(model, batches, F.cross_entropy, 10_000).bytes
    for target in (largest - 200, largest - 55, largest):
        allocation = allocate(
            model, batches, F.cross_entropy, target, method=method, curvature=curvature
        )
        again = rounded(model, allocation)

        assert projected_bytes(again) == allocation.bytes <= target
        assert [w.bits for w in allocation.widths] == [
            layer.quantizer.bits for layer in again.weighted() if layer.quantizer
        ]


@pytest.mark.slow
def test_the_exact_choice_is_never_worse_than_the_closed_form(
    model: QuantizedModel, batches: list[Batch]
) -> None:
    """It may choose the same widths, and knows true errors and bytes."""
    for target in (330, 400, 500):
        exact, rounded = (
            allocate(model, batches, F.cross_entropy, target, method=method)
            for method in ("exact", "closed_form")
        )

        assert exact.loss_increase <= rounded.loss_increase


def test_expected_zeros_buy_wider_weights(model: QuantizedModel, batches: list[Batch]) -> None:
    """With CoDeQ or pruning most weights become zeros: the dense sizes would starve the rest."""
    dense, sparse = (
        allocate(model, batches, F.cross_entropy, 330, sparsity=sparsity) for sparsity in (0.0, 0.8)
    )
    bits = [sum(w.bits * w.weights for w in each.widths) for each in (dense, sparse)]

    assert bits[0] < bits[1]


def test_limits_of_the_configuration_hold(net: ConvNet, batches: list[Batch]) -> None:
    """Whoever fixes the first layer to 8 bits does not want it to be chosen."""
    config = QuantConfig(
        weights=LayerConfig(min_bits=3, bits=6), layers={"stem": {"min_bits": 8, "bits": 8}}
    )
    model = prepare(net, batches[0][0], config)
    allocation = allocate(model, batches, F.cross_entropy, 500)
    widths = {width.names[0]: width.bits for width in allocation.widths}

    assert 8 == widths.pop("stem")
    assert 3 <= min(widths.values())
    assert max(widths.values()) <= 6


def test_layers_that_share_weights_get_one_width() -> None:
    """One quantizer serves both."""
    shared = nn.Linear(6, 6)
    batches = [(images(16, 6), torch.arange(16) % 6)]
    model = prepare(nn.Sequential(shared, nn.ReLU(), shared), batches[0][0])
    allocation = allocate(model, batches, F.cross_entropy, 300)

    assert [("0", "2")] == [width.names for width in allocation.widths]
    assert projected_bytes(rounded(model, allocation)) == allocation.bytes


def test_a_table_shows_every_layer(model: QuantizedModel, batches: list[Batch]) -> None:
    """What was decided must be readable."""
    allocation = allocate(model, batches, F.cross_entropy, 400)
    text = str(allocation)

    assert f"{allocation.bytes} bytes of 400" in text
    for name in ("stem", "dw", "pw", "classifier"):
        assert f"\n{name} " in text


def test_a_target_below_the_smallest_widths_is_refused(
    model: QuantizedModel, batches: list[Batch]
) -> None:
    """With what would help."""
    with pytest.raises(DoesNotFit, match=r"the smallest widths need \d+ bytes .*sparsity.*pw \d+"):
        allocate(model, batches, F.cross_entropy, 50)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"sparsity": 1.0}, "share"), ({"batches": []}, "empty")],
)
def test_what_makes_no_sense_is_refused(
    model: QuantizedModel, batches: list[Batch], arguments: dict[str, object], message: str
) -> None:
    """Early, and in words."""
    with pytest.raises(InputError, match=message):
        allocate(
            **{
                "model": model,
                "batches": batches,
                "loss": F.cross_entropy,
                "target_bytes": 400,
                **arguments,
            }
        )


def test_a_flat_loss_is_refused(heads: Heads) -> None:
    """Random widths would look like a result."""
    with pytest.raises(InputError, match="does not rise"):
        allocate(heads, [(images(4, 16), torch.zeros(4))], lambda y, _: y.mean(), 300)
