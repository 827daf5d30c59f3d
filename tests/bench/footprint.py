# SPDX-License-Identifier: Apache-2.0
"""Compiles runtime_c for every core, and writes the table of codeq_compile/footprint.py.

    python tests/bench/footprint.py

Every function and constant is a section of its own in the object files, as in an emitted library;
what it uses are its relocations.  A core takes some ten seconds.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import Section, Symbol, SymbolTableSection

sys.path.insert(0, str(Path(__file__).parents[2]))

from codeq_compile import footprint
from codeq_compile import target as targets
from codeq_compile.build import firmware, tools
from codeq_compile.build.tools import Tool
from codeq_compile.footprint import Part
from codeq_compile.resources import runtime_dir
from codeq_compile.target import Target
from tests.bench.kernels import compiled_by
from tests.boards import EMULATED

CODE, CONSTANTS = ".text.", ".rodata"
ISAS = {"ref", "swar", "dsp", "mve"}


def main() -> None:
    with compiled_by("gcc"):
        compiler = tools.arm_cc()
        boards = [targets.load(name) for name in EMULATED]
        write(compiler, {board.core: parts(board, compiler) for board in boards})


def parts(board: Target, compiler: Tool) -> tuple[Part, ...]:
    """Every function of the runtime that a board can execute, and the constants they read."""
    found = [part for source in _sources(board) for part in _parts(source, board, compiler)]
    return tuple(sorted(found, key=lambda part: part.name))


def _sources(board: Target) -> Iterator[Path]:
    """Files of no instruction set, or of one that the board has."""
    for source in sorted(runtime_dir().glob("src/**/*.c")):
        last = source.stem.rsplit("_", 1)[-1]
        if last not in ISAS or last in board.isa:
            yield source


def _parts(source: Path, board: Target, compiler: Tool) -> list[Part]:
    root = runtime_dir()
    with tempfile.TemporaryDirectory(prefix="codeq-") as folder:
        made = Path(folder) / "object.o"
        flags = [*firmware.core_flags(board, compiler), *firmware.COMPILE_FLAGS]
        folders = ["-I", str(root / "include"), "-I", str(root / "src")]
        command = [*compiler.command, *flags, *folders, "-c", str(source), "-o", str(made)]
        subprocess.run(command, check=True)
        with made.open("rb") as file:
            return list(_linkable(ELFFile(file), source.name))


def _linkable(image: ELFFile, file_name: str) -> Iterator[Part]:
    """Sections that a linker keeps or drops one by one."""
    sections = list(image.iter_sections())
    table = next(each for each in sections if isinstance(each, SymbolTableSection))
    names = {
        each["st_shndx"]: each.name if _is_public(each) else f"{file_name}:{each.name}"
        for each in table.iter_symbols()
        if each["st_info"]["type"] in {"STT_FUNC", "STT_OBJECT"}
    }

    def name(section: Section) -> str:
        # strings and the like have no symbol
        return names.get(sections.index(section), f"{file_name}:{section.name}")

    def is_kept(section: Section) -> bool:
        return section.name.startswith((CODE, CONSTANTS)) and section["sh_size"] > 0

    uses: dict[str, set[str]] = {name(each): set() for each in sections if is_kept(each)}
    for relocations in (each for each in sections if isinstance(each, RelocationSection)):
        user = sections[relocations["sh_info"]]
        for each in relocations.iter_relocations() if is_kept(user) else ():
            symbol = table.get_symbol(each["r_info_sym"])
            place = symbol["st_shndx"]
            if isinstance(place, int) and is_kept(sections[place]):
                uses[name(user)].add(name(sections[place]))
            elif place == "SHN_UNDEF" and symbol.name.startswith("cq_"):
                uses[name(user)].add(symbol.name)
    for each in filter(is_kept, sections):
        yield Part(
            name=name(each),
            bytes=each["sh_size"],
            uses=tuple(sorted(uses[name(each)] - {name(each)})),
            is_code=each.name.startswith(CODE),
        )


def _is_public(symbol: Symbol) -> bool:
    return bool(symbol["st_info"]["bind"] == "STB_GLOBAL")


def write(compiler: Tool, cores: dict[str, tuple[Part, ...]]) -> None:
    """One line a part, so that a change of one is a change of one line."""
    head = {
        "compiler": f"{compiler.name} {compiler.version}",
        "optimization": firmware.OPTIMIZATION,
    }
    blocks = [
        f'"{core}": [\n' + ",\n".join(json.dumps(msgspec.to_builtins(p)) for p in found) + "\n]"
        for core, found in cores.items()
    ]
    text = json.dumps(head)[:-1] + ', "cores": {\n' + ",\n".join(blocks) + "\n}}\n"
    footprint.FILE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
