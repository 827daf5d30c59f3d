# SPDX-License-Identifier: Apache-2.0
"""The registry of ops and the fields of C structs."""

import numpy as np
import pytest

from codeq_compile.errors import ModelError
from codeq_compile.ir import op_kinds, op_type
from codeq_compile.ir.op import CArray, c_arrays, register
from codeq_compile.ops.conv2d import Conv2D


def test_ops_are_found_by_kind() -> None:
    """The kind is what a model file holds."""
    assert Conv2D is op_type("conv2d")
    assert "conv2d" in op_kinds()
    assert sorted(op_kinds()) == list(op_kinds())


def test_an_unknown_kind_is_told_with_the_known_ones() -> None:
    """A file from a newer version must say so."""
    with pytest.raises(ModelError, match=r'unknown op "fft"; this version of codeq knows add, '):
        op_type("fft")


def test_one_kind_is_one_op() -> None:
    """Two modules with one kind would depend on the order of imports."""
    with pytest.raises(AssertionError, match="two ops are called conv2d"):
        register("conv2d")(Conv2D)


def test_tables_are_found_in_nested_structs_in_order() -> None:
    """The emitter writes them and the plan counts them: both must see all."""
    first, second = (
        CArray(name=name, c_type="int16_t", data=np.zeros(3, np.int16)) for name in ("a", "b")
    )
    params = {"in": (1, 2, 3), "weights": {"data": first, "gap": 0}, "n": 1, "t": second, "u": None}

    assert [first, second] == list(c_arrays(params))
    assert 6 == first.bytes
