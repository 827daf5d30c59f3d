# SPDX-License-Identifier: Apache-2.0
"""Softmax in steps of 2^-16.  Spec: NUMERICS.md §softmax16."""

from dataclasses import dataclass

import numpy as np

from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, register
from codeq_compile.ir.types import DType, TensorType
from codeq_compile.ops.softmax import Softmax, SoftmaxParams


@register("softmax16")
@dataclass(frozen=True, slots=True, kw_only=True)
class Softmax16(Softmax):
    """`Softmax` with 16 bits of each probability, in steps of 2^-16 from -32768. [softmax16-C1]

    The grid of the output is the file's: it calls the step 1/65536 or 1/65535.
    """

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output s16 of the input's shape; errors are those of `Softmax`."""
        shape = Softmax.infer(self, node, inputs).shape
        return TensorType(shape=shape, dtype=DType.S16)

    def simulate(self, params: SoftmaxParams, *inputs: Array) -> Array:
        """Golden of `cq_softmax16_*`. [softmax16-C1]"""
        probabilities = self.probabilities(params, inputs[0], 16)
        return np.minimum(probabilities - 32768, 32767).astype(np.int16)
