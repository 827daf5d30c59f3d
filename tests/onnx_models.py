# SPDX-License-Identifier: Apache-2.0
"""The shared `.onnx` models: which are supported."""

from pathlib import Path

SUPPORTED = ["kai_jiang_deep_autoencoder", "kai_jiang_kws_ref_model"]

REFUSED = {
    "alibaba_model_ad": "version 11",
    "alibaba_model_ic": "version 11",
    "alibaba_model_kws": "version 9",
    "alibaba_model_vww": "version 11",
    "finn_kws_w3a3_qonnx": "version 11",
}


def path(shared: Path, name: str) -> Path:
    return shared / "models" / "onnx" / f"{name}.onnx"
