# SPDX-License-Identifier: Apache-2.0
"""A network of every kind of layer that has packings of its own."""

import numpy as np
import pytest

from codeq_compile import passes
from codeq_compile.ir import Graph
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.lut import Lut
from codeq_compile.ops.reshape import Reshape
from tests.graphs import random_int8, random_weights, s8
from tests.strategies import GraphBuilder


@pytest.fixture
def graph(rng: np.random.Generator) -> Graph:
    """conv 3x3 sparse, depthwise, 1x1 ternary, flatten, linear dense, lut; lowered."""
    builder = GraphBuilder(rng)
    x = builder.input(s8(8, 8, 3))
    sparse = random_weights(rng, (16, 3, 3, 3), bits=4, zeros=0.9)
    x = builder.add(Conv2D(stride=(2, 2)), x, weights=sparse, name="conv")
    filters = random_weights(rng, (16, 3, 3), bits=5, zeros=0.9)
    x = builder.add(DWConv2D(), x, weights=filters, name="dw")
    ternary = random_weights(rng, (16, 1, 1, 16), bits=2, zeros=0.3)
    x = builder.add(Conv2D(), x, weights=ternary, name="pw")
    x = builder.add(Reshape(shape=(16,)), x, name="flatten")
    full = random_weights(rng, (10, 16), bits=8)
    x = builder.add(Linear(), x, weights=full, name="fc")
    x = builder.add(Lut(), x, table=random_int8(rng, (256,)), name="act")
    return passes.run(builder.graph(x), "literal")  # random zeros may kill a channel
