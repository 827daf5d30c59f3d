# SPDX-License-Identifier: Apache-2.0
"""Methods of training side by side, from what `codeq sweep` left in a folder.

    python tests/bench/methods.py FOLDER
    python tests/bench/methods.py FOLDER --add

Keeps the means of `FOLDER/frontier.json` in methods_RECIPE.json, draws them in docs/ under the same
name, and writes the pages: a mark `methods_RECIPE` is the table of that recipe.  With `--add` what
is kept already stays, unless the folder has the same method within the same limit.
"""

import argparse
import sys
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[2]))

from codeq_train import plots
from tests.bench import figures, tables
from tests.bench.figures import MethodFigure, MethodPoint, Methods, Spread


def main() -> None:
    parser = argparse.ArgumentParser(description="Methods of training side by side.")
    parser.add_argument("folder", type=Path, help="of a finished `codeq sweep`")
    parser.add_argument("--add", action="store_true", help="to what is kept of the recipe")
    given = parser.parse_args()
    source = given.folder / "frontier.json"
    found = msgspec.json.decode(source.read_bytes(), type=Methods)
    if given.add:
        found = merged(figures.methods(found.recipe), found)
    kept = figures.methods_file(found.recipe)
    figures.write(found, kept)
    drawn = plots.figure(found.recipe, found.groups, _reference(found))
    plots.save(drawn, (tables.DOCS / kept.name).with_suffix(".svg"))
    tables.write_pages()


def merged(old: Methods, new: Methods) -> Methods:
    """Both, `new` before `old` where both have a method within a limit.

    Raises
    ------
    SystemExit
        The same seed has another float network: such figures do not belong in one table.
    """
    before = {tuple(each.seeds): each.float_test for each in old.groups}
    for each in new.groups:
        if before.get(tuple(each.seeds), each.float_test) != each.float_test:
            sys.exit(f"{each.method}: seeds {each.seeds} come from another float network")
    groups = {_key(each): each for each in (*old.groups, *new.groups)}
    failures = {_key(each.point): each for each in (*old.failures, *new.failures)}
    done = {*groups, *failures}
    return Methods(
        recipe=new.recipe,
        missing=tuple(each for each in (*old.missing, *new.missing) if _key(each) not in done),
        groups=tuple(groups.values()),
        failures=tuple(each for key, each in failures.items() if key not in groups),
    )


def _key(each: MethodFigure | MethodPoint) -> tuple[str, int]:
    return each.method, each.weights


def _reference(found: Methods) -> Spread:
    """Of the float networks of most seeds."""
    return max(found.groups, key=lambda each: len(each.seeds)).float_test


if __name__ == "__main__":
    main()
