# SPDX-License-Identifier: Apache-2.0
"""Buffers of the arena."""

from codeq_compile.memory import Buffer


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
