# SPDX-License-Identifier: Apache-2.0
"""Kernel jobs as bytes for an emulated core, and back: the host's side of kernel_server.c."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cffi
import numpy as np

from codeq_compile.ir.op import CArray, CValue
from codeq_compile.kernels import Kernel
from tests.runtime.binding import declarations
from tests.runtime.matrix import Job

GUARD_BYTES = 32
"""Before and behind every buffer."""

SCRATCH_FILL = 0x5A
POINTER_BYTES = 4
ALIGNMENT = {"ref": 4, "swar": 4, "dsp": 4, "mve": 16}
"""Of scratch and of outputs wider than a byte: what a memory plan promises, and no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call of a kernel on one sample.

    Parameters
    ----------
    kernel : Kernel
    label : str
        For messages.
    image : bytes
        Everything that the call touches; pointers are positions in it.
    pointers : tuple of int
        Positions of the pointers.
    arguments : int
        Position of the array of arguments.
    expected : bytes
        The image after the call.
    scratch : slice
        Bytes that may become anything.
    """

    kernel: Kernel
    label: str
    image: bytes
    pointers: tuple[int, ...]
    arguments: int
    expected: bytes
    scratch: slice

    def encode(self, index: int) -> bytes:
        """As in jobs.bin; `index` is the kernel's number in the image."""
        head = (index, len(self.image), self.arguments, len(self.pointers), *self.pointers)
        return struct.pack(f"<{len(head)}I", *head) + self.image

    def difference(self, status: int, image: bytes) -> str | None:
        """What is wrong with a result; None if nothing is."""
        if status != 0:
            return f"{self.label}: status {status}"
        actual, expected = bytearray(image), bytearray(self.expected)
        actual[self.scratch] = expected[self.scratch] = b""
        if actual == expected:
            return None
        first = next(i for i, (a, b) in enumerate(zip(actual, expected, strict=True)) if a != b)
        return f"{self.label}: byte {first} is {actual[first]}, expected {expected[first]}"


