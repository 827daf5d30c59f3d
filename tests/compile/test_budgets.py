# SPDX-License-Identifier: Apache-2.0
"""Budgets: exact at the limit, and the message names what to shrink."""

import numpy as np
import pytest

from codeq_compile.budgets import LARGEST, Budgets, check_plan, check_sizes
from codeq_compile.build.firmware import Sizes
from codeq_compile.errors import DoesNotFit, InputError
from codeq_compile.ops.maxpool2d import MaxPool2D
from codeq_compile.ops.mul import Mul
from codeq_compile.ops.softmax import Softmax
from codeq_compile.plan import Plan
from tests.graphs import grid, s8
from tests.libraries import planned, rows
from tests.networks import ds_cnn
from tests.strategies import GraphBuilder


@pytest.fixture(scope="module")
def plan() -> Plan:
    return planned(ds_cnn(np.random.default_rng(0)))


def sizes(plan: Plan, flash: int) -> Sizes:
    return Sizes(
        flash_bytes=flash,
        weights_bytes=plan.weights_bytes,
        tables_bytes=plan.tables_bytes,
        code_bytes=300,
        kernels_bytes=200,
        constants_bytes=100,
        ram_bytes=plan.ram_bytes,
        board_flash_bytes=0,
        board_ram_bytes=0,
    )


def test_no_budget_is_never_exceeded(plan: Plan) -> None:
    """Without limits nothing is refused."""
    check_plan(Budgets(), plan)
    check_sizes(Budgets(), plan, sizes(plan, 1 << 30))


def test_a_budget_is_kept_to_the_byte(plan: Plan) -> None:
    """The last byte of the flash belongs to the user."""
    weights, ram = plan.weights_bytes + plan.tables_bytes, plan.ram_bytes

    check_plan(Budgets(weights=weights, ram=ram), plan)
    check_sizes(Budgets(flash=5000, weights=weights, ram=ram), plan, sizes(plan, 5000))
    for budgets, what in ((Budgets(weights=weights - 1), "weights"), (Budgets(ram=ram - 1), "RAM")):
        with pytest.raises(DoesNotFit, match=rf"^{what}.* 1 too many"):
            check_plan(budgets, plan)
    with pytest.raises(DoesNotFit, match=r"^flash: 5000 bytes needed, 4999 allowed"):
        check_sizes(Budgets(flash=4999), plan, sizes(plan, 5000))


def test_the_largest_layers_are_named_largest_first(plan: Plan) -> None:
    """Five names are where to begin."""
    with pytest.raises(DoesNotFit) as caught:
        check_plan(Budgets(weights=1), plan)

    named = str(caught.value).splitlines()[1:]
    largest = sorted(plan.layers, key=lambda each: -(each.weights_bytes + each.tables_bytes))
    expected = [each.weights_bytes + each.tables_bytes for each in largest[:LARGEST]]
    assert expected == [int(line.split()[0]) for line in named]
    assert f'"{largest[0].node.name}"' in named[0]


def test_everything_that_is_too_large_is_said_at_once(plan: Plan) -> None:
    """One compilation tells what has to shrink, not three."""
    tight = Budgets(flash=1, weights=1, ram=1)

    with pytest.raises(DoesNotFit, match=r"(?s)^weights and tables: .*\nRAM: "):
        check_plan(tight, plan)
    with pytest.raises(DoesNotFit, match=r"(?s)^weights and tables: .*\nRAM: .*\nflash: "):
        check_sizes(tight, plan, sizes(plan, 5000))


def test_of_a_window_only_its_rows_are_counted() -> None:
    """Whoever shrinks a model must see what fills the RAM, not what would."""
    whole, streamed = planned(rows()), planned(rows(), stream="auto")
    sizes = []
    for plan in (whole, streamed):
        with pytest.raises(DoesNotFit) as caught:
            check_plan(Budgets(ram=1), plan)
        sizes.append([int(line.split()[0]) for line in str(caught.value).splitlines()[1:]])

    assert sizes[1] < sizes[0]
    stem = streamed.layers[0]
    buffers = {each.name: each.bytes for each in streamed.memory.buffers}
    # the image is the caller's, and whole
    assert 17 * 9 + buffers["stem.out"] + stem.scratch_bytes in sizes[1]


def test_no_layer_is_said_to_need_more_ram_than_the_model(rng: np.random.Generator) -> None:
    """An output in its input's place and an operand in flash are no bytes of RAM."""
    builder = GraphBuilder(rng)
    x = builder.add(MaxPool2D(kernel=(2, 2), stride=(2, 2)), builder.input(s8(8, 8, 8)))
    x = builder.add(Mul(), x, builder.constant(s8(4, 4, 8)), output=grid(0.02, 0))
    plan = planned(builder.graph(builder.add(Softmax(), x)))
    with pytest.raises(DoesNotFit) as caught:
        check_plan(Budgets(ram=1), plan)

    lines = str(caught.value).splitlines()[1:]
    named = {line.split(":")[1].split()[0]: int(line.split()[0]) for line in lines}
    product = next(node for node in plan.graph.nodes if node.op.kind == "mul")
    places = plan.memory.places
    assert places[product.inputs[0]] == places[product.output]
    assert 4 * 4 * 8 == named["mul"]
    assert max(named.values()) <= plan.ram_bytes


def test_sizes_may_have_a_unit() -> None:
    """As in the settings of a training, whose budgets are then given to the compiler."""
    assert Budgets(flash=16384, ram=9) == Budgets.of(flash="16K", weights=None, ram=9)
    with pytest.raises(InputError, match="'much' is not a size"):
        Budgets.of(weights="much")
