# SPDX-License-Identifier: Apache-2.0
"""Cross-builds an emitted library into an image for a board; reads its sizes from the ELF file."""

import contextlib
import os
import re
import shutil
import struct
import subprocess
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Symbol, SymbolTableSection

from codeq_compile import manifest as manifests
from codeq_compile import place
from codeq_compile.build import harness, tools
from codeq_compile.build.tools import Tool
from codeq_compile.errors import DoesNotFit, InputError, ToolError
from codeq_compile.resources import targets_dir
from codeq_compile.target import Target

App = Literal["check", "footprint", "profile", "cycles", "layer_cycles"]

# -O3 makes the code of a small convolutional net 13 % larger (gcc 12, mps2_an386).
OPTIMIZATION = "-O2"
COMPILE_FLAGS = ("-std=c99", OPTIMIZATION, "-ffunction-sections", "-fdata-sections")

# Freestanding finds gcc's own stdint.h, so that no C library is needed; builtins stay on, since
# without them every four-byte memcpy of a kernel becomes a call.
GCC_FLAGS = ("-ffreestanding", "-fbuiltin")

# zig's freestanding target would switch builtins off, and its debug checks on; and it would keep a
# frame pointer, which is one register less for the loops (linear on a Cortex-M4: 15 % slower).
ZIG_FLAGS = (
    "-g0",
    "-fhosted",
    "-fomit-frame-pointer",
    "-fno-sanitize=undefined",
    "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables",
)

BOARD_SOURCES = ("startup.c", "fault.c", "guard.c", "stack.c", "semihost.c")
APP_SOURCE: dict[App, str] = {
    "check": "main.c",
    "footprint": "footprint.c",
    "profile": "main.c",
    "cycles": "main.c",
    "layer_cycles": "main.c",
}
APP_DEFINES: dict[App, tuple[str, ...]] = {
    "check": ("CODEQ_TRACE",),
    "cycles": ("CODEQ_CYCLES",),
    "layer_cycles": ("CODEQ_CYCLES", "CODEQ_TRACE"),
}
CYCLE_COUNTER = "cycles.c"

COMPILE_TIMEOUT_S = 600
"""zig builds its runtime library the first time it meets a core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What a linked image holds, in bytes.

    Parameters
    ----------
    flash_bytes : int
        The image without vector table and start-up: weights, tables, code, constants.
    weights_bytes : int
        Packed weights.
    tables_bytes : int
        Biases, multipliers, functions as tables; with their alignment.
    code_bytes : int
        Machine code, that of the compiler's own library included.
    kernels_bytes : int
        Of these, the functions of runtime_c, which all begin with ``cq_``.
    constants_bytes : int
        Layer parameters and other read-only data.
    ram_bytes : int
        Arena with scratch, state, input and output.
    board_flash_bytes, board_ram_bytes : int
        Vectors, start-up and test program; their RAM without the stack.
    """

    flash_bytes: int
    weights_bytes: int
    tables_bytes: int
    code_bytes: int
    kernels_bytes: int
    constants_bytes: int
    ram_bytes: int
    board_flash_bytes: int
    board_ram_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Firmware:
    """An image that `run` can start.

    Parameters
    ----------
    elf : Path
        Removed together with this object.
    target : Target
    sizes : Sizes
    input_bytes, output_bytes : int
        Of one sample, all inputs or outputs together; 0 where the image holds no model.
    """

    elf: Path
    target: Target
    sizes: Sizes
    input_bytes: int
    output_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """C sources of an image besides start-up, by what their bytes count as.

    Parameters
    ----------
    app : Path
        File with `main`.
    binding : tuple of Path
        Between app and library; only its RAM counts.
    weights : tuple of Path
        Weights and tables.
    library : tuple of Path
        Everything else that a user of the library links.
    includes : tuple of Path
        Folders of headers.
    defines : tuple of str
        Preprocessor macros.
    placement : Placement
        Memories of weights, arena and inner loops.
    """

    app: Path
    binding: tuple[Path, ...] = ()
    weights: tuple[Path, ...] = ()
    library: tuple[Path, ...] = ()
    includes: tuple[Path, ...] = ()
    defines: tuple[str, ...] = ()
    placement: place.Placement = field(default_factory=dict)


