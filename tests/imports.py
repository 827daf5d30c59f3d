# SPDX-License-Identifier: Apache-2.0
"""One-operator `.tflite` files: written, imported, and compared with TFLite Micro's kernels.

Needs the package tflite-micro; import this module through `pytest.importorskip`.
"""

import importlib
import itertools
from typing import Any

import numpy as np
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from codeq_compile.frontends.tflite import Kernels
from codeq_compile.ir import Graph
from tests import oracle, tflite
from tests.graphs import Case
from tests.tflite_author import File


def cases(*kinds: str) -> list[Case]:
    """The cases of ops that TFLite has a form for."""
    found: list[Case] = []
    for kind in kinds:
        found += importlib.import_module(f"tests.compile.ops.test_{kind}").CASES
    return [case for case in found if is_expressible(case)]


def is_expressible(case: Case) -> bool:
    try:
        tflite.model(case.graph())
    except tflite.NotExpressibleError:
        return False
    return True


def check_case(case: Case) -> None:
    """The case as a file, imported, gives what the foreign kernels give.

    Raises
    ------
    AssertionError
    """
    data = tflite.model(case.graph())
    inputs = case.data().values()
    samples = [[x[None] for x in sample] for sample in zip(*inputs, strict=True)]

    assert oracle.compare(data, samples) >= len(samples)


def imported(file: File, inputs: list[int], outputs: list[int]) -> Graph:
    """The graph of a file."""
    return oracle.convert(file.bytes(inputs, outputs))[1].graph


def check(
    rng: np.random.Generator,
    file: File,
    inputs: list[int],
    outputs: list[int],
    *,
    samples: int = 6,
    kernels: Kernels = Kernels.TFLM,
) -> None:
    """Every tensor of random samples and of both extremes is the oracle's.

    Raises
    ------
    AssertionError
    """
    data = file.bytes(inputs, outputs)
    model, _ = oracle.convert(data, kernels)

    assert oracle.compare(data, oracle.random_samples(rng, model, samples), kernels)


def compressed_rows(segments: list[int], indices: list[int], rows: int) -> Any:
    """Sparsity of a matrix whose rows are dense and whose columns are not."""
    sparsity = schema.SparsityParametersT()
    sparsity.traversalOrder, sparsity.blockMap = [0, 1], []
    outer, inner = schema.DimensionMetadataT(), schema.DimensionMetadataT()
    outer.format, outer.denseSize = schema.DimensionType.DENSE, rows
    inner.format = schema.DimensionType.SPARSE_CSR
    for name, values in (("arraySegments", segments), ("arrayIndices", indices)):
        vector = schema.Int32VectorT()
        vector.values = values
        setattr(inner, name, vector)
        setattr(inner, f"{name}Type", schema.SparseIndexVector.Int32Vector)
    sparsity.dimMetadata = [outer, inner]
    return sparsity


def unary(
    kind: str, x: Any, y: Any, options: str | None = None, shape: Any = (1, 256), **fields: Any
) -> tuple[File, list[int], list[int]]:
    """A file of one operator with one input; x and y are (scale, zero point)."""
    file = File()
    source = file.tensor(shape, scale=x[0], zero_point=x[1], name="x")
    result = file.tensor(shape, scale=y[0], zero_point=y[1], name="y")
    file.operator(kind, [source], [result], options, **fields)
    return file, [source], [result]


def relu_chain(*names: str) -> tuple[File, list[int], list[int]]:
    """A file of tensors of these names, each but the first the RELU of the one before."""
    file = File()
    tensors = [file.tensor((1, 4), scale=0.1, zero_point=-7, name=name) for name in names]
    for first, second in itertools.pairwise(tensors):
        file.operator("RELU", [first], [second])
    return file, tensors[:1], tensors[-1:]
