# SPDX-License-Identifier: Apache-2.0
"""`.onnx` models against onnxruntime, and what they need on a board.

    OMP_NUM_THREADS=1 python tests/bench/onnx_imports.py [MODEL…]

The shared models that others quantized, and those that `quantize_static` makes of shared floats and
recordings. Rows of docs/IMPORT.md are written anew for the models that were measured.
Needs the shared models and data and the packages of `[dev]`.
"""

import contextlib
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from onnx import helper, load_from_string

import codeq_compile
from codeq_compile import passes
from codeq_compile.frontends.onnx.values import Activation
from codeq_compile.ir.op import Array
from tests import onnx_models, onnx_oracle
from tests.bench import imports
from tests.bench.imports import BOARD_SAMPLES, BOARDS, SHARED, count, on_board
from tests.onnx_author import session

TABLE = re.compile(r"(<!-- onnx-models: [^\n]*-->\n)(.*?)(<!-- /onnx-models -->)", re.DOTALL)
COLUMNS = (
    "model",
    "activations",
    "weights",
    "opset",
    "samples",
    "accuracy ORT",
    "codeq",
    "same",
    "steps",
    "alone",
    "host",
    "M0",
    "M4",
    "M55",
    "flash",
    "arena",
    "RAM",
    "file",
)
MODELS = [*onnx_models.SUPPORTED, *onnx_models.MADE]
RANDOM_SAMPLES = 200
ALONE_SAMPLES = 40


def main() -> None:
    rows = dict(imports.existing_rows(TABLE))
    for name in sys.argv[1:] or MODELS:
        with file_of(name) as path:
            rows[name] = row(name, path)
        print(" | ".join(rows[name]), flush=True)
        imports.write([rows[each] for each in MODELS if each in rows], TABLE, COLUMNS, text=4)


@contextlib.contextmanager
def file_of(name: str) -> Iterator[Path]:
    if name in onnx_models.SUPPORTED:
        yield onnx_models.path(SHARED, name)
    else:
        with onnx_models.made(SHARED, name) as path:
            yield path


def row(name: str, path: Path) -> tuple[str, ...]:
    data = path.read_bytes()
    recorded = onnx_models.data_for(SHARED, name)
    model = onnx_oracle.imported(data)
    if recorded is None:
        found = onnx_oracle.distance(data, np.random.default_rng(0), RANDOM_SAMPLES)
        samples = onnx_oracle.random_samples(model, np.random.default_rng(1), ALONE_SAMPLES)
        given = samples[model.graph.inputs[0]]
        accuracy, total = ("-", "-", "-"), RANDOM_SAMPLES
    else:
        agreed = onnx_oracle.agreement(data, recorded.samples, recorded.classes)
        found, given = agreed, recorded.samples[:ALONE_SAMPLES, None]
        accuracy = (f"{100 * agreed.theirs:.1f}", f"{100 * agreed.ours:.1f}",
                    f"{100 * agreed.same_class:.1f} %")  # fmt: skip
        total = len(recorded.samples)
    with tempfile.TemporaryDirectory() as folder:
        boards = {core: on_board(path, Path(folder), board) for core, board in BOARDS.items()}
        library = codeq_compile.compile(path, Path(folder) / "m4", target=BOARDS["M4"])
        host = codeq_compile.check(Path(folder) / "m4", ["host"], samples=BOARD_SAMPLES)
    flash = library.report.flash
    opset = max(
        each.version
        for each in load_from_string(data).opset_import
        if each.domain in {"", "ai.onnx"}
    )
    return (
        name,
        *kinds(name),
        str(opset),
        count(total),
        *accuracy,
        f"{found.mean:.2f} / {found.largest:g}",
        alone(data, given),
        count(host.bytes_differing),
        *boards.values(),
        count(flash.total) if flash.total is not None else "-",
        count(library.plan.arena_bytes),
        count(library.plan.ram_bytes),
        count(len(data)),
    )


def kinds(name: str) -> tuple[str, str]:
    """How activations and weights are quantized, in words."""
    recipe = onnx_models.MADE.get(name)
    if recipe is None:
        per_channel = "kws" in name
        return "int8", f"int8 per {'channel' if per_channel else 'tensor'}"
    options = dict(recipe.options)
    activations = recipe.activations[1:].lower()
    weights = recipe.weights[1:].lower()
    return (
        activations + ", symmetric" * ("ActivationSymmetric" in options),
        f"{weights} per {'channel' if recipe.per_channel else 'tensor'}"
        + ", asymmetric" * ("WeightSymmetric" in options),
    )


def alone(data: bytes, samples: Array) -> str:
    """Largest share of differing values, and largest difference, of a layer on equal integers."""
    imported = onnx_oracle.imported(data)
    graph = passes.run(imported.graph, "literal")
    file = load_from_string(data)
    stored = {each.name for each in file.graph.initializer}
    names = [
        node.output[0]
        for node in file.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] not in stored
    ]
    have = {each.name for each in file.graph.output}
    file.graph.output.extend(
        helper.make_tensor_value_info(name, 1, None) for name in names if name not in have
    )
    run = session(file.SerializeToString()).run
    rows = [run(names, {imported.graph.inputs[0]: sample}) for sample in samples]
    integers: dict[str, Array] = {}
    for position, name in enumerate(names):
        value = imported.values[name]
        kind = graph.tensors.get(value.tensor) if isinstance(value, Activation) else None
        if kind is not None:
            reals = value.to_memory(np.concatenate([each[position] for each in rows]))
            integers[value.tensor] = kind.grid.quantize(reals).reshape(-1, *kind.shape)
    share, largest = 0.0, 0
    for node in graph.nodes:
        known = {*node.inputs, node.output} <= integers.keys()
        if known and not node.op.is_view:
            made = node.op.simulate(node.params, *(integers[name] for name in node.inputs))
            steps = np.abs(made.astype(np.int64) - integers[node.output])
            share, largest = max(share, float((steps > 0).mean())), max(largest, int(steps.max()))
    return f"{100 * share:.1f} % / {largest}"


if __name__ == "__main__":
    main()
