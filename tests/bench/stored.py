# SPDX-License-Identifier: Apache-2.0
"""How many bytes the weights of the shared `.tflite` models take: as in the file, and smaller.

    OMP_NUM_THREADS=1 python tests/bench/stored.py

Writes the table of docs/IMPORT.md anew. Nothing is linked: bytes are those of the plans for the
Cortex-M4. Needs the shared models.
"""

import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import codeq_compile
from codeq_compile import passes, target
from codeq_compile.ir import Graph
from codeq_compile.packing import entropy_bytes
from codeq_compile.plan import Plan, plan
from tests import tflite_models

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "IMPORT.md"
TABLE = re.compile(r"(<!-- weights: [^\n]*-->\n)(.*?)(<!-- /weights -->)", re.DOTALL)
COLUMNS = ("model", "as in the file", "lossless", "", "`small`", "", "entropy", "tables")
SHARED = Path(os.environ.get("CODEQ_SHARED") or ROOT.parent / "shared")


def main() -> None:
    board = target.load("mps2_an386")
    rows, total = [], [0] * 5
    for name in tflite_models.SUPPORTED:
        graph = codeq_compile.load(tflite_models.path(SHARED, name))
        stored = plan(passes.run(graph, passes.flow_for(lossless=False)), board, "dense")
        native = passes.run(graph)
        auto, small = plan(native, board, weigh_code=False), plan(native, board, "small")
        # the table of levels is a part of the weights here, as in the entropy
        sizes = [*map(packed_bytes, (stored, auto, small)), entropy(native), auto.tables_bytes]
        total = [a + b for a, b in zip(total, sizes, strict=True)]
        rows.append(row(name, sizes))
        print(" | ".join(rows[-1]), flush=True)
    write([*rows, row("all", total)])


def packed_bytes(decided: Plan) -> int:
    return sum(layer.packed.bytes for layer in decided.layers if layer.packed)


def entropy(graph: Graph) -> int:
    return sum(entropy_bytes(node.weights) for node in graph.nodes if node.weights is not None)


def row(name: str, sizes: list[int]) -> tuple[str, ...]:
    stored, auto, small, bound, tables = sizes
    return (
        name,
        *(count(stored), count(auto), less(auto, stored), count(small), less(small, stored)),
        *(count(bound), count(tables)),
    )


def less(size: int, than: int) -> str:
    percent = round(100 * (size / than - 1), 1)
    return f"{percent:+.1f} %" if percent else "0"


def count(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def write(rows: list[tuple[str, ...]]) -> None:
    rules = ["---", *["--:"] * (len(COLUMNS) - 1)]
    text = "".join(f"| {' | '.join(cells)} |\n" for cells in (COLUMNS, rules, *rows))
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(TABLE.sub(lambda match: match[1] + text + match[3], page), encoding="utf-8")


if __name__ == "__main__":
    main()
