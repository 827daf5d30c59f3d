# SPDX-License-Identifier: Apache-2.0
"""A library on disk: complete, deterministic, clean in every compiler, replaced as a whole."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from codeq_compile import emit, manifest
from codeq_compile.build import tools
from codeq_compile.build.host import STRICT_FLAGS
from codeq_compile.build.tools import Tool
from codeq_compile.emit import staging
from codeq_compile.errors import InputError
from codeq_compile.ir import Graph, load, serial
from codeq_compile.memory import Io
from tests.boards import found
from tests.libraries import (
    build_program,
    c_files,
    emitted,
    hostile,
    planned,
    renamed,
    rows,
    small_conv,
)

ROOT = Path(__file__).parents[3]
GRAPHS: tuple[Callable[[], Graph], ...] = (small_conv, hostile, rows)
IO: tuple[Io, ...] = ("caller", "arena")
COMPILERS = {"gcc": tools.host_cc, "zig": tools.zig_cc, "arm": tools.arm_cc}

MAIN = """
#include <stdio.h>
{includes}
int main(void)
{{
{calls}
    return 0;
}}
"""


def run_selftests(folder: Path, compiler: Tool, *directories: Path) -> list[int]:
    """Results of the self-tests of libraries that are linked into one program."""
    libraries = [manifest.read(directory) for directory in directories]
    calls = []
    for library in libraries:
        given = [t for t in library.outputs if t.arena_offset is None]
        buffers = [f"{t.identifier}[{t.bytes // t.dtype.numpy.itemsize}]" for t in given]
        lines = [
            f"    static struct {library.name}_arena {library.name};",
            *(
                f"    static {t.dtype.c_type} {library.name}_{buffer};"
                for t, buffer in zip(given, buffers, strict=True)
            ),
        ]
        outputs = [f"{library.name}_{t.identifier}" for t in given]
        call = f"{library.name}_selftest({', '.join([*outputs, f'&{library.name}'])}, NULL)"
        calls += [*lines, f'    printf("%d\\n", {call});']
    main = folder / "main.c"
    includes = "\n".join(f'#include "{library.name}.h"' for library in libraries)
    main.write_text(MAIN.format(includes=includes, calls="\n".join(calls)))
    build_program(compiler, main, directories, folder / "main")
    done = subprocess.run([str(folder / "main")], capture_output=True, check=True)
    return [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize("graph", GRAPHS)
def test_the_same_input_gives_the_same_bytes(graph: Callable[[], Graph], tmp_path: Path) -> None:
    """Without it nobody can tell from a diff what changed, nor reproduce a release."""
    emitted(graph(), tmp_path / "a")
    emitted(graph(), tmp_path / "elsewhere" / "b")

    first, second = (manifest.digests(tmp_path / name) for name in ("a", "elsewhere/b"))
    assert first == second


def test_nothing_tells_where_or_when_it_was_made(tmp_path: Path) -> None:
    """Paths and dates would make every build another one, and tell about the builder."""
    emitted(small_conv(), tmp_path / "library")

    for path in (tmp_path / "library").glob("*.*"):
        text = path.read_bytes().decode("latin-1")
        assert str(tmp_path) not in text
        assert not re.search(r"\b20[2-9]\d-\d\d-\d\d\b|\b\d\d:\d\d:\d\d\b", text)


@pytest.mark.parametrize("io", IO)
@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize(
    "compiler", ["gcc", *(pytest.param(name, marks=pytest.mark.slow) for name in ("zig", "arm"))]
)
def test_every_file_compiles_without_a_warning(
    compiler: str, graph: Callable[[], Graph], io: Io, tmp_path: Path
) -> None:
    """A user's build with -Werror must not break on our files."""
    library = emitted(graph(), tmp_path, io=io, stream="auto")
    tool = found(COMPILERS[compiler])
    includes = [f"-I{tmp_path / folder}" for folder in library.include]
    core = ["-mcpu=cortex-m4", "-mthumb"] if tool.name.startswith("arm") else []
    selftest = f"{library.name}_selftest.c"
    for source in (*library.sources, selftest):
        command = [*tool.command, *core, "-std=c99", *STRICT_FLAGS, *includes]

        done = subprocess.run(
            [*command, "-c", str(tmp_path / source), "-o", str(tmp_path / "x.o")],
            capture_output=True,
            text=True,
            check=False,
        )

        assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.parametrize("io", IO)
