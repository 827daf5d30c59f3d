# SPDX-License-Identifier: Apache-2.0
"""Whole `.onnx` models against onnxruntime: steps, accuracy, C, and the way out and back."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="the interpreter that is compared with")

import codeq_compile
from codeq_compile import passes
from codeq_compile.errors import ModelError
from codeq_compile.export.onnx import dumps
from codeq_compile.frontends import onnx
from codeq_compile.simulate import simulate
from tests import onnx_models, tflite_models
from tests.graphs import random_inputs
from tests.onnx_author import session
from tests.onnx_oracle import agreement, distance, imported, outputs

SAMPLES = 150
"""Recorded ones; tests/bench/onnx_imports.py takes all and writes docs/IMPORT.md."""


@pytest.mark.parametrize("name", onnx_models.SUPPORTED)
def test_a_model_of_others_is_near_to_onnxruntime(
    shared: Path, name: str, rng: np.random.Generator
) -> None:
    """Ten layers of ReLU and saturation, quantized by another tool."""
    found = distance(onnx_models.path(shared, name).read_bytes(), rng)

    # each layer rounds some values up that are rounded down there, and the next ones multiply that;
    # a softmax makes dozens of its steps of one in a tie, so that the largest says nothing
    assert found.mean < 1


@pytest.mark.parametrize("name", onnx_models.REFUSED)
def test_a_model_that_is_not_quantized_is_refused(shared: Path, name: str) -> None:
    """With the version of its operators: quantizers of channels came with 13."""
    with pytest.raises(ModelError, match=onnx_models.REFUSED[name]):
        onnx.load(onnx_models.path(shared, name))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in onnx_models.MADE if "kws" in name])
def test_a_network_keeps_its_accuracy(shared: Path, name: str) -> None:
    """Each way to quantize: the same classes but for samples that lie between two."""
    data = onnx_models.data_for(shared, name)
    assert data is not None
    chosen = slice(0, None, len(data.samples) // SAMPLES)
    with onnx_models.made(shared, name) as path:
        found = agreement(path.read_bytes(), data.samples[chosen], data.classes[chosen])

    # one sample of 150 is 0.7 points
    assert abs(found.ours - found.theirs) < 0.035
    assert found.same_class > 0.92
    assert found.mean < 6


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the exporter's, and that its quantizers will move
def test_a_network_that_pytorch_trained_is_imported(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Quantization-aware training as PyTorch has it, with its BatchNormalization still there."""
    torch = pytest.importorskip("torch", reason="trains and exports the network")
    from torch.ao import quantization
    from torch.ao.quantization.quantize_fx import prepare_qat_fx

    observers = {
        "activation": quantization.FakeQuantize.with_args(
            observer=quantization.MovingAverageMinMaxObserver,
            quant_min=0, quant_max=255, dtype=torch.quint8,
        ),
        "weight": quantization.FakeQuantize.with_args(
            observer=quantization.MovingAveragePerChannelMinMaxObserver,
            quant_min=-128, quant_max=127, dtype=torch.qint8,
            qscheme=torch.per_channel_symmetric,
        ),
    }  # fmt: skip
    nn = torch.nn
    network = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, groups=8, stride=2), nn.Hardswish()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)),
    )
    mapping = quantization.QConfigMapping().set_global(quantization.QConfig(**observers))
    sample = torch.from_numpy(rng.normal(size=(4, 3, 16, 16)).astype(np.float32))
    prepared = prepare_qat_fx(network.train(), mapping, (sample,))
    for _ in range(3):
        prepared(sample)
    prepared.apply(quantization.disable_observer).eval()
    path = tmp_path / "network.onnx"
    torch.onnx.export(prepared, (sample[:1],), str(path), opset_version=17, dynamo=False)

    found = distance(path.read_bytes(), rng)

    assert found.largest <= 4
    assert found.mean < 0.5


@pytest.mark.slow
def test_the_c_of_an_imported_model_is_its_simulation(shared: Path, tmp_path: Path) -> None:
    """The compiler does not know where a graph comes from."""
    model = onnx_models.path(shared, "kai_jiang_kws_ref_model")

    codeq_compile.compile(model, tmp_path / "kws", target="host")
    result = codeq_compile.check(tmp_path / "kws", ["host"], samples=3)

    assert 0 == result.bytes_differing


@pytest.mark.parametrize(
    "name", ["tflm/micro_speech_quantized", "silabs/keyword_spotting", "tinymaix/mnist_dw_q"]
)
def test_a_network_goes_out_and_comes_back(
    shared: Path, name: str, rng: np.random.Generator
) -> None:
    """`codeq export`: onnxruntime is near, and our own import of the file is equal."""
    graph = codeq_compile.load(tflite_models.path(shared, name))
    given = random_inputs(rng, graph, 6)
    ours = simulate(passes.run(graph), given)
    data = dumps(graph)

    def in_onnx(name: str, array: np.ndarray) -> np.ndarray:
        return array.transpose(0, 3, 1, 2) if array.ndim == 4 else array

    reals = {x: in_onnx(x, graph.tensors[x].grid.dequantize(q)) for x, q in given.items()}
    again = outputs(imported(data), reals)
    theirs = session(data).run(None, reals)

    for output, found, real in zip(graph.outputs, again.values(), theirs, strict=True):
        expected = in_onnx(output, ours[output])
        np.testing.assert_array_equal(expected, found.reshape(expected.shape))
        grid = graph.tensors[output].grid
        steps = np.abs(grid.dequantize(expected) - real) / grid.scale
        # probabilities of random noise: one step of the strongest logit is many of its share
        assert steps.mean() < 2
