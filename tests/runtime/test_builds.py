# SPDX-License-Identifier: Apache-2.0
"""The runtime as code: no warnings, no floating point, nothing linked that is not called."""

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from codeq_compile import target as targets
from codeq_compile.build.firmware import GCC_FLAGS, ZIG_FLAGS
from codeq_compile.build.tools import Tool, arm_cc, clang_format, cmake, host_cc, zig_cc
from codeq_compile.errors import ToolError
from codeq_compile.resources import runtime_dir
from codeq_compile.target import Target
from tests.runtime.binding import STRICT, compile_c, sources

ROOT = Path(__file__).resolve().parents[2]
C_FILES = sorted(
    path
    for folder in (runtime_dir(), ROOT / "tests" / "runtime" / "c")
    for path in folder.rglob("*")
    if path.suffix in {".c", ".h", ".cpp"}
)
MORE_FLAGS = ("-Wvla", "-O2", "-ffunction-sections", "-fdata-sections")
FRAMES = "-Wframe-larger-than=1023"
"""What runtime_c/README.md promises of the stack; a host with 64 bits needs more."""

CORES = {
    board.core: board
    for name in targets.names()
    if not (board := targets.load(name)).is_host and name.startswith(("mps", "microbit"))
}

FLOAT_HELPER = re.compile(r"__aeabi_[fd]\w+|__\w+[sd]f\d?\Z|\w*float\w*")
FLOAT_INSTRUCTION = re.compile(r"\tv\w+\.f(?:16|32|64)\b.*")
# what gcc and clang call instead of writing the instructions out: no library but their own
INTEGER_HELPER = re.compile(r"mem(?:cpy|set)|__aeabi_(?:mem(?:cpy|set)\d?|[ui]?l?\w*div\w*|l\w+)")


def installed(find: Callable[[], Tool]) -> Tool:
    """A tool, or a skip that says how to install it."""
    try:
        return find()
    except ToolError as error:
        pytest.skip(str(error))  # it names the compiler and how to install it


def output_of(command: Sequence[str | Path], cwd: Path | None = None) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=cwd
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def compile_all(compiler: Tool, flags: Sequence[str], directory: Path) -> list[Path]:
    """Objects of the whole runtime, warnings being errors."""
    include = f"-I{runtime_dir() / 'include'}"
    command = [*compiler.command, *STRICT, *MORE_FLAGS, *flags, include, "-c", *sources()]
    output_of(command, directory)
    return sorted(directory.glob("*.o"))


def arm_gcc() -> Tool:
    """The GNU compiler for Cortex-M, not zig."""
    compiler = installed(arm_cc)
    if compiler.name != "arm-none-eabi-gcc":
        pytest.skip("needs arm-none-eabi-gcc: apt install gcc-arm-none-eabi")
    return compiler


def beside(compiler: Tool, program: str) -> str:
    """A program of the same toolchain: nm, objdump."""
    return compiler.command[0].removesuffix("gcc") + program


@pytest.fixture(scope="module", params=sorted(CORES))
def board(request: pytest.FixtureRequest) -> Target:
    return CORES[request.param]


