# SPDX-License-Identifier: Apache-2.0
"""The bytes of FlatBuffers by hand: what is stored is read, what is damaged is said."""

import struct

import numpy as np
import pytest

from codeq_compile.errors import Damaged
from codeq_compile.frontends.tflite.flatbuffer import (
    MAX_CHARACTERS,
    MAX_INTEGERS,
    MAX_TABLES,
    Buffer,
    Table,
)


def one_table(fields: bytes, offsets: tuple[int, ...], behind: bytes = b"") -> bytes:
    """A file of one table: root offset, identifier, vtable, the table's fields, what follows."""
    vtable = struct.pack(f"<{2 + len(offsets)}H", 4 + 2 * len(offsets), 4 + len(fields), *offsets)
    vtable += bytes(-len(vtable) % 4)
    return (
        struct.pack("<I4s", 8 + len(vtable), b"TEST")
        + vtable
        + struct.pack("<i", len(vtable))
        + fields
        + behind
    )


def root(data: bytes) -> Table:
    return Buffer(data).root(b"TEST")


def test_scalars_are_read_where_the_vtable_says() -> None:
    """Options would be those of another layer."""
    table = root(one_table(struct.pack("<ifb", -7, 1.5, 3), (4, 8, 12)))

    assert (-7, 1.5, 3) == (table.scalar(0, "i"), table.scalar(1, "f"), table.scalar(2, "b"))


def test_an_absent_field_has_its_default() -> None:
    """Writers leave defaults out: a dilation of 1 is in no file."""
    table = root(one_table(struct.pack("<i", 5), (0, 4)))

    assert 1 == table.scalar(0, "i", 1)
    assert 9 == table.scalar(7, "i", 9)
    assert 0 == table.array(0, "i4").size
    assert "" == table.text(0)
    assert table.table(0) is None
    assert [] == list(table.tables(0))


def test_vectors_strings_and_tables_are_followed() -> None:
    """Everything in a model but its options is behind an offset."""
    behind = struct.pack("<I3i", 3, 1, -2, 3) + struct.pack("<I4s", 4, b"name")
    table = root(one_table(struct.pack("<II", 8, 20), (4, 8), behind))

    np.testing.assert_array_equal([1, -2, 3], table.array(0, "i4"))
    assert "name" == table.text(1)
    assert b"name" == bytes(table.blob(1) or b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "identifier TEST"),
        (b"\x08\0\0\0XXXX", "identifier TEST"),
        (b"\xff\xff\xff\xffTEST", "leads to byte"),
        (one_table(struct.pack("<I", 1 << 31), (4,)), "leads to byte"),
        (one_table(struct.pack("<I", 4), (4,), struct.pack("<I", 1 << 30)), "leads to byte"),
        (one_table(struct.pack("<I", 4), (4,), struct.pack("<I", 8)), "leads to byte"),
    ],
    ids=["empty", "foreign", "root", "offset", "huge", "short"],
)
def test_damage_is_an_error_and_not_a_crash(data: bytes, message: str) -> None:
    """A truncated download must not end in a traceback, or in all of the machine's memory."""
    with pytest.raises(Damaged, match=message):
        root(data).array(0, "i4")


def test_a_vector_that_is_read_again_and_again_is_refused() -> None:
    """A small file could ask for work without end: many tables that share one long vector."""
    data = one_table(struct.pack("<I", 4), (4,), struct.pack("<I", 64) + bytes(64))
    table = root(data)

    with pytest.raises(Damaged, match="more bytes in vectors"):
        list(map(table.blob, [0] * len(data)))


def test_tables_without_end_are_refused() -> None:
    """A cycle of tables would be followed forever."""
    buffer = Buffer(one_table(struct.pack("<I", 4), (4,), struct.pack("<i", 0)))

    with pytest.raises(Damaged, match="more tables"):
        list(map(buffer.root, [b"TEST"] * 1000))


def test_shapes_and_names_are_short_however_long_the_file_is() -> None:
    """A vector of a million axes, or a name of as many letters, would keep the import busy."""
    length = max(MAX_CHARACTERS, MAX_INTEGERS) + 1
    vector = struct.pack("<I", length) + bytes(4 * length)
    table = root(one_table(struct.pack("<I", 4), (4,), vector))

    with pytest.raises(Damaged, match="more characters"):
        table.text(0)
    with pytest.raises(Damaged, match="more integers"):
        table.integers(0)


def test_a_long_file_has_no_more_tables_than_a_model() -> None:
    """Each is an object: millions of them are minutes."""
    data = one_table(b"", (), bytes(16 * MAX_TABLES))
    buffer = Buffer(data)

    with pytest.raises(Damaged, match="more tables"):
        list(map(buffer.root, [b"TEST"] * (MAX_TABLES + 1)))


def test_a_string_has_no_control_characters() -> None:
    """Names and descriptions are printed on terminals and into comments of C."""
    behind = struct.pack("<I6s", 6, b"a\nb\x1b[m")

    assert "a?b?[m" == root(one_table(struct.pack("<I", 4), (4,), behind)).text(0)
