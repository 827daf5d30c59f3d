# SPDX-License-Identifier: Apache-2.0
"""lut: each value through its table; tables of real functions."""

import math

import numpy as np
import pytest

from codeq_compile.errors import SpecViolation
from codeq_compile.ir import DType, TensorType
from codeq_compile.ops.lut import Lut, tabulate
from codeq_compile.simulate import simulate
from tests.graphs import Case, grid, lowered, one_op_graph, random_int8, s8

CASES = [
    Case(name="image", op=Lut(), inputs=(s8(3, 4, 5),), output=grid(0.1, 0), has_table=True),
    *(
        Case(name=f"size-{n}", op=Lut(), inputs=(s8(n),), output=grid(0.1, 0), has_table=True)
        for n in (1, 3, 4, 5, 15, 16, 17, 300)
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_value_is_replaced_by_its_place_in_the_table(case: Case):
    """The table starts at -128; an offset or a sign slip would scramble every activation."""
    graph = lowered(case.graph())
    table = graph.nodes[0].table.tolist()
    data = case.data()

    expected = np.array([table[v + 128] for v in data["x0"].ravel().tolist()], np.int8)

    np.testing.assert_array_equal(expected.reshape(data["x0"].shape), simulate(graph, data)["y"])


def test_a_tabulated_function_is_the_nearest_grid_value_of_the_real_one():
    """The table is the only place where a real function meets the model. [lut-C3]"""
    x, y = grid(0.05, -20), grid(1 / 256, -128)

    table = tabulate(lambda v: 1.0 / (1.0 + np.exp(-v)), x, y)

    for i, entry in enumerate(table.tolist()):
        exact = 256 / (1 + math.exp(-x.scale * (i - 128 + 20))) - 128
        assert abs(entry - min(exact, 127)) <= 0.5


@pytest.mark.parametrize(
    ("label", "inputs", "table"),
    [
        ("lut-C1", [TensorType(shape=(3,), dtype=DType.S32)], np.zeros(256, np.int8)),
        ("lut-C2", [s8(3)], None),
        ("lut-C2", [s8(3)], np.zeros(255, np.int8)),
        ("lut-C2", [s8(3)], np.zeros(256, np.int32)),
    ],
)
def test_an_illegal_table_is_refused_by_its_rule(label, inputs, table):
    """A model that breaks a rule must be refused with the rule's number, not compiled wrongly."""
    with pytest.raises(SpecViolation) as caught:
        one_op_graph(Lut(), inputs, grid(0.1, 0), table=table)

    assert label == caught.value.label


def test_the_emitted_table_is_the_nodes_table(rng):
    """The C kernel reads exactly the stored bytes, so no libm can differ."""
    table = random_int8(rng, (256,))
    graph = lowered(one_op_graph(Lut(), [s8(7)], grid(0.1, 0), table=table))
    (node,) = graph.nodes

    emitted = node.op.c_params(node.params, graph.input_types(node), graph.tensors["y"], None)

    np.testing.assert_array_equal(table, emitted["table"].data)
