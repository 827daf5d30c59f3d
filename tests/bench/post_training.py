# SPDX-License-Identifier: Apache-2.0
"""Accuracy of the integers after quantization without training and without labels.

    OMP_NUM_THREADS=1 python tests/bench/post_training.py watch
    OMP_NUM_THREADS=1 python tests/bench/post_training.py kws --data DIR --teacher float.pt
    OMP_NUM_THREADS=1 python tests/bench/post_training.py ic --data DIR --teacher float.pt

Every technique at every width, then the widths, gaps and zeros that limits on bytes ask for.  The
float network is trained by its recipe unless `--teacher` names one, as for `codeq train`.  512
inputs of the training set calibrate; the test set is measured.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2]))

from codeq_train import (
    BudgetConfig,
    InputConfig,
    LayerConfig,
    QuantConfig,
    QuantizedModel,
    export,
    integer_outputs,
    predict,
    projected_bytes,
    quantize,
)
from codeq_train.recipes.data import Dataset
from codeq_train.recipes.demo import demo
from codeq_train.recipes.ic import ic
from codeq_train.recipes.kws import kws
from codeq_train.recipes.recipe import Run, train_float

INPUTS, BATCH = 512, 64
RECIPES = {"kws": kws, "ic": ic}
TECHNIQUES = {
    "nearest": {"rounding": "nearest", "bias_correction": False, "equalization": False},
    "nearest, bias correction": {"rounding": "nearest", "equalization": False},
    "AdaRound": {"rounding": "adaround"},
    "error feedback": {"rounding": "error_feedback"},
    "error feedback, not equalized": {"rounding": "error_feedback", "equalization": False},
}


def calibration(data: Dataset, inputs: int) -> Sequence[Tensor]:
    chosen = torch.linspace(0, len(data.train) - 1, inputs).long()
    return data.train.x[chosen].split(BATCH)


def show(title: str, scores: Tensor, reference: Tensor, y: Tensor, *, rest: str = "") -> None:
    right = float((scores.argmax(1) == y).double().mean())
    alike = float((scores.argmax(1) == reference.argmax(1)).double().mean())
    print(f"| {title} | {right:.2%} | {alike:.2%} |{rest}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=["watch", *RECIPES])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--teacher", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inputs", type=int, default=INPUTS, help="that calibrate")
    parser.add_argument("--precision", default="32-true", help="of the teacher's training")
    parser.add_argument("--bits", type=int, nargs="*", default=[8, 6, 5, 4, 3, 2])
    parser.add_argument("--bytes", nargs="*", default=[])
    parser.add_argument("--techniques", nargs="*", default=list(TECHNIQUES), choices=TECHNIQUES)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recipe = demo() if arguments.task == "watch" else RECIPES[arguments.task](arguments.data)
    network = train_float(
        recipe,
        seed=arguments.seed,
        on_progress=lambda _: None,
        run=Run(teacher=arguments.teacher, precision=arguments.precision),
    )
    data = recipe.dataset
    inputs = {"input": InputConfig(scale=data.grid.scale, zero_point=data.grid.zero_point)}
    batches, test = calibration(data, arguments.inputs), data.test
    reference = predict(network, test.x)

    def measure(title: str, config: QuantConfig, technique: str) -> None:
        start = time.perf_counter()
        ours: QuantizedModel = quantize(network, batches, config, **TECHNIQUES[technique])
        seconds = time.perf_counter() - start
        scores = torch.from_numpy(integer_outputs(export(ours), test.x)).flatten(1)
        rest = f" {projected_bytes(ours)} | {seconds:.0f} s |"
        show(f"{title} | {technique}", scores, reference, test.y, rest=rest)

    print("| width | technique | integers | as in float | bytes | time |")
    print("|---|---|---|---|---|---|")
    show("float | ", reference, reference, test.y, rest=" | |")
    for bits in arguments.bits:
        for technique in arguments.techniques:
            weights = LayerConfig(quantizer="lsq", bits=bits)
            measure(f"{bits} bits", QuantConfig(weights=weights, inputs=inputs), technique)
    for limit in arguments.bytes:
        budget = QuantConfig(budgets=BudgetConfig(weights=limit), inputs=inputs)
        measure(f"{limit} bytes", budget, "error feedback")


if __name__ == "__main__":
    main()
