# SPDX-License-Identifier: Apache-2.0
"""TFLite Micro's reference kernels, keeping every tensor: the oracle of imported models.

Needs the package tflite-micro; import this module through `pytest.importorskip`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tflite_micro.python.tflite_micro import runtime

from codeq_compile import passes
from codeq_compile.frontends import tflite
from codeq_compile.frontends.tflite import Imported, Kernels, schema
from codeq_compile.frontends.tflite.schema import ElementType, Model
from codeq_compile.simulate import trace

Array = NDArray[Any]
ARENA_BYTES = 1 << 22


class Oracle:
    """An interpreter of one file; state lives from one inference to the next."""

    def __init__(self, data: bytes) -> None:
        self._interpreter = runtime.Interpreter.from_bytes(
            data,
            intrepreter_config=runtime.InterpreterConfig.kPreserveAllTensors,
            arena_size=ARENA_BYTES,
        )

    def run(self, inputs: Sequence[Array]) -> None:
        """One inference; each input has the shape that the file gives it."""
        for position, array in enumerate(inputs):
            self._interpreter.set_input(np.ascontiguousarray(array), position)
        self._interpreter.invoke()

    def tensor(self, index: int) -> Array:
        """Values of a tensor of the file after the last inference."""
        return np.array(self._interpreter.GetTensor(index, 0)["tensor_data"])

    def output(self, position: int = 0) -> Array:
        return np.array(self._interpreter.get_output(position))


def convert(data: bytes, kernels: Kernels = Kernels.TFLM) -> tuple[Model, Imported]:
    """A file's model and its graph."""
    model = schema.read(data)
    return model, tflite.convert(model, name="model", kernels=kernels)


def random_samples(rng: np.random.Generator, model: Model, count: int) -> list[list[Array]]:
    """Samples as the file's inputs want them: random ones, then both extremes."""
    samples = []
    for number in range(count + 2):
        sample = []
        for tensor in model.inputs:
            if tensor.kind is ElementType.FLOAT32:
                low, high = _real_range(model, tensor)
                low, high = ((low, high), (low, low), (high, high))[max(0, number - count + 1)]
                sample.append(rng.uniform(low, high, tensor.shape).astype(np.float32))
                continue
            limits = np.iinfo({"INT8": np.int8, "INT16": np.int16}[tensor.kind.name])
            array = rng.integers(limits.min, limits.max, tensor.shape, limits.dtype, endpoint=True)
            if number >= count:
                array[...] = (limits.min, limits.max)[number - count]
            sample.append(array)
        samples.append(sample)
    return samples


def _real_range(model: Model, tensor: Any) -> tuple[float, float]:
    """What the integers behind a float input can hold."""
    grid = tflite.first_integers(model, tensor)
    return tuple((q - int(grid.zero_point[0])) * float(grid.scale[0]) for q in (-128, 127))


def compare(
    data: bytes, samples: Sequence[Sequence[Array]], kernels: Kernels = Kernels.TFLM
) -> int:
    """Every integer tensor of every sample, simulated as it is and by the oracle; how many.

    A float input is compared at the integers that are made of it: they are what the graph reads.

    Raises
    ------
    AssertionError
        One differs.
    """
    model, imported = convert(data, kernels)
    oracle = Oracle(data)
    wanted: list[Mapping[int, Array]] = []
    for sample in samples:
        oracle.run(sample)
        wanted.append({index: oracle.tensor(index) for index in imported.tensors})
    graph = passes.run(imported.graph, "literal")
    entries = [tflite.first_integers(model, tensor).index for tensor in model.inputs]
    inputs = {
        name: np.stack([each[index].reshape(graph.tensors[name].shape) for each in wanted])
        for name, index in zip(graph.inputs, entries, strict=True)
    }
    traced = trace(graph, inputs)
    for index, name in imported.tensors.items():
        expected = np.stack([each[index].reshape(-1) for each in wanted])
        actual = traced[name].reshape(len(wanted), -1)
        np.testing.assert_array_equal(expected, actual, err_msg=f"tensor {index} {name}")
    return len(imported.tensors) * len(wanted)
