# SPDX-License-Identifier: Apache-2.0
"""Protocol Buffers as they are written: read back by the package of their authors."""

import pytest

pytest.importorskip("onnx", reason="its messages read what is written here")

from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import AttributeProto, TensorProto

from codeq_compile.export.onnx.message import Message

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


@given(st.lists(INT64, max_size=5), INT64, st.text(max_size=40), st.binary(max_size=300))
@settings(max_examples=25)
def test_every_kind_of_field_is_read_back(
    dims: list[int], number: int, text: str, data: bytes
) -> None:
    """Lengths over 127 and numbers below 0 take several bytes."""
    tensor = Message()
    for size in dims:
        tensor.integer(1, size)
    tensor.text(8, text).blob(9, data)
    attribute = Message().integer(3, number).float32(2, 0.5).message(5, tensor)

    found = AttributeProto.FromString(bytes(attribute))

    assert (number, 0.5) == (found.i, found.f)
    assert TensorProto(dims=dims, name=text, raw_data=data) == found.t
