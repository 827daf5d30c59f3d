# SPDX-License-Identifier: Apache-2.0
"""The choice of ways that share code: small cases by hand, drawn ones for what always holds."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeq_compile.kernels import Kernel
from codeq_compile.plan.economy import Aim, Total, Way, choose, worth_trying

ROOMY = Total(data=1 << 40, flash=1 << 40, instructions=1 << 40)


def kernel(name: str, packing: str = "dense") -> Kernel:
    return Kernel(family=name, act="s8", isa="ref", bits=4, packing=packing)


def way(name: str, size: int, instructions: int) -> Way:
    return Way(kernel=kernel(name), bytes=size, instructions=instructions)


def total(
    ways: Sequence[Sequence[Way]], choice: Sequence[int], sizes: Mapping[Kernel, int]
) -> Total:
    taken = [each[place] for each, place in zip(ways, choice, strict=True)]
    data = sum(each.bytes for each in taken)
    return Total(
        data=data,
        flash=data + sum(sizes[each] for each in {way.kernel for way in taken}),
        instructions=sum(each.instructions for each in taken),
    )


def chosen(
    ways: Sequence[Sequence[Way]],
    sizes: Mapping[str, int],
    most: Total = ROOMY,
    *,
    is_speed: bool = False,
) -> list[str]:
    code = {kernel(name): size for name, size in sizes.items()}
    aim = Aim(most=most, is_speed=is_speed)
    places = choose(ways, lambda linked: sum(code[each] for each in linked), aim)
    return [each[place].kernel.family for each, place in zip(ways, places, strict=True)]


def test_a_kernel_for_a_few_bytes_is_not_worth_its_code() -> None:
    """What the plan of single layers cannot see."""
    ways = [[way("b", 90, 100), way("a", 100, 100)], [way("a", 50, 100)]]

    assert ["a", "a"] == chosen(ways, {"a": 30, "b": 30})
    assert ["b", "a"] == chosen(ways, {"a": 30, "b": 5})


def test_layers_change_together_where_one_alone_gains_nothing() -> None:
    """As long as one layer is left, the old kernel stays and the new one is code on top."""
    ways = [[way(old, 100, 100), way(new, 100, 90)] for old, new in ["ab"] * 5 + ["cd"] * 5]

    assert ["b"] * 5 + ["d"] * 5 == chosen(ways, dict.fromkeys("abcd", 400))


def test_a_limit_is_kept_whatever_it_costs() -> None:
    """Each of the three."""
    ways = [[way("a", 100, 100), way("b", 10, 150)]]
    sizes = {"a": 20, "b": 20}

    assert ["b"] == chosen(ways, sizes)
    assert ["a"] == chosen(ways, sizes, Total(data=1000, flash=1000, instructions=149))
    assert ["b"] == chosen(
        ways[:1], {"a": 0, "b": 20}, Total(data=50, flash=1000, instructions=200)
    )


def test_speed_that_takes_its_share_of_flash_is_left() -> None:
    """A tenth fewer instructions for a fifth more flash are a loss, for a twentieth a gain."""
    ways = [[way("a", 100, 100), way("b", 100, 90)]]

    assert ["a"] == chosen(ways, {"a": 100, "b": 140})
    assert ["b"] == chosen(ways, {"a": 100, "b": 110})


def test_where_speed_is_wanted_flash_is_spent_up_to_its_limit() -> None:
    """And no byte of it for nothing."""
    ways = [[way("a", 100, 100), way("b", 100, 90), way("c", 100, 90)]] * 2
    sizes = {"a": 100, "b": 180, "c": 140}

    assert ["c", "c"] == chosen(ways, sizes, is_speed=True)
    tight = Total(data=1000, flash=339, instructions=1000)
    assert ["a", "a"] == chosen(ways, sizes, tight, is_speed=True)


def test_ways_that_another_of_the_same_kernel_beats_are_not_tried() -> None:
    """The first one is: it is what there is to compare with."""
    ways = [way("a", 9, 9), way("a", 5, 5), way("a", 5, 6), way("a", 6, 4), way("b", 9, 9)]

    assert [0, 1, 3, 4] == sorted(worth_trying(ways))
    assert [0] == worth_trying([way("a", 5, 5), way("a", 5, 5), way("a", 7, 5)])


@given(data=st.data())
def test_the_choice_is_no_worse_than_the_first_ways(data: st.DataObject) -> None:
    """And within limits that the first ways keep."""
    names = "abc"
    sizes = {name: data.draw(st.integers(0, 300)) for name in names}
    numbers = st.integers(1, 200)
    ways = [
        [
            way(data.draw(st.sampled_from(names)), data.draw(numbers), data.draw(numbers))
            for _ in range(data.draw(st.integers(1, 3)))
        ]
        for _ in range(data.draw(st.integers(1, 4)))
    ]
    code = {kernel(name): size for name, size in sizes.items()}
    first = total(ways, [0] * len(ways), code)
    aim = Aim(most=first, is_speed=data.draw(st.booleans()))

    places = choose(ways, lambda linked: sum(code[each] for each in linked), aim)
    found = total(ways, places, code)

    assert 0 == found.excess(first)
    assert aim.rank(found) <= aim.rank(first)


def test_nothing_to_choose_and_nothing_allowed() -> None:
    """A network of views, and limits of 0."""
    nothing = Total(data=0, flash=0, instructions=0)

    assert [] == chosen([], {})
    assert ["b"] == chosen([[way("a", 2, 1), way("b", 1, 1)]], {"a": 0, "b": 0}, nothing)


@pytest.mark.parametrize(
    ("amount", "excess"), [((9, 9, 9), 0.0), ((12, 10, 10), 0.2), ((12, 15, 20), 1.7)]
)
def test_excess_is_the_sum_of_shares(amount: tuple[int, int, int], excess: float) -> None:
    """So that a little of each counts less than much of one."""
    data, flash, instructions = amount
    found = Total(data=data, flash=flash, instructions=instructions)

    assert found.excess(Total(data=10, flash=10, instructions=10)) == pytest.approx(excess)
