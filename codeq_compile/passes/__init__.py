# SPDX-License-Identifier: Apache-2.0
"""Graph → graph: named, ordered lists of passes, verified after every step."""

from collections.abc import Mapping

from codeq_compile.errors import InputError, ModelError
from codeq_compile.ir.graph import Graph
from codeq_compile.ir.verify import verify
from codeq_compile.passes.base import Pass
from codeq_compile.passes.bound_accumulators import bound_accumulators
from codeq_compile.passes.copy_outputs import copy_outputs
from codeq_compile.passes.fuse_clamp import fuse_clamp
from codeq_compile.passes.fuse_pad import fuse_pad
from codeq_compile.passes.fuse_tables import fuse_tables
from codeq_compile.passes.lay_columns_down import lay_columns_down
from codeq_compile.passes.lower import lower
from codeq_compile.passes.remove_dead_channels import remove_dead_channels
from codeq_compile.passes.remove_dead_nodes import remove_dead_nodes
from codeq_compile.passes.remove_identity import remove_identity
from codeq_compile.passes.widen_depthwise import widen_depthwise

__all__ = ["FLOWS", "NATIVE", "Pass", "flow_for", "run"]

# channels leave first: a depthwise convolution may be left with one
_LOSSLESS: tuple[Pass, ...] = (remove_dead_nodes, remove_dead_channels, widen_depthwise)
# every weight of the model stays a weight
_STORED: tuple[Pass, ...] = (remove_dead_nodes, widen_depthwise)

# The order matters: a pad that loses its channels may become an identity or a border that can be
# absorbed; identities hide pads and clamps from the layers that could absorb them; and a clamp is
# better in the layer before it than in a table.
_FUSE: tuple[Pass, ...] = (remove_identity, fuse_pad, fuse_clamp, fuse_tables)

# views would stand between what can be fused
_TURN: tuple[Pass, ...] = (lay_columns_down, remove_identity)

_LOWER: tuple[Pass, ...] = (copy_outputs, lower, bound_accumulators)

FLOWS: Mapping[str, tuple[Pass, ...]] = {
    "native": (*_LOSSLESS, *_FUSE, *_TURN, *_LOWER),
    "stored": (*_STORED, *_FUSE, *_TURN, *_LOWER),
    "native-streamed": (*_LOSSLESS, *_FUSE, *_LOWER),
    "stored-streamed": (*_STORED, *_FUSE, *_LOWER),
    # every layer of the model stays a layer, to look for a difference
    "literal": _LOWER,
}
NATIVE = "native"


def flow_for(*, lossless: bool = True, streamed: bool = False) -> str:
    """Key of `FLOWS`.

    Parameters
    ----------
    lossless : bool
        Whether channels may leave that change nothing.
    streamed : bool
        Whether layers may be executed some rows at a time: then images keep their rows.
    """
    return ("native" if lossless else "stored") + ("-streamed" if streamed else "")


def run(graph: Graph, flow: str = NATIVE) -> Graph:
    """A legal, lowered graph whose outputs have the same integers.

    Parameters
    ----------
    graph : Graph
        Quantized.
    flow : str
        Key of `FLOWS`.

    Raises
    ------
    ModelError
        The graph breaks a rule, or an accumulator could overflow.
    InputError
        There is no such flow.
    """
    if flow not in FLOWS:
        raise InputError(f'there is no flow "{flow}"; there are {", ".join(FLOWS)}')
    graph = verify(graph)
    for step in FLOWS[flow]:
        graph = _verified(step, step(graph))
    return graph


def _verified(step: Pass, graph: Graph) -> Graph:
    try:
        return verify(graph)
    except ModelError as error:
        # the model was legal before: the fault is ours
        raise AssertionError(f"pass {step.__name__} left an illegal graph: {error}") from error
