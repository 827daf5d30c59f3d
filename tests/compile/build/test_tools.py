# SPDX-License-Identifier: Apache-2.0
"""Which compiler and emulator is taken, and what is said when there is none."""

import shutil
import subprocess
import sys

import pytest

from codeq_compile.build import tools
from codeq_compile.errors import ToolError

FINDERS = (tools.host_cc, tools.arm_cc, tools.qemu, tools.cmake)
VARIABLES = ("CODEQ_CC", "CODEQ_ARM_CC", "CODEQ_QEMU")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def empty_path(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


def test_compilers_of_the_system_come_first():
    """Who installed a cross compiler wants it used, not the one from pip."""
    expected = [name for name in ("arm-none-eabi-gcc",) if shutil.which(name)] or ["zig"]

    assert expected == [tools.arm_cc().name]


def test_without_system_compilers_the_python_package_serves_both(empty_path):
    """The promise of the README: nothing but Python and pip."""
    for find in (tools.host_cc, tools.arm_cc):
        tool = find()

        assert "zig" == tool.name
        assert tools.is_zig(tool)
        assert (sys.executable, "-m", "ziglang", "cc") == tool.command


def test_without_qemu_the_emulator_is_unicorn(empty_path):
    """The promise of the README: nothing but Python and pip."""
    assert "unicorn" == tools.emulator().name


@pytest.mark.parametrize(
    ("variable", "find"), [*zip(VARIABLES, (tools.host_cc, tools.arm_cc, tools.qemu), strict=True)]
)
def test_an_environment_variable_overrides_the_choice(variable, find, monkeypatch):
    """The only way to say which of two installed compilers is meant."""
    monkeypatch.setenv(variable, f"{sys.executable} -E")

    tool = find()

    assert (sys.executable, "-E") == tool.command
    assert variable == tool.source
    assert sys.version.split()[0] == tool.version


def test_zig_is_recognised_behind_an_environment_variable(monkeypatch):
    """zig needs other options than gcc, whoever chose it."""
    monkeypatch.setenv("CODEQ_ARM_CC", f"{sys.executable} -m ziglang cc")

    assert tools.is_zig(tools.arm_cc())


def test_a_variable_that_names_no_program_is_refused_by_its_name(monkeypatch):
    """Silently taking another compiler would hide a typing error."""
    monkeypatch.setenv("CODEQ_ARM_CC", "/nowhere/arm-gcc -v")

    with pytest.raises(ToolError, match="CODEQ_ARM_CC=/nowhere/arm-gcc -v: there is no such"):
        tools.arm_cc()


def test_a_program_that_does_not_answer_is_an_error_with_its_output(monkeypatch):
    """A broken installation must be seen where it is looked up, not in the middle of a build."""
    monkeypatch.setenv("CODEQ_QEMU", f"{sys.executable} -c raise(SystemExit('broken'))")

    with pytest.raises(ToolError, match="does not work") as caught:
        tools.qemu()

    assert 1 == caught.value.status
    assert "broken" in str(caught.value)


@pytest.mark.parametrize(
    ("find", "advice"),
    [(tools.qemu, "apt install qemu-system-arm"), (tools.cmake, "apt install cmake")],
)
def test_what_is_missing_is_said_with_how_to_install_it(find, advice, empty_path):
    """A newcomer must not have to search for a package's name."""
    with pytest.raises(ToolError, match=advice):
        find()


def test_doctor_lists_a_tool_or_advice_for_every_purpose(empty_path):
    """`codeq doctor` is where a user looks when something is missing."""
    needs = tools.doctor()

    assert len({need.purpose for need in needs}) == len(needs)
    assert all((need.tool is None) == bool(need.advice) for need in needs)
    assert "apt install qemu-system-arm" in {need.advice for need in needs}


@pytest.mark.parametrize("find", FINDERS)
def test_the_version_is_one_that_the_program_prints(find):
    """Bug reports quote it."""
    try:
        tool = find()
    except ToolError as exc:
        pytest.skip(str(exc))  # it names the tool and how to install it
    if tools.is_zig(tool):
        command = [*tool.command[:-1], "version"]
    else:
        command = [*tool.command, "--version"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert tool.version in printed.splitlines()[0]
    assert tool.version[0].isdigit()
