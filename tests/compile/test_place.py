# SPDX-License-Identifier: Apache-2.0
"""Where weights, arena and inner loops go: as text, as sections, and on a board with many."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

import codeq_compile
from codeq_compile import manifest, place, target
from codeq_compile.build import firmware, tools
from codeq_compile.errors import DoesNotFit, InputError
from codeq_compile.target import Target
from tests.boards import COMPILERS, found
from tests.networks import TERNARY, ds_cnn

M4, M55 = target.load("mps2_an386"), target.load("mps3_an547")


def test_parts_go_where_they_are_sent() -> None:
    """Spaces and empty pieces are what shell scripts leave."""
    assert {} == place.parse("", M4)
    assert {"weights": "flash", "arena": "dtcm", "code": "itcm"} == place.parse(
        "weights=flash, arena = dtcm,code=itcm,", M55
    )
    assert {"weights": "ram"} == place.parse("weights=ram", M4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dtcm", '"dtcm" does not place anything: write weights=flash'),
        ("arena=", '"arena=" does not place anything'),
        ("stack=dtcm", 'no part "stack" to place: there are weights, arena, code'),
        ("weight=dtcm", 'no part "weight" to place: did you mean "weights"?'),
        ("arena=dtcm,arena=ram", '"arena" is placed twice'),
        ("arena=dctm", 'mps3_an547 has no memory "dctm": did you mean "dtcm"?'),
        ("arena=x", 'no memory "x": there are flash, ram, itcm, dtcm, sram'),
        ("arena=itcm", "arena=itcm: the arena is written, and itcm of mps3_an547 is rx; possible "),
        ("code=ram", "code=ram: code is executed, and ram of mps3_an547 is rw; possible are flash"),
    ],
)
def test_a_placement_that_cannot_be_is_told_with_what_can(text: str, message: str) -> None:
    """It comes from a command line, and the linker's own words would come too late."""
    with pytest.raises(InputError) as caught:
        place.parse(text, M55)

    assert message in str(caught.value)


def test_the_host_has_no_memories() -> None:
    """Nor sections to put anything in."""
    with pytest.raises(InputError, match="host has no memories to place anything in"):
        place.parse("arena=ram", target.load("host"))


def test_only_what_is_placed_gets_a_section() -> None:
    """Without `--place` the library looks as it always did."""
    assert {} == place.macros({})
    assert {"CQ_ARENA_SECTION": '__attribute__((section(".bss.codeq_arena")))'} == place.macros(
        {"arena": "dtcm"}
    )
    config = (Path(__file__).parents[2] / "runtime_c/include/codeq/config.h").read_text()
    for macro in place.macros(place.DEFAULTS):
        assert f"#define {macro}\n" in config


def addresses(elf: Path) -> dict[str, tuple[int, int]]:
    """First and last address of every section that is not empty."""
    with elf.open("rb") as file:
        return {
            section.name: (section["sh_addr"], section["sh_addr"] + section["sh_size"] - 1)
            for section in ELFFile(file).iter_sections()
            if section["sh_size"]
        }


PLACEMENTS = ("arena=dtcm", "weights=sram,code=itcm", "weights=dtcm,arena=dtcm,code=itcm")
SECTIONS = {"weights": ".weights", "arena": ".arena", "code": ".fast"}


@pytest.mark.slow
@pytest.mark.qemu
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("text", PLACEMENTS)
def test_a_placed_library_computes_the_same_from_other_memories(
    text: str, compiler: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    """Start-up must fill them, calls must reach them, and the guard must let them be used."""
    found(tools.qemu)
    cross = found(COMPILERS[compiler])
    codeq_compile.compile(ds_cnn(rng, TERNARY), tmp_path, target=M55.name, place=text)
    placement = place.parse(text, M55)

    assert placement == manifest.read(tmp_path).placement
    image = firmware.build(tmp_path, M55, compiler=cross)
    sections = addresses(image.elf)
    for part, name in placement.items():
        assert M55.memory is not None
        region = M55.memory.all[name]
        low, high = sections[SECTIONS[part]]
        assert region.origin <= low <= high < region.origin + region.bytes
    assert 0 == codeq_compile.check(tmp_path, [M55.name], samples=1).bytes_differing


@pytest.mark.slow
def test_sizes_do_not_depend_on_the_place(tmp_path: Path, rng: np.random.Generator) -> None:
    """The same flash and RAM are needed, only elsewhere."""
    found(tools.arm_cc)
    graph = ds_cnn(rng, TERNARY)
    here = codeq_compile.compile(graph, tmp_path / "a", target=M55.name).report
    there = codeq_compile.compile(
        graph, tmp_path / "b", target=M55.name, place="weights=sram,arena=dtcm"
    ).report

    assert here.ram == there.ram
    assert here.flash.code == there.flash.code
    assert here.flash.weights == there.flash.weights
    assert there.command.endswith("--place weights=sram,arena=dtcm")


def _with_small_dtcm() -> Target:
    assert M55.memory is not None
    dtcm = msgspec.structs.replace(M55.memory.regions["dtcm"], bytes=4096)
    memory = msgspec.structs.replace(M55.memory, regions={**M55.memory.regions, "dtcm": dtcm})
    return msgspec.structs.replace(M55, memory=memory)


@pytest.mark.slow
def test_a_memory_that_is_too_small_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    """Exit code 3, the memory and the excess."""
    found(tools.arm_cc)
    codeq_compile.compile(ds_cnn(rng, TERNARY), tmp_path, target=M55.name, place="arena=dtcm")

    with pytest.raises(DoesNotFit, match=r"overflows its DTCM by \d+ bytes"):
        firmware.build(tmp_path, _with_small_dtcm())


@pytest.mark.slow
def test_a_board_without_the_memory_refuses_the_library(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """It was compiled for another one."""
    codeq_compile.compile(ds_cnn(rng, TERNARY), tmp_path, target=M55.name, place="arena=dtcm")

    with pytest.raises(InputError, match='mps2_an386 has no memory "dtcm": there are flash, ram'):
        firmware.build(tmp_path, M4)
