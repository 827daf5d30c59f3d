# SPDX-License-Identifier: Apache-2.0
"""Cross builds: what is measured, what does not fit, what fails, and what the C looks like."""

import gc
import subprocess
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from codeq_compile import manifest, passes, target
from codeq_compile.build import firmware, tools
from codeq_compile.build.firmware import Program
from codeq_compile.build.host import STRICT_FLAGS
from codeq_compile.emit import emit
from codeq_compile.errors import DoesNotFit, InputError, ToolError
from codeq_compile.ops.argmax import Argmax
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.mean import Mean
from codeq_compile.ops.reshape import Reshape
from codeq_compile.plan import Plan, plan
from codeq_compile.resources import runtime_dir, targets_dir
from tests.boards import COMPILERS, PROBE, found, probe
from tests.graphs import random_bias, random_weights, s8
from tests.strategies import GraphBuilder

WEIGHTS, BIASES, ARENA, INPUTS, OUTPUTS = 1000, 40, 320, 20, 8

WEIGHTS_C = f"""
#include <stdint.h>
const uint8_t m_l01_weights[{WEIGHTS}] = {{1}};
const int16_t m_l01_bias[{BIASES // 2}] = {{2}};
const uint8_t m_l02_weights[500] = {{3}}; /* not used: must not count */
uint8_t cq_kernel(uint8_t x) {{ return (uint8_t)(x * x); }}
"""

BINDING_C = f"""
#include "harness.h"
extern const uint8_t m_l01_weights[];
extern const int16_t m_l01_bias[];
static uint8_t arena[{ARENA}];
static uint8_t scores_buffer[64];
uint8_t cq_kernel(uint8_t x);
static enum cq_status run(const uint8_t *inputs, uint8_t *outputs)
{{
    arena[inputs[0]] = m_l01_weights[inputs[1]];
    scores_buffer[inputs[2]] = cq_kernel(inputs[3]);
    outputs[0] = (uint8_t)(m_l01_bias[inputs[0] & 3] + arena[inputs[2]] + scores_buffer[inputs[3]]);
    return CQ_OK;
}}
const struct codeq_harness codeq_harness = {{"m", {INPUTS}, {OUTPUTS}, run, {INPUTS}}};
"""


@pytest.fixture
def model(tmp_path: Path) -> Program:
    """Sources of a model with known sizes."""
    weights, binding = tmp_path / "m_weights.c", tmp_path / "m_harness.c"
    weights.write_text(WEIGHTS_C)
    binding.write_text(BINDING_C)
    return Program(
        app=targets_dir() / "common" / "footprint.c",
        binding=(binding,),
        weights=(weights,),
        includes=(runtime_dir() / "include",),
    )


@pytest.mark.parametrize("compiler", COMPILERS)
def test_every_byte_is_counted_where_it_belongs(model, compiler):
    """The report's flash split and RAM are what users choose parts by."""
    image = firmware.link(model, target.load("mps2_an386"), compiler=found(COMPILERS[compiler]))

    sizes = image.sizes
    assert WEIGHTS == sizes.weights_bytes
    assert BIASES == sizes.tables_bytes
    assert ARENA + INPUTS == sizes.ram_bytes  # the outputs stand in the arena
    assert 0 < sizes.kernels_bytes <= sizes.code_bytes < 12  # multiply, narrow, return
    assert WEIGHTS + BIASES + sizes.code_bytes + sizes.constants_bytes == sizes.flash_bytes
    assert (INPUTS, OUTPUTS) == (image.input_bytes, image.output_bytes)
    assert 64 <= sizes.board_ram_bytes  # scores_buffer belongs to the test, not to the model


def test_start_up_costs_the_model_nothing(model):
    """Flash figures of two boards with different vectors must be comparable."""
    sizes = firmware.link(model, target.load("mps2_an386")).sizes

    # the binding of the probe is not the code of the model
    assert WEIGHTS + BIASES + sizes.kernels_bytes == sizes.flash_bytes
    assert 0 < sizes.board_flash_bytes


def test_a_model_larger_than_ram_is_refused_with_the_excess(model, tmp_path):
    """Exit code 3 and a number, not a page of linker output."""
    small = msgspec.structs.replace(
        target.load("mps2_an386"),
        memory=msgspec.structs.replace(
            target.load("mps2_an386").memory, ram_bytes=1024, stack_bytes=1024
        ),
    )

    with pytest.raises(DoesNotFit, match=r"overflows its RAM by \d+ bytes"):
        firmware.link(model, small)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_model_larger_than_flash_is_refused_with_the_excess(model, compiler):
    """Exit code 3 and a number, not a page of linker output."""
    board = target.load("mps2_an386")
    small = msgspec.structs.replace(
        board, memory=msgspec.structs.replace(board.memory, flash_bytes=2048)
    )

    with pytest.raises(DoesNotFit, match=r"overflows its FLASH by \d+ bytes"):
        firmware.link(model, small, compiler=found(COMPILERS[compiler]))


def test_the_real_part_decides_what_fits(model):
    """The emulated micro:bit is larger than the one on the desk."""
    board = target.load("microbit")
    sizes = firmware.link(model, board).sizes
    enlarged = replace(sizes, ram_bytes=20_000, flash_bytes=300_000)

    assert () == firmware.misfits(sizes, board)
    assert [
        f"flash: {300_000 + sizes.board_flash_bytes} bytes needed, {256 * 1024} there",
        f"RAM: {20_000 + sizes.board_ram_bytes + 100} bytes needed, {16 * 1024} there",
    ] == list(firmware.misfits(enlarged, board, stack_bytes=100))


