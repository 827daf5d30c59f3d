# SPDX-License-Identifier: Apache-2.0
"""Which memory of a board holds weights, arena and inner loops: `codeq compile --place`."""

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

from codeq_compile.errors import InputError
from codeq_compile.target import Target

Placement = Mapping[str, str]
"""Name of a memory by part; what is not named stays in flash or RAM."""

NOWHERE: Placement = MappingProxyType({})
"""Nothing is named."""

_ATTRIBUTES = {
    "weights": ("CQ_WEIGHTS_SECTION", 'section(".rodata.codeq_weights")'),
    "arena": ("CQ_ARENA_SECTION", 'section(".bss.codeq_arena")'),
    # a section a function, so that the linker drops those that nobody calls
    "code": ("CQ_FAST_CODE", 'section(".text.codeq_code." CQ_STRING(__COUNTER__)), noinline'),
}
"""By part: macro of codeq/config.h, and attribute.

A linker script that does not know the sections puts them where it puts .rodata, .bss and .text.
"""

DEFAULTS = {"weights": "flash", "arena": "ram", "code": "flash"}
_NEEDS: dict[str, tuple[Literal["rx", "rw"], str]] = {
    "arena": ("rw", "the arena is written"),
    "code": ("rx", "code is executed"),
}


def parse(text: str, target: Target) -> dict[str, str]:
    """A placement from ``weights=flash,arena=dtcm``.

    Raises
    ------
    InputError
        It is written otherwise, names an unknown part or memory, or a memory cannot serve.
    """
    placement: dict[str, str] = {}
    for word in filter(None, (word.strip() for word in text.split(","))):
        part, equals, memory = (piece.strip() for piece in word.partition("="))
        if not equals or not memory:
            raise InputError(f'"{word}" does not place anything: write weights=flash,arena=ram')
        if part not in DEFAULTS:
            raise InputError(f'there is no part "{part}" to place: {_near(part, DEFAULTS)}')
        if part in placement:
            raise InputError(f'"{part}" is placed twice')
        placement[part] = memory
    return check(placement, target)


def check(placement: Placement, target: Target) -> dict[str, str]:
    """The placement, if a target has these memories.

    Raises
    ------
    InputError
        It has not, or they cannot serve.
    """
    if placement and target.memory is None:
        raise InputError(f"{target.name} has no memories to place anything in: choose a board")
    for part, name in placement.items():
        assert target.memory is not None
        known = target.memory.all
        if name not in known:
            raise InputError(f'{target.name} has no memory "{name}": {_near(name, known)}')
        access, reason = _NEEDS.get(part, (known[name].access, ""))
        if known[name].access != access:
            able = [other for other, region in known.items() if region.access == access]
            raise InputError(
                f"{part}={name}: {reason}, and {name} of {target.name} is "
                f"{known[name].access}; possible are {', '.join(able)}"
            )
    return dict(placement)


def macros(placement: Placement) -> dict[str, str]:
    """Definitions of codeq/config.h that put the placed parts into sections of their own."""
    attributes = (_ATTRIBUTES[part] for part in placement)
    return {macro: f"__attribute__(({attribute}))" for macro, attribute in attributes}


def _near(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f'did you mean "{near[0]}"?' if near else f"there are {', '.join(known)}"