def build(
    directory: Path, target: Target, *, compiler: Tool | None = None, app: App = "check"
) -> Firmware:
    """Build an emitted library for a board.

    Parameters
    ----------
    directory : Path
        What `emit` wrote.
    target : Target
    compiler : Tool, optional
        Default: `tools.arm_cc()`.
    app : {"check", "footprint", "profile", "cycles", "layer_cycles"}
        ``check`` runs samples from a file and traces layers; ``footprint`` calls the model once, to
        be measured; ``profile`` runs samples with the library's code as it ships; ``cycles`` also
        reads the core's counter before and after each call, and ``layer_cycles`` after each layer.

    Raises
    ------
    InputError
        If `directory` is no emitted library, or the target is the host.
    DoesNotFit
        If the image is larger than the board's memories.
    ToolError
        If there is no compiler or it fails.
    """
    manifest = manifests.read(directory)
    common = targets_dir() / "common"
    with tempfile.TemporaryDirectory(prefix="codeq-") as generated:
        binding = Path(generated) / f"{manifest.name}_harness.c"
        binding.write_text(harness.source(manifest))
        sources = [directory / source for source in manifest.sources]
        weights = directory / f"{manifest.name}_weights.c"
        defines = APP_DEFINES.get(app, ())
        counter = (common / CYCLE_COUNTER,) if "CODEQ_CYCLES" in defines else ()
        program = Program(
            app=common / APP_SOURCE[app],
            binding=(binding, *counter),
            weights=tuple(path for path in sources if path == weights),
            library=tuple(path for path in sources if path != weights),
            includes=tuple(directory / folder for folder in manifest.include),
            defines=(
                *defines,
                *(f"{name}={value}" for name, value in place.macros(manifest.placement).items()),
            ),
            placement=manifest.placement,
        )
        return link(program, target, compiler=compiler)


def link(program: Program, target: Target, *, compiler: Tool | None = None) -> Firmware:
    """Compile and link a program with the board's start-up.

    Raises
    ------
    InputError
        If the target has no memory map, as the host has none.
    DoesNotFit
        If the image is larger than the board's memories.
    ToolError
        If there is no compiler or it fails.
    """
    if target.is_host:
        raise InputError(f"target {target.name} has no memory map: it cannot run firmware")
    place.check(program.placement, target)
    compiler = compiler or tools.arm_cc()
    with contextlib.ExitStack() as cleanup:
        root = Path(tempfile.mkdtemp(prefix="codeq-"))
        cleanup.callback(shutil.rmtree, root, ignore_errors=True)
        objects = _compile(program, target, compiler, root)
        (root / "board.ld").write_text(_linker_script(target, program.placement))
        _link(objects, target, compiler, root)
        elf = root / "firmware.elf"
        input_bytes, output_bytes, _ = _harness_bytes(elf)
        firmware = Firmware(
            elf=elf,
            target=target,
            sizes=sizes(elf),
            input_bytes=input_bytes,
            output_bytes=output_bytes,
        )
        weakref.finalize(firmware, cleanup.pop_all().close)
    return firmware


