# SPDX-License-Identifier: Apache-2.0
"""Every emulated board starts, computes the same bytes, and stops where a program goes astray."""

import msgspec
import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from codeq_compile import target
from codeq_compile.build import firmware, run
from codeq_compile.build.firmware import Firmware
from codeq_compile.target import Run
from tests.boards import (
    COMPILERS,
    EMULATED,
    EMULATORS,
    EXECUTE_RAM,
    OVERFLOW_STACK,
    PROBE,
    PROBE_BYTES,
    PROBE_FRAME_BYTES,
    READ_BEHIND_RAM,
    READ_NULL,
    READ_UNMAPPED,
    UNDEFINED_INSTRUCTION,
    USE_STACK,
    WRITE_FLASH,
    WRITE_NULL,
    each,
    failure,
    found,
    probe,
    probe_outputs,
    request,
)

pytestmark = pytest.mark.qemu

WITH_MPU = tuple(name for name in EMULATED if target.load(name).core != "cortex-m0")
FLASHED = ("nrf52840dk", "nucleo_f411re")


@pytest.fixture
def samples(rng: np.random.Generator) -> np.ndarray:
    """Inputs that make the probe compute."""
    inputs = rng.integers(0, 256, (5, PROBE_BYTES), np.uint8)
    inputs[:, 0] = 0
    inputs[:, 1] = [0, 1, 255, 2, 255]
    return inputs


def assert_computes(image: Firmware, samples: np.ndarray, emulator: str) -> None:
    scaled, outputs = probe_outputs(samples)

    result = run.run(image, samples, traced=2, emulator=found(EMULATORS[emulator]))

    np.testing.assert_array_equal(outputs, result.outputs)
    assert [0, 0, -1, 0, -1] == result.statuses.tolist()
    assert [
        (0, 0, scaled[0].tobytes()),
        (0, 3, outputs[0, :2].tobytes()),
        (1, 0, scaled[1].tobytes()),
        (1, 3, outputs[1, :2].tobytes()),
    ] == [(record.sample, record.layer, record.data) for record in result.trace]


@pytest.mark.parametrize("board", EMULATED)
def test_the_board_computes_the_right_bytes(board, samples):
    """Start-up, vectors, memory, files and the compiler's library work, or nothing else can."""
    assert_computes(probe(board), samples, "qemu")


@pytest.mark.slow  # zig builds its library once a core
@pytest.mark.parametrize("board", EMULATED)
def test_images_of_the_second_compiler_compute_the_same_bytes(board, samples):
    """Who has only pip builds with zig; one compiler's mistake is no reference."""
    assert_computes(probe(board, "zig"), samples, "qemu")


@pytest.mark.slow
@pytest.mark.parametrize("board", each(name for name in EMULATED if name != "mps3_an547"))
def test_unicorn_gives_the_bytes_that_qemu_gives(board, samples):
    """Who has only pip must get the same verdict as who has QEMU."""
    assert_computes(probe(board), samples, "unicorn")


ILLEGAL = {
    "reads NULL": READ_NULL,
    "writes NULL": WRITE_NULL,
    "writes flash": WRITE_FLASH,
    "reads behind RAM": READ_BEHIND_RAM,
    "executes RAM": EXECUTE_RAM,
    "reads an empty address": READ_UNMAPPED,
}


@pytest.mark.parametrize("what", ILLEGAL)
@pytest.mark.parametrize("board", each(WITH_MPU))
def test_a_stray_access_is_a_memory_fault(board, what):
    """A kernel that reads or writes out of bounds must not pass by luck."""
    error = failure(board, ILLEGAL[what])

    assert 104 == error.status
    assert "FAULT MemManage at pc " in error.output


@pytest.mark.parametrize(
    "what", [what for what in ILLEGAL if what not in ("reads NULL", "executes RAM")]
)
def test_the_core_without_protection_still_sees_what_its_bus_refuses(what):
    """Cortex-M0 has no MPU: only NULL, which is flash there, and code in RAM go unnoticed."""
    error = failure("microbit", ILLEGAL[what])

    assert 103 == error.status
    assert "FAULT HardFault at pc " in error.output


@pytest.mark.parametrize("board", each(EMULATED))
def test_a_stack_overflow_is_reported_as_one(board):
    """An overflow that eats data gives wrong results instead of a message."""
    error = failure(board, OVERFLOW_STACK)

    assert error.status in (103, 104, 106)
    assert "stack overflow" in error.output


@pytest.mark.parametrize("board", each(EMULATED))
def test_an_undefined_instruction_is_a_fault(board):
    """A kernel for another core must stop at once, and say where."""
    error = failure(board, UNDEFINED_INSTRUCTION)

    assert (103 if board == "microbit" else 106) == error.status
    assert " at pc " in error.output


@pytest.mark.slow
@pytest.mark.parametrize("emulator", EMULATORS)
@pytest.mark.parametrize("board", ["microbit", "mps2_an386"])
def test_the_watermark_grows_by_the_frames_that_were_used(board, emulator):
    """The stack a user reserves is taken from this number."""
    shallow, deep = (
        run.run(
            probe(board), request(USE_STACK, depth), emulator=found(EMULATORS[emulator])
        ).stack_bytes
        for depth in (1, 4)
    )

    # three more frames, each with its return address and saved registers
    assert 3 * PROBE_FRAME_BYTES <= deep - shallow < 3 * (PROBE_FRAME_BYTES + 64)
    assert PROBE_FRAME_BYTES <= shallow < 4 * PROBE_FRAME_BYTES


def test_bytes_that_a_model_does_not_write_are_not_those_of_the_sample_before(samples):
    """A layer that stops early would look right on two equal samples."""
    batch = np.concatenate([samples[:1], request(USE_STACK)])

    result = run.run(probe("mps2_an386"), batch, emulator=found(EMULATORS["qemu"]))

    assert [0xA5] * (PROBE_BYTES - 1) == result.outputs[1, 1:].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("compiler", COMPILERS)
def test_an_image_for_the_nucleo_starts_on_the_machine_with_its_memory_map(compiler, samples):
    """What `codeq flash` writes is proved to start, with no board at hand."""
    nucleo = target.load("nucleo_f411re")
    emulated = msgspec.structs.replace(nucleo, run=Run(runner="qemu", machine="netduinoplus2"))

    image = firmware.link(PROBE, emulated, compiler=found(COMPILERS[compiler]))

    assert_computes(image, samples, "qemu")


@pytest.mark.slow
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("board", FLASHED)
def test_an_image_for_a_real_board_starts_where_its_core_looks(board, compiler):
    """An image at another address is flashed without complaint and never runs."""
    image = probe(board, compiler)
    memory = image.target.memory
    assert memory is not None
    with image.elf.open("rb") as file:
        (vectors,) = (
            segment.data()
            for segment in ELFFile(file).iter_segments("PT_LOAD")
            if segment["p_paddr"] == memory.flash_origin
        )

    stack, reset = np.frombuffer(vectors[:8], "<u4").tolist()

    assert memory.ram_origin + memory.stack_bytes == stack
    assert memory.flash_origin < reset < memory.flash_origin + memory.flash_bytes
    assert 1 == reset % 2  # Thumb


@pytest.mark.board
@pytest.mark.parametrize("board", FLASHED)
def test_a_real_board_computes_what_the_emulated_ones_do(board, samples):
    """Only silicon proves the memory map; needs the board on USB and pyOCD."""
    assert_computes(probe(board), samples, "qemu")
