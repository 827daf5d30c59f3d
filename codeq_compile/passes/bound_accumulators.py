# SPDX-License-Identifier: Apache-2.0
"""Proof that int32 is enough, from the real weights, channel by channel. [N4.3]"""

from codeq_compile.errors import ModelError
from codeq_compile.ir.graph import Graph, Node
from codeq_compile.numerics import INT32_MAX


def bound_accumulators(graph: Graph) -> Graph:
    """Return the lowered graph unchanged if no accumulator can leave int32. [N4.3]

    Every partial sum counts, in every order of summation, and so does the left shift before the
    multiplier.

    Raises
    ------
    ModelError
        Some could: names each layer, its worst channel and what to change.
    """
    problems = [problem for node in graph.nodes for problem in _problems(node)]
    if problems:
        raise ModelError(
            "\n".join(
                [
                    f'"{graph.name}" could overflow int32 accumulators [N4.3]:',
                    *problems,
                    "Train these layers with narrower weights or a larger output range (a factor "
                    "above 1 costs a left shift), or split them over their input channels.",
                ]
            )
        )
    return graph


def _problems(node: Node) -> list[str]:
    bound = node.op.accumulator_bound(node.params)
    if bound is None or bound.max() <= INT32_MAX:
        return []
    channel = int(bound.argmax())
    too_large = int((bound > INT32_MAX).sum())
    return [
        f'  layer "{node.name}" ({node.op.kind}): {too_large} of {len(bound)} channels; '
        f"channel {channel} could reach {int(bound[channel])}, the limit is {INT32_MAX}"
    ]
