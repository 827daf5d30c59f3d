# SPDX-License-Identifier: Apache-2.0
"""Boards as the compiler sees them."""

from pathlib import Path

import msgspec
import pytest

from codeq_compile import target
from codeq_compile.errors import InputError
from codeq_compile.resources import targets_dir

GOOD = """
name = "board"
description = "A board"
core = "cortex-m4"
isa = ["dsp", "ref"]
[memory]
flash_origin = 0
flash_bytes = 65536
ram_origin = 0x20000000
ram_bytes = 8192
stack_bytes = 1024
[build]
gcc_flags = ["-mcpu=cortex-m4"]
[run]
runner = "qemu"
machine = "mps2-an386"
"""


REGION = """
[memory.regions.tcm]
origin = 0x10000000
bytes = 4096
access = "rw"
[build]"""


def written(folder: Path, text: str, name: str = "board") -> Path:
    """A `target.toml` in the folder of a board."""
    path = folder / name / "target.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", target.names())
def test_every_shipped_target_is_read(name: str) -> None:
    """A spelling mistake in a board's file must not wait for its first user."""
    board = target.load(name)

    assert name == board.name
    assert board.is_host == (board.memory is None)


def test_the_six_cores_and_the_host_are_there() -> None:
    """What the tests compare on."""
    cores = {target.load(name).core for name in target.names()}

    assert {"host", *(f"cortex-m{n}" for n in (0, 3, 4, 7, 33, 55))} <= cores
    assert "common" not in target.names()
    assert (targets_dir() / "common").is_dir()


def test_a_board_is_a_folder(tmp_path: Path) -> None:
    """Adding one edits no file of ours."""
    written(tmp_path, GOOD)
    board = target.load("board", tmp_path)

    assert ("board",) == target.names(tmp_path)
    assert (("dsp", "ref"), 4) == (board.isa, board.alignment)
    assert board.memory is not None
    assert (65536, 8192) == (board.memory.part_flash_bytes, board.memory.part_ram_bytes)


def test_an_enlarged_part_knows_its_real_size(tmp_path: Path) -> None:
    """'It fits' must mean the part that is sold."""
    real = "stack_bytes = 1024\nreal_flash_bytes = 1000\nreal_ram_bytes = 2000"
    board = target.read(written(tmp_path, GOOD.replace("stack_bytes = 1024", real)))

    assert board.memory is not None
    assert (1000, 2000) == (board.memory.part_flash_bytes, board.memory.part_ram_bytes)


def test_further_memories_stand_beside_flash_and_ram(tmp_path: Path) -> None:
    """What `--place` can choose from."""
    board = target.read(written(tmp_path, GOOD.replace("[build]", REGION)))

    assert board.memory is not None
    assert ["flash", "ram", "tcm"] == list(board.memory.all)
    assert (0x10000000, 4096, "rw") == msgspec.structs.astuple(board.memory.all["tcm"])
    assert (0, 65536, "rx") == msgspec.structs.astuple(board.memory.all["flash"])


def test_the_end_of_the_flash_is_flash_until_something_is_placed_there(tmp_path: Path) -> None:
    """Half of a tightly coupled memory must not be lost to programs that do not ask for it."""
    end = REGION.replace("rw", "rx").replace("0x10000000", "0xf000")
    board = target.read(written(tmp_path, GOOD.replace("[build]", end)))

    assert board.memory is not None
    alone, beside = board.memory.used(["ram"]), board.memory.used(["tcm", "flash"])
    assert ["flash", "ram"] == list(alone)
    assert 65536 == alone["flash"].bytes == beside["flash"].bytes + beside["tcm"].bytes
    assert beside["flash"].end == beside["tcm"].origin


def test_vector_cores_align_to_vectors() -> None:
    """And only they: 16 bytes a buffer are too much for an M0."""
    assert 16 == target.load("mps3_an547").alignment
    assert 4 == target.load("microbit").alignment


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "board"', 'name = "bord"', 'the name "bord" is not the folder'),
        ('name = "board"', "", "missing required field `name`"),
        ("description", "desription", 'field "desription": did you mean "description"?'),
        ("flash_bytes", "flash_byte", 'field "memory.flash_byte": did you mean "flash_bytes"?'),
        ("machine", "board", 'unknown field "run.board": known are runner, machine'),
        ("gcc_flags", "gccflags", 'did you mean "gcc_flags"?'),
        ("65536", '"64K"', "Expected `int"),
        ("65536", "-1", "flash_bytes = -1 is not a 32-bit"),
        ("stack_bytes = 1024", "stack_bytes = 9000", "is more than the RAM"),
        ('["dsp", "ref"]', '["ref", "dsp"]', 'best first, and ends in "ref"'),
        ('["dsp", "ref"]', "[]", 'ends in "ref"'),
        ('["dsp", "ref"]', '["neon", "ref"]', "Invalid enum value 'neon'"),
        ('"qemu"', '"jlink"', "Invalid enum value 'jlink'"),
        ("cortex-m4", "host", "the host has none"),
        ('core = "', 'core = ["', "is not TOML"),
        ("[memory]", "[[memory]]", "Expected `object"),
        ("[build]", REGION.replace("origin", "orign"), '"memory.regions.tcm.orign": did you mean'),
        ("[build]", REGION.replace("rw", "wx"), "Invalid enum value 'wx'"),
        ("[build]", REGION.replace("tcm", "ram"), 'a memory cannot be called "ram"'),
        ("[build]", REGION.replace("tcm", "TCM"), 'a memory cannot be called "TCM"'),
        ("[build]", REGION.replace("0x10000000", "0x20001000"), "two memories overlap"),
        ("[build]", REGION.replace("4096", "0x100000000"), "is not a 32-bit address or size"),
    ],
)
def test_a_wrong_file_is_told_with_the_field(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    """People write these files by hand."""
    path = written(tmp_path, GOOD.replace(old, new, 1))

    with pytest.raises(InputError) as caught:
        target.read(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_board_without_memory_is_no_board(tmp_path: Path) -> None:
    """The linker script is made from it."""
    text = GOOD[: GOOD.index("[memory]")]

    with pytest.raises(InputError, match=r"a board has a \[memory\] section"):
        target.read(written(tmp_path, text))


def test_an_unknown_target_is_told_with_the_likely_one(tmp_path: Path) -> None:
    """Vendor names are long."""
    with pytest.raises(InputError, match='no target "mps2_an368": did you mean "mps2_an38'):
        target.load("mps2_an368")
    with pytest.raises(InputError, match='no target "zzz": there are host, microbit'):
        target.load("zzz")
    with pytest.raises(InputError, match="cannot read"):
        target.read(tmp_path / "target.toml")
    with pytest.raises(InputError, match="no target"):
        target.load("../host")