@pytest.mark.parametrize("graph", GRAPHS)
def test_the_layout_is_what_clang_format_would_make(
    graph: Callable[[], Graph], io: Io, tmp_path: Path
) -> None:
    """People read this C; and a formatter in their editor must not change it."""
    emitted(graph(), tmp_path / "library", io=io, stream="auto")
    files = map(str, c_files(tmp_path / "library"))
    style = f"--style=file:{ROOT / '.clang-format'}"
    command = [*found(tools.clang_format).command, style, "--dry-run", "-Werror", *files]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert "" == done.stderr


@pytest.mark.parametrize("io", IO)
@pytest.mark.parametrize("graph", GRAPHS)
def test_the_header_is_cpp_too(graph: Callable[[], Graph], io: Io, tmp_path: Path) -> None:
    """Arduino, mbed and Zephyr applications call it from C++."""
    library = emitted(graph(), tmp_path / "library", io=io)
    (tmp_path / "main.cpp").write_text(
        f'#include "{library.name}.h"\n'
        f"struct {library.name}_arena arena;\n"
        f"int main() {{ auto *const run = &{library.name}_run; return run == nullptr; }}\n"
    )
    includes = [f"-I{tmp_path / 'library' / folder}" for folder in library.include]
    # not `zig c++`: that would build the C++ library first
    command = [*found(tools.zig_cc).command, "-x", "c++", "-std=c++17", "-Wall", "-Wextra"]

    done = subprocess.run(
        [*command, "-Werror", "-c", "-o", "main.o", *includes, "main.cpp"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("io", IO)
@pytest.mark.parametrize("graph", GRAPHS)
def test_the_selftest_passes_and_names_the_vector_that_does_not(
    graph: Callable[[], Graph], io: Io, tmp_path: Path
) -> None:
    """It is what proves a compiler, a flag or a board to the user, without Python."""
    library = emitted(graph(), tmp_path / "library", io=io, stream="auto")
    weights = tmp_path / "library" / f"{library.name}_weights.c"
    compiler = tools.host_cc()

    before = run_selftests(tmp_path, compiler, tmp_path / "library")
    text = weights.read_text()
    weights.write_text(re.sub(r"_exponent\[\d+\](.*) = \{\n +(-?\d+)", _off_by_three, text))
    after = run_selftests(tmp_path, compiler, tmp_path / "library")

    assert ([0], [1]) == (before, after)


def _off_by_three(match: re.Match[str]) -> str:
    return match[0][: -len(match[2])] + str(int(match[2]) + 3)


@pytest.mark.slow
def test_two_models_link_into_one_image(tmp_path: Path) -> None:
    """A device may listen and watch; neither model may know of the other."""
    emitted(small_conv("ears", seed=1), tmp_path / "ears")
    emitted(small_conv("eyes", seed=2), tmp_path / "eyes")
    emitted(hostile(), tmp_path / "hostile")
    folders = [tmp_path / name for name in ("ears", "eyes", "hostile")]

    assert [0, 0, 0] == run_selftests(tmp_path, tools.host_cc(), *folders)


@pytest.mark.slow
def test_cmake_projects_use_two_libraries_as_they_are(tmp_path: Path) -> None:
    """add_subdirectory and target_link_libraries is all that the README asks of a user."""
    cmake = found(tools.cmake)
    emitted(small_conv("ears", seed=1), tmp_path / "ears")
    emitted(hostile(), tmp_path / "hostile")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(both LANGUAGES C)\n"
        "add_subdirectory(ears)\nadd_subdirectory(hostile)\n"
        "add_executable(main main.c)\ntarget_link_libraries(main ears hostile)\n"
    )
    (tmp_path / "main.c").write_text(
        '#include "ears.h"\n#include "hostile.h"\n'
        "static struct ears_arena a;\nstatic struct hostile_arena b;\n"
        "static int8_t head[3], scores[64];\nstatic int32_t best[16];\n"
        "int main(void)\n{\n    return ears_selftest(head, &a, NULL) + "
        "hostile_selftest(best, scores, &b, NULL);\n}\n"
    )
    for arguments in (("-S", ".", "-B", "build"), ("--build", "build")):
        subprocess.run(
            [*cmake.command, *arguments], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL
        )

    assert 0 == subprocess.run([str(tmp_path / "build" / "main")], check=False).returncode


@pytest.mark.slow
def test_cmake_defines_the_sections_of_a_placed_library(tmp_path: Path) -> None:
    """Quotes and brackets must pass CMake, make and the shell."""
    cmake = found(tools.cmake)
    graph = small_conv()
    placement = {"weights": "flash", "arena": "ram", "code": "flash"}
    emit.emit(
        planned(graph), tmp_path / "small", source=graph, command="codeq", placement=placement
    )
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(app LANGUAGES C)\n"
        "add_subdirectory(small)\nadd_executable(main main.c)\ntarget_link_libraries(main small)\n"
    )
    (tmp_path / "main.c").write_text(
        '#include "small.h"\nstruct small_arena arena CQ_ARENA_SECTION;\nint8_t scores[3];\n'
        "int main(void)\n{\n    return small_selftest(scores, &arena, NULL);\n}\n"
    )
    for arguments in (("-S", ".", "-B", "build"), ("--build", "build")):
        subprocess.run(
            [*cmake.command, *arguments], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL
        )

    assert 0 == subprocess.run([str(tmp_path / "build" / "main")], check=False).returncode
    sections = set()
    for path in tmp_path.glob("build/**/*.o"):
        with path.open("rb") as file:
            sections |= {section.name for section in ELFFile(file).iter_sections()}
    assert {".rodata.codeq_weights", ".bss.codeq_arena"} <= sections
    assert any(name.startswith(".text.codeq_code.") for name in sections)