@pytest.fixture
def emitted(rng: np.random.Generator, tmp_path: Path) -> tuple[Plan, Path]:
    """A small network as a library for the Cortex-M4, with a tensor that is not int8."""
    builder = GraphBuilder(rng, "tiny")
    x = builder.input(s8(6, 5, 3))
    convolution, classifier = (
        random_weights(rng, (8, 3, 3, 3), bits=3),
        random_weights(rng, (5, 8), bits=8),
    )
    y = builder.add(
        Conv2D(), x, weights=convolution, bias=random_bias(rng, convolution), name="features"
    )
    y = builder.add(Reshape(shape=(8,)), builder.add(Mean(), y))
    scores = builder.add(
        Linear(), y, weights=classifier, bias=random_bias(rng, classifier), name="classifier"
    )
    graph = builder.graph(scores, builder.add(Argmax(), scores))
    planned = plan(passes.run(graph), target.load("mps2_an386"))
    directory = tmp_path / "tiny"
    emit(planned, directory, source=graph, command="codeq compile tiny.cq")
    return planned, directory


@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_linked_image_holds_what_the_plan_promised(emitted, compiler):
    """Budgets are checked against the image, and layers are printed from the plan: one truth."""
    planned, directory = emitted

    image = firmware.build(
        directory, planned.target, compiler=found(COMPILERS[compiler]), app="footprint"
    )

    sizes = image.sizes
    assert planned.weights_bytes == sizes.weights_bytes
    symbols = 4 * len(planned.layers)  # each may be padded to the next one's alignment
    assert planned.tables_bytes <= sizes.tables_bytes < planned.tables_bytes + 4 * symbols
    arena = manifest.read(directory).arena_bytes
    assert arena + planned.input_bytes + planned.output_bytes == sizes.ram_bytes
    assert (planned.input_bytes, planned.output_bytes) == (image.input_bytes, image.output_bytes)


def test_source_that_does_not_compile_is_quoted(model, tmp_path):
    """A tool error without the compiler's words cannot be acted on."""
    broken = tmp_path / "broken.c"
    broken.write_text("#error no way\n")

    with pytest.raises(ToolError, match=r"broken.c does not compile") as caught:
        firmware.link(replace(model, library=(broken,)), target.load("mps2_an386"))

    assert "no way" in caught.value.output


def test_the_host_is_no_board():
    """`codeq run --target host` must say so instead of failing in a linker."""
    with pytest.raises(InputError, match="target host has no memory map"):
        firmware.link(PROBE, target.load("host"))


def test_a_folder_that_holds_no_library_is_refused(tmp_path):
    """A mistyped path is the user's most frequent error."""
    with pytest.raises(InputError, match="is not an emitted library"):
        firmware.build(tmp_path, target.load("mps2_an386"))


def test_what_is_no_elf_file_has_no_sizes(tmp_path):
    """`codeq report` of a damaged build must name the file."""
    path = tmp_path / "firmware.elf"
    path.write_bytes(b"text")

    with pytest.raises(InputError, match=r"firmware\.elf is not an ELF file"):
        firmware.sizes(path)


def test_an_image_is_removed_together_with_its_object():
    """Hundreds of builds must not fill the disk."""
    image = firmware.link(PROBE, target.load("mps2_an386"))
    elf = image.elf
    assert elf.is_file()

    del image
    gc.collect()

    assert not elf.parent.exists()


def test_no_image_contains_a_c_library(tmp_path):
    """The start-up must work with a compiler that has no newlib."""
    sources = (*sorted((targets_dir() / "common").glob("*.[ch]")), *PROBE.library)
    included = {
        line.split()[1]
        for source in sources
        for line in source.read_text().splitlines()
        if line.startswith("#include <") and "codeq/" not in line
    }

    assert {"<stdint.h>", "<stddef.h>"} == included


CORES = ("microbit", "mps2_an386", "mps3_an547")


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("board", CORES)
def test_the_boards_sources_compile_without_warnings(board, compiler, tmp_path):
    """Users build these files with their own strict flags."""
    tool = found(COMPILERS[compiler])
    options = target.load(board).build
    if tools.is_zig(tool):
        core = ["-target", options.zig_target, f"-mcpu={options.zig_cpu}", *firmware.ZIG_FLAGS]
    else:
        core = [*options.gcc_flags, *firmware.GCC_FLAGS]
    sources = [*sorted((targets_dir() / "common").glob("*.c")), *PROBE.library]
    command = [
        *tool.command,
        *core,
        *firmware.COMPILE_FLAGS,
        *STRICT_FLAGS,
        f"-I{runtime_dir() / 'include'}",
        f"-I{targets_dir() / 'common'}",
        "-c",
    ]

    for source in sources:
        done = subprocess.run(
            [*command, str(source), "-o", str(tmp_path / "out.o")], capture_output=True, text=True
        )

        assert "" == done.stderr + done.stdout
        assert 0 == done.returncode


def test_both_compilers_agree_on_what_the_model_costs_in_ram():
    """RAM is the memory plan's, whoever compiles."""
    assert probe("mps2_an386").sizes.ram_bytes == probe("mps2_an386", "zig").sizes.ram_bytes
