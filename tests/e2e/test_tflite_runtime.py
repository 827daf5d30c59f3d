# SPDX-License-Identifier: Apache-2.0
"""The second oracle: TensorFlow Lite 2.14's reference kernels, which form some factors otherwise.

Its wheel needs Python 3.11 and numpy < 2, so it runs in an environment of its own: the variable
CODEQ_TFLITE_RUNTIME names that environment's Python.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tflite_micro", reason="its schema writes the files that are compared")

from codeq_compile import passes
from codeq_compile.frontends.tflite import Kernels
from codeq_compile.ir.op import Array
from codeq_compile.simulate import simulate
from tests import imports, oracle, tflite_models
from tests.graphs import grid
from tests.tflite_author import File

PYTHON = os.environ.get("CODEQ_TFLITE_RUNTIME")
SCRIPT = Path(__file__).parents[1] / "foreign_runtime.py"
ALL = np.arange(-128, 128).astype(np.int8).reshape(1, 256)

pytestmark = pytest.mark.skipif(
    PYTHON is None,
    reason="no second oracle: CODEQ_TFLITE_RUNTIME names the Python of an environment with "
    "tflite-runtime 2.14 and numpy < 2",
)


def foreign(data: bytes, samples: Sequence[Sequence[Array]], folder: Path) -> Array:
    """First output of every sample."""
    (folder / "model.tflite").write_bytes(data)
    inputs = {f"in{i}": np.stack(arrays) for i, arrays in enumerate(zip(*samples, strict=True))}
    np.savez(folder / "inputs.npz", **inputs)
    assert PYTHON is not None
    environment = {"PATH": os.environ["PATH"]}  # codeq's own numpy must not be found
    command = [PYTHON, str(SCRIPT), str(folder)]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    with np.load(folder / "outputs.npz") as stored:
        return stored["out0"].reshape(len(samples), -1)


def ours(
    data: bytes, samples: Sequence[Sequence[Array]], kernels: Kernels = Kernels.TFLITE
) -> Array:
    """The same by the imported graph."""
    graph = passes.run(oracle.convert(data, kernels)[1].graph)
    inputs = {}
    for name, arrays in zip(graph.inputs, zip(*samples, strict=True), strict=True):
        kind = graph.tensors[name]
        values = np.stack(arrays).reshape(len(samples), *kind.shape)
        is_float = values.dtype.kind == "f"
        inputs[name] = kind.grid.quantize(values) if is_float and kind.grid else values
    outputs = simulate(graph, inputs)[graph.outputs[0]].reshape(len(samples), -1)
    return outputs


MODELS = [name for name in tflite_models.SUPPORTED if name not in tflite_models.TFLM_ONLY]


@pytest.mark.parametrize("name", MODELS)
def test_the_outputs_of_a_model_are_the_second_oracles(
    name: str, shared: Path, rng: np.random.Generator, tmp_path: Path
) -> None:
    """A model that was evaluated in Python on a desk has these integers."""
    data = tflite_models.path(shared, name).read_bytes()
    model = oracle.convert(data)[0]
    samples = tflite_models.recorded(shared, name, model)[:4]
    samples += oracle.random_samples(rng, model, 2)

    expected, actual = foreign(data, samples, tmp_path), ours(data, samples)

    if expected.dtype.kind == "f":
        graph = oracle.convert(data)[1].graph
        kind = graph.tensors[graph.outputs[0]]
        assert kind.grid is not None
        actual = kind.grid.dequantize(actual)
    np.testing.assert_array_equal(expected, actual)


# grids found by search, on which the kernels of the two oracles differ
UNARY = [
    ("RELU", (0.34474384784698486, 48), (0.11157684773206711, -104), None, {}),
    ("RELU", (0.003049901220947504, -106), (0.004897651728242636, -90), None, {}),
    (
        "LEAKY_RELU",
        (0.01296094711869955, -83),
        (0.02195736952126026, 1),
        "LeakyReluOptions",
        {"alpha": 0.3960627615451813},
    ),
    ("HARD_SWISH", (0.057988978922367096, 33), (0.026874423027038574, -40), "HardSwishOptions", {}),
    ("LOGISTIC", (0.050169676542282104, 92), (1 / 256, -128), None, {}),
    ("LOGISTIC", (0.021339720115065575, -20), (1 / 256, -128), None, {}),
    ("TANH", (0.233966663479805, -91), (1 / 128, 0), None, {}),
]


@pytest.mark.parametrize(("kind", "x", "y", "options", "fields"), UNARY)
def test_where_the_oracles_differ_each_has_its_kernels(
    kind, x, y, options, fields, tmp_path: Path
) -> None:
    """A choice that makes no difference would be none. [lut-C4]"""
    file, inputs, outputs = imports.unary(kind, x, y, options, **fields)
    data = file.bytes(inputs, outputs)

    expected = foreign(data, [[ALL]], tmp_path)

    np.testing.assert_array_equal(expected, ours(data, [[ALL]]))
    assert (expected != ours(data, [[ALL]], Kernels.TFLM)).any()


@pytest.mark.parametrize("kind", ["LOGISTIC", "TANH"])
def test_float_tables_are_those_of_the_second_oracle(
    kind: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    """Every value of many grids: a table is made once and used for ever. [lut-C4]"""
    y = grid(1 / 256, -128) if kind == "LOGISTIC" else grid(1 / 128, 0)
    for _ in range(8):
        x = float(np.float32(np.exp(rng.uniform(-6, 0)))), int(rng.integers(-128, 128))
        file, inputs, outputs = imports.unary(kind, x, (y.scale, y.zero_point))
        data = file.bytes(inputs, outputs)

        np.testing.assert_array_equal(
            foreign(data, [[ALL]], tmp_path), ours(data, [[ALL]]), err_msg=str(x)
        )


def test_a_fully_connected_layer_forms_its_factor_in_float32(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    """One step in some values, for scales whose product is no float32. [linear-C8]"""
    for _ in range(6):
        file = File()
        scale = float(np.float32(np.exp(rng.uniform(-6, -1))))
        x = file.tensor((1, 1), scale=scale)
        codes = rng.integers(-128, 128, (4000, 1)).astype(np.int8)
        w = file.constant(codes, scale=float(np.float32(rng.uniform(0.001, 0.1))))
        y = file.tensor((1, 4000), scale=scale * 6)
        file.operator("FULLY_CONNECTED", [x, w, -1], [y], "FullyConnectedOptions")
        data = file.bytes([x], [y])
        samples = [[np.full((1, 1), v, np.int8)] for v in range(-128, 128, 3)]

        expected = foreign(data, samples, tmp_path)

        np.testing.assert_array_equal(expected, ours(data, samples))
