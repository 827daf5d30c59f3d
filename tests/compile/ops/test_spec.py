# SPDX-License-Identifier: Apache-2.0
"""docs/NUMERICS.md and the ops: every op has its section, and every example is true."""

import numpy as np
import pytest

from codeq_compile.ir import op_kinds
from codeq_compile.simulate import simulate
from tests import spec


def test_every_op_has_a_section_and_every_section_an_op():
    """A rule that a reader cannot find is no rule."""
    assert sorted(spec.sections()) == sorted(op_kinds())


@pytest.mark.parametrize("kind", sorted(spec.sections()))
def test_a_section_has_the_headings_of_all_others(kind):
    """A reader who knows one op's section finds her way in the next."""
    text = spec.sections()[kind]

    positions = [text.find(f"**{heading}**") for heading in spec.HEADINGS]

    assert -1 not in positions
    assert positions == sorted(positions)


@pytest.mark.parametrize("kind", sorted(spec.sections()))
def test_the_example_of_a_section_is_what_the_golden_computes(kind):
    """People check their own implementation against these examples."""
    example = spec.example(spec.sections()[kind])

    assert example.graph.nodes[0].op.kind == kind
    np.testing.assert_array_equal(example.output, simulate(example.graph, example.inputs)["y"])
