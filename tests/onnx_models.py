# SPDX-License-Identifier: Apache-2.0
"""The shared `.onnx` models, and those that onnxruntime quantizes from shared floats and data."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codeq_compile.ir.op import Array

SUPPORTED = ["kai_jiang_deep_autoencoder", "kai_jiang_kws_ref_model"]
"""Quantized by others."""

REFUSED = {
    "alibaba_model_ad": "version 11",
    "alibaba_model_ic": "version 11",
    "alibaba_model_kws": "version 9",
    "alibaba_model_vww": "version 11",
    "finn_kws_w3a3_qonnx": "version 11",
}

CALIBRATION_SAMPLES = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How `quantize_static` makes integers of a float model.

    Parameters
    ----------
    source : str
        Float model of the shared folder.
    activations, weights : str
        Names of `QuantType`.
    per_channel : bool
    options : dict
        `extra_options`.
    opset : int
    """

    source: str
    activations: str
    weights: str
    per_channel: bool = True
    options: tuple[tuple[str, Any], ...] = ()
    opset: int = 17


_SYMMETRIC = (("ActivationSymmetric", True),)
_ASYMMETRIC_WEIGHTS = (("WeightSymmetric", False),)

MADE = {
    "kws_s8_per_channel": Recipe(source="alibaba_model_kws", activations="QInt8", weights="QInt8"),
    "kws_u8_per_tensor": Recipe(
        source="alibaba_model_kws", activations="QUInt8", weights="QInt8", per_channel=False
    ),
    "kws_u8_u8": Recipe(
        source="alibaba_model_kws", activations="QUInt8", weights="QUInt8", per_channel=False,
        options=_ASYMMETRIC_WEIGHTS,
    ),
    "kws_symmetric": Recipe(
        source="alibaba_model_kws", activations="QInt8", weights="QInt8", options=_SYMMETRIC,
        opset=13,
    ),
    "kws_int4": Recipe(
        source="alibaba_model_kws", activations="QInt8", weights="QInt4", opset=21
    ),
    "cifar_s8_per_channel": Recipe(source="alibaba_model_ic", activations="QInt8", weights="QInt8"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Samples in the shape of the model's input, and their classes."""

    calibration: Array
    samples: Array
    classes: Array


def path(shared: Path, name: str) -> Path:
    return shared / "models" / "onnx" / f"{name}.onnx"


def data_for(shared: Path, name: str) -> Data | None:
    """Recordings for a model; None where there are none."""
    if "kws" in name:
        with np.load(shared / "data" / "kws" / "kws_mfcc_f16.npz") as stored:
            split, classes = stored["split"], stored["y12"]
            x = stored["x"].astype(np.float32)
        train, test = np.flatnonzero(split == 0), split == 2
        chosen = train[:: len(train) // CALIBRATION_SAMPLES][:CALIBRATION_SAMPLES]
        shape = (490,) if name in SUPPORTED else (49, 10, 1)
        return Data(
            calibration=x[chosen].reshape(-1, *shape),
            samples=x[test].reshape(-1, *shape),
            classes=classes[test],
        )
    if "cifar" in name:
        with np.load(shared / "data" / "cifar10" / "cifar10_lossless_subset.npz") as stored:
            images, test, classes = stored["x"], stored["x_test"], stored["y_test"]
        return Data(
            calibration=_normalized(images[:CALIBRATION_SAMPLES]),
            samples=_normalized(test),
            classes=classes,
        )
    return None


def _normalized(images: Array) -> Array:
    mean, deviation = np.array([0.4914, 0.4822, 0.4465]), np.array([0.2470, 0.2435, 0.2616])
    reals = (images / 255.0 - mean) / deviation
    return reals.transpose(0, 3, 1, 2).astype(np.float32)


@contextlib.contextmanager
def made(shared: Path, name: str) -> Iterator[Path]:
    """A model quantized by onnxruntime."""
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    recipe, data = MADE[name], data_for(shared, name)
    assert data is not None
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / f"{name}.onnx"
        model = onnx.load(str(path(shared, recipe.source)))
        onnx.save(onnx.version_converter.convert_version(model, recipe.opset), str(source))
        logging.disable(logging.WARNING)  # it advises to run a preprocessor first
        try:
            quantize_static(
                str(source),
                str(target),
                _reader(model.graph.input[0].name, data.calibration),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType[recipe.activations],
                weight_type=QuantType[recipe.weights],
                per_channel=recipe.per_channel,
                extra_options=dict(recipe.options),
            )
        finally:
            logging.disable(logging.NOTSET)
        yield target


def _reader(name: str, samples: Array) -> Any:
    """What `quantize_static` asks for samples, one by one."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.rest = iter(samples)

        def get_next(self) -> dict[str, Array] | None:
            sample = next(self.rest, None)
            return None if sample is None else {name: sample[None]}

    return Reader()
