# SPDX-License-Identifier: Apache-2.0
"""One command for emulated and real boards, and where its outcome goes."""

from dataclasses import replace
from pathlib import Path

import pytest

import codeq_compile
from codeq_compile.build import tools
from codeq_compile.errors import ToolError
from codeq_compile.profile import LayerTiming, Profile, Timing, profile
from codeq_compile.report import collect
from tests.boards import found
from tests.libraries import emitted, small_conv

TIMED = Timing(
    name="small",
    target="nucleo_f411re",
    core="cortex-m4",
    compiler="gcc 1",
    optimization="-O2",
    samples=2,
    fewest=90,
    most=100,
    layers=(LayerTiming(index=1, name="stem", op="conv2d", kernel="cq_x", macs=50, cycles=99),),
)


@pytest.mark.slow
@pytest.mark.qemu
def test_an_emulated_board_counts(tmp_path: Path) -> None:
    """Its cycles would be those of the machine below it."""
    found(tools.arm_cc)
    found(tools.qemu)
    emitted(small_conv(), tmp_path, "mps2_an386")

    assert isinstance(profile(tmp_path), Profile)


@pytest.mark.slow
def test_a_real_board_is_asked_for_its_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where none is connected, the message is that of pyOCD and not a table of zeros."""
    found(tools.arm_cc)
    emitted(small_conv(), tmp_path, "mps2_an386")
    pyocd = tmp_path / "pyocd"
    pyocd.write_text("#!/bin/sh\necho no probe\nexit 1\n")
    pyocd.chmod(0o755)
    tool = tools.Tool(name="pyocd", command=(str(pyocd),), version="1", source="test")
    monkeypatch.setattr(tools, "pyocd", lambda: tool)

    with pytest.raises(ToolError, match="nucleo_f411re could not be flashed: is it connected"):
        profile(tmp_path, "nucleo_f411re")


@pytest.mark.slow
@pytest.mark.qemu
def test_a_profile_goes_into_the_report_once_a_target(tmp_path: Path) -> None:
    """Two profiles of one board in a report leave open which is the current one."""
    found(tools.arm_cc)
    found(tools.qemu)
    codeq_compile.compile(small_conv(), tmp_path / "small", target="mps2_an386")

    for board in ("mps2_an386", "mps2_an500", "mps2_an386"):
        result = codeq_compile.profile(tmp_path / "small", board, samples=1)

    stored = collect.read(tmp_path / "small").profiles
    assert ["mps2_an500", "mps2_an386"] == [each.target for each in stored]
    assert result == stored[1]


def test_times_of_a_real_board_stand_beside_the_counts(tmp_path: Path) -> None:
    """They answer another question: neither replaces the other."""
    codeq_compile.compile(small_conv(), tmp_path / "small", target="host")

    for most in (200, 100):
        collect.add_profile(tmp_path / "small", replace(TIMED, most=most))

    stored = collect.read(tmp_path / "small")
    assert ((), (TIMED,)) == (stored.profiles, stored.timings)
