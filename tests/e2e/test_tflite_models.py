# SPDX-License-Identifier: Apache-2.0
"""Real `.tflite` models: every tensor of every sample is that of TFLite Micro's kernels."""

from pathlib import Path

import numpy as np
import pytest

import codeq_compile
from codeq_compile import arrays, passes
from codeq_compile.errors import UnsupportedOp
from codeq_compile.frontends import tflite
from codeq_compile.simulate import simulate
from tests import tflite_models

pytest.importorskip("tflite_micro", reason="needs the package tflite-micro, the oracle")

from tests import oracle

RANDOM_SAMPLES = 6


@pytest.mark.slow
@pytest.mark.parametrize("name", tflite_models.SUPPORTED)
def test_every_tensor_is_the_oracles(name: str, shared: Path, rng: np.random.Generator) -> None:
    """Whoever brings a model has measured it with these kernels, and must get what was measured."""
    data = tflite_models.path(shared, name).read_bytes()
    model = tflite.schema.read(data)
    samples = tflite_models.recorded(shared, name, model)
    samples += oracle.random_samples(rng, model, RANDOM_SAMPLES)

    compared = oracle.compare(data, samples)

    assert compared >= len(samples) * (len(model.inputs) + len(model.outputs))


@pytest.mark.parametrize("name", tflite_models.RECORDED)
def test_recorded_outputs_come_out_again(name: str, shared: Path) -> None:
    """The native flow rearranges the layers; what leaves the model must not notice."""
    path = tflite_models.path(shared, name)
    model = tflite.read(path)
    graph = passes.run(codeq_compile.load(path))
    samples = tflite_models.recorded(shared, name, model)
    inputs = {}
    for position, tensor in enumerate(graph.inputs):
        kind = graph.tensors[tensor]
        values = np.stack([sample[position].reshape(kind.shape) for sample in samples])
        is_float = values.dtype.kind == "f"
        inputs[tensor] = kind.grid.quantize(values) if is_float and kind.grid else values

    outputs = simulate(graph, inputs)

    expected = tflite_models.recorded_outputs(shared, name)
    assert len(expected) == len(graph.outputs)
    for tensor, wanted in zip(graph.outputs, expected, strict=True):
        values, kind = outputs[tensor].reshape(len(samples), -1), graph.tensors[tensor]
        if wanted.dtype.kind == "f":
            # an exact multiple of the scale, rounded to float32 as DEQUANTIZE does
            assert kind.grid is not None
            values = kind.grid.dequantize(values)
        np.testing.assert_array_equal(wanted.reshape(len(samples), -1), values)


@pytest.mark.parametrize("name", tflite_models.REFUSED)
def test_what_cannot_be_converted_is_refused_with_its_operator(name: str, shared: Path) -> None:
    """A model that half works is worse than one that says what stands in the way."""
    with pytest.raises(UnsupportedOp, match=tflite_models.REFUSED[name]):
        codeq_compile.load(tflite_models.path(shared, name))


@pytest.mark.parametrize("name", tflite_models.SUPPORTED)
@pytest.mark.slow
def test_the_c_library_of_a_model_gives_its_integers(
    name: str, shared: Path, tmp_path: Path
) -> None:
    """The simulation is worth nothing to a user whose board computes something else."""
    codeq_compile.compile(tflite_models.path(shared, name), tmp_path / "library", target="host")

    result = codeq_compile.check(tmp_path / "library", samples=4)

    assert 0 == result.bytes_differing


@pytest.mark.parametrize("name", tflite_models.SUPPORTED)
@pytest.mark.slow
def test_a_smaller_library_gives_the_same_bytes(name: str, shared: Path, tmp_path: Path) -> None:
    """`--lossless` is on by default because nobody can tell: C against C, of the whole model."""
    path = tflite_models.path(shared, name)
    samples = arrays.random_inputs(codeq_compile.load(path), 3, seed=5)
    outputs, weights = [], []
    for options in ({"packing": "small"}, {}, {"lossless": False}):
        library = tmp_path / str(len(outputs))
        made = codeq_compile.compile(path, library, target="host", **options)
        outputs.append(codeq_compile.run(library, inputs=samples))
        weights.append(made.plan.weights_bytes + made.plan.tables_bytes)

    for tensor in outputs[0]:
        np.testing.assert_array_equal(outputs[0][tensor], outputs[1][tensor])
        np.testing.assert_array_equal(outputs[0][tensor], outputs[2][tensor])
    assert sorted(weights) == weights