def sizes(elf: Path) -> Sizes:
    """Sizes of a linked image, read from its sections and symbols.

    Raises
    ------
    InputError
        If the file is no ELF file.
    """
    with elf.open("rb") as file:
        image = open_elf(file, elf)
        section = {s.name: s["sh_size"] for s in image.iter_sections()}
        weights_index = image.get_section_index(".weights")
        weights_bytes = sum(
            symbol["st_size"]
            for symbol in symbols(image)
            if symbol["st_shndx"] == weights_index and symbol.name.endswith("_weights")
        )
        code_indices = {image.get_section_index(".text"), image.get_section_index(".fast")}
        kernels_bytes = sum(
            symbol["st_size"]
            for symbol in symbols(image)
            if symbol["st_shndx"] in code_indices and symbol.name.startswith("cq_")
        )
    _, _, caller_bytes = _harness_bytes(elf)
    code = section.get(".text", 0) + section.get(".fast", 0)
    constants = section.get(".rodata", 0) + section.get(".data", 0)
    weights_and_tables = section.get(".weights", 0)
    variables = sum(section.get(name, 0) for name in (".data", ".bss", ".arena"))
    return Sizes(
        flash_bytes=weights_and_tables + code + constants,
        weights_bytes=weights_bytes,
        tables_bytes=weights_and_tables - weights_bytes,
        code_bytes=code,
        kernels_bytes=kernels_bytes,
        constants_bytes=constants,
        ram_bytes=variables + caller_bytes,
        board_flash_bytes=section.get(".vectors", 0) + section.get(".board", 0),
        board_ram_bytes=section.get(".board_bss", 0),
    )


def misfits(sizes: Sizes, target: Target, *, stack_bytes: int | None = None) -> tuple[str, ...]:
    """What does not fit into the real part; empty if everything does.

    Parameters
    ----------
    sizes : Sizes
    target : Target
        Where the emulated board is larger than the real one, the real one counts.
    stack_bytes : int, optional
        Measured by a run; default: the stack that the target reserves.
    """
    memory = target.memory
    if memory is None:
        return ()
    stack = memory.stack_bytes if stack_bytes is None else stack_bytes
    parts = (
        (
            "flash",
            sizes.flash_bytes + sizes.board_flash_bytes,
            memory.part_flash_bytes,
        ),
        (
            "RAM",
            sizes.ram_bytes + sizes.board_ram_bytes + stack,
            memory.part_ram_bytes,
        ),
    )
    return tuple(
        f"{name}: {needed} bytes needed, {available} there"
        for name, needed, available in parts
        if needed > available
    )


def core_flags(target: Target, compiler: Tool) -> list[str]:
    options = target.build
    if not tools.is_zig(compiler):
        return [*options.gcc_flags, *GCC_FLAGS]
    if options.zig_target is None or options.zig_cpu is None:
        raise ToolError(
            f"target {target.name} names no zig_target and zig_cpu: install arm-none-eabi-gcc"
        )
    core = ("-target", options.zig_target, f"-mcpu={options.zig_cpu}")
    return [*core, *options.zig_flags, *ZIG_FLAGS]


def _linker_script(target: Target, placement: place.Placement) -> str:
    memory = target.memory
    assert memory is not None
    chosen = {**place.DEFAULTS, **placement}
    memories = memory.used(chosen.values())
    return "\n".join(
        [
            "MEMORY",
            "{",
            *(
                f"    {name.upper()} : ORIGIN = {each.origin:#x}, LENGTH = {each.bytes:#x}"
                for name, each in memories.items()
            ),
            "}",
            *(f'REGION_ALIAS("{part.upper()}", {name.upper()})' for part, name in chosen.items()),
            f"codeq_stack_bytes = {memory.stack_bytes};",
            (targets_dir() / "common" / "sections.ld").read_text(),
            "SECTIONS",
            "{",
            "    .regions : /* struct codeq_region of memory_map.h */",
            "    {",
            "        codeq_regions_start = .;",
            *(
                f"        LONG({each.origin:#x}) LONG({each.end:#x}) "
                f"LONG({int(each.access == 'rw')})"
                for name, each in memories.items()
                if name in memory.regions
            ),
            "        codeq_regions_end = .;",
            "    } > FLASH",
            "}",
        ]
    )


