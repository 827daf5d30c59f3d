# SPDX-License-Identifier: Apache-2.0
"""Writes the kept C anew: ``python -m tests.golden.emit.regenerate --why "reason"``."""

import argparse
import shutil
import tempfile
from pathlib import Path

from tests.golden.emit.models import FOLDER, conv, generated, linear, rows

HISTORY = FOLDER / "HISTORY.md"


def main() -> None:
    """Replace the folders and add the reason to HISTORY.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--why", required=True, help="one line for HISTORY.md")
    why = parser.parse_args().why
    for graph in (linear(), conv(), rows()):
        kept = FOLDER / graph.name
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        with tempfile.TemporaryDirectory() as folder:
            for name, text in generated(graph, Path(folder)).items():
                (kept / name).write_text(text, encoding="ascii")
    with HISTORY.open("a", encoding="utf-8") as history:
        history.write(f"- {why}\n")


if __name__ == "__main__":
    main()
