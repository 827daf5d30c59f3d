# SPDX-License-Identifier: Apache-2.0
"""A board as the compiler sees it: everything it knows stands in `targets/<name>/target.toml`."""

import difflib
import itertools
import re
import tomllib
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec

from codeq_compile.errors import InputError
from codeq_compile.resources import targets_dir

Isa = Literal["ref", "swar", "dsp", "mve"]


class Region(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One more memory of a board, where `--place` can put things.

    Parameters
    ----------
    origin, bytes : int
    access : {"rx", "rw"}
        What a program may do there; what is read-only is filled at start-up.
    """

    origin: int
    bytes: int
    access: Literal["rx", "rw"]

    def __post_init__(self) -> None:
        for value in (self.origin, self.bytes, self.origin + self.bytes - 1):
            if not 0 <= value <= 0xFFFF_FFFF:
                raise ValueError(f"{value} is not a 32-bit address or size")

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.origin + self.bytes


class Memory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Address ranges of the linked image, in bytes.

    Parameters
    ----------
    flash_origin, flash_bytes, ram_origin, ram_bytes : int
        Where code and constants, and where variables go.
    stack_bytes : int
        Reserved for the stack, inside the RAM.
    real_flash_bytes, real_ram_bytes : int, optional
        Of the part itself, where the emulated one was enlarged.
    regions : dict of str to Region
        Further memories by name: tightly coupled ones, external flash.  One that ends with the
        flash is a part of it for as long as nothing is placed there.
    """

    flash_origin: int
    flash_bytes: int
    ram_origin: int
    ram_bytes: int
    stack_bytes: int
    real_flash_bytes: int | None = None
    real_ram_bytes: int | None = None
    regions: dict[str, Region] = {}

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if isinstance(value, int) and not 0 <= value <= 0xFFFF_FFFF:
                raise ValueError(f"{field} = {value} is not a 32-bit address or size")
        if self.stack_bytes > self.ram_bytes:
            raise ValueError(f"stack_bytes = {self.stack_bytes} is more than the RAM")
        for name in self.regions:
            if name in {"flash", "ram"} or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise ValueError(f'a memory cannot be called "{name}"')
        spans = sorted((each.origin, each.end) for each in self.all.values())
        if any(end > start for (_, end), (start, _) in itertools.pairwise(spans)):
            raise ValueError("two memories overlap")

    @property
    def all(self) -> dict[str, Region]:
        """Every memory by name, flash and RAM first."""
        return self.used(self.regions)

    def used(self, names: Iterable[str]) -> dict[str, Region]:
        """Every memory by name where something is placed in some of them, flash and RAM first."""
        flash_end = self.flash_origin + self.flash_bytes
        inside = {
            name
            for name, each in self.regions.items()
            if each.origin > self.flash_origin and each.end == flash_end
        }
        regions = {
            name: each
            for name, each in self.regions.items()
            if name not in inside.difference(names)
        }
        end = min([flash_end, *(regions[name].origin for name in inside & regions.keys())])
        flash = Region(origin=self.flash_origin, bytes=end - self.flash_origin, access="rx")
        ram = Region(origin=self.ram_origin, bytes=self.ram_bytes, access="rw")
        return {"flash": flash, "ram": ram, **regions}

    @property
    def part_flash_bytes(self) -> int:
        """Flash of the part that is sold."""
        return self.flash_bytes if self.real_flash_bytes is None else self.real_flash_bytes

    @property
    def part_ram_bytes(self) -> int:
        """RAM of the part that is sold."""
        return self.ram_bytes if self.real_ram_bytes is None else self.real_ram_bytes


class Build(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the two compilers are told about the core.

    Parameters
    ----------
    gcc_flags : tuple of str
        For arm-none-eabi-gcc; for the host, for gcc.
    zig_target, zig_cpu : str, optional
        Of `zig cc`; the host needs neither.
    zig_flags : tuple of str
    """

    gcc_flags: tuple[str, ...] = ()
    zig_target: str | None = None
    zig_cpu: str | None = None
    zig_flags: tuple[str, ...] = ()


class Run(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What starts the firmware.

    Parameters
    ----------
    runner : {"qemu", "pyocd"}
    machine : str
        QEMU's machine, or pyOCD's target.
    args : tuple of str
        More words of the runner's command line.
    unicorn_cpu : str, optional
        Core for the unicorn emulator; absent where it cannot run this one.
    """

    runner: Literal["qemu", "pyocd"]
    machine: str
    args: tuple[str, ...] = ()
    unicorn_cpu: str | None = None


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A board or emulated board.

    Parameters
    ----------
    name : str
        Its folder below `targets/`.
    description : str
        One line for people.
    core : str
        ``"cortex-m4"`` …, or ``"host"``.
    isa : tuple of {"ref", "swar", "dsp", "mve"}
        Instruction sets that kernels may use, best first; "ref" is C99 and always there.
    memory : Memory, optional
        None for the host only.
    build : Build
    run : Run, optional
        None where nothing can be started but the host itself.
    """

    name: str
    description: str
    core: str
    isa: tuple[Isa, ...]
    memory: Memory | None = None
    build: Build = Build()
    run: Run | None = None

    def __post_init__(self) -> None:
        if not self.isa or self.isa[-1] != "ref" or len(set(self.isa)) != len(self.isa):
            raise ValueError('isa lists each instruction set once, best first, and ends in "ref"')
        if (self.memory is None) != self.is_host:
            raise ValueError("a board has a [memory] section, the host has none")

    @property
    def is_host(self) -> bool:
        """The machine that codeq runs on."""
        return self.core == "host"

    @property
    def alignment(self) -> int:
        """Bytes that every buffer of the arena is aligned to: a vector's, or a word's."""
        return 16 if "mve" in self.isa else 4


def names(folder: Path | None = None) -> tuple[str, ...]:
    """All targets, sorted: the folders that hold a `target.toml`."""
    folder = folder or targets_dir()
    return tuple(sorted(path.parent.name for path in folder.glob("*/target.toml")))


def load(name: str, folder: Path | None = None) -> Target:
    """Read one target.

    Parameters
    ----------
    name : str
        One of `names`.
    folder : Path, optional
        Other than the `targets/` of this package.

    Raises
    ------
    InputError
        There is no such target, or its file is unreadable, incomplete or has unknown fields.
    """
    folder = folder or targets_dir()
    if name not in (known := names(folder)):
        hint = _hint(name, known) or f"there are {', '.join(known)}"
        raise InputError(f'there is no target "{name}": {hint}')
    return read(folder / name / "target.toml")


def read(path: Path) -> Target:
    """Read a `target.toml`, wherever it is.

    Raises
    ------
    InputError
        As for `load`.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from error
    _check_fields(path, table, Target, "")
    try:
        target = msgspec.convert(table, type=Target)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {error}") from error
    if target.name != path.parent.name:
        raise InputError(f'{path}: the name "{target.name}" is not the folder\'s')
    return target


def _check_fields(
    path: Path, table: dict[str, Any], kind: type[msgspec.Struct], section: str
) -> None:
    """msgspec refuses unknown fields as well, but cannot say which one was meant."""
    hints = typing.get_type_hints(kind)
    for field, value in table.items():
        where = f"{section}.{field}".lstrip(".")
        if field not in hints:
            hint = _hint(field, tuple(hints)) or f"known are {', '.join(hints)}"
            raise InputError(f'{path}: unknown field "{where}": {hint}')
        struct = next((t for t in _alternatives(hints[field]) if _is_struct(t)), None)
        if struct is None or not isinstance(value, dict):
            continue
        if typing.get_origin(hints[field]) is dict:
            for name, entry in value.items():
                if isinstance(entry, dict):
                    _check_fields(path, entry, struct, f"{where}.{name}")
        else:
            _check_fields(path, value, struct, where)


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) or (hint,)


def _is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def _hint(word: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f'did you mean "{near[0]}"?' if near else ""
