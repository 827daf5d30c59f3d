# SPDX-License-Identifier: Apache-2.0
"""What budgets count, and what is refused before and without training."""

import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from codeq_compile import compile, load, passes
from codeq_compile.errors import DoesNotFit, InputError
from codeq_train import (
    BudgetConfig,
    LayerConfig,
    QuantConfig,
    QuantizedModel,
    export,
    freeze,
    prepare,
    projected_bytes,
)
from codeq_train.cost import planned, snapshot
from codeq_train.landing import land
from codeq_train.limits import check_floor, exact
from codeq_train.recipes import models
from tests.train.nets import branches, images, limited, prepared

KWS = Path(__file__).parents[1] / "golden/models/kws.cq"


def test_bytes_are_counted_in_the_packing_that_was_asked_for(tmp_path: Path) -> None:
    """The library is compiled with it: a budget counted otherwise is wasted or missed."""
    model = nn.Linear(160, 60)
    with torch.no_grad():
        model.weight.normal_()
    counted = {}
    for packing in ("auto", "small"):
        budgets = BudgetConfig(weights="10K", packing=packing)
        config = QuantConfig(weights=LayerConfig(bits=3), budgets=budgets)
        ours = prepared(model, images(16, 160), config=config)
        counted[packing] = exact(ours).amounts["weights"]
        library = tmp_path / packing
        flash = compile(export(ours), library, target="host", packing=packing).report.flash

        assert 0 <= counted[packing] - flash.weights - flash.tables < 4  # aligned when linked
    assert counted["small"] < 0.95 * counted["auto"]


def test_instructions_are_predicted_for_a_core_or_refused() -> None:
    """Instructions of this machine are nothing that anyone deploys."""
    with pytest.raises(InputError, match=r"none on host .* cq_conv2d_s8_w\d_\w+_ref"):
        exact(limited(instructions=1000, target="host"))


def test_who_never_freezes_is_told_that_the_budget_is_missed() -> None:
    """Only `freeze` cuts what training left above a budget: without it nothing else would say."""
    needed = exact(limited(weights=1000)).amounts["weights"]
    with pytest.warns(
        UserWarning, match=rf"{needed} bytes, 5 more than the budget of {needed - 5}: call freeze"
    ):
        export(limited(weights=needed - 5).eval())
    frozen = limited(weights=needed - 5)
    freeze(frozen)
    with warnings.catch_warnings(action="error"):
        export(frozen.eval())
        export(limited(weights=needed).eval())


def test_who_trained_on_after_freezing_is_told_what_to_call() -> None:
    """Between two counts some bytes may be added; to freeze is not the way out any more."""
    ours = limited(weights=projected_bytes(limited()) + 20)
    freeze(ours)
    with torch.no_grad():
        for layer in ours.weighted():
            # larger ones would make constants of channels, which leave
            layer.bias.mul_(3.0) if layer.bias is not None else None
    with pytest.warns(UserWarning, match=r"more than the budget of \d+: call land\(model\)"):
        export(ours.eval())
    land(ours)
    with warnings.catch_warnings(action="error"):
        export(ours)


def test_who_never_freezes_is_told_of_ram_too() -> None:
    """Channels leave as steps are trained: those that are too many stay."""
    ours = branches(ram=3000, weights=500)
    amounts = exact(ours).amounts

    with pytest.warns(
        UserWarning,
        match=rf"{amounts['weights'] - 500} more than the budget of 500; "
        rf"RAM: {amounts['ram']} bytes, {amounts['ram'] - 3000} more than the budget of 3000: call",
    ):
        export(ours.eval())


def test_activations_that_do_not_fit_are_refused_before_training() -> None:
    """Hours of training would not change them."""
    with pytest.raises(DoesNotFit, match=r'(?s)RAM: \d+ bytes needed, 100 allowed.*"pw"'):
        limited(ram=100)

    limited(ram="16K")


def test_a_budget_that_tables_exceed_is_refused_before_training() -> None:
    """They stay as they are: 500 for 500K would cost hours."""
    tables = exact(limited(weights="1M")).tables
    check_floor(limited(weights=tables))

    with pytest.raises(DoesNotFit, match=f"alone are {tables} bytes, the budget is {tables - 1}"):
        check_floor(limited(weights=tables - 1))
    check_floor(branches(ram="3K", weights=1))


def test_ram_that_channels_can_free_is_left_to_training() -> None:
    """With `structure: channel` they leave; what even the fewest need is refused all the same."""
    ours = branches(ram="3K")
    assert exact(ours).amounts["ram"] > 3072

    with pytest.raises(DoesNotFit) as caught:
        branches(ram=300, back={"structure": "none"})
    message = str(caught.value)
    assert "RAM: " in message
    # the caller reads all channels of the head
    for part in ("300 allowed", 'leave each of "stem", "middle", "left", "right";'):
        assert part in message


def test_ram_that_leaner_kernels_bring_is_not_asked_for() -> None:
    """The library would have been compiled with them: nobody has to change the network."""

    def within(ram: int | None) -> QuantizedModel:
        torch.manual_seed(0)
        config = QuantConfig(budgets=BudgetConfig(ram=ram))
        return prepare(models.resnet8(), images(4, 3, 32, 32), config)

    def needed(ram: int | None) -> int:
        return planned(passes.run(snapshot(within(None))), BudgetConfig(ram=ram)).ram_bytes

    usual = needed(None)
    within(usual - 1)
    least = needed(usual - 1)
    assert least < usual
    with pytest.raises(DoesNotFit, match=f"RAM: {least} bytes needed, {least - 1} allowed"):
        within(least - 1)


@pytest.mark.parametrize(
    "limits", [{"weights": 7168}, {"ram": 11_500}, {"weights": 8000, "ram": 11_500}]
)
def test_what_is_counted_is_what_is_compiled(limits: dict[str, int], tmp_path: Path) -> None:
    """Sparse weights need scratch: within less RAM they are longer, and take more instructions."""
    lowered, budgets = passes.run(load(KWS)), BudgetConfig(**limits)
    counted, foreseen = planned(lowered, budgets), planned(lowered, budgets, weigh_code=True)
    compiled = compile(KWS, tmp_path / "kws", target="mps2_an386", **limits).plan
    most, total = counted.total, compiled.total
    assert most is not None
    assert total is not None

    assert total == foreseen.total
    assert compiled.ram_bytes == foreseen.ram_bytes <= counted.ram_bytes
    assert total.instructions <= most.instructions
    assert total.flash <= most.flash
    # bytes of weights that no limit asked for are spent where they save code
    assert total.data <= max(most.data, limits.get("weights", total.data))