def test_weights_go_where_the_user_puts_them(tmp_path: Path) -> None:
    """External flash, a bank of its own: a macro decides, not an edit of generated files."""
    library = emitted(small_conv(), tmp_path)
    includes = [f"-I{tmp_path / folder}" for folder in library.include]
    section = '-DCQ_WEIGHTS_SECTION=__attribute__((section(".qspi")))'
    image = tmp_path / "weights.o"
    command = [*found(tools.arm_cc).command, section, *includes, "-c", "-o", str(image)]
    subprocess.run([*command, str(tmp_path / "small_weights.c")], check=True)

    with image.open("rb") as file:
        sections = {section.name: section["sh_size"] for section in ELFFile(file).iter_sections()}

    plan = planned(small_conv())
    assert sections[".qspi"] >= plan.weights_bytes + plan.tables_bytes
    assert 0 == sections.get(".rodata", 0)


@pytest.mark.parametrize("find", [tools.arm_cc, tools.zig_cc])
def test_weights_begin_at_a_word_whatever_the_compiler(find, tmp_path: Path) -> None:
    """Where they begin in between, cores without unaligned loads take them byte by byte."""
    library = emitted(small_conv(), tmp_path)
    includes = [f"-I{tmp_path / folder}" for folder in library.include]
    image = tmp_path / "weights.o"
    command = [*found(find).command, "-fdata-sections", *includes, "-c", "-o", str(image)]
    subprocess.run([*command, str(tmp_path / "small_weights.c")], check=True)

    with image.open("rb") as file:
        alignments = {
            section.name: section["sh_addralign"]
            for section in ELFFile(file).iter_sections()
            if section.name.endswith("_weights")
        }

    assert alignments
    assert all(alignment % 4 == 0 for alignment in alignments.values())


