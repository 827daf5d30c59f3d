# SPDX-License-Identifier: Apache-2.0
"""Limits that the user sets on flash, weights and RAM, and what to say when one is exceeded."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from codeq_compile.build.firmware import Sizes
from codeq_compile.errors import DoesNotFit, InputError
from codeq_compile.memory import Place
from codeq_compile.plan import Layer, Plan

LARGEST = 5
"""Layers that the message names."""
RAM = "RAM"

_UNITS = {
    **{"": 1, "b": 1},
    **{"k": 1 << 10, "kib": 1 << 10, "kb": 10**3},
    **{"m": 1 << 20, "mib": 1 << 20, "mb": 10**6},
}
_COUNTS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


def parse_size(text: str) -> int:
    """Bytes: ``6144``, ``6K`` and ``6KiB`` are the same; what is between two bytes is the lower.

    K, KiB and M, MiB count by 1024, kB and MB by 1000.

    Raises
    ------
    InputError
        It is no number, or the unit is unknown.
    """
    return _parse(text, _UNITS, "a size such as 6144, 6K or 6KiB")


def parse_count(text: str) -> int:
    """A number of things that are no bytes: ``4000000``, ``4000K`` and ``4M`` are the same.

    Raises
    ------
    InputError
        It is no number, or the unit is unknown.
    """
    return _parse(text, _COUNTS, "a number such as 250000, 250K or 4M")


def _parse(text: str, units: Mapping[str, int], what: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if match is None or match[2] not in units:
        raise InputError(f"{text!r} is not {what}")
    return int(Fraction(match[1]) * units[match[2]])


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

    @classmethod
    def of(cls, **limits: int | str | None) -> "Budgets":
        """Of numbers, and of sizes as `parse_size` reads them.

        Raises
        ------
        InputError
            One of them is neither.
        """
        return cls(
            **{
                name: parse_size(limit) if isinstance(limit, str) else limit
                for name, limit in limits.items()
            }
        )


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
        _excess(RAM, plan.ram_bytes, budgets.ram, largest_in_ram(plan)),
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
    in_flash = [*largest_in_flash(plan), code]
    flash = _excess("flash", sizes.flash_bytes, budgets.flash, in_flash)
    _refuse(
        _excess("weights and tables", weights, budgets.weights, largest_in_flash(plan)),
        _excess(RAM, sizes.ram_bytes, budgets.ram, largest_in_ram(plan)),
        flash,
        in_flash=flash[0],
    )


def largest_in_flash(plan: Plan) -> list[str]:
    """Lines that name the layers with the most weights and tables."""
    return _largest(plan, lambda layer: layer.weights_bytes + layer.tables_bytes)


def largest_in_ram(plan: Plan) -> list[str]:
    """Lines that name the layers with the most inputs, output and scratch at once."""
    buffers = {each.name: each.bytes for each in plan.memory.buffers if not each.is_scratch}

    def size(place: Place) -> int:
        if place.kind == "constant":
            return 0
        # of a window the rows that it has
        return (
            buffers[place.name] if place.kind == "arena" else plan.graph.tensors[place.name].bytes
        )

    def together(layer: Layer) -> int:
        # an output that takes its input's place is no second buffer
        places = {plan.memory.places[name] for name in (*layer.node.inputs, layer.node.output)}
        return sum(map(size, places)) + layer.scratch_bytes

    return _largest(plan, together)


def _largest(plan: Plan, size: Callable[[Layer], int]) -> list[str]:
    layers = sorted(plan.layers, key=lambda layer: (-size(layer), layer.index))[:LARGEST]
    return [f'  {size(each)} bytes: {each.node.op.kind} "{each.node.name}"' for each in layers]


def _excess(what: str, needed: int, limit: int | None, layers: list[str]) -> tuple[int, list[str]]:
    """Bytes that are too many, and lines of the message; none where the limit is kept."""
    if limit is None or needed <= limit:
        return 0, []
    excess = needed - limit
    head = f"{what}: {needed} bytes needed, {limit} allowed, {excess} too many; the largest layers:"
    return excess, [head, *layers]


def _refuse(*excesses: tuple[int, list[str]], in_flash: int = 0) -> None:
    """All that is exceeded at once."""
    excess = sum(each for each, _ in excesses)
    if excess:
        lines = [line for _, lines in excesses for line in lines]
        in_ram = any(line.startswith(RAM) for line in lines)
        raise DoesNotFit("\n".join(lines), in_ram=in_ram, excess=excess, in_flash=in_flash)
