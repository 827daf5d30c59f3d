# SPDX-License-Identifier: Apache-2.0
"""The import rules of docs/DESIGN.md, and the mirror rule of the tests."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# One row may import the rows above it, and nothing else; "" is codeq_compile/__init__.py.
LAYERS = (
    {"errors", "resources", "numerics"},
    {"ir"},
    {"packing", "ops", "target"},
    {"kernels", "frontends", "simulate", "ranges", "memory", "arrays", "manifest", "place"},
    {"cost", "export", "footprint", "passes"},
    {"plan"},
    {"coarsen", "emit", "build", "explain"},
    {"budgets", "check", "inspection"},
    {"profile"},
    {"report"},
    {""},
    {"cli"},
    {"__main__"},
)
LEVEL = {unit: level for level, row in enumerate(LAYERS) for unit in row}

# Who may use what: everything else neither imports it nor needs it installed.
FOREIGN = {
    "torch": {"codeq_train"},
    "lightning_fabric": {"codeq_train.loop", "codeq_train.recipes.recipe"},
    "codeq_train": {"codeq_train"},
    "flatbuffers": {"codeq_compile.frontends"},
    "onnx": {"codeq_compile.frontends"},
    "jinja2": {"codeq_compile.emit"},
    "subprocess": {"codeq_compile.build"},
    "cffi": {"codeq_compile.build"},
    "ziglang": {"codeq_compile.build"},
    "unicorn": {"codeq_compile.build"},
    "click": {"codeq_compile.cli", "codeq_train.cli", "codeq_train.sweep_cli"},
    "optuna": {"codeq_train.sweep"},
    "matplotlib": {"codeq_train.plots"},
}


def modules(package: str) -> list[str]:
    """Dotted names of all modules of a package, `__init__` as the package itself."""
    names = []
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


MODULES = [*modules("codeq_compile"), *modules("codeq_train")]


def source(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports(module: str) -> Iterator[tuple[str, str | None]]:
    """(module, name) of every import, at any depth of the file; name is None for `import x`."""
    for node in ast.walk(ast.parse(source(module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import: write the whole name"
            assert node.module is not None
            yield from ((node.module, alias.name) for alias in node.names)


def unit(module: str) -> str:
    """First component below the package: what a row of LAYERS names."""
    return module.partition(".")[2].partition(".")[0]


def imported_unit(module: str, name: str | None) -> str:
    """`from codeq_compile import simulate` imports the module simulate, if there is one."""
    if module == "codeq_compile" and name in LEVEL:
        return name
    return unit(module)


@pytest.mark.parametrize("module", modules("codeq_compile"))
def test_imports_go_downward_only(module: str) -> None:
    """An upward import makes a cycle, and a stage that cannot be used or tested alone."""
    assert unit(module) in LEVEL, f"{module} has no row in docs/DESIGN.md and in LAYERS"
    for imported, name in imports(module):
        if imported.partition(".")[0] != "codeq_compile":
            continue
        other = imported_unit(imported, name)
        allowed = sorted(u for u in LEVEL if LEVEL[u] < LEVEL[unit(module)])

        assert other == unit(module) or other in allowed, (
            f"{module} imports {imported}; allowed: {', '.join(allowed)}"
        )


@pytest.mark.parametrize("module", MODULES)
def test_foreign_packages_stay_where_they_belong(module: str) -> None:
    """torch in the compiler, say, breaks the install without extras."""
    for imported, _ in imports(module):
        owners = FOREIGN.get(imported.partition(".")[0])
        if owners is None:
            continue

        assert any(module == owner or module.startswith(owner + ".") for owner in owners), (
            f"{module} imports {imported}; only {', '.join(sorted(owners))} may"
        )


@pytest.mark.parametrize("module", modules("codeq_train"))
def test_training_uses_only_public_names_of_the_compiler(module: str) -> None:
    """A private name used from outside turns a clean-up of the compiler into a break."""
    for imported, name in imports(module):
        if imported.partition(".")[0] != "codeq_compile":
            continue
        parts = [*imported.split("."), *([name] if name else [])]

        assert not [part for part in parts if part.startswith("_")], f"{module} imports {parts}"


def test_the_design_names_every_layer() -> None:
    """DESIGN.md is what people read: a module missing there is a module that nobody finds."""
    design = (ROOT / "docs" / "DESIGN.md").read_text(encoding="utf-8")
    order = design[design.index("Imports go downward only") :].partition("\n\n")[0]
    written = order.partition(":\n")[2].partition(". ")[0].replace("\n", " ")
    rows = [set(row.split()) for row in written.replace("`", "").split("·")]

    # within the last row the command line imports the facade
    assert [*LAYERS[:10], {"__init__", "cli"}] == rows


# Modules without a test file of their own, and where they are tested.
TESTED_ELSEWHERE = {
    "codeq_compile.__main__": "tests/compile/test_cli.py",
    "codeq_train.recipes.demo": "tests/e2e/test_demo.py",
    "codeq_train.recipes.kws": "tests/e2e/test_kws.py",
}


@pytest.mark.parametrize("module", [m for m in MODULES if source(m).name != "__init__.py"])
def test_every_module_has_its_mirror_test(module: str) -> None:
    """The newcomer finds a module's tests by its name; a module without one is not tested."""
    package, *folders, name = module.split(".")
    mirror = ROOT.joinpath("tests", package.removeprefix("codeq_"), *folders, f"test_{name}.py")
    elsewhere = TESTED_ELSEWHERE.get(module)
    expected = ROOT / elsewhere if elsewhere else mirror

    assert expected.is_file(), f"{module} needs {expected.relative_to(ROOT)}"


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_its_licence_and_purpose(module: str) -> None:
    """A file that is copied out of the repository must still say what it is and may be used for."""
    text = source(module).read_text(encoding="utf-8")

    assert text.startswith("# SPDX-License-Identifier: Apache-2.0\n")
    assert ast.get_docstring(ast.parse(text)), f"{module} has no docstring"