def test_another_runtime_is_refused_by_the_compiler(tmp_path: Path) -> None:
    """Structs of another ABI would be read wrongly, silently."""
    library = emitted(small_conv(), tmp_path)
    types = tmp_path / "runtime/include/codeq/types.h"
    types.write_text(types.read_text().replace("CODEQ_RUNTIME_ABI 1", "CODEQ_RUNTIME_ABI 2"))
    includes = [f"-I{tmp_path / folder}" for folder in library.include]

    done = subprocess.run(
        [*tools.host_cc().command, "-fsyntax-only", *includes, str(tmp_path / "small.c")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 != done.returncode
    assert "small was generated for codeq runtime ABI 1" in done.stderr


def test_the_model_file_is_the_one_that_was_given(tmp_path: Path) -> None:
    """The simulation of DIR must be the simulation of the user's file."""
    graph = small_conv()

    library = emitted(graph, tmp_path)

    stored = load(tmp_path / library.model)
    assert serial.dumps(graph) == (tmp_path / library.model).read_bytes()
    assert serial.digest(stored) == library.model_sha256


def test_an_error_leaves_the_old_library_whole(tmp_path: Path) -> None:
    """A failed compilation must not leave half of two libraries."""
    folder = tmp_path / "library"
    emitted(small_conv(), folder)
    before = manifest.digests(folder)

    def fail() -> None:
        with staging(folder) as part:
            (part / "small.c").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert before == manifest.digests(folder)
    assert ["library"] == [path.name for path in tmp_path.iterdir()]


def test_a_new_library_replaces_the_old_one_and_keeps_foreign_files(tmp_path: Path) -> None:
    """What codeq wrote goes; what the user put there is the user's."""
    folder = tmp_path / "library"
    emitted(hostile(), folder)
    (folder / "notes").mkdir()
    (folder / "notes" / "mine.txt").write_text("keep")

    emitted(small_conv(), folder)

    assert "keep" == (folder / "notes" / "mine.txt").read_text()
    assert not [path for path in folder.rglob("*") if "hostile" in path.name]
    assert not (folder / "runtime/src/lut").exists()
    assert ["library"] == [path.name for path in tmp_path.iterdir()]


def test_a_folder_of_something_else_is_not_touched(tmp_path: Path) -> None:
    """`-o ~` must not empty a home."""
    (tmp_path / "thesis.tex").write_text("years")

    with pytest.raises(InputError, match="not an emitted library"):
        emitted(small_conv(), tmp_path)

    assert ["thesis.tex"] == [path.name for path in tmp_path.iterdir()]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """Not the hidden one beside it, which nobody has asked for."""
    (tmp_path / "file").touch()

    with pytest.raises(InputError, match=r"cannot write .*/file/library: /.*/file is a file"):
        emitted(small_conv(), tmp_path / "file" / "library")


def test_a_full_disk_is_told_with_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`File too large` alone does not say where there is no room."""

    def full(*_: object, **__: object) -> None:
        raise OSError(27, "File too large")

    monkeypatch.setattr(Path, "write_text", full)

    with pytest.raises(InputError, match=f"cannot write {tmp_path / 'library'}: File too large"):
        emitted(small_conv(), tmp_path / "library")

    assert not list(tmp_path.iterdir())


def test_the_current_folder_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `-o .` the user's shell would stand in a folder that was deleted."""
    folder = tmp_path / "library"
    emitted(small_conv(), folder)
    before = manifest.digests(folder)
    monkeypatch.chdir(folder / "runtime")

    for output in (folder, Path(".."), folder / "runtime"):
        with pytest.raises(InputError, match="another"):
            emitted(small_conv(), output)

    assert before == manifest.digests(folder)
    assert ["library"] == [path.name for path in tmp_path.iterdir()]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """Whoever keeps the library elsewhere, behind a link, finds the new one there."""
    real, link = tmp_path / "real", tmp_path / "link"
    emitted(hostile(), real)
    link.symlink_to(real)

    emitted(small_conv(), link)

    assert link.is_symlink()
    assert "small" == manifest.read(real).name


def test_views_and_copies_of_inputs_and_outputs_are_planned(tmp_path: Path) -> None:
    """An output that is only the input in another shape must still be filled."""
    graph = renamed(small_conv(), {"stem.out": "features"})
    graph = type(graph)(
        name="both",
        tensors=graph.tensors,
        inputs=graph.inputs,
        outputs=(*graph.outputs, "features", "flatten.out"),
        nodes=graph.nodes,
    )
    emitted(graph, tmp_path / "both")

    assert [0] == run_selftests(tmp_path, tools.host_cc(), tmp_path / "both")
    assert 3 == len(planned(graph).graph.outputs)


def test_the_version_of_the_generator_is_the_packages() -> None:
    """A bug report must name the version that wrote the file."""
    assert re.fullmatch(r"codeq \d+\.\d+\.\d+\S*", emit.generator())
