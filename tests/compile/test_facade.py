# SPDX-License-Identifier: Apache-2.0
"""The four functions of the package: what scripts and the command line call."""

import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import codeq_compile
from codeq_compile import manifest, passes, target
from codeq_compile.build import tools
from codeq_compile.errors import DoesNotFit, InputError, ModelError, ToolError
from codeq_compile.ir import Graph, Weights, save
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.plan import plan
from codeq_compile.report import collect
from tests.boards import found
from tests.graphs import random_inputs, random_weights, s8
from tests.libraries import planned, small_conv
from tests.networks import benchmark
from tests.strategies import GraphBuilder


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


def test_without_lossless_every_weight_stays_and_the_outputs_are_the_same(tmp_path: Path) -> None:
    """Who doubts the smaller library compares it with this one; both must check."""
    graph = wasteful()
    libraries = {
        lossless: codeq_compile.compile(
            graph, tmp_path / str(lossless), target="host", lossless=lossless
        )
        for lossless in (True, False)
    }
    inputs = random_inputs(np.random.default_rng(0), graph, 5)

    outputs = [codeq_compile.run(tmp_path / str(each), inputs=inputs) for each in (True, False)]

    for name in graph.outputs:
        np.testing.assert_array_equal(outputs[0][name], outputs[1][name])
    assert all(codeq_compile.check(tmp_path / str(each)).bytes_differing == 0 for each in libraries)
    whole, small = libraries[False].report, libraries[True].report
    assert [8, 8] == [layer.bits for layer in whole.layers]
    assert ["dense", "dense"] == [layer.packing for layer in whole.layers]
    assert (6 * 3 * 9 + 5 * 6, 0) == (whole.weights, whole.removed.channels)
    assert 2 == small.removed.channels
    assert small.flash.weights < whole.flash.weights
    assert "--no-lossless" in whole.command
    assert "--no-lossless" not in small.command


def compressible() -> Graph:
    """Two layers of 8 bits whose weights are mostly small."""
    rng = np.random.default_rng(0)
    builder = GraphBuilder(rng)
    x = builder.input(s8(4, 4, 40))
    for _ in range(2):
        codes = np.clip(np.rint(rng.laplace(0.0, 6.0, (40, 1, 1, 40))), -127, 127).astype(np.int8)
        scale = np.full(40, 0.01, np.float32)
        x = builder.add(Conv2D(), x, weights=Weights(codes=codes, bits=8, scale=scale))
    return builder.graph(x)


