# SPDX-License-Identifier: Apache-2.0
"""TensorFlow Lite's reference kernels on a file, in an environment of its own.

    PYTHON tests/foreign_runtime.py FOLDER

PYTHON has tflite-runtime 2.14, which needs numpy < 2: that is why this runs as another process and
imports nothing of codeq.  FOLDER holds `model.tflite` and `inputs.npz` (an array an input, samples
first); `outputs.npz` is written, an array an output.  Tensors inside cannot be compared: this
interpreter lets layers write over their inputs, whatever it is asked for.
"""

import sys
from pathlib import Path

import numpy as np
from tflite_runtime.interpreter import Interpreter, OpResolverType


def main() -> None:
    folder = Path(sys.argv[1])
    interpreter = Interpreter(
        model_path=str(folder / "model.tflite"),
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    with np.load(folder / "inputs.npz") as stored:
        samples = [stored[key] for key in sorted(stored.files)]
    outputs: list[list[np.ndarray]] = [[] for _ in interpreter.get_output_details()]
    for sample in zip(*samples, strict=True):
        for detail, array in zip(interpreter.get_input_details(), sample, strict=True):
            interpreter.set_tensor(detail["index"], array)
        interpreter.invoke()
        for values, detail in zip(outputs, interpreter.get_output_details(), strict=True):
            values.append(np.array(interpreter.get_tensor(detail["index"])))
    arrays = {f"out{number}": np.stack(values) for number, values in enumerate(outputs)}
    np.savez(folder / "outputs.npz", **arrays)


if __name__ == "__main__":
    main()
