# SPDX-License-Identifier: Apache-2.0
"""Protocol Buffers: numbers, lists in both forms, and files that lie about their lengths."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeq_compile.errors import Damaged
from codeq_compile.export.onnx import message
from codeq_compile.frontends.onnx import protobuf
from codeq_compile.frontends.onnx.protobuf import Budget, Message

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


def read(written: message.Message | bytes) -> Message:
    return Message(memoryview(bytes(written)), Budget())


@given(INT64)
def test_every_integer_is_read_as_it_was_written(value: int) -> None:
    """Negative ones take ten bytes: axes of -1 are among them."""
    assert value == read(message.Message().integer(3, value)).integer(3)


@given(st.lists(INT64, max_size=20))
def test_a_list_is_the_same_packed_or_not(values: list[int]) -> None:
    """Writers of version 2 of the language store shapes unpacked, others packed."""
    single, packed = message.Message(), message.Message()
    for value in values:
        single.integer(1, value)
        packed.integer(0, value)
    # without the tag of each, which is one byte of 0
    octets = b"".join(bytes(message.Message().integer(0, value))[1:] for value in values)

    assert values == read(single).integers(1).tolist()
    assert values == read(message.Message().blob(1, octets)).integers(1).tolist()


def test_floats_texts_and_messages_are_read() -> None:
    """What is absent is empty, and of several values the last one counts."""
    inner = message.Message().text(1, "a\nb")
    data = message.Message().float32(1, 1.5).float32(1, 2.5).message(2, inner).text(4, "x")

    found = read(data.text(4, "y"))

    assert 2.5 == found.float32(1)
    np.testing.assert_array_equal([1.5, 2.5], found.floats(1))
    assert "a?b" == found.messages(2)[0].text(1)  # names stand on terminals and in C
    assert ("x", "y") == found.texts(4)
    assert (0, 0.0, "", None, None) == (
        found.integer(9),
        found.float32(9),
        found.text(9),
        found.blob(9),
        found.message(9),
    )


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x08", "does not end"),
        (b"\x08" + b"\xff" * 11, "does not end"),
        (b"\x0a\x05abc", "field of 5 bytes begins 3 bytes before the end"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "bytes before the end"),
        (b"\x0d\x00\x00", "field of 4 bytes"),
        (b"\x0b", "wire type 3"),
    ],
)
def test_what_lies_about_its_length_is_damaged(data: bytes, problem: str) -> None:
    """A length that is not checked is memory that is not there."""
    with pytest.raises(Damaged, match=problem):
        read(data)


@pytest.mark.parametrize("data", [b"\x80", b"\x01\xff", b"\xff" * 10 + b"\x01"])
def test_a_list_whose_numbers_do_not_end_is_damaged(data: bytes) -> None:
    """They would be read beyond the field."""
    with pytest.raises(Damaged, match="does not end"):
        read(message.Message().blob(1, data)).integers(1)


def test_endless_fields_are_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Millions of empty fields fit into a small file, and each takes time."""
    data = bytes(message.Message().integer(1, 0)) * 11
    with pytest.raises(Damaged, match="more than"):
        Message(memoryview(data), Budget(10))

    monkeypatch.setattr(protobuf, "MAX_LIST_BYTES", 10)
    with pytest.raises(Damaged, match="store them as raw_data"):
        read(message.Message().blob(1, bytes(11))).integers(1)