def test_a_budget_brings_prefix_codes_for_as_many_layers_as_it_needs(tmp_path: Path) -> None:
    """A model that would fit must not be refused; the layers that need not be slow stay fast."""

    def packings(weights: int | None) -> list[str | None]:
        made = codeq_compile.compile(
            compressible(), tmp_path / "out", target="host", weights=weights
        )
        assert 0 == codeq_compile.check(tmp_path / "out", samples=1).bytes_differing
        return sorted(str(layer.packing) for layer in made.report.layers)

    graph, host = passes.run(compressible()), target.load("host")
    needed, least = (
        decided.weights_bytes + decided.tables_bytes
        for decided in (plan(graph, host, packing) for packing in ("auto", "small"))
    )

    assert ["dense", "dense"] == packings(needed)
    assert ["dense", "huffman"] == packings(needed - 1)
    assert ["huffman", "huffman"] == packings(least)
    with pytest.raises(DoesNotFit, match="bytes needed"):
        packings(needed // 2)


@pytest.mark.parametrize("board", ["mps2_an386", "mps3_an547"])
def test_a_limit_that_is_filled_to_the_byte_brings_none(board: str, tmp_path: Path) -> None:
    """What the linker aligns must not turn a plan that just fits into a slow one."""
    found(tools.arm_cc)
    rng = np.random.default_rng(0)
    builder = GraphBuilder(rng)
    x = builder.input(s8(8, 8, 5))
    for inputs, outputs, bits, zeros in [(5, 11, 7, 0.0), (11, 5, 3, 0.8), (5, 6, 4, 0.6)]:
        layer = random_weights(rng, (outputs, 1, 1, inputs), bits=bits, zeros=zeros)
        x = builder.add(Conv2D(), x, weights=layer)
    graph = builder.graph(x)
    free = plan(passes.run(graph), target.load(board)).total
    assert free is not None

    made = codeq_compile.compile(graph, tmp_path / "out", target=board, weights=free.data)

    assert made.plan.packing == "auto"
    assert made.report.flash is not None
    assert made.report.flash.weights + made.report.flash.tables <= free.data


def test_a_limit_of_flash_brings_them_too(tmp_path: Path) -> None:
    """How large the code is, is known at the end only."""
    found(tools.arm_cc)
    options = {"target": "mps2_an386", "directory": tmp_path / "out"}
    told = r"(?s)^RAM: (\d+) bytes needed, .*\n--stream auto or --io arena may need less$"
    with pytest.raises(DoesNotFit, match=told) as refusal:
        codeq_compile.compile(compressible(), **options, ram=1)
    needed = int(re.findall(told, str(refusal.value))[0])

    assert codeq_compile.compile(compressible(), **options, ram=needed).report.ram.total == needed
    with pytest.raises(DoesNotFit, match=rf"^RAM: {needed} bytes needed"):
        codeq_compile.compile(compressible(), **options, ram=needed - 1)


def test_a_limit_of_flash_is_met_by_slower_kernels(tmp_path: Path) -> None:
    """The part that was bought decides, not the time that is left."""
    found(tools.arm_cc)
    graph = benchmark("kws", "sparse4")
    free = codeq_compile.compile(graph, tmp_path / "free", target="mps2_an386")
    assert free.report.flash is not None
    limit = free.report.flash.total - 1024

    made = codeq_compile.compile(graph, tmp_path / "small", target="mps2_an386", flash=limit)

    assert made.report.flash is not None
    assert made.report.flash.total <= limit
    assert made.plan.packing == "auto"
    assert (made.plan.instructions or 0) > (free.plan.instructions or 0)
    assert 0 == codeq_compile.check(tmp_path / "small", ["mps2_an386"], samples=1).bytes_differing


def test_flash_that_a_limit_leaves_is_spent_on_speed(tmp_path: Path) -> None:
    """As RAM is: a limit says what may be used, and no limit that less is better."""
    found(tools.arm_cc)
    graph = benchmark("kws", "sparse4")
    free = codeq_compile.compile(graph, tmp_path / "free", target="mps2_an386")
    assert free.report.flash is not None
    assert free.report.flash.total is not None
    limits = [free.report.flash.total + more for more in (0, 4096)]

    same, fast = (
        codeq_compile.compile(graph, tmp_path / f"{limit}", target="mps2_an386", flash=limit)
        for limit in limits
    )

    assert same.report.flash == free.report.flash
    # it is told by that limit why nothing else was taken
    assert same.plan.weighed is not None
    assert same.plan.weighed.is_speed
    assert fast.report.flash is not None
    assert fast.report.flash.total is not None
    assert free.report.flash.total < fast.report.flash.total <= limits[1]
    assert (fast.plan.instructions or 0) < 0.9 * (free.plan.instructions or 0)
    directory = tmp_path / f"{limits[1]}"
    assert 0 == codeq_compile.check(directory, ["mps2_an386"], samples=1).bytes_differing


def test_a_library_within_its_limits_stays_where_a_faster_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked for is there: a fault of what was not needed is none."""
    found(tools.arm_cc)
    measure, calls = codeq_compile._measure, []

    def once(*args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) > 1:
            raise ToolError("the disk is full")
        return measure(*args, **options)

    monkeypatch.setattr(codeq_compile, "_measure", once)
    graph = benchmark("kws", "sparse4")
    made = codeq_compile.compile(graph, tmp_path / "out", target="mps2_an386", flash=1 << 16)

    assert 2 == len(calls)
    assert made.report == collect.read(tmp_path / "out")
    assert ["out"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.slow
def test_a_refused_limit_of_flash_names_the_shortest_image(tmp_path: Path) -> None:
    """Prefix codes may need more code than they save: a byte less must not name more bytes."""
    found(tools.arm_cc)

    def flash(limit: int | None, packing: str = "auto") -> int:
        options = {"target": "mps2_an386", "packing": packing, "flash": limit}
        sizes = codeq_compile.compile(small_conv(), tmp_path / "out", **options).report.flash
        assert sizes is not None
        return sizes.total

    auto, small = flash(None), flash(None, "small")
    assert auto == flash(auto)
    with pytest.raises(DoesNotFit, match=r"^flash: ") as refusal:
        flash(1)
    needed = int(re.findall(r"^flash: (\d+) bytes needed", str(refusal.value))[0])
    assert needed == flash(needed) <= min(auto, small)
    with pytest.raises(DoesNotFit, match=f"^flash: {needed} bytes needed"):
        flash(needed - 1)


def wasteful() -> Graph:
    """Weights of 8 bits that need four, and two channels of six that are dead."""
    rng = np.random.default_rng(0)
    builder = GraphBuilder(rng)
    stem = rng.integers(-7, 8, (6, 3, 3, 3)).astype(np.int8)
    stem[[1, 4]] = 0
    scale = np.full(6, 0.01, np.float32)
    x = builder.input(s8(5, 5, 3))
    x = builder.add(Conv2D(), x, weights=Weights(codes=stem, bits=8, scale=scale))
    last = rng.integers(-7, 8, (5, 1, 1, 6)).astype(np.int8)
    last_weights = Weights(codes=last, bits=8, scale=np.full(5, 0.1, np.float32))
    return builder.graph(builder.add(Conv2D(), x, weights=last_weights))


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


@pytest.mark.parametrize("kind", [str, Path])
def test_no_model_is_exported_over_itself(kind: type, tmp_path: Path) -> None:
    """The one copy of a model that another tool made would be gone."""
    codeq_compile.to_onnx(small_conv(), tmp_path / "model.onnx")
    before = (tmp_path / "model.onnx").stat().st_mtime_ns
    (tmp_path / "same.onnx").symlink_to("model.onnx")

    with pytest.raises(InputError, match="would be overwritten"):
        codeq_compile.to_onnx(kind(tmp_path / "model.onnx"), kind(tmp_path / "same.onnx"))

    assert before == (tmp_path / "model.onnx").stat().st_mtime_ns


def test_another_name_is_the_prefix_of_everything(tmp_path: Path) -> None:
    """Two trainings of one network must fit into one image."""
    compiled = codeq_compile.compile(small_conv(), tmp_path / "out", target="host", name="ears")

    assert {"ears.c", "ears.h", "ears.cq"} < {path.name for path in (tmp_path / "out").iterdir()}
    assert "small" not in (tmp_path / "out" / "ears.c").read_text()
    assert "codeq compile ears.cq -o out --target host" == compiled.manifest.command


def test_the_recorded_command_has_only_options_of_the_model(tmp_path: Path) -> None:
    """The command line refuses the choice of TensorFlow's kernels for any other file."""
    save(small_conv(), tmp_path / "net.cq")
    other = codeq_compile.Kernels("tflm-float32")
    compiled = codeq_compile.compile(
        tmp_path / "net.cq", tmp_path / "out", target="host", kernels=other
    )

    assert "codeq compile net.cq -o out --target host" == compiled.manifest.command


@pytest.mark.parametrize("word", ["arena", "l01", "small_run", "int"])
def test_a_new_name_that_the_c_cannot_have_is_refused(word: str, tmp_path: Path) -> None:
    """Who asks for `arena` would call a function whose parameter is arena_2."""
    graph = small_conv()

    with pytest.raises(InputError, match=f'the C would call "{word}" '):
        codeq_compile.compile(
            graph, tmp_path / "out", target="host", rename={graph.inputs[0]: word}
        )

    assert not list(tmp_path.iterdir())


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
    # a packing that was asked for is not changed for a budget
    compile_dense = partial(codeq_compile.compile, target="mps2_an386", packing="dense")
    report = compile_dense(small_conv(), tmp_path / "out").report
    before = manifest.digests(tmp_path / "out")
    flash, ram = report.flash, report.ram
    assert flash.total is not None
    budgets = {"flash": flash.total, "weights": flash.weights + flash.tables, "ram": ram.total}

    compile_dense(small_conv(), tmp_path / "exact", **budgets)
    budgets["ram"] = ram.inputs + ram.outputs  # kernels that need less would save some
    for name, limit in budgets.items():
        with pytest.raises(DoesNotFit, match=r'the largest layers:(?s:.*)conv2d "stem"'):
            compile_dense(small_conv(), tmp_path / "out", **{name: limit - 1})

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
