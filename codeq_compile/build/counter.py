# SPDX-License-Identifier: Apache-2.0
"""Counts a model's executed instructions on an emulated board, with a QEMU plugin of our own."""

import contextlib
import functools
import re
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from codeq_compile.arrays import Bytes2D
from codeq_compile.build import firmware, tools
from codeq_compile.build import run as boards
from codeq_compile.build.firmware import Firmware
from codeq_compile.build.run import RunResult
from codeq_compile.build.tools import Tool
from codeq_compile.errors import InputError, ToolError
from codeq_compile.resources import targets_dir

PLUGIN_FLAGS = ("-std=c99", "-O2", "-fPIC", "-shared")

FIRST_QEMU_OF_VERSION_2 = 9
"""From this major version on QEMU refuses plugins that state version 1; the rest is the same."""


SECTIONS = (".text", ".fast")
"""Where targets/common/sections.ld puts the library's code; inner loops may be in the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Machine code of a library in an image.

    Parameters
    ----------
    sections : dict of int to bytes
        Their contents, by the address of the first byte.
    functions : dict of str to tuple of int (start, end)
        By symbol; addresses without the Thumb bit.
    """

    sections: dict[int, bytes] = field(repr=False)
    functions: dict[str, tuple[int, int]] = field(repr=False)

    def at(self, address: int) -> tuple[bytes, int]:
        """The section that holds an address, and the position of that in it."""
        start = max(start for start in self.sections if start <= address)
        return self.sections[start], address - start


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Instructions without a jump into or out of their middle.

    Parameters
    ----------
    start : int
        Address.
    instructions : int
    times : int
        How often all of them were executed.
    taken : int
        How often control went elsewhere than behind the last.
    """

    start: int
    instructions: int
    times: int
    taken: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What was executed between two changes from entry point to kernel or back.

    Parameters
    ----------
    function : int
        Address of the entry point, or of the kernel that it called.
    unaligned : int
        Loads and stores at an address that is no multiple of their size.
    blocks : tuple of Block
        That were executed at least once.
    """

    function: int
    unaligned: int
    blocks: tuple[Block, ...] = field(repr=False)

    @property
    def instructions(self) -> int:
        """All that were executed, those whose condition failed included."""
        return sum(block.instructions * block.times for block in self.blocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Of all samples.

    Parameters
    ----------
    code : Code
    runs : tuple of tuple of Stretch
        Of each sample, in order of execution.
    result : RunResult
        What the firmware gave.
    """

    code: Code
    runs: tuple[tuple[Stretch, ...], ...] = field(repr=False)
    result: RunResult = field(repr=False)


def count(
    image: Firmware,
    inputs: Bytes2D,
    *,
    entry: str,
    kernels: Sequence[str],
    timeout_s: float = boards.TIMEOUT_S,
) -> Counts:
    """Run firmware on samples and count.

    Parameters
    ----------
    image : Firmware
        Built without traces: what is counted is what ships.
    inputs : uint8 array of shape (samples, input bytes)
    entry : str
        Symbol whose calls are counted.
    kernels : sequence of str
        Symbols that `entry` calls and that are counted apart from it.
    timeout_s : float

    Raises
    ------
    InputError
        The target is no emulated board.
    ToolError
        There is no QEMU that takes plugins, no compiler for the plugin, or the run failed; or the
        image has no such function.
    """
    if image.target.run is None or image.target.run.runner != "qemu":
        raise InputError(f"{image.target.name} is no emulated board: instructions are not counted")
    emulator = tools.qemu()
    code = read_code(image.elf)
    missing = [name for name in (entry, *kernels) if name not in code.functions]
    if missing:
        raise ToolError(f"the image for {image.target.name} has no function {missing[0]}")
    with tempfile.TemporaryDirectory(prefix="codeq-") as name:
        out = Path(name) / "counts.txt"
        plugin = _plugin(emulator, tools.host_cc())
        start, end = code.functions[entry]
        options = (
            *(f"text={at:x}:{at + len(data):x}" for at, data in code.sections.items()),
            f"run={start:x}:{end:x}",
            # identical functions may share an address
            *sorted({f"kernel={code.functions[kernel][0]:x}" for kernel in kernels}),
            f"out={out}",
        )
        arguments = ("-plugin", ",".join([str(plugin.file), *options]))
        try:
            result = boards.run(
                image, inputs, emulator=emulator, arguments=arguments, timeout_s=timeout_s
            )
        except ToolError as error:
            raise _explained(error, emulator) from error
        runs = parse(out.read_text(encoding="ascii"))
    if len(runs) != len(inputs):
        raise ToolError(f"{entry} was called {len(runs)} times for {len(inputs)} samples")
    return Counts(code=code, runs=runs, result=result)


def read_code(elf: Path) -> Code:
    """The library's code in an image.

    Raises
    ------
    InputError
        The file is no ELF file.
    """
    with elf.open("rb") as file:
        image = firmware.open_elf(file, elf)
        sections = {image.get_section_index(s.name): s for s in image.iter_sections()}
        sections = {i: s for i, s in sections.items() if s.name in SECTIONS and s.data_size}
        functions = {
            symbol.name: _span(symbol["st_value"], symbol["st_size"])
            for symbol in firmware.symbols(image)
            if symbol["st_shndx"] in sections and symbol["st_info"]["type"] == "STT_FUNC"
        }
        contents = {section["sh_addr"]: section.data() for section in sections.values()}
        return Code(sections=contents, functions=functions)


def _span(value: int, size: int) -> tuple[int, int]:
    """Start and end of a function: bit 0 of a symbol says Thumb."""
    return value & ~1, (value & ~1) + size


def parse(text: str) -> tuple[tuple[Stretch, ...], ...]:
    """Stretches of each run, from the file that the plugin writes."""
    runs: list[list[Stretch]] = []
    for line in text.split("run\n")[1:]:
        runs.append([_stretch(part) for part in line.split("stretch ")[1:]])
    return tuple(map(tuple, runs))


def _stretch(text: str) -> Stretch:
    head, *lines = text.splitlines()
    function, unaligned = head.split()
    times: Counter[tuple[int, int]] = Counter()
    taken: Counter[tuple[int, int]] = Counter()
    for line in lines:
        start, *numbers = line.split()
        instructions, executed, left = map(int, numbers)
        # QEMU may translate a block twice
        times[int(start, 16), instructions] += executed
        taken[int(start, 16), instructions] += left
    return Stretch(
        function=int(function, 16),
        unaligned=int(unaligned),
        blocks=tuple(
            Block(start=key[0], instructions=key[1], times=count, taken=taken[key])
            for key, count in sorted(times.items())
        ),
    )


def _explained(error: ToolError, emulator: Tool) -> ToolError:
    """The same error, or what a QEMU that takes no plugins says in its own words."""
    if "plugin" not in error.output.lower():
        return error
    return ToolError(
        f"qemu-system-arm {emulator.version} ({emulator.source}) cannot load the counter: "
        "it must be built with TCG plugins, as those of Debian, Ubuntu and Fedora are; "
        "CODEQ_QEMU names another one",
        command=error.command,
        status=error.status,
        output=error.output,
    )


def plugin_version(emulator: Tool) -> int:
    """Version of the plugin interface that a plugin must state for this QEMU to load it."""
    major = re.match(r"\d+", emulator.version)
    return 2 if major and int(major[0]) >= FIRST_QEMU_OF_VERSION_2 else 1


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class _Plugin:
    """The compiled counter; removed together with this object."""

    file: Path


@functools.cache
def _plugin(emulator: Tool, compiler: Tool) -> _Plugin:
    """Compiled once a process: that takes a tenth of a second with gcc."""
    with contextlib.ExitStack() as cleanup:
        root = Path(tempfile.mkdtemp(prefix="codeq-"))
        cleanup.callback(shutil.rmtree, root, ignore_errors=True)
        file = root / "counter.so"
        source = targets_dir() / "counter" / "counter.c"
        define = f"-DQEMU_PLUGIN_VERSION={plugin_version(emulator)}"
        command = [*compiler.command, *PLUGIN_FLAGS, define, str(source), "-o", str(file)]
        firmware.call(command, "the counter, a plugin of QEMU, does not compile", root)
        plugin = _Plugin(file=file)
        weakref.finalize(plugin, cleanup.pop_all().close)
        return plugin
