# SPDX-License-Identifier: Apache-2.0
"""The runtime as a host library: built from source, called through cffi, between guard bytes."""

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cffi
import numpy as np

from codeq_compile.build.host import STRICT_FLAGS
from codeq_compile.build.tools import host_cc
from codeq_compile.emit.runtime import needed
from codeq_compile.ir.op import Array, CArray, CValue
from codeq_compile.kernels import rows
from codeq_compile.resources import runtime_dir
from tests.runtime.matrix import Job

RUNTIME = runtime_dir()
STRICT = ("-std=c99", *STRICT_FLAGS)
GUARD = 64
"""Bytes before and behind every buffer."""


def sources() -> list[Path]:
    """Every C file of the runtime: those that kernels.inc names, and those that they share."""
    return [RUNTIME / path for path in needed(rows()) if path.endswith(".c")]


def compile_c(
    output: Path,
    files: Sequence[Path],
    flags: Sequence[str] = (),
    compiler: Sequence[str] = (),
) -> Path:
    """Run a C compiler, `host_cc` by default, with the project's warnings; fail with its output."""
    command = [
        *(compiler or host_cc().command),
        *STRICT,
        f"-I{RUNTIME / 'include'}",
        *flags,
        *map(str, files),
        "-o",
        str(output),
    ]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, " ".join(command) + "\n" + done.stdout + done.stderr
    return output


def shared_library(directory: Path, extra: Sequence[Path] = (), flags: Sequence[str] = ()) -> Path:
    """The runtime as a shared library, with all assertions of the kernels switched on."""
    asserting = ["-include", "assert.h", "-DCQ_ASSERT(condition)=assert(condition)"]
    return compile_c(
        directory / "libcodeq.so",
        [*sources(), *extra],
        ["-O2", "-g", "-shared", "-fPIC", *asserting, *flags],
    )


def declarations() -> str:
    """Structures and prototypes of all ops, in the form that cffi reads."""
    include = RUNTIME / "include" / "codeq"
    ops = sorted({kernel.header.removeprefix("codeq/") for kernel in rows()})
    text = "\n".join((include / name).read_text() for name in ("status.h", "types.h", *ops))
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = re.sub(r"^#(.*\\\n)*.*$", "", text, flags=re.MULTILINE)
    prototypes = (f"cq_{kernel.family}_fn {kernel.symbol};" for kernel in rows())
    return text + "\n".join(prototypes)


class Buffers:
    """Blocks of the C heap, each between guard bytes, released together.

    With `guard` 0 a block is exactly as large as its data, so that AddressSanitizer sees every byte
    that is read or written outside.
    """

    def __init__(self, ffi: cffi.FFI, libc: Any, guard: int) -> None:
        self._ffi, self._libc, self._guard = ffi, libc, guard
        self._blocks: list[tuple[Any, int, int]] = []

    def place(self, data: bytes, *, misaligned: bool = False) -> Any:
        """A copy of `data`, 16-byte aligned, or at an odd address."""
        before = self._guard + misaligned
        size = before + len(data) + self._guard
        block = self._libc.malloc(max(size, 1))
        self._ffi.memmove(block, self._pattern(before) + data + self._pattern(self._guard), size)
        self._blocks.append((block, before, len(data)))
        return self._ffi.cast("char *", block) + before

    def assert_intact(self) -> None:
        """No byte outside the blocks has changed."""
        for block, before, size in self._blocks:
            view = self._ffi.buffer(block, before + size + self._guard)
            assert self._pattern(before) == view[:before], "written in front of a buffer"
            assert self._pattern(self._guard) == view[before + size :], "written behind a buffer"

    def _pattern(self, size: int) -> bytes:
        return bytes((0xA5 ^ i * 29) & 0xFF for i in range(size))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for block, _, _ in self._blocks:
            self._libc.free(block)


class Runtime:
    """Calls kernels of a built library on jobs."""

    def __init__(self, library: Path, guard: int = GUARD) -> None:
        self.ffi = cffi.FFI()
        self.ffi.cdef(declarations() + "void *malloc(size_t size); void free(void *block);")
        self._kernels = self.ffi.dlopen(str(library))
        self._libc = self.ffi.dlopen(None)
        self._guard = guard

    def run(
        self,
        job: Job,
        sample: int,
        *,
        in_place: int | None = None,
        scratch_fill: int = 0x5A,
        misaligned: bool = True,
    ) -> Array:
        """Output of one sample.

        int8 buffers start at odd addresses unless `misaligned` is False, scratch holds
        `scratch_fill`, and no byte around a buffer may change. With `in_place` the output replaces
        that input.
        """
        with Buffers(self.ffi, self._libc, self._guard) as buffers:
            inputs = self._inputs(buffers, job, sample, misaligned)
            kind = job.output_type
            if in_place is None:
                is_bytes = kind.dtype.numpy.itemsize == 1
                output = buffers.place(bytes(kind.bytes), misaligned=is_bytes and misaligned)
            else:
                output = inputs[in_place]
            scratch = self.ffi.NULL
            if job.scratch_bytes:
                scratch = buffers.place(bytes([scratch_fill]) * job.scratch_bytes)
            state = []
            if job.state_bytes:
                state = [buffers.place(bytes([job.state_fill]) * job.state_bytes)]
                for earlier in range(sample):
                    before = self._inputs(buffers, job, earlier, misaligned)
                    self._call(job, buffers, [*before, *state], output, scratch)
            self._call(job, buffers, [*inputs, *state], output, scratch)
            buffers.assert_intact()
            data = self.ffi.buffer(output, kind.bytes)[:]
        return np.frombuffer(data, kind.dtype.numpy).reshape(kind.shape)

    @staticmethod
    def _inputs(buffers: Buffers, job: Job, sample: int, misaligned: bool) -> list[Any]:
        return [
            buffers.place(x[sample].tobytes(), misaligned=misaligned and x.itemsize == 1)
            for x in job.inputs
        ]

    def _call(
        self, job: Job, buffers: Buffers, inputs: Sequence[Any], output: Any, scratch: Any
    ) -> None:
        op, node = job.node.op, job.node
        fields = op.c_params(node.params, job.input_types, job.output_type, job.packed)
        params = self.ffi.new(f"struct cq_{op.kind}_params *", self._struct(fields, buffers))
        arguments = [self.ffi.cast("int8_t *", x) for x in inputs]
        if op.variadic:
            arguments = [self.ffi.new("int8_t *[]", arguments)]
        result = self.ffi.cast(f"{job.output_type.dtype.c_type} *", output)
        status = getattr(self._kernels, job.kernel.symbol)(params, *arguments, result, scratch)
        assert status == 0, f"{job} returned {status}"

    def _struct(self, fields: Mapping[str, CValue], buffers: Buffers) -> dict[str, Any]:
        return {name: self._value(value, buffers) for name, value in fields.items()}

    def _value(self, value: CValue, buffers: Buffers) -> Any:
        if value is None:
            return self.ffi.NULL
        if isinstance(value, CArray):
            data = np.ascontiguousarray(value.data, value.c_type.removesuffix("_t"))
            return self.ffi.cast(f"{value.c_type} *", buffers.place(data.tobytes()))
        if isinstance(value, Mapping):
            return self._struct(value, buffers)
        return value
