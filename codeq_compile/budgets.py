# SPDX-License-Identifier: Apache-2.0
"""Limits that the user sets on flash, weights and RAM, and what to say when one is exceeded."""

from collections.abc import Callable
from dataclasses import dataclass

from codeq_compile.build.firmware import Sizes
from codeq_compile.errors import DoesNotFit
from codeq_compile.plan import Layer, Plan

LARGEST = 5
"""Layers that the message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """Limits in bytes; None where there is none.

    Parameters
    ----------
    flash : int, optional
        Of the linked image without vector table and start-up.
    weights : int, optional
        Of weights and tables.
    ram : int, optional
        Of arena with scratch, state, inputs and outputs.
    """

    flash: int | None = None
    weights: int | None = None
    ram: int | None = None


def check_plan(budgets: Budgets, plan: Plan) -> None:
    """Compare what is known before anything is linked: weights and RAM.

    Raises
    ------
    DoesNotFit
        Naming every limit that is exceeded, and the largest layers.
    """
    weights = plan.weights_bytes + plan.tables_bytes
    _refuse(
        _excess("weights and tables", weights, budgets.weights, largest_in_flash(plan)),
        _excess("RAM", plan.ram_bytes, budgets.ram, _largest_in_ram(plan)),
    )


def check_sizes(budgets: Budgets, plan: Plan, sizes: Sizes) -> None:
    """Compare the linked image.

    Raises
    ------
    DoesNotFit
        Naming every limit that is exceeded, and the largest layers.
    """
    weights = sizes.weights_bytes + sizes.tables_bytes
    code = f"  code {sizes.code_bytes} bytes, constants {sizes.constants_bytes} bytes"
    _refuse(
        _excess("weights and tables", weights, budgets.weights, largest_in_flash(plan)),
        _excess("RAM", sizes.ram_bytes, budgets.ram, _largest_in_ram(plan)),
        _excess("flash", sizes.flash_bytes, budgets.flash, [*largest_in_flash(plan), code]),
    )


def largest_in_flash(plan: Plan) -> list[str]:
    """Lines that name the layers with the most weights and tables."""
    return _largest(plan, lambda layer: layer.weights_bytes + layer.tables_bytes)


def _largest_in_ram(plan: Plan) -> list[str]:
    """By what a layer needs at once: inputs, output and scratch."""
    graph = plan.graph
    return _largest(
        plan,
        lambda layer: (
            sum(graph.tensors[name].bytes for name in {*layer.node.inputs, layer.node.output})
            + layer.scratch_bytes
        ),
    )


def _largest(plan: Plan, size: Callable[[Layer], int]) -> list[str]:
    layers = sorted(plan.layers, key=lambda layer: (-size(layer), layer.index))[:LARGEST]
    return [f'  {size(each)} bytes: {each.node.op.kind} "{each.node.name}"' for each in layers]


def _excess(what: str, needed: int, limit: int | None, layers: list[str]) -> list[str]:
    """Lines of the message; none where the limit is kept."""
    if limit is None or needed <= limit:
        return []
    return [
        f"{what}: {needed} bytes needed, {limit} allowed, {needed - limit} too many; "
        "the largest layers:",
        *layers,
    ]


def _refuse(*excesses: list[str]) -> None:
    """All that is exceeded at once."""
    lines = [line for lines in excesses for line in lines]
    if lines:
        raise DoesNotFit("\n".join(lines))
