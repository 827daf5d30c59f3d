# SPDX-License-Identifier: Apache-2.0
"""requantize with a table of its results, which the matrix gives it no room for. [requantize-C4]"""

from dataclasses import replace

import numpy as np
import pytest

from codeq_compile.kernels import Kernel
from codeq_compile.ops.requantize import MIN_TABLED, TABLE_BYTES, Requantize
from codeq_compile.simulate import simulate
from tests.graphs import Case, grid, lowered, one_op_graph, s8
from tests.runtime.matrix import Job


def job(op: Requantize, scale: float) -> Job:
    """Every value several times, with room for the table."""
    x = s8(MIN_TABLED + 3, scale=0.05, zero_point=-7)
    graph = lowered(one_op_graph(op, [x], grid(scale, 11)))
    (node,) = graph.nodes
    graph = graph.with_nodes(
        (replace(node, params=node.op.with_scratch(node.params, TABLE_BYTES)),)
    )
    data = np.arange(x.elements).astype(np.int8)[None]
    return Job(
        kernel=Kernel(family="requantize", act="s8", isa="ref"),
        case=Case(name=f"{scale}", op=op, inputs=(x,)),
        graph=graph,
        packed=None,
        inputs=(data,),
        expected=np.asarray(simulate(graph, {"x0": data})["y"]),
    )


@pytest.mark.parametrize("clamp", [(-128, 127), (-20, 90)], ids=str)
@pytest.mark.parametrize("scale", [0.011, 0.05, 0.07, 1.0, 1e30])
def test_every_value_is_requantized_with_a_table_as_without(runtime, scale, clamp):
    """What has room in the arena must not change what is computed."""
    tabled = job(Requantize(clamp=clamp), scale)

    assert TABLE_BYTES == tabled.scratch_bytes
    np.testing.assert_array_equal(tabled.expected[0], runtime.run(tabled, 0))
    np.testing.assert_array_equal(tabled.expected[0], runtime.run(tabled, 0, in_place=0))


def test_a_table_needs_elements_and_room():
    """A small layer is done before the table is; RAM is never taken for speed."""
    for elements, room, isa, expected in [
        (MIN_TABLED, TABLE_BYTES, "ref", TABLE_BYTES),
        (MIN_TABLED, TABLE_BYTES - 1, "ref", 0),
        (MIN_TABLED - 1, TABLE_BYTES, "ref", 0),
        (MIN_TABLED, TABLE_BYTES, "mve", 0),
    ]:
        graph = lowered(one_op_graph(Requantize(), [s8(elements)], grid(0.06, 0)))
        (node,) = graph.nodes
        params = node.op.with_scratch(node.params, room)
        kinds = graph.input_types(node), graph.output_type(node)

        assert expected == node.op.scratch_bytes(params, *kinds, None, "requantize", isa)
