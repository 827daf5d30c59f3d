# SPDX-License-Identifier: Apache-2.0
"""Boards, and plans by layer."""

from functools import partial

from codeq_compile import target
from codeq_compile.plan import Layer, Plan, plan

HOST, M4, M55 = (target.load(name) for name in ("host", "mps2_an386", "mps3_an547"))

alone = partial(plan, weigh_code=False)
"""Each layer as if its kernel were no code."""


def by_name(result: Plan) -> dict[str, Layer]:
    return {layer.node.name: layer for layer in result.layers}
