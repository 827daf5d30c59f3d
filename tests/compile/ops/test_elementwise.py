# SPDX-License-Identifier: Apache-2.0
"""Tables over all int8 values, and operands that repeat."""

import numpy as np

from codeq_compile.ops.elementwise import INT8, by_period, lookup


def test_looking_up_the_table_of_all_values_changes_nothing():
    """An offset between table and value would shift every activation."""
    x = INT8.astype(np.int8).reshape(4, 64)

    np.testing.assert_array_equal(x, lookup(INT8, x))
    np.testing.assert_array_equal(x[:, ::3], lookup(INT8, x[:, ::3]))


def test_a_sample_is_cut_into_periods_of_the_second_operand():
    """The second operand belongs to its own sample, not to the batch."""
    x = np.arange(24).reshape(2, 3, 4)

    assert (2, 3, 4) == by_period(x, np.zeros((2, 1, 4))).shape
    assert (2, 1, 12) == by_period(x, np.zeros((2, 3, 4))).shape
    assert (2, 12, 1) == by_period(x, np.zeros((2, 1))).shape
