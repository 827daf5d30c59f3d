# SPDX-License-Identifier: Apache-2.0
"""Finds compilers, emulators and debuggers: the system's own first, else a Python package's."""

import functools
import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from codeq_compile.errors import ToolError

VERSION_TIMEOUT_S = 60
"""A first call of the zig package unpacks its cache; everything else answers at once."""

UNICORN_RUNNER = Path(__file__).with_name("unicorn_runner.py")
"""Started as a file: as a module it would import the whole compiler first, a second a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A program that was found.

    Parameters
    ----------
    name : str
        What it is, e.g. ``"arm-none-eabi-gcc"``; ``"zig"`` is the clang of the ziglang package.
    command : tuple of str
        How to start it.
    version : str
    source : str
        Where it comes from: an environment variable, the path, or a Python package.
    """

    name: str
    command: tuple[str, ...]
    version: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One thing that codeq does with a tool, for `codeq doctor`.

    Parameters
    ----------
    purpose : str
        What it is needed for.
    tool : Tool or None
        What will be used; None if nothing was found.
    advice : str
        How to install one; empty where the best one was found.
    """

    purpose: str
    tool: Tool | None
    advice: str


def host_cc() -> Tool:
    """C compiler for this machine: ``CODEQ_CC``, gcc, clang, or the ziglang package.

    Raises
    ------
    ToolError
        If there is none; the message says what to install.
    """
    return _required(
        "a C compiler for this machine",
        "apt install gcc, or pip install ziglang",
        lambda: _from_environment("CODEQ_CC"),
        lambda: _on_path("gcc"),
        lambda: _on_path("clang"),
        _zig_cc,
    )


def arm_cc() -> Tool:
    """C compiler for Cortex-M: ``CODEQ_ARM_CC``, arm-none-eabi-gcc, or the ziglang package.

    Raises
    ------
    ToolError
        If there is none; the message says what to install.
    """
    return _required(
        "a C compiler for Cortex-M",
        "apt install gcc-arm-none-eabi, or pip install ziglang",
        lambda: _from_environment("CODEQ_ARM_CC"),
        lambda: _on_path("arm-none-eabi-gcc"),
        _zig_cc,
    )


def zig_cc() -> Tool:
    """The clang of the ziglang package, which builds for this machine and for every Cortex-M.

    Raises
    ------
    ToolError
        If the package is not installed.
    """
    return _required("the zig C compiler", "pip install ziglang", _zig_cc)


def qemu() -> Tool:
    """System emulator for Arm: ``CODEQ_QEMU`` or qemu-system-arm.

    Raises
    ------
    ToolError
        If there is none.
    """
    return _required(
        "qemu-system-arm",
        "apt install qemu-system-arm",
        lambda: _from_environment("CODEQ_QEMU"),
        lambda: _on_path("qemu-system-arm"),
    )


def unicorn() -> Tool:
    """The unicorn emulator, run as a process of its own. Its engine is GPLv2.

    Raises
    ------
    ToolError
        If the package is not installed.
    """
    return _required(
        "the unicorn emulator",
        "pip install unicorn",
        lambda: _package("unicorn", "-P", str(UNICORN_RUNNER)),
    )


def emulator() -> Tool:
    """What emulated boards run on: qemu-system-arm when found, else unicorn.

    Raises
    ------
    ToolError
        If there is neither.
    """
    return _required(
        "an emulator for Cortex-M",
        "apt install qemu-system-arm, or pip install unicorn (no Cortex-M55)",
        lambda: _found(qemu),
        lambda: _found(unicorn),
    )


def pyocd() -> Tool:
    """pyOCD, which flashes boards and serves their files.

    Raises
    ------
    ToolError
        If it is not installed.
    """
    return _required(
        "pyOCD",
        "pip install pyocd",
        lambda: _package("pyocd", "-m", "pyocd"),
        lambda: _on_path("pyocd"),
    )


def cmake() -> Tool:
    """CMake, for the emitted library's own build files.

    Raises
    ------
    ToolError
        If it is not installed.
    """
    return _required("CMake", "apt install cmake", lambda: _on_path("cmake"))


def clang_format() -> Tool:
    """clang-format, which the tests hold all C against.

    Raises
    ------
    ToolError
        If it is not installed.
    """
    return _required(
        "clang-format",
        "pip install clang-format",
        lambda: _beside_python("clang-format"),
        lambda: _on_path("clang-format"),
    )


def is_zig(tool: Tool) -> bool:
    """Whether a compiler takes zig's target options instead of gcc's."""
    return tool.name == "zig"


def doctor() -> tuple[Need, ...]:
    """What was found for each purpose, and what to install where something is missing."""
    return (
        _need("checks on this machine", host_cc, "apt install gcc, or pip install ziglang"),
        _need("firmware", arm_cc, "apt install gcc-arm-none-eabi, or pip install ziglang"),
        _need("emulated boards, all six cores; codeq profile", qemu, "apt install qemu-system-arm"),
        _need("emulated boards without QEMU, no Cortex-M55", unicorn, "pip install unicorn"),
        _need("real boards", pyocd, "pip install pyocd"),
        _need("the emitted CMakeLists.txt", cmake, "apt install cmake"),
        _need("the layout test of C files", clang_format, "pip install clang-format"),
    )


def _need(purpose: str, find: Callable[[], Tool], advice: str) -> Need:
    tool = _found(find)
    return Need(purpose=purpose, tool=tool, advice="" if tool else advice)


def _required(what: str, advice: str, *finders: Callable[[], Tool | None]) -> Tool:
    for find in finders:
        tool = find()
        if tool is not None:
            return tool
    raise ToolError(f"{what} was not found: {advice}")


def _found(find: Callable[[], Tool]) -> Tool | None:
    try:
        return find()
    except ToolError:
        return None


def _from_environment(variable: str) -> Tool | None:
    value = os.environ.get(variable)
    if not value:
        return None
    command = tuple(shlex.split(value))
    if not command or shutil.which(command[0]) is None:
        raise ToolError(
            f"{variable}={value}: there is no such program; correct or unset {variable}"
        )
    is_a_zig = "ziglang" in command or Path(command[0]).stem == "zig"
    name = "zig" if is_a_zig else Path(command[0]).name
    asking = (*command[:-1], "version") if is_a_zig else (*command, "--version")
    return Tool(name=name, command=command, version=_version(asking), source=variable)


def _on_path(program: str) -> Tool | None:
    path = shutil.which(program)
    if path is None:
        return None
    return Tool(name=program, command=(path,), version=_version((path, "--version")), source=path)


def _beside_python(program: str) -> Tool | None:
    """A program of this Python environment, whose folder need not be on the path."""
    path = Path(sys.executable).with_name(program)
    if not path.is_file():
        return None
    command = (str(path),)
    return Tool(
        name=program, command=command, version=_version((*command, "--version")), source=str(path)
    )


def _package(package: str, *arguments: str) -> Tool | None:
    """A Python package, used as a program that Python starts with `arguments`."""
    if importlib.util.find_spec(package) is None:
        return None
    return Tool(
        name=package,
        command=(sys.executable, *arguments),
        version=importlib.metadata.version(package),
        source=f"Python package {package}",
    )


def _zig_cc() -> Tool | None:
    package = _package("ziglang", "-m", "ziglang")
    if package is None:
        return None
    return Tool(
        name="zig",
        command=(*package.command, "cc"),
        version=package.version,
        source=package.source,
    )


@functools.cache
def _version(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise ToolError(f"{command[0]} cannot be started: {exc}", command=command) from exc
    lines = (done.stdout or done.stderr).splitlines()
    if done.returncode != 0 or not lines:
        raise ToolError(
            f"{command[0]} does not work",
            command=command,
            status=done.returncode,
            output=done.stdout + done.stderr,
        )
    # Distributions put their package version in brackets: "gcc (Debian 12.2.0-14) 12.2.0".
    match = re.search(r"\d+(\.\d+)+", re.sub(r"\(.*?\)", "", lines[0]))
    return match.group(0) if match else lines[0]