@pytest.fixture(scope="module")
def gcc_objects(board: Target, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """All objects by arm-none-eabi-gcc for one core; compiling them is the warning test."""
    directory = tmp_path_factory.mktemp(board.core)
    return compile_all(arm_gcc(), [*board.build.gcc_flags, *GCC_FLAGS, FRAMES], directory)


def test_all_six_cores_are_built():
    """A core that drops out of the list would no longer be compiled for."""
    expected = {f"cortex-m{n}" for n in (0, 3, 4, 7, 33, 55)}

    assert expected == set(CORES)


@pytest.mark.slow
@pytest.mark.parametrize("find", [host_cc, zig_cc], ids=["host", "zig"])
def test_the_host_compilers_have_nothing_to_warn_about(find, tmp_path):
    """Users build with -Werror; a warning in a vendored file would stop them."""
    assert compile_all(installed(find), [], tmp_path)


@pytest.mark.slow
def test_zig_has_nothing_to_warn_about_on_any_core(board, tmp_path):
    """Without an Arm toolchain, firmware is built by zig, for a target that has no string.h."""
    core = ["-target", str(board.build.zig_target), f"-mcpu={board.build.zig_cpu}"]

    flags = [*core, *board.build.zig_flags, *ZIG_FLAGS, FRAMES]
    assert compile_all(installed(zig_cc), flags, tmp_path)


@pytest.mark.slow
def test_nothing_is_linked_but_integer_helpers(gcc_objects):
    """Soft floating point costs kilobytes and hundreds of cycles; a libc may not be there."""
    listed = output_of([beside(arm_gcc(), "nm"), "--extern-only", *gcc_objects])
    found = re.findall(r"^[0-9a-f ]* ([A-Z]) (\S+)", listed, re.MULTILINE)
    symbols = {name for kind, name in found if kind == "U"}
    symbols -= {name for kind, name in found if kind != "U"}  # of the runtime itself
    assert symbols

    assert not {symbol for symbol in symbols if FLOAT_HELPER.fullmatch(symbol)}
    assert not {symbol for symbol in symbols if not INTEGER_HELPER.fullmatch(symbol)}


@pytest.mark.slow
def test_no_instruction_computes_in_floating_point(board, gcc_objects):
    """A core without an FPU would fault, and one with it would have to save its registers."""
    tool = [beside(arm_gcc(), "objdump"), "-d"]
    if "mve" in board.isa:
        tool.append("-marmv8.1-m.main")

    assert [] == FLOAT_INSTRUCTION.findall(output_of([*tool, *gcc_objects]))


@pytest.mark.slow
def test_no_variable_is_left_in_ram(gcc_objects):
    """Kernels are re-entrant because nothing of theirs is writable between calls."""
    symbols = output_of([beside(arm_gcc(), "nm"), *gcc_objects])

    assert [] == re.findall(r"^\w+ [bBdDcCsS] .*", symbols, re.MULTILINE)


@pytest.mark.slow
def test_the_fast_code_macro_moves_the_inner_loops(tmp_path):
    """CQ_FAST_CODE must reach the code where the time goes, or fast memory stays empty."""
    compiler = arm_gcc()
    flag = '-DCQ_FAST_CODE=__attribute__((section(".ramfunc"), noinline))'
    objects = compile_all(compiler, [*CORES["cortex-m4"].build.gcc_flags, flag], tmp_path)

    moved = output_of([beside(compiler, "nm"), "--format=sysv", *objects])

    fast = set(re.findall(r"^(cq_\w+).*\|\.ramfunc", moved, re.MULTILINE))
    assert {"cq_accumulate_dense", "cq_accumulate_sparse"} <= fast
    assert {"cq_multiply_pieces", "cq_sum_products", "cq_store_outputs"} <= fast
    assert {f"cq_{name}_next" for name in ("dense", "ternary", "bitmask", "rle")} <= fast
    assert "cq_dwconv2d_inside" in fast


def test_no_two_sources_have_one_name() -> None:
    """Many build systems put all objects into one folder."""
    names = [path.name for path in C_FILES if path.suffix == ".c"]

    assert sorted(set(names)) == sorted(names)


@pytest.mark.slow
def test_a_program_holds_the_kernels_that_it_calls_and_no_others(tmp_path):
    """Flash is the point: one width and packing must not drag the others along."""
    compiler = arm_gcc()
    core = CORES["cortex-m0"].build.gcc_flags
    objects = compile_all(compiler, [*core, *GCC_FLAGS], tmp_path)
    kernel = "cq_linear_s8_w4_bitmask_ref"
    elf = tmp_path / "program.elf"
    output_of(
        [
            *(*compiler.command, *core, "-nostdlib", "-Wl,--gc-sections", f"-Wl,-e,{kernel}"),
            *(*objects, "-lgcc", "-Wl,--unresolved-symbols=ignore-all", "-o", elf),
        ]
    )

    defined = output_of([beside(compiler, "nm"), "--defined-only", elf])

    public = set(re.findall(r" T (cq_\w+)", defined))
    private = set(re.findall(r" [tr] (cq_\w+)", defined))
    # beside it what decoders share
    assert {kernel, "cq_cursor_init"} == public
    assert not {name for name in private if re.search("dense|ternary|rle|conv2d", name)}


@pytest.mark.parametrize("path", C_FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_c_files_are_formatted_and_licensed(path):
    """One layout for all C, and a licence in every file that users copy."""
    tool = installed(clang_format)

    output_of(
        [*tool.command, "--dry-run", "--Werror", f"--style=file:{ROOT / '.clang-format'}", path]
    )
    assert path.read_text().startswith("/* SPDX-License-Identifier: Apache-2.0 */\n/*")


def compile_alone(
    headers: Sequence[Path], folder: Path, *flags: str, compiler: Sequence[str] = ()
) -> None:
    source = folder / "alone.c"
    unused = ("-Wno-unused-function", "-Wno-unused-const-variable")
    for header in headers:
        source.write_text(f'#include "{header}"\ntypedef int at_least_one_declaration;\n')
        compile_c(folder / "alone.o", [source], ["-c", *unused, *flags], compiler)


@pytest.mark.slow
def test_no_header_depends_on_what_was_included_before_it(tmp_path):
    """A user includes the headers of the ops that are needed, in any order."""
    headers = {path for path in runtime_dir().rglob("*.h") if not path.name.endswith("mve.h")}

    compile_alone(sorted(headers), tmp_path)


@pytest.mark.slow
def test_no_helium_header_depends_on_what_was_included_before_it(tmp_path):
    """Like the others, but a host has no vectors to compile them with."""
    flags = (*CORES["cortex-m55"].build.gcc_flags, *GCC_FLAGS)

    compile_alone(
        sorted(runtime_dir().rglob("*mve.h")), tmp_path, *flags, compiler=arm_gcc().command
    )


def run_cmake(source: Path, build: Path, *options: str) -> None:
    tool = installed(cmake)
    output_of([*tool.command, "-S", source, "-B", build, *options])
    output_of([*tool.command, "--build", build])


@pytest.mark.slow
def test_cmake_and_ctest_are_enough(tmp_path):
    """An embedded engineer builds and tests the kernels without Python."""
    run_cmake(ROOT, tmp_path)
    ctest = shutil.which("ctest") or pytest.skip("ctest was not found: apt install cmake")

    report = output_of([ctest, "--test-dir", tmp_path])

    assert "100% tests passed" in report


@pytest.mark.slow
def test_the_runtime_works_as_a_sub_project(tmp_path):
    """Both folders can be added to somebody's project, and neither brings its tests along."""
    for folder in (ROOT, runtime_dir()):
        source = tmp_path / f"user-{folder.name}"
        source.mkdir()
        (source / "main.c").write_text(
            "#include <codeq/lut.h>\nint main(void) { return cq_lut_s8_ref == 0; }\n"
        )
        (source / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.16)\nproject(user C)\n"
            f"add_subdirectory({folder} codeq)\nadd_executable(user main.c)\n"
            "target_link_libraries(user PRIVATE codeq::runtime)\n"
        )
        run_cmake(source, source / "build")

        assert (source / "build" / "user").is_file()
        assert not list((source / "build").rglob("test_conv2d*"))


@pytest.mark.slow
def test_cmake_cross_compiles_with_the_toolchain_file(tmp_path):
    """The same build makes a library for the device."""
    compiler = arm_gcc()
    toolchain = ROOT / "targets" / "common" / "arm-none-eabi.cmake"

    run_cmake(ROOT, tmp_path, f"-DCMAKE_TOOLCHAIN_FILE={toolchain}")

    (archive,) = tmp_path.rglob("libcodeq_runtime.a")
    assert "cq_conv2d_s8_w8_dense_ref" in output_of([beside(compiler, "nm"), archive])


def test_the_readme_shows_the_example_that_is_tested():
    """An example that nobody compiles is wrong after the first change."""
    example = (ROOT / "tests" / "runtime" / "c" / "readme_example.c").read_text()
    (shown,) = re.findall(r"```c\n(.*?)```", (runtime_dir() / "README.md").read_text(), re.DOTALL)

    assert example.split("\n", 2)[2] == shown


@pytest.mark.slow
def test_the_files_that_the_readme_names_are_a_program(tmp_path):
    """Who compiles by hand what the page says gets objects that link."""
    page = (runtime_dir() / "README.md").read_text()
    patterns, flags = re.findall(
        r"^or compile `([^`]+)` with .* and `([^`]+)`", page, re.MULTILINE
    )[0]
    named = [path for each in patterns.split() for path in sorted(runtime_dir().glob(each))]
    example = ROOT / "tests" / "runtime" / "c" / "readme_example.c"
    program = tmp_path / "example"
    compiler = [*installed(zig_cc).command, "-std=c99", f"-I{runtime_dir() / 'include'}"]

    # every function is linked: what is not called must find what it needs as well
    output_of([*compiler, *flags.split(), *named, example, "-o", program])

    assert output_of([program]) == ""
