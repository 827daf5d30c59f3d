# SPDX-License-Identifier: Apache-2.0
"""Distances of an imported `.onnx` model from onnxruntime, in output steps."""

from dataclasses import dataclass

import numpy as np

from codeq_compile import passes
from codeq_compile.frontends import onnx
from codeq_compile.frontends.onnx import schema
from codeq_compile.frontends.onnx.convert import Imported
from codeq_compile.frontends.onnx.values import Activation
from codeq_compile.ir.op import Array
from codeq_compile.simulate import simulate
from tests.onnx_author import session


def imported(data: bytes) -> Imported:
    return onnx.convert(schema.read(data), name="model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """Of all outputs of all samples."""

    largest: float
    mean: float
    differing: float


def activation(model: Imported, name: str) -> Activation:
    value = model.values[name]
    assert isinstance(value, Activation)
    return value


def outputs(model: Imported, samples: dict[str, Array]) -> dict[str, Array]:
    """Integers of codeq for floats of the file's shapes, in the file's shapes; by output."""
    graph = model.graph
    given = {}
    for name in graph.inputs:
        kind = graph.tensors[name]
        flat = activation(model, name).to_memory(samples[name])
        q = kind.grid.quantize(flat) if flat.dtype.kind == "f" else flat
        given[name] = q.reshape(len(flat), *kind.shape)
    made = simulate(passes.run(graph), given)
    return {name: activation(model, name).from_memory(made[name]) for name in graph.outputs}


def random_samples(model: Imported, rng: np.random.Generator, count: int) -> dict[str, Array]:
    """Floats that are on the grids of the inputs, all values among them."""
    samples = {}
    for name in model.graph.inputs:
        kind, value = model.graph.tensors[name], activation(model, name)
        q = rng.integers(-128, 128, (count, kind.elements)).astype(np.int8)
        q[0], q[1 % count] = -128, 127
        samples[name] = value.from_memory(kind.grid.dequantize(q))
    return samples


def distance(data: bytes, rng: np.random.Generator, count: int = 12) -> Distance:
    """Of codeq's simulation from onnxruntime on random samples."""
    model = imported(data)
    samples = random_samples(model, rng, count)
    ours = outputs(model, samples)
    run = session(data).run
    names = list(ours)
    theirs = [run(names, {name: x[i] for name, x in samples.items()}) for i in range(count)]
    steps = []
    for position, name in enumerate(names):
        grid = model.graph.tensors[name].grid
        expected = np.stack([row[position] for row in theirs])
        real = ours[name] if grid is None else grid.dequantize(ours[name])
        unit = 1.0 if grid is None else grid.scale
        steps.append(np.abs(expected - real.reshape(expected.shape)).reshape(-1) / unit)
    all_steps = np.concatenate(steps)
    return Distance(
        largest=round(float(all_steps.max()), 2),
        mean=float(all_steps.mean()),
        differing=float((all_steps > 0.5).mean()),
    )


def check(
    data: bytes, rng: np.random.Generator, *, largest: float = 1.0, mean: float = 0.05
) -> Imported:
    """The imported model, which is as near to onnxruntime as two ways to round one number are.

    Both round a value once, ours as docs/NUMERICS.md says and theirs in float32 to even: where it
    lies in the middle between two integers they may differ by one step.
    """
    found = distance(data, rng)
    assert found.largest <= largest, found
    assert found.mean <= mean, found
    return imported(data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Of a model with one output on recorded samples, in its steps and as a classifier."""

    largest: float
    mean: float
    theirs: float
    ours: float
    same_class: float


def agreement(data: bytes, samples: Array, classes: Array) -> Agreement:
    """Of codeq's simulation with onnxruntime.

    Parameters
    ----------
    data : bytes
        The file.
    samples : float array of shape (samples, *input shape without the batch)
    classes : int array of shape (samples,)
    """
    model = imported(data)
    (given,), (output,) = model.graph.inputs, model.graph.outputs
    run = session(data).run
    expected = np.stack([run(None, {given: x[None]})[0].reshape(-1) for x in samples])
    grid = model.graph.tensors[output].grid
    made = outputs(model, {given: samples})[output]
    real = grid.dequantize(made).reshape(expected.shape)
    steps = np.abs(real - expected) / grid.scale
    return Agreement(
        largest=round(float(steps.max()), 1),
        mean=float(steps.mean()),
        theirs=float(np.mean(expected.argmax(axis=1) == classes)),
        ours=float(np.mean(real.argmax(axis=1) == classes)),
        same_class=float(np.mean(expected.argmax(axis=1) == real.argmax(axis=1))),
    )
