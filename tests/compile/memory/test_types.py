# SPDX-License-Identifier: Apache-2.0
"""Buffers of the arena."""

from codeq_compile.memory import Buffer, MemoryPlan


def test_buffers_meet_where_their_lifetimes_share_a_node() -> None:
    """Both ends count: a node reads and writes at once."""
    early = Buffer(name="a", bytes=8, first=0, last=2, tensors=("a",))

    assert early.meets(Buffer(name="b", bytes=8, first=2, last=5, tensors=("b",)))
    assert not early.meets(Buffer(name="c", bytes=8, first=3, last=5, tensors=("c",)))


def test_a_buffer_without_tensors_is_scratch() -> None:
    """Reports count scratch and activations apart."""
    assert Buffer(name="conv", bytes=8, first=0, last=0).is_scratch
    assert not Buffer(name="t", bytes=8, first=0, last=0, tensors=("t",), offset=4).is_scratch
    assert 12 == Buffer(name="t", bytes=8, first=0, last=0, offset=4).end


def test_scratch_finds_the_largest_gap_at_its_node() -> None:
    """What is offered must fit without moving anything else."""

    def buffer(name: str, offset: int, size: int, first: int, last: int) -> Buffer:
        tensors = () if name == "scratch" else (name,)
        return Buffer(name=name, bytes=size, first=first, last=last, tensors=tensors, offset=offset)

    plan = MemoryPlan(
        places={},
        scratch={},
        buffers=(
            buffer("a", 0, 16, 0, 1),
            buffer("b", 40, 24, 1, 2),
            buffer("scratch", 16, 20, 1, 1),
            buffer("peak", 0, 100, 3, 3),
        ),
        arena_bytes=100,
        lower_bound=100,
        peak=3,
        is_optimal=True,
        alignment=4,
    )

    assert [84, 36, 40, 0, 100] == [plan.room(position) for position in range(5)]
