# SPDX-License-Identifier: Apache-2.0
"""Predicts the bytes of code that kernels take on a core: each of their functions once, with all
that these call, as `footprint.json` knows them.

The table is what the compiler makes of runtime_c with the flags of an emitted library
(tests/bench/footprint.py), so that a linked image holds these very functions.  It leaves out what
no application is without, memcpy and memset, and the division of cores that have no instruction
for it.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import msgspec

from codeq_compile.kernels import Kernel

FILE = Path(__file__).with_name("footprint.json")


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A function of runtime_c, or constants of one.

    Parameters
    ----------
    name : str
        The symbol; of what only one file sees, behind the file's name and a colon.
    bytes : int
    uses : tuple of str
        Names of parts that it calls or reads.
    is_code : bool
    """

    name: str
    bytes: int
    uses: tuple[str, ...] = ()
    is_code: bool = True


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Contents of footprint.json.

    Parameters
    ----------
    compiler, optimization : str
        What made the code.
    cores : dict of str to tuple of Part
    """

    compiler: str
    optimization: str
    cores: dict[str, tuple[Part, ...]]


@cache
def table() -> Table:
    """What is known."""
    return msgspec.json.decode(FILE.read_bytes(), type=Table)


@cache
def _parts(core: str) -> dict[str, Part]:
    return {part.name: part for part in table().cores.get(core, ())}


@cache
def parts(kernel: Kernel, core: str) -> frozenset[Part] | None:
    """All that is linked where a kernel is called; None where the table does not know it."""
    known = _parts(core)
    if kernel.symbol not in known:
        return None
    found: dict[str, Part] = {}
    waiting = [kernel.symbol]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = known[name]
            waiting += known[name].uses
    return frozenset(found.values())


def total(kernels: Iterable[Kernel], core: str) -> int:
    """Flash for the code and constants of all these kernels together, without alignment.

    Parameters
    ----------
    kernels : iterable of Kernel
        Known on the core.
    core : str
        As in `Target.core`.
    """
    linked: set[Part] = set()
    for kernel in kernels:
        own = parts(kernel, core)
        assert own is not None, kernel
        linked |= own
    return sum(part.bytes for part in linked)


def predict(kernels: Iterable[Kernel], core: str) -> int | None:
    """As `total`, but None where the table does not know one of the kernels on this core."""
    kernels = tuple(kernels)
    if any(parts(kernel, core) is None for kernel in kernels):
        return None
    return total(kernels, core)
