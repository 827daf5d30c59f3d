# SPDX-License-Identifier: Apache-2.0
"""Methods of training side by side, from what `codeq sweep` left in a folder.

    python tests/bench/methods.py FOLDER

Keeps the means of `FOLDER/frontier.json` in methods.json, its plot in docs/, and writes the pages.
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
    figures.write(found, figures.METHODS)
    shutil.copy(folder / "accuracy_bytes.svg", tables.DOCS / "methods.svg")
    tables.write_pages()


if __name__ == "__main__":
    main()
