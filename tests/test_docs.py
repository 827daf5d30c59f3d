# SPDX-License-Identifier: Apache-2.0
"""What the pages say is true: examples run, tables are current, commands, files and links exist.

``CODEQ_UPDATE=1 pytest tests/test_docs.py`` writes the generated parts anew.
"""

import inspect
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest

import codeq_compile
from codeq_compile import cli, emit, kernels, passes, target
from codeq_compile.build import host, tools
from codeq_compile.frontends import onnx, tflite
from codeq_compile.ops.linear import Linear
from codeq_compile.plan import plan
from codeq_compile.report import table
from tests import spec
from tests.bench import tables
from tests.fences import fences
from tests.graphs import one_op_graph, random_weights, s8

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
IMPORT = ROOT / "docs" / "IMPORT.md"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")])
KERNELS = re.compile(r"(<!-- kernels: [^\n]*-->\n)(.*?)(<!-- /kernels -->)", re.DOTALL)
OPERATORS = {"operators": tflite.HANDLERS, "onnx-operators": onnx.HANDLERS}
CODE = re.MULTILINE | re.DOTALL


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.slow
def test_the_python_example_of_the_readme_runs(tmp_path: Path) -> None:
    """It is the first thing that anybody tries."""
    (example,) = fences(README, "python")
    # a second thread of torch on a busy machine makes this twenty times slower
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    done = subprocess.run(
        [sys.executable, "-c", f"import torch; torch.manual_seed(0)\n{example}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "0 bytes differ" in done.stdout
    assert len([line for line in example.splitlines() if line.strip()]) <= 23


def test_the_c_example_of_the_readme_compiles(tmp_path: Path) -> None:
    """The first lines of C that anybody writes against an emitted library are these."""
    (example,) = fences(README, "c")
    weights = random_weights(np.random.default_rng(0), (12, 40))
    graph = one_op_graph(Linear(), [s8(40)], weights=weights, name="kws")
    node = replace(graph.nodes[0], inputs=("mfcc",), output="scores")
    tensors = {"mfcc": graph.tensors["x0"], "scores": graph.tensors["y"]}
    graph = replace(graph, inputs=("mfcc",), outputs=("scores",), nodes=(node,), tensors=tensors)
    codeq_compile.compile(graph, tmp_path / "kws", target="host")
    (tmp_path / "app.c").write_text(example, encoding="utf-8")
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    includes = ["-Ikws", "-Ikws/runtime/include"]

    done = subprocess.run(
        [*tools.host_cc().command, *flags, *includes, "-c", "app.c", "-o", "app.o"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stderr


def test_the_kernel_table_of_the_readme_is_current() -> None:
    """A table kept by hand promises kernels that are not there."""
    current = table.markdown(table.kernel_table(kernels.rows()))
    text = README.read_text(encoding="utf-8")
    if os.environ.get("CODEQ_UPDATE"):
        text = KERNELS.sub(lambda match: match[1] + current + match[3], text)
        README.write_text(text, encoding="utf-8")

    match = KERNELS.search(text)
    assert match is not None
    assert current == match[2], "CODEQ_UPDATE=1 pytest tests/test_docs.py writes it anew"


@pytest.mark.parametrize("page", tables.PAGES, ids=name)
def test_the_tables_of_figures_are_current(page: Path) -> None:
    """A figure on a page that nobody measured is a promise that nobody keeps."""
    marked = tables.GENERATED.findall(page.read_text(encoding="utf-8"))

    assert marked
    for _, table_name, text, _ in marked:
        expected = tables.generated(table_name)
        assert expected == text, "python tests/bench/kernels.py --pages writes it anew"


@pytest.mark.parametrize("name", OPERATORS)
def test_the_operator_table_of_the_imports_is_current(name: str) -> None:
    """A table kept by hand promises operators that are not there."""
    handlers = OPERATORS[name]
    marked = re.compile(rf"(<!-- {name}: [^\n]*-->\n)(.*?)(<!-- /{name} -->)", re.DOTALL)
    rows = {
        kind: (inspect.getdoc(handler) or "").partition("\n")[0]
        for kind, handler in sorted(handlers.items())
    }
    current = "| operator | |\n|---|---|\n"
    current += "".join(f"| {kind} | {about} |\n" for kind, about in rows.items())
    text = IMPORT.read_text(encoding="utf-8")
    if os.environ.get("CODEQ_UPDATE"):
        text = marked.sub(lambda match: match[1] + current + match[3], text)
        IMPORT.write_text(text, encoding="utf-8")

    match = marked.search(text)
    assert all(rows.values()), "every handler says what is special"
    assert match is not None
    assert current == match[2], "CODEQ_UPDATE=1 pytest tests/test_docs.py writes it anew"


def test_the_readme_has_two_set_up_commands() -> None:
    """CI takes them from here, so that what the page promises is what runs."""
    commands = re.findall(r"^python3 -m venv .*$", README.read_text(encoding="utf-8"), re.MULTILINE)

    assert 2 == len(commands)
    assert all(command in "\n".join(fences(README, "sh")) for command in commands)


def test_the_exit_codes_of_the_readme_are_those_of_the_command() -> None:
    """Scripts are written from this table."""
    rows = re.findall(r"^\| (\d) \| (.*?) \|$", README.read_text(encoding="utf-8"), re.MULTILINE)

    assert [f"  {code}  {meaning}" for code, meaning in rows] == cli.EXIT_CODES.splitlines()[2:]


def commands_of(page: Path) -> list[str]:
    """Lines of shell fences, and code spans, that call codeq."""
    lines = [line for fence in fences(page, "sh") for line in fence.splitlines()]
    spans = re.findall(r"`(codeq [a-z][^`…]*)`", page.read_text(encoding="utf-8"))
    return [
        line.partition("#")[0].strip() for line in [*lines, *spans] if line.startswith("codeq ")
    ]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_that_a_page_shows_exists(page: Path) -> None:
    """A renamed option leaves commands behind that do not run."""
    for line in commands_of(page):
        _, command_name, *arguments = shlex.split(line)
        if command_name in cli.PLUGIN_HELP or command_name.startswith("-"):
            continue
        command = cli.main.get_command(click.Context(cli.main), command_name)
        assert command is not None, f"{name(page)}: {line}"
        known = {option for param in command.params for option in param.opts}
        used = {argument for argument in arguments if argument.startswith("-")}

        assert used <= known, f"{name(page)}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A dead link is where a reader stops."""
    text = re.sub(r"^ *```.*?^ *```$|`[^`\n]+`", "", page.read_text(encoding="utf-8"), flags=CODE)
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), f"{name(page)} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    """A page that names a file which moved sends its reader astray."""
    spans = re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8"))
    tops = "codeq_compile|codeq_train|runtime_c|targets|tests|docs"
    paths = [span for span in spans if re.fullmatch(rf"(?:{tops})/[\w./]+", span)]

    assert not [path for path in paths if not (ROOT / path).exists()]


@pytest.mark.parametrize("kind", sorted(spec.sections()))
def test_the_examples_of_numerics_hold_in_c(kind: str, tmp_path: Path) -> None:
    """The rule, the golden and the emitted C must tell the same story, worked out by hand."""
    example = spec.example(spec.sections()[kind])
    decided = plan(passes.run(example.graph), target.load("host"))
    emit.emit(decided, tmp_path / kind, source=example.graph, command="tests")
    samples = np.concatenate([x.reshape(-1) for x in example.inputs.values()]).view(np.uint8)

    result = host.build(tmp_path / kind).run(samples.reshape(1, -1))

    expected = np.ascontiguousarray(example.output).reshape(-1).view(np.uint8)
    np.testing.assert_array_equal(expected, result.outputs[0])
