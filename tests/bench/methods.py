# SPDX-License-Identifier: Apache-2.0
"""Methods of training side by side, from what `codeq sweep` left in a folder.

    python tests/bench/methods.py FOLDER

Keeps the means of `FOLDER/frontier.json` in methods_RECIPE.json, its plot in docs/ under the same
name, and writes the pages: a mark `methods_RECIPE` is the table of that recipe.
"""

import shutil
import sys
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench import figures, tables
from tests.bench.figures import Methods


def main() -> None:
    folder = Path(sys.argv[1])
    found = msgspec.json.decode((folder / "frontier.json").read_bytes(), type=Methods)
    kept = figures.methods_file(found.recipe)
    figures.write(found, kept)
    shutil.copy(folder / "accuracy_bytes.svg", (tables.DOCS / kept.name).with_suffix(".svg"))
    tables.write_pages()


if __name__ == "__main__":
    main()
