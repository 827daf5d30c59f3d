# SPDX-License-Identifier: Apache-2.0
"""A graph as text."""

import doctest

import numpy as np

from codeq_compile.ir import show
from codeq_compile.ir.show import show as function
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.mul import Mul
from codeq_compile.ops.reshape import Reshape
from tests.compile.packing.layers import row
from tests.graphs import s8
from tests.strategies import GraphBuilder


def test_the_example_is_what_is_printed() -> None:
    """People read logs with the docstring beside them."""
    examples = doctest.DocTestFinder().find(function, "show", globs={"show": show})
    results = [doctest.DocTestRunner().run(example) for example in examples]

    assert (0, True) == (sum(r.failed for r in results), any(r.attempted for r in results))


def test_one_line_a_node_with_what_is_not_default(rng: np.random.Generator) -> None:
    """Two graphs are compared line by line."""
    builder = GraphBuilder(rng)
    flat = builder.add(Reshape(shape=(4,)), builder.input(s8(2, 2, 1)), name="flat")
    layer = row([1, 0, 0, -1], bits=3, gap=2)
    fc = builder.add(Linear(clamp=(0, 127)), flat, weights=layer, name="fc")
    y = builder.add(Mul(), fc, fc, name="square")

    assert show(builder.graph(y)).splitlines() == [
        "net(x0: s8[2,2,1]) -> square.out",
        '  flat.out: s8[4] = reshape(x0, shape=(4,))  # "flat"',
        '  fc.out: s8[1] = linear(flat.out, clamp=(0, 127), w3 gap 2 50% zero)  # "fc"',
        '  square.out: s8[1] = mul(fc.out, fc.out)  # "square"',
    ]
