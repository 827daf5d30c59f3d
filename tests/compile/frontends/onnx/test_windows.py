# SPDX-License-Identifier: Apache-2.0
"""Pooling and padding against onnxruntime."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="the interpreter that is compared with")

from codeq_compile.errors import UnsupportedOp
from tests.onnx_author import File
from tests.onnx_oracle import check, imported

WINDOWS: list[dict[str, Any]] = [
    {"kernel_shape": [2, 2], "strides": [2, 2]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [3, 2], "strides": [1, 2], "pads": [1, 0, 2, 1]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    {"kernel_shape": [3, 2], "strides": [3, 3], "pads": [1, 0, 1, 1], "ceil_mode": 1},
    {"kernel_shape": [3, 3], "strides": [2, 3], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [3, 3], "strides": [2, 3], "auto_pad": "SAME_LOWER"},
    {"kernel_shape": [3, 3], "auto_pad": "VALID"},
]


def pooled(kind: str, shape: tuple[int, ...] = (1, 4, 8, 10), **attributes: Any) -> bytes:
    file = File(dtype="uint8")
    x = file.quantized(file.input(*shape))
    return file.bytes(file.quantized(file.add(kind, x, **attributes)))


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_windows_are_those_of_onnx(
    kind: str, window: dict[str, Any], rng: np.random.Generator
) -> None:
    """A window that begins one pixel too late is another network."""
    # an average is rounded on its input's grid and again on its output's
    check(pooled(kind, **window), rng, mean=0.5 if kind == "AveragePool" else 0.05)


def test_a_window_may_be_dilated(rng: np.random.Generator) -> None:
    """Of maxima only: an average has no such kernel."""
    window = {"kernel_shape": [2, 3], "dilations": [2, 2], "pads": [1, 0, 0, 1]}

    check(pooled("MaxPool", **window), rng)
    with pytest.raises(UnsupportedOp, match="its window is dilated"):
        imported(pooled("AveragePool", **window))


def test_padding_may_count_as_zeros(rng: np.random.Generator) -> None:
    """torch's default, which TensorFlow does not have."""
    window = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}

    model = check(pooled("AveragePool", **window), rng, mean=0.5)

    assert "pad" in [node.op.kind for node in model.graph.nodes]


@pytest.mark.parametrize("shape", [(1, 4, 8, 10), (1, 4, 9)])
def test_a_mean_of_everything_is_rounded_once(
    shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    """On the output's grid, which is finer than the input's."""
    whole = {"kernel_shape": shape[2:]}
    # a sum of n values times 1/n has few bits behind the point, where [N2.6] rounds twice
    models = [
        check(pooled("GlobalAveragePool", shape), rng, mean=0.5),
        check(pooled("AveragePool", shape, **whole), rng, mean=0.5),
    ]

    for model in models:
        assert ["mean"] == [n.op.kind for n in model.graph.nodes if n.op.kind != "reshape"]


@pytest.mark.parametrize("shape", [(1, 4, 8, 10), (1, 4, 9)])
def test_a_maximum_of_everything(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    """A window as large as the image."""
    check(pooled("GlobalMaxPool", shape), rng)


@pytest.mark.parametrize(
    ("window", "problem"),
    [
        ({"kernel_shape": [2]}, "do not fit 2 axes"),
        ({"kernel_shape": [2, 2], "strides": [0, 1]}, "must be 1 or more"),
        ({"kernel_shape": [2, 2], "pads": [0, -1, 0, 0]}, "crop with a Slice"),
        ({"kernel_shape": [2, 2], "auto_pad": "SAME"}, "auto_pad is SAME"),
        ({"kernel_shape": [1 << 21, 2]}, "must be 1 or more"),
        ({"kernel_shape": [9, 2]}, "larger than the padded input"),
    ],
)
def test_impossible_windows_are_refused(window: dict[str, Any], problem: str) -> None:
    """Also those that onnxruntime refuses: the file may come from anywhere."""
    file = File()
    x = file.quantized(file.input(1, 4, 8, 10))
    y = file.quantized(file.add("MaxPool", x, **window), (0.1, 0))

    with pytest.raises(UnsupportedOp, match=problem):
        imported(file.unchecked_bytes(y))
