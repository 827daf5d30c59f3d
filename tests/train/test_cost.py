# SPDX-License-Identifier: Apache-2.0
"""Projected bytes equal what the compiler stores; the estimate follows them."""

from pathlib import Path

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from codeq_compile import compile, passes
from codeq_compile import target as targets
from codeq_compile.build import tools
from codeq_compile.cost import Price
from codeq_compile.errors import InputError, ToolError
from codeq_compile.packing import pack
from codeq_compile.plan import packings, plan
from codeq_train import (
    BudgetConfig,
    LayerConfig,
    QuantConfig,
    QuantizedModel,
    export,
    layer_costs,
    mean_bits,
    mean_sparsity,
    projected_bytes,
    set_quantization,
)
from codeq_train.budget import PACKINGS, Budget
from codeq_train.cost import estimate, instructions, linked_code, snapshot
from codeq_train.export import convert
from codeq_train.fold import fold
from codeq_train.limits import exact
from tests.train.nets import ConvNet, images, prepared, randomize_batchnorm


class Flattened(nn.Module):
    """A linear layer behind an image: in memory its columns come in another order than in torch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3, padding=1)
        self.linear = nn.Linear(6 * 9, 20)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(torch.relu(self.conv(x)).flatten(1))


def widen_gap(model: QuantizedModel, gap: float) -> None:
    with torch.no_grad():
        for layer in model.weighted():
            layer.quantizer.phi.fill_(gap).expm1_().log_()


@pytest.mark.slow
@pytest.mark.parametrize("packing", ["auto", "small"])
@pytest.mark.parametrize(("bits", "gap"), [(2, 0.3), (3, 3.0), (8, 0.3)])
@pytest.mark.parametrize(
    ("net", "tables"),
    [(ConvNet, "wide"), (ConvNet, "narrow"), (ConvNet, "compact"), (Flattened, "narrow")],
)
def test_the_costs_are_those_of_the_compiled_library(
    net: type[nn.Module], tables: str, bits: int, gap: float, packing: str, tmp_path: Path
) -> None:
    """The progress bar and the budget promise what the compiler then emits, to the byte."""
    model = nn.Sequential(net(), nn.Tanh())
    randomize_batchnorm(model)
    size = 9 if net is ConvNet else 3
    budgets = BudgetConfig(packing=packing)
    config = QuantConfig(weights=LayerConfig(bits=bits), tables=tables, budgets=budgets)
    ours = prepared(model, images(16, 2, size, size), config=config)
    widen_gap(ours, gap)
    library = tmp_path / "library"
    report = compile(export(ours), library, target="host", packing=packing).report

    emitted = [(layer.weights_bytes, layer.tables_bytes) for layer in report.layers]
    assert [each for each in emitted if any(each)] == [
        (cost.weight_bytes, cost.table_bytes) for cost in layer_costs(ours)
    ]
    assert report.flash.weights + report.flash.tables == projected_bytes(ours)


@pytest.mark.slow
def test_the_linked_image_is_inside_what_the_budget_counts(tmp_path: Path) -> None:
    """The linker aligns tables: a budget of the bare sum would be missed by a byte or two."""
    try:
        tools.arm_cc()
    except ToolError as error:
        pytest.skip(str(error))  # it names the compiler and how to install it
    config = QuantConfig(budgets=BudgetConfig(weights=100, flash=100))
    ours = prepared(ConvNet(classes=5), images(16, 2, 9, 9), config=config)
    flash = compile(convert(ours)[0], tmp_path / "library", target="mps2_an386").report.flash
    counted = exact(ours).amounts

    assert projected_bytes(ours) < flash.weights + flash.tables
    # nothing has to be aligned behind the last array
    assert 0 <= counted["weights"] - flash.weights - flash.tables < 4
    assert 0 <= counted["flash"] - flash.total < 4


@pytest.mark.parametrize("name", ["microbit", "mps3_an547"])
def test_code_is_measured_of_a_model_that_is_larger_than_the_board(name: str) -> None:
    """Before training it may be: the budget is what will make it small enough."""
    try:
        tools.arm_cc()
    except ToolError as error:
        pytest.skip(str(error))  # it names the compiler and how to install it
    graph, board = snapshot(prepared(nn.Linear(64, 64), images(2, 64))), targets.load(name)
    small = replace(board, memory=replace(board.memory, flash_bytes=1024, regions={}))
    fits, does_not = (plan(passes.run(graph), each) for each in (board, small))

    assert does_not.weights_bytes > 1024
    assert 0 < linked_code(fits, graph) == linked_code(does_not, graph)


def test_a_flash_budget_needs_a_linker() -> None:
    """Else it would be a budget of something else."""
    graph = export(prepared(nn.Linear(4, 3), images(16, 4)))
    decided = plan(passes.run(graph), targets.load("host"))

    with pytest.raises(InputError, match="needs a board"):
        linked_code(decided, graph)


def test_costs_can_be_counted_at_any_time() -> None:
    """In training, and while activations are still float in a warm-up."""
    ours = prepared(ConvNet(), images(16, 2, 9, 9))
    expected = layer_costs(ours)
    ours.train()
    set_quantization(ours, weights=False, activations=False)

    assert expected == layer_costs(ours)
    assert ours.training
    assert not any(layer.enabled for layer in ours.weighted())


def test_work_is_what_is_left_where_zeros_are_skipped() -> None:
    """Zeros save time only in packings whose kernels never meet them."""
    ours = prepared(Flattened(), images(16, 2, 3, 3))
    widen_gap(ours, 4.0)
    graph = passes.run(export(ours))
    decided = plan(graph, targets.load("host"))
    conv, linear = layer_costs(ours)

    assert decided.macs_done == conv.macs_done + linear.macs_done
    assert (6 * 2 * 9 * 9, 54 * 20) == (conv.macs, linear.macs)
    assert "dense" != linear.packing
    assert round(linear.macs * (1 - linear.sparsity)) == linear.macs_done


def test_the_folded_zero_point_counts_in_the_bias_tables() -> None:
    """It can make every bias twice as wide."""
    model = nn.Linear(64, 8)
    with torch.no_grad():
        model.weight.fill_(0.5).add_(0.1 * images(8, 64))
    ours = prepared(
        model, images(16, 64).abs() + 1.0, config=QuantConfig(weights=LayerConfig(bits=8))
    )
    (cost,) = layer_costs(ours)

    # int32 bias, factor of two bytes; the bias alone would fit int16
    assert 8 * (4 + 2) == cost.table_bytes
    assert abs(fold(next(ours.weighted())).bias).max() < 1 << 15


def test_costs_tell_each_layers_width_zeros_and_packing() -> None:
    """The report shows them while training."""
    config = QuantConfig(weights=LayerConfig(bits=2), layers={"stem": {"bits": 8}})
    costs = layer_costs(prepared(ConvNet(), images(16, 2, 9, 9), config=config))

    assert [8, 2, 2, 2] == [cost.bits for cost in costs]
    assert [144, 72, 96, 36] == [cost.weights for cost in costs]
    assert {"dense", "ternary"} >= {cost.packing for cost in costs[:2]}
    total = 144 + 72 + 96 + 36
    assert abs(mean_bits(costs) - (144 * 8 + 204 * 2) / total) < 1e-9
    assert 0.0 < mean_sparsity(costs) < 1.0


@pytest.mark.slow
@pytest.mark.parametrize("gap", [0.3, 2.0, 4.0, 7.0, 11.0])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_the_estimate_is_within_one_percent_of_the_exact_bytes(bits: int, gap: float) -> None:
    """Without any correction, in every packing, for zeros that are strewn independently."""
    model = nn.Linear(320, 96)
    with torch.no_grad():
        model.weight.normal_()
    ours = prepared(model, images(16, 320), config=QuantConfig(weights=LayerConfig(bits=bits)))
    widen_gap(ours, gap)
    (layer,) = ours.weighted()
    (cost,) = layer_costs(ours)
    found = estimate(layer)

    assert abs(float(found.weight_bytes.detach()) / cost.weight_bytes - 1) < 0.01, cost
    assert abs(float(found.nonzeros.detach()) / (cost.weights * (1 - cost.sparsity)) - 1) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("gap", [0.3, 2.0, 7.0])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_prefix_codes_are_estimated_by_the_entropy(bits: int, gap: float) -> None:
    """They are shorter than what is counted without them, and their bits are whole."""
    model = nn.Linear(320, 96)
    with torch.no_grad():
        model.weight.normal_()
    budgets = BudgetConfig(packing="small")
    config = QuantConfig(weights=LayerConfig(bits=bits), budgets=budgets)
    ours = prepared(model, images(16, 320), config=config)
    widen_gap(ours, gap)
    (layer,) = ours.weighted()
    (cost,) = layer_costs(ours)
    found = estimate(layer, "small")

    prefix = float(found.sizes[found.packings.index("huffman")].detach())
    graph = passes.run(snapshot(ours))
    assert graph.nodes[0].weights is not None
    assert abs(prefix / pack(graph.nodes[0].weights, "huffman").bytes - 1) < 0.04
    assert abs(float(found.weight_bytes.detach()) / cost.weight_bytes - 1) < 0.04, cost
    assert found.weight_bytes <= estimate(layer).weight_bytes


def test_prefix_codes_shrink_with_width_and_density() -> None:
    """The pressure on bytes must find the way down where they are the shortest packing."""
    model = nn.Linear(320, 96)
    with torch.no_grad():
        model.weight.normal_()
    ours = prepared(model, images(16, 320), config=QuantConfig(weights=LayerConfig(bits=4)))
    widen_gap(ours, 0.3)
    (layer,) = ours.weighted()
    found = estimate(layer, "small")
    found.sizes[found.packings.index("huffman")].backward()

    assert layer.quantizer.psi.grad > 0
    assert layer.quantizer.phi.grad < 0  # a wider dead zone is a lower density


def priced(ours: QuantizedModel) -> tuple[dict[str, Price], Tensor]:
    """Of the only layer on a Cortex-M4, in all packings."""
    decided = plan(passes.run(snapshot(ours)), targets.load("mps2_an386"))
    (layer,) = decided.layers
    budget = Budget({"instructions": 1}, 0.1, 1)
    prices = packings.prices(decided, layer)
    budget.measure_work(instructions=[1], others=0, prices=[prices])
    return prices, budget.prices[0]


@pytest.mark.parametrize("gap", [0.3, 4.0, 11.0])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_estimated_instructions_are_those_that_the_compiler_predicts(bits: int, gap: float) -> None:
    """Without any correction: what training saves is what the core does not execute."""
    ours = prepared(
        nn.Linear(160, 24), images(16, 160), config=QuantConfig(weights=LayerConfig(bits=bits))
    )
    widen_gap(ours, gap)
    (layer,) = ours.weighted()
    exact_prices, prices = priced(ours)
    found = estimate(layer)
    # the compiler may take another one of about equal size
    price = exact_prices[found.packings[int(found.sizes.argmin())]]
    estimated = float(instructions(found, prices).detach())

    # bytes are estimated within one percent
    assert abs(estimated / price.instructions - 1) < 0.01


def test_instructions_fall_with_density_where_zeros_are_skipped() -> None:
    """The gradient of a sparse layer leads to more zeros; a dense one of bytes has none."""
    ours = prepared(
        nn.Linear(160, 24), images(16, 160), config=QuantConfig(weights=LayerConfig(bits=4))
    )
    widen_gap(ours, 6.0)
    (layer,) = ours.weighted()
    _, prices = priced(ours)
    instructions(estimate(layer), prices).backward()

    assert layer.quantizer.phi.grad < 0  # a wider dead zone has fewer weights beyond it

    layer.quantizer.phi.grad = None
    prices[:, 1:] = 0.0
    instructions(estimate(layer), prices).backward()

    assert abs(float(layer.quantizer.phi.grad)) < 1e-6


def test_a_packing_without_a_kernel_costs_nothing_and_counts_for_nothing() -> None:
    """A depthwise layer has no price for run lengths; its instructions are those of dense rows."""
    ours = prepared(nn.Linear(160, 24), images(16, 160))
    (layer,) = ours.weighted()
    prices = torch.full((len(PACKINGS), 3), torch.nan, dtype=torch.float64)
    prices[PACKINGS.index("dense")] = torch.tensor([1000.0, 0.0, 0.0])

    assert 1000.0 == float(instructions(estimate(layer), prices).detach())


def test_a_sparse_packing_that_is_just_not_chosen_shows_its_way() -> None:
    """Without a gradient there, a dense layer would never become sparse."""
    ours = prepared(nn.Linear(64, 48), images(16, 64))
    (layer,) = ours.weighted()
    (cost,) = layer_costs(ours)
    estimate(layer).weight_bytes.backward()

    assert "dense" == cost.packing
    assert layer.quantizer.phi.grad < 0


def test_depthwise_layers_count_as_dense() -> None:
    """Their kernels know no sparse packing: a gap there would cost accuracy for nothing."""
    ours = prepared(nn.Conv2d(4, 4, 3, groups=4), images(4, 4, 5, 5))
    (layer,) = ours.weighted()

    size = estimate(layer).weight_bytes

    assert 4 * 9 * 4 / 8 == float(size.detach())
    with pytest.raises(RuntimeError, match=r"unused|not have been used"):
        torch.autograd.grad(size, layer.quantizer.phi)
