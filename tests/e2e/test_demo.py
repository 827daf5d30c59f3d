# SPDX-License-Identifier: Apache-2.0
"""`codeq demo` as the user runs it: its promises on accuracy, size, time and exactness."""

import os

import pytest
from click.testing import CliRunner

from codeq_compile.build import tools
from codeq_compile.cli import main
from codeq_compile.errors import ToolError
from codeq_compile.report import collect
from codeq_compile.report.collect import Report

MINUTES = 4
CORES = 2


def cpu_seconds() -> float:
    """Of this process and of those it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    try:
        tools.arm_cc()
        tools.emulator()
    except ToolError as missing:
        pytest.skip(str(missing))  # it names the tool and how to install it
    before = cpu_seconds()
    library = tmp_path_factory.mktemp("runs") / "demo"
    result = CliRunner().invoke(main, ["demo", "-o", str(library)])
    assert 0 == result.exit_code, result.output
    # a busy machine stretches the minutes on the clock, not those of the processor
    assert cpu_seconds() - before < MINUTES * 60 * CORES
    return collect.read(library)


@pytest.mark.slow
@pytest.mark.qemu
def test_the_integers_are_as_good_as_the_float_network(report: Report) -> None:
    """On two people who were in no other set, within 1.5 points."""
    float_net, integers = report.accuracy["float"], report.accuracy["integer"]

    assert integers["accuracy"] >= float_net["accuracy"] - 0.015
    assert float_net["accuracy"] > 0.75  # held-out pairs differ from 77 to 91 %


@pytest.mark.slow
@pytest.mark.qemu
def test_the_library_is_small_because_it_is_sparse_and_narrow(report: Report) -> None:
    """At most 6 KiB of weights and tables; 8 bits dense would need more."""
    assert report.flash.weights + report.flash.tables <= 6 * 1024
    assert report.weights > 6 * 1024
    assert report.bits_mean < 8
    assert report.zeros > 0.2


@pytest.mark.slow
@pytest.mark.qemu
def test_the_c_gave_the_simulations_bytes_everywhere(report: Report) -> None:
    """Every test window on this machine, two dozen on the emulated board."""
    samples = {check.target: check.samples for check in report.checks}

    assert 773 == samples["host"]
    assert samples["mps2_an386"] >= 20
    assert 0 == sum(check.bytes_differing for check in report.checks)
