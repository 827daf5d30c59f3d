# SPDX-License-Identifier: Apache-2.0
"""Compiles an emitted library for this machine and calls it, through cffi or as a process."""

import functools
import hashlib
import os
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codeq_compile import manifest
from codeq_compile.arrays import Bytes2D
from codeq_compile.build import harness, tools
from codeq_compile.build.run import RunResult, parse_trace, read_results
from codeq_compile.build.tools import Tool
from codeq_compile.errors import InputError, ToolError
from codeq_compile.manifest import Manifest
from codeq_compile.resources import targets_dir

STRICT_FLAGS = (
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wconversion",
    "-Wsign-conversion",
    "-Wshadow",
    "-Wundef",
    "-Wstrict-prototypes",
    "-Wcast-qual",
    "-Wmissing-prototypes",
    "-Werror",
)
"""What all C of codeq compiles with."""

COMPILE_FLAGS = ("-std=c99", "-O2", "-fPIC", "-DCODEQ_TRACE")
SANITIZE_FLAGS = ("-g", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all")
COMPILE_TIMEOUT_S = 600
RUN_TIMEOUT_S = 600.0
RECORD_BYTES = 12
"""Header of one call in a trace."""

MEANING = {
    harness.GUARD_STATUS: "it wrote beside its arena",
    -101: "it wrote behind its outputs",
    -102: "it changed its inputs",
    -1: "an argument was NULL or misaligned",
}
"""Statuses of a run on the host; harness/host.h and codeq/status.h."""

_C_API = """
int32_t codeq_host_run(uint32_t samples, const uint8_t *inputs, uint8_t *outputs,
                       int32_t *statuses, uint32_t traced, uint8_t *trace, uint64_t trace_bytes);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLibrary:
    """An emitted library, compiled for this machine.

    Parameters
    ----------
    manifest : Manifest
    path : Path
        Shared library, or a program.
    is_program : bool
        It runs as a process of its own: a crash becomes a ToolError.
    folder : TemporaryDirectory
        Where `path` lies; removed together with this object.
    """

    manifest: Manifest
    path: Path
    is_program: bool
    folder: "tempfile.TemporaryDirectory[str]"

    def run(self, inputs: Bytes2D, traced: int = 0) -> RunResult:
        """Run the model on samples.

        Parameters
        ----------
        inputs : uint8 array of shape (samples, input bytes)
            All inputs of a sample one after the other.
        traced : int
            Number of samples, from the first, whose layers are recorded.

        Raises
        ------
        InputError
            If `inputs` has another number of bytes than the model takes.
        ToolError
            If the program crashed, or the trace is not that of the manifest.
        """
        expected = self.manifest.input_bytes
        if inputs.ndim != 2 or inputs.shape[1] != expected or inputs.dtype != np.uint8:
            raise InputError(
                f"{self.manifest.name} takes samples of {expected} bytes, "
                f"not {inputs.dtype} of shape {inputs.shape}"
            )
        traced = min(traced, len(inputs))
        each = self.manifest.trace_bytes + RECORD_BYTES * len(self.manifest.order)
        if self.is_program:
            return self._run_program(inputs, traced, traced * each)
        return self._call(np.ascontiguousarray(inputs), traced, traced * each)

    def _call(self, inputs: Bytes2D, traced: int, trace_bytes: int) -> RunResult:
        outputs = np.zeros((len(inputs), self.manifest.output_bytes), np.uint8)
        statuses = np.zeros(len(inputs), np.int32)
        trace = np.zeros(trace_bytes, np.uint8)
        ffi = _ffi()
        library = ffi.dlopen(str(self.path))
        try:
            failed = library.codeq_host_run(
                len(inputs),
                ffi.from_buffer("uint8_t[]", inputs),
                ffi.from_buffer("uint8_t[]", outputs),
                ffi.from_buffer("int32_t[]", statuses),
                traced,
                ffi.from_buffer("uint8_t[]", trace),
                trace_bytes,
            )
        finally:
            ffi.dlclose(library)
        if failed:
            raise ToolError(
                f"{self.manifest.name} does not trace the layers of its manifest: compile it again"
            )
        return RunResult(
            outputs=outputs,
            statuses=statuses,
            trace=parse_trace(trace.tobytes()),
            stack_bytes=0,
        )

    def _run_program(self, inputs: Bytes2D, traced: int, trace_bytes: int) -> RunResult:
        with tempfile.TemporaryDirectory(prefix="codeq-") as name:
            folder = Path(name)
            header = struct.pack("<4sII", b"CQIN", len(inputs), traced)
            (folder / "in.bin").write_bytes(header + inputs.tobytes())
            command = [str(self.path), str(trace_bytes)]
            printed = _process(
                command, f"{self.manifest.name} failed on the host", folder, RUN_TIMEOUT_S
            )
            return read_results(
                folder,
                samples=len(inputs),
                output_bytes=self.manifest.output_bytes,
                who="the host",
                printed=printed,
            )


def build(
    directory: Path,
    *,
    compiler: Tool | None = None,
    isolate: bool = False,
    sanitize: bool = False,
    flags: Sequence[str] = (),
) -> HostLibrary:
    """Compile an emitted library for this machine.

    Parameters
    ----------
    directory : Path
        What `emit` wrote.
    compiler : Tool, optional
        Default: `tools.host_cc()`.
    isolate : bool
        Build a program instead of a library: for C that someone has edited.
    sanitize : bool
        A program with AddressSanitizer (not with zig) and UndefinedBehaviorSanitizer.
    flags : sequence of str
        More compiler flags, e.g. `STRICT_FLAGS`.

    Raises
    ------
    InputError
        `directory` is not an emitted library.
    ToolError
        If there is no compiler or it fails.
    """
    library = manifest.read(directory)
    compiler = compiler or tools.host_cc()
    folder: tempfile.TemporaryDirectory[str] = tempfile.TemporaryDirectory(prefix="codeq-")
    root = Path(folder.name)
    binding = root / f"{library.name}_harness.c"
    binding.write_text(harness.source(library), encoding="ascii")
    sanitizers = _sanitizers(compiler) if sanitize else ()
    is_program = isolate or sanitize
    options = [
        *COMPILE_FLAGS,
        *sanitizers,
        *flags,
        *(f"-I{(directory / path).resolve()}" for path in library.include),
        f"-I{targets_dir() / 'common'}",
        f"-I{harness.FOLDER}",
    ]
    sources = [
        binding,
        harness.FOLDER / "host.c",
        *([harness.FOLDER / "host_main.c"] if is_program else []),
        *(directory / path for path in library.sources),
    ]
    cache = Path(_cache().name)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(
            pool.map(lambda path: _object(path, compiler, options, directory, cache), sources)
        )
    path = root / ("model" if is_program else "model.so")
    link = [*sanitizers, *(() if is_program else ("-shared",))]
    command = [*compiler.command, *link, *map(str, objects), "-o", str(path)]
    _process(command, f"{library.name} does not link", root, COMPILE_TIMEOUT_S)
    return HostLibrary(manifest=library, path=path, is_program=is_program, folder=folder)


def _sanitizers(compiler: Tool) -> tuple[str, ...]:
    # zig ships no AddressSanitizer
    kinds = "undefined" if tools.is_zig(compiler) else "address,undefined"
    return (f"-fsanitize={kinds}", *SANITIZE_FLAGS, "-DCODEQ_GUARD_BYTES=0u")


def _object(
    source: Path, compiler: Tool, options: Sequence[str], directory: Path, cache: Path
) -> Path:
    """Compile one file; a kernel that another library of this process used is there already."""
    runtime = directory / "runtime"
    headers = sorted((runtime if runtime in source.parents else directory).rglob("*.h"))
    # -I names the library's own folder, for whose content the headers stand
    plain = [option for option in options if not option.startswith("-I")]
    key = " ".join([*compiler.command, compiler.version, *plain, _digest([source, *headers])])
    path = cache / f"{hashlib.sha256(key.encode()).hexdigest()}.o"
    if not path.exists():
        part = cache / f"{os.urandom(8).hex()}.o"
        command = [*compiler.command, *options, "-c", str(source.resolve()), "-o", str(part)]
        _process(command, f"{source.name} does not compile", cache, COMPILE_TIMEOUT_S)
        part.replace(path)
    return path


@functools.cache
def _cache() -> "tempfile.TemporaryDirectory[str]":
    """Object files of this process."""
    return tempfile.TemporaryDirectory(prefix="codeq-objects-")


def _digest(paths: Sequence[Path]) -> str:
    sha = hashlib.sha256()
    for path in paths:
        sha.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return sha.hexdigest()


@functools.cache
def _ffi() -> Any:
    try:
        import cffi
    except ModuleNotFoundError as exc:
        raise ToolError("checks on the host need cffi: pip install 'codeq-mcu[host]'") from exc
    ffi = cffi.FFI()
    ffi.cdef(_C_API)
    return ffi


def _process(command: Sequence[str], failure: str, cwd: Path, timeout_s: float) -> str:
    """What a command printed."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise ToolError(f"{failure}: {exc}", command=command) from exc
    printed = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        raise ToolError(failure, command=command, status=done.returncode, output=printed)
    return printed