class Image:
    """Memory of one call, filled from position 0 on."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.pointers: list[int] = []

    def place(self, data: bytes, alignment: int, *, offset: int = 0) -> int:
        """Position of a copy: a multiple of `alignment`, plus `offset`, between guards."""
        self._fill(GUARD_BYTES)
        self._fill(-(len(self.data) - offset) % alignment)
        position = len(self.data)
        self.data += data
        self._fill(GUARD_BYTES)
        return position

    def point(self, position: int, to: int) -> None:
        """Make the word at `position` a pointer."""
        struct.pack_into("<I", self.data, position, to)
        self.pointers.append(position)

    def place_pointers(self, targets: Sequence[int | None]) -> int:
        """Position of an array of pointers; None is NULL."""
        start = self.place(bytes(POINTER_BYTES * len(targets)), POINTER_BYTES)
        for i, to in enumerate(targets):
            if to is not None:
                self.point(start + POINTER_BYTES * i, to)
        return start

    def place_struct(self, c_type: Any, fields: Mapping[str, CValue]) -> int:
        """Position of a parameter structure, laid out as the AAPCS says."""
        size, alignment = _size_and_alignment(c_type)
        position = self.place(bytes(size), alignment)
        self._write(position, c_type, fields)
        return position

    def _write(self, position: int, c_type: Any, value: CValue) -> None:
        if value is None:
            return  # NULL: the bytes are zero
        if isinstance(value, CArray):
            data = np.ascontiguousarray(value.data, value.c_type.removesuffix("_t"))
            self.point(position, self.place(data.tobytes(), data.itemsize))
        elif c_type.kind == "struct":
            members = dict(c_type.fields)
            names = value if isinstance(value, Mapping) else members
            values = value.values() if isinstance(value, Mapping) else value
            offsets = _offsets(c_type)
            for name, member in zip(names, values, strict=True):
                self._write(position + offsets[name], members[name].type, member)
        elif c_type.kind == "array":
            size, _ = _size_and_alignment(c_type.item)
            for i, item in enumerate(value):
                self._write(position + i * size, c_type.item, item)
        else:
            size, _ = _size_and_alignment(c_type)
            signed = not c_type.cname.startswith("u")
            self.data[position : position + size] = int(value).to_bytes(
                size, "little", signed=signed
            )

    def _fill(self, count: int) -> None:
        start = len(self.data)
        self.data += bytes((0xA5 ^ i * 29) & 0xFF for i in range(start, start + count))


def requests(job: Job) -> list[Request]:
    """One request a sample; none with state: tests/e2e/test_state.py runs those on boards."""
    if job.state_bytes:
        return []
    image = Image()
    alignment = ALIGNMENT[job.kernel.isa]
    op, node = job.node.op, job.node
    fields = op.c_params(node.params, job.input_types, job.output_type, job.packed)
    params = image.place_struct(_types().typeof(f"struct cq_{op.kind}_params"), fields)
    # int8 data may start anywhere: the caller's buffers are
    inputs = [
        image.place(bytes(x[0].nbytes), alignment, offset=1 if x.itemsize == 1 else 0)
        for x in job.inputs
    ]
    kind = job.output_type
    output = image.place(
        bytes(kind.bytes), alignment, offset=1 if kind.dtype.numpy.itemsize == 1 else 0
    )
    # aligned as promised, and not by luck to more
    scratch = image.place(
        bytes([SCRATCH_FILL]) * job.scratch_bytes, 2 * alignment, offset=alignment
    )
    sources = [image.place_pointers(inputs)] if op.variadic else inputs
    arguments = image.place_pointers(
        [params, *sources, output, scratch if job.scratch_bytes else None]
    )
    return [
        Request(
            kernel=job.kernel,
            label=f"{job} sample {sample}",
            image=bytes(_filled(image, inputs, [x[sample] for x in job.inputs])),
            pointers=tuple(image.pointers),
            arguments=arguments,
            expected=bytes(
                _filled(
                    image,
                    [*inputs, output],
                    [
                        *(x[sample] for x in job.inputs),
                        job.expected[sample].astype(kind.dtype.numpy),
                    ],
                )
            ),
            scratch=slice(scratch, scratch + job.scratch_bytes),
        )
        for sample in range(len(job.expected))
    ]


def table_source(kernels: Sequence[Kernel]) -> str:
    """C of the table that kernel_server.c calls through."""
    headers = sorted({kernel.header for kernel in kernels})
    lines = ['#include "kernel_server.h"', *(f"#include <{header}>" for header in headers)]
    for i, kernel in enumerate(kernels):
        count = len(_types().typeof(f"cq_{kernel.op}_fn *").args)
        arguments = ", ".join(f"a[{j}]" for j in range(count))
        call = f"return {kernel.symbol}({arguments});"
        lines.append(f"static enum cq_status call_{i}(void *const *a) {{ {call} }}")
    calls = ", ".join(f"call_{i}" for i in range(len(kernels)))
    lines.append(f"kernel_call *const kernel_table[] = {{{calls}}};")
    lines.append(f"const uint32_t kernel_count = {len(kernels)};")
    return "\n".join(lines) + "\n"


def encode(batch: Sequence[Request], kernels: Sequence[Kernel]) -> bytes:
    """Contents of jobs.bin."""
    index = {kernel: i for i, kernel in enumerate(kernels)}
    bodies = (request.encode(index[request.kernel]) for request in batch)
    return struct.pack("<I", len(batch)) + b"".join(bodies)


def differences(batch: Sequence[Request], results: bytes) -> list[str]:
    """What results.bin shows to be wrong."""
    found = []
    position = 0
    for request in batch:
        (status,) = struct.unpack_from("<i", results, position)
        position += 4
        image = results[position : position + len(request.image)]
        position += len(image)
        if (difference := request.difference(status, image)) is not None:
            found.append(difference)
    assert len(results) == position
    return found


def _filled(image: Image, positions: Sequence[int], arrays: Sequence[Any]) -> bytearray:
    data = bytearray(image.data)
    for position, array in zip(positions, arrays, strict=True):
        content = array.tobytes()
        data[position : position + len(content)] = content
    return data


@cache
def _types() -> cffi.FFI:
    ffi = cffi.FFI()
    ffi.cdef(declarations())
    return ffi


def _size_and_alignment(c_type: Any) -> tuple[int, int]:
    if c_type.kind == "pointer":
        return POINTER_BYTES, POINTER_BYTES
    if c_type.kind == "struct":
        last_name, last = c_type.fields[-1]
        alignment = max(_size_and_alignment(field.type)[1] for _, field in c_type.fields)
        end = _offsets(c_type)[last_name] + _size_and_alignment(last.type)[0]
        return end + -end % alignment, alignment
    if c_type.kind == "array":
        size, alignment = _size_and_alignment(c_type.item)
        return c_type.length * size, alignment
    size = _types().sizeof(c_type)
    return size, size


@cache
def _offsets(c_type: Any) -> dict[str, int]:
    offsets = {}
    position = 0
    for name, field in c_type.fields:
        size, alignment = _size_and_alignment(field.type)
        position += -position % alignment
        offsets[name] = position
        position += size
    return offsets
