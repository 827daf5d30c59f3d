# SPDX-License-Identifier: Apache-2.0
"""The shared `.tflite` models against their oracle, and what they need on a board.

    OMP_NUM_THREADS=1 python tests/bench/imports.py [MODEL…]

Every integer tensor of every sample is compared with TFLite Micro's reference kernels; then the
model is compiled for an emulated Cortex-M0, M4 and M55, and `codeq check` compares C and
simulation there. Rows of docs/IMPORT.md are written anew for the models that were measured.
Needs the shared models and the packages of `[dev]`.
"""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tflite_micro.python.tflite_micro import runtime

import codeq_compile
from codeq_compile.errors import CodeqError, DoesNotFit
from codeq_compile.frontends.tflite import schema
from tests import oracle, tflite_models

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "IMPORT.md"
TABLE = re.compile(r"(<!-- models: [^\n]*-->\n)(.*?)(<!-- /models -->)", re.DOTALL)
COLUMNS = (
    "model",
    "oracles",
    "operators",
    "samples",
    "tensors",
    "differ",
    "host",
    "M0",
    "M4",
    "M55",
    "flash",
    "arena",
    "RAM",
    "file",
    "TFLM arena",
    "XNNPACK",
)
BOARDS = {"M0": "microbit", "M4": "mps2_an386", "M55": "mps3_an547"}
RANDOM_SAMPLES = 8
BOARD_SAMPLES = 2
"""Random ones; all -128 and all 127 come before them."""
SHARED = Path(os.environ.get("CODEQ_SHARED") or ROOT.parent / "shared")


def main() -> None:
    rows = dict(existing_rows())
    for name in sys.argv[1:] or tflite_models.SUPPORTED:
        rows[name] = row(name)
        print(" | ".join(rows[name]), flush=True)
        write([rows[each] for each in tflite_models.SUPPORTED if each in rows])


def row(name: str) -> tuple[str, ...]:
    path = tflite_models.path(SHARED, name)
    data = path.read_bytes()
    model = schema.read(data)
    samples = tflite_models.recorded(SHARED, name, model)
    samples += oracle.random_samples(np.random.default_rng(0), model, RANDOM_SAMPLES)
    # it raises where a value differs
    compared = oracle.compare(data, samples)
    with tempfile.TemporaryDirectory() as folder:
        boards = {core: on_board(path, Path(folder), target) for core, target in BOARDS.items()}
        library = codeq_compile.compile(path, Path(folder) / "m4", target=BOARDS["M4"])
        host = codeq_compile.check(Path(folder) / "m4", ["host"], samples=BOARD_SAMPLES)
    flash = library.report.flash
    return (
        name,
        "TFLM" if name in tflite_models.TFLM_ONLY else "TFLM, 2.14",
        str(len(model.operators)),
        str(len(samples)),
        count(compared),
        "0",
        count(host.bytes_differing),
        *boards.values(),
        count(flash.total) if flash.total is not None else "-",
        count(library.plan.arena_bytes),
        count(library.plan.ram_bytes),
        count(len(data)),
        count(tflm_arena(path)),
        xnnpack(name, model),
    )


def on_board(path: Path, folder: Path, target: str) -> str:
    """Differing bytes on an emulated board; a word where it cannot run there."""
    library = folder / target
    try:
        codeq_compile.compile(path, library, target=target)
        return count(codeq_compile.check(library, [target], samples=BOARD_SAMPLES).bytes_differing)
    except DoesNotFit:
        return "too large"
    except CodeqError as error:
        print(f"{path.name} on {target}: {error}", file=sys.stderr)
        return "failed"


def xnnpack(name: str, model: schema.Model) -> str:
    """Largest distance of XNNPACK's recorded outputs from the oracle's, in output steps."""
    expected = tflite_models.recorded_outputs(SHARED, name, "tflm")
    other = tflite_models.recorded_outputs(SHARED, name, "default")
    if not other:
        return "-"
    steps = 0
    for tensor, a, b in zip(model.outputs, expected, other, strict=True):
        # floats are integers times a scale, which DEQUANTIZE reads
        scale = 1.0 if a.dtype.kind != "f" else last_scale(model, tensor)
        distance = np.abs(a.astype(np.float64).ravel() - b.astype(np.float64).ravel()) / scale
        steps = max(steps, round(distance.max()))
    return count(steps)


def last_scale(model: schema.Model, output: schema.Tensor) -> float:
    (last,) = (each for each in model.operators if output in each.outputs)
    assert last.inputs[0] is not None
    return float(last.inputs[0].scale[0])


def tflm_arena(path: Path) -> int:
    """Bytes that TFLite Micro allocates for a model, by its own account."""
    interpreter = runtime.Interpreter.from_file(str(path), arena_size=oracle.ARENA_BYTES)
    with captured() as read:
        interpreter.print_allocations()
        text = read()
    match = re.search(r"Arena allocation total (\d+)", text)
    assert match is not None, "the form of print_allocations has changed"
    return int(match[1])


@contextlib.contextmanager
def captured() -> Iterator[Callable[[], str]]:
    """What C writes to standard output and error meanwhile."""
    with tempfile.TemporaryFile() as file:
        saved = [os.dup(number) for number in (1, 2)]
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield lambda: (file.seek(0), file.read().decode())[1]
        finally:
            for number, old in zip((1, 2), saved, strict=True):
                os.dup2(old, number)
                os.close(old)


def count(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def existing_rows(
    table: re.Pattern[str] = TABLE,
) -> Iterator[tuple[str, tuple[str, ...]]]:
    match = table.search(PAGE.read_text(encoding="utf-8"))
    assert match is not None, f"{PAGE} has no table of models"
    for line in match[2].splitlines()[2:]:
        cells = tuple(cell.strip() for cell in line.strip("|").split("|"))
        yield cells[0], cells


def write(
    rows: list[tuple[str, ...]],
    table: re.Pattern[str] = TABLE,
    columns: tuple[str, ...] = COLUMNS,
    text: int = 2,
) -> None:
    """Write a table of the page anew; the first `text` columns are words."""
    rules = ["---"] * text + ["--:"] * (len(columns) - text)
    lines = "".join(f"| {' | '.join(cells)} |\n" for cells in (columns, rules, *rows))
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(table.sub(lambda match: match[1] + lines + match[3], page), encoding="utf-8")


if __name__ == "__main__":
    main()
