# SPDX-License-Identifier: Apache-2.0
"""The shared `.tflite` models: which are supported, and their recorded samples."""

from pathlib import Path

import numpy as np

from codeq_compile.frontends.tflite.schema import Model
from codeq_compile.ir.op import Array

SUPPORTED = [
    "misc/magic_wand_5spell_q",
    "mlperf_tiny/ad01_int8",
    "mlperf_tiny/kws_ref_model",
    "mlperf_tiny/pretrainedResnet_large_int8",
    "mlperf_tiny/str_ww_ref_model",
    "pruned/dense_m",
    "pruned/dense_s",
    "pruned/sparse_m_80",
    "pruned/sparse_m_90",
    "pruned/sparse_s_70",
    "pruned/sparse_s_80",
    "pruned/sparse_s_90",
    "pruned/sparse_s_95",
    "silabs/anomaly_detection",
    "silabs/fingerprint_signature_generator",
    "silabs/image_example1",
    "silabs/keyword_spotting",
    "silabs/keyword_spotting_alexa",
    "silabs/keyword_spotting_pacman_v3",
    "silabs/keyword_spotting_with_transfer_learning",
    "silabs/tflite_micro_magic_wand",
    "silabs/visual_wake_words",
    "tflm/hello_world_int8",
    "tflm/keyword_scrambled",
    "tflm/keyword_scrambled_8bit",
    "tflm/micro_speech_quantized",
    "tinymaix/mbnet128_0.25_q",
    "tinymaix/mnist_arduino_q",
    "tinymaix/mnist_dw_q",
    "tinymaix/mnist_rect_q",
    "tinymaix/mnist_resnet_q",
    "tinymaix/mnist_valid_q",
    "tinymaix/vww96_q",
]

RECORDED = [name for name in SUPPORTED if not name.startswith("pruned/")]
"""Those with samples beside them."""

SMALL = [
    "mlperf_tiny/kws_ref_model",
    "misc/magic_wand_5spell_q",
    "silabs/image_example1",
    "tflm/keyword_scrambled",
    "tflm/micro_speech_quantized",
    "tinymaix/mnist_dw_q",
]
"""Files that are read in no time; the fourth has operators of many kinds."""

TFLM_ONLY = frozenset({"tflm/keyword_scrambled_8bit"})
"""TensorFlow Lite has no SVDF kernel with a state of int8."""

REFUSED = {
    "misc/magic_wand_5spell_f32": "float32",
    "mlperf_tiny/ad01_fp32": "float32",
    "tflm/hello_world_float": "float32",
    "tflm/audio_preprocessor_int8": "CUSTOM SignalWindow",
    "tflm/dtln_noise_suppression": "UNIDIRECTIONAL_SEQUENCE_LSTM",
}


def path(shared: Path, name: str) -> Path:
    return shared / "models" / f"{name}.tflite"


def recorded(shared: Path, name: str, model: Model) -> list[list[Array]]:
    """The samples that lie beside a model; none for some."""
    file = shared / "models" / "vectors" / f"{name.replace('/', '__')}.npz"
    if not file.exists():
        return []
    with np.load(file) as stored:
        inputs = [stored[f"in{position}"] for position in range(len(model.inputs))]
    return [
        [array.reshape(tensor.shape) for array, tensor in zip(sample, model.inputs, strict=True)]
        for sample in zip(*inputs, strict=True)
    ]


def recorded_outputs(shared: Path, name: str, kernels: str = "tflm") -> list[Array]:
    """What TFLite Micro's reference kernels, or others, gave for them, an array an output."""
    file = shared / "models" / "vectors" / f"{name.replace('/', '__')}.npz"
    if not file.exists():
        return []
    with np.load(file) as stored:
        names = sorted(key for key in stored.files if key.endswith(f"_{kernels}"))
        return [stored[key] for key in names]