def _compile(program: Program, target: Target, compiler: Tool, root: Path) -> list[str]:
    """Object files, relative to `root`; sections.ld knows their role by their folder."""
    common = targets_dir() / "common"
    groups = {
        "codeq-board": [*(common / name for name in BOARD_SOURCES), program.app],
        "codeq-binding": program.binding,
        "codeq-weights": program.weights,
        "codeq-library": [common / "libc.c", *program.library],
    }
    flags = [
        *core_flags(target, compiler),
        *COMPILE_FLAGS,
        *(f"-I{folder.resolve()}" for folder in (*program.includes, common)),
        *(f"-D{define}" for define in program.defines),
    ]
    jobs: list[tuple[Path, str]] = []
    for group, sources in groups.items():
        (root / group).mkdir()
        jobs += [(path, f"{group}/{i}-{path.stem}.o") for i, path in enumerate(sources)]

    def compile_one(job: tuple[Path, str]) -> str:
        source, output = job
        command = [*compiler.command, *flags, "-c", str(source.resolve()), "-o", output]
        call(command, f"{source.name} does not compile", root)
        return output

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compile_one, jobs))


def _link(objects: Iterable[str], target: Target, compiler: Tool, root: Path) -> None:
    library = () if tools.is_zig(compiler) else ("-nostdlib",)
    compiler_library = () if tools.is_zig(compiler) else ("-lgcc",)
    command = [
        *compiler.command,
        *core_flags(target, compiler),
        *library,
        *objects,
        *compiler_library,
        "-Wl,--gc-sections",
        "-Wl,-T,board.ld",
        "-Wl,-e,Reset_Handler",
        "-o",
        "firmware.elf",
    ]
    try:
        call(command, f"the image for {target.name} does not link", root)
    except ToolError as exc:
        overflows = re.findall(r"region [`'](\w+)'.{0,2} overflowed by (\d+) bytes", exc.output)
        if not overflows:
            raise
        worst = {name: max(int(n) for m, n in overflows if m == name) for name, _ in overflows}
        what = ", ".join(f"{name} by {count} bytes" for name, count in sorted(worst.items()))
        message = f"the image for {target.name} overflows its {what}"
        raise DoesNotFit(
            message,
            in_ram="RAM" in worst,
            excess=sum(worst.values()),
            in_flash=worst.get("FLASH", 0),
        ) from exc


def call(command: Sequence[str], failure: str, cwd: Path) -> None:
    """Run a compiler.

    Raises
    ------
    ToolError
        With `failure` as its message, and what the compiler printed.
    """
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMPILE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise ToolError(f"{failure}: {exc}", command=command) from exc
    if done.returncode != 0:
        output = done.stdout + done.stderr
        raise ToolError(failure, command=command, status=done.returncode, output=output)


def open_elf(file: BinaryIO, path: Path) -> ELFFile:
    """An image, to be read.

    Raises
    ------
    InputError
        If the file is no ELF file.
    """
    try:
        return ELFFile(file)
    except ELFError as exc:
        raise InputError(f"{path} is not an ELF file: {exc}") from exc


def symbols(image: ELFFile) -> Iterator[Symbol]:
    """All names of an image."""
    for section in image.iter_sections():
        if isinstance(section, SymbolTableSection):
            yield from section.iter_symbols()


def _harness_bytes(elf: Path) -> tuple[int, int, int]:
    """Input and output bytes of one sample, and those of them that are not in the arena.

    From `struct codeq_harness`; 0 without a model.
    """
    with elf.open("rb") as file:
        image = open_elf(file, elf)
        symbol = next((s for s in symbols(image) if s.name == "codeq_harness"), None)
        if symbol is None:
            return 0, 0, 0
        section = image.get_section(symbol["st_shndx"])
        offset = symbol["st_value"] - section["sh_addr"]
        _, input_bytes, output_bytes, _, caller_bytes = struct.unpack_from(
            "<5I", section.data(), offset
        )
    return input_bytes, output_bytes, caller_bytes
