# SPDX-License-Identifier: Apache-2.0
"""The four functions of the package: what scripts and the command line call."""

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

import codeq_compile
from codeq_compile import manifest
from codeq_compile.build import tools
from codeq_compile.errors import DoesNotFit, InputError, ModelError, ToolError
from codeq_compile.ir import save
from codeq_compile.report import collect
from tests.boards import found
from tests.graphs import random_inputs
from tests.libraries import planned, small_conv


def test_a_file_becomes_a_library_that_checks(tmp_path: Path) -> None:
    """The shortest way: load, compile, check."""
    save(small_conv(), tmp_path / "model.cq")
    graph = codeq_compile.load(tmp_path / "model.cq")

    compiled = codeq_compile.compile(tmp_path / "model.cq", tmp_path / "out", target="host")
    result = codeq_compile.check(tmp_path / "out", samples=2)

    assert (graph.name, 0) == (compiled.manifest.name, result.bytes_differing)
    stored = collect.read(tmp_path / "out")
    assert compiled.report == msgspec.structs.replace(stored, checks=())
    assert ["host"] == [check.target for check in stored.checks]


def test_simulate_takes_a_file_or_a_graph_in_any_stage(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Nobody should have to know about lowering."""
    graph = small_conv()
    save(graph, tmp_path / "model.cq")
    inputs = random_inputs(rng, graph, 3)

    outputs = [
        codeq_compile.simulate(model, inputs)["head.out"]
        for model in (
            tmp_path / "model.cq",
            str(tmp_path / "model.cq"),
            graph,
            planned(graph).graph,
        )
    ]

    assert all(np.array_equal(outputs[0], other) for other in outputs)


def test_another_name_is_the_prefix_of_everything(tmp_path: Path) -> None:
    """Two trainings of one network must fit into one image."""
    compiled = codeq_compile.compile(small_conv(), tmp_path / "out", target="host", name="ears")

    assert {"ears.c", "ears.h", "ears.cq"} < {path.name for path in (tmp_path / "out").iterdir()}
    assert "small" not in (tmp_path / "out" / "ears.c").read_text()
    assert "codeq compile ears.cq --target host" == compiled.manifest.command


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"name": "9lives"}, InputError),
        ({"name": "string"}, ModelError),
        ({"packing": "densest"}, InputError),
        ({"target": "hosst"}, InputError),
        ({"flash": 10000}, InputError),
        ({"weights": 10}, DoesNotFit),
        ({"ram": 10}, DoesNotFit),
    ],
    ids=lambda value: str(value),
)
def test_what_cannot_be_made_leaves_nothing_behind(
    options: dict[str, object], error: type[Exception], tmp_path: Path
) -> None:
    """A folder that looks like a result of a failed compilation is taken for one."""
    with pytest.raises(error):
        codeq_compile.compile(small_conv(), tmp_path / "out", **{"target": "host", **options})

    assert [] == list(tmp_path.iterdir())


@pytest.mark.slow
def test_budgets_are_read_from_the_linked_image(tmp_path: Path) -> None:
    """`--flash` is the whole image: code, constants, weights and tables."""
    found(tools.arm_cc)
    report = codeq_compile.compile(small_conv(), tmp_path / "out", target="mps2_an386").report
    before = manifest.digests(tmp_path / "out")
    flash, ram = report.flash, report.ram
    assert flash.total is not None
    budgets = {"flash": flash.total, "weights": flash.weights + flash.tables, "ram": ram.total}

    codeq_compile.compile(small_conv(), tmp_path / "exact", target="mps2_an386", **budgets)
    for name, limit in budgets.items():
        with pytest.raises(DoesNotFit, match=r'the largest layers:(?s:.*)conv2d "stem"'):
            codeq_compile.compile(
                small_conv(), tmp_path / "out", target="mps2_an386", **{name: limit - 1}
            )

    assert before == manifest.digests(tmp_path / "out")


def test_a_flash_budget_without_a_cross_compiler_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A budget that was not checked must not look kept."""

    def none() -> tools.Tool:
        raise ToolError("a C compiler for Cortex-M was not found")

    monkeypatch.setattr(tools, "arm_cc", none)

    report = codeq_compile.compile(small_conv(), tmp_path / "out", target="microbit").report
    with pytest.raises(ToolError, match="was not found"):
        codeq_compile.compile(small_conv(), tmp_path / "out", target="microbit", flash=9999)

    assert report.flash.total is None


def test_a_target_whose_memory_is_too_small_names_the_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The linker's words alone do not say which layer to shrink."""
    found(tools.arm_cc)

    def overflow(*_: object, **__: object) -> None:
        raise DoesNotFit("the image for microbit overflows FLASH by 7 bytes")

    monkeypatch.setattr(codeq_compile.firmware, "build", overflow)

    with pytest.raises(DoesNotFit, match=r'FLASH by 7 bytes(?s:.*)linear "head"'):
        codeq_compile.compile(small_conv(), tmp_path / "out", target="microbit")


def test_the_compiler_is_importable_without_torch_and_cffi() -> None:
    """Both are extras: compiling needs neither."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'cffi', 'onnx', 'unicorn')));"
        "import codeq_compile; print(*codeq_compile.__all__)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert codeq_compile.__all__ == done.stdout.split()
