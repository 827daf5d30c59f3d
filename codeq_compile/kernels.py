# SPDX-License-Identifier: Apache-2.0
"""The rows of `runtime_c/include/codeq/kernels.inc`, and which one serves a layer."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from codeq_compile.errors import InputError, NoKernel
from codeq_compile.ir.op import Op
from codeq_compile.ir.types import Packed
from codeq_compile.resources import runtime_dir
from codeq_compile.target import Target

_PLAIN = re.compile(r"CQ_KERNEL\(\s*(\w+),\s*(\w+),\s*(\w+)\)")
_WEIGHTED = re.compile(r"CQ_KERNEL_W\(\s*(\w+),\s*(\w+),\s*w([1-8]),\s*(\w+),\s*(\w+)\)")
_SHAPE = re.compile(r"_(?:\d+x\d+|stem|sparse)\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One C function.

    Parameters
    ----------
    family : str
        Op and specialisation: ``conv2d``, ``conv2d_1x1``, ``conv2d_sparse``.
    act : str
        Element type of the input: ``s8``.
    isa : str
        ``ref``, ``swar``, ``dsp`` or ``mve``.
    bits : int, optional
        Stored weight width; None for ops without weights.
    packing : str, optional
        Codec that it computes from; None for ops without weights.
    """

    family: str
    act: str
    isa: str
    bits: int | None = None
    packing: str | None = None

    @property
    def symbol(self) -> str:
        """The C function's name."""
        weights = "" if self.bits is None else f"_w{self.bits}_{self.packing}"
        return f"cq_{self.family}_{self.act}{weights}_{self.isa}"

    @property
    def op(self) -> str:
        """The family without its shape."""
        return _SHAPE.sub("", self.family)

    @property
    def source(self) -> str:
        """File that defines it, relative to `runtime_c`."""
        return f"src/{self.family}/{self.family}_{self.isa}.c"

    @property
    def header(self) -> str:
        """Header that declares it, as in ``#include <…>``."""
        return f"codeq/{self.op}.h"

    def __str__(self) -> str:
        return self.symbol


@cache
def rows() -> tuple[Kernel, ...]:
    """All kernels of this runtime, in the order of kernels.inc."""
    return parse(runtime_dir() / "include" / "codeq" / "kernels.inc")


def parse(path: Path) -> tuple[Kernel, ...]:
    """Kernels of one kernels.inc.

    Raises
    ------
    InputError
        The file is missing, or a row is not of the grammar at its top.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    kernels = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("CQ_KERNEL"):
            kernel = _row(line)
            if kernel is None:
                raise InputError(f"{path}:{number}: not a row of kernels.inc: {line}")
            kernels.append(kernel)
    return tuple(kernels)


def _row(line: str) -> Kernel | None:
    if match := _WEIGHTED.match(line):
        family, act, bits, packing, isa = match.groups()
        return Kernel(family=family, act=act, bits=int(bits), packing=packing, isa=isa)
    if match := _PLAIN.match(line):
        family, act, isa = match.groups()
        return Kernel(family=family, act=act, isa=isa)
    return None


def select(op: Op[Any], params: object, packed: Packed | None, target: Target) -> Kernel:
    """The kernel of a layer: best ISA of the target first, then the op's most special family.

    Raises
    ------
    NoKernel
        No row matches; the message names the two nearest ones and how they differ.
    """
    for kernel in serving(op, params, packed, target):
        return kernel
    raise NoKernel(_nearest(op.kind, _wanted(op, params, packed, target), target))


def serving(op: Op[Any], params: object, packed: Packed | None, target: Target) -> list[Kernel]:
    """Every kernel that could serve a layer, in the order in which `select` prefers them."""
    known = set(rows())
    return [kernel for kernel in _wanted(op, params, packed, target) if kernel in known]


def _wanted(op: Op[Any], params: object, packed: Packed | None, target: Target) -> list[Kernel]:
    families = op.families(params)
    return [
        Kernel(
            family=family,
            act=op.act(params),
            isa=isa,
            bits=packed.bits if packed else None,
            packing=packed.packing if packed else None,
        )
        for isa in target.isa
        for family in families
    ]


def _nearest(kind: str, wanted: list[Kernel], target: Target) -> str:
    # wanted[-1] is the most general row: any target could run it
    lacking = wanted[-1]
    candidates = [kernel for kernel in rows() if kernel.op == lacking.op] or list(rows())
    candidates.sort(key=lambda kernel: len(_differences(lacking, kernel)))
    lines = [
        f'no kernel for op "{kind}" on {target.name}: {lacking} is not in kernels.inc',
        *(f"  nearest: {k} ({', '.join(_differences(lacking, k))})" for k in candidates[:2]),
    ]
    return "\n".join(lines)


def _differences(wanted: Kernel, other: Kernel) -> list[str]:
    fields = ("family", "act", "bits", "packing", "isa")
    return [
        f"{field} {getattr(other, field)}, not {getattr(wanted, field)}"
        for field in fields
        if getattr(other, field) != getattr(wanted, field)
    ]
