# SPDX-License-Identifier: Apache-2.0
"""CoDeQ's experiment as published: ResNet-20 from scratch, weights quantized, activations float.

    python -m codeq_train.recipes.paper_codeq DIR -o OUT [--mixed] [--epochs 300] [--resume]

Trains the float network and the quantized one by the same schedule, and writes `OUT/fixed.json` or
`OUT/mixed.json`: the accuracy of both on the test set after the last epoch, and the bit operations
as the paper counts them.  With ``--resume`` both widths share one float network.
Source: arXiv:2512.12981, section 4; SGD as reconstructed from its figure 4.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.optim import SGD, Optimizer

from codeq_compile.errors import CodeqError
from codeq_train.bops import network_ops, relative_bops
from codeq_train.config import LayerConfig
from codeq_train.evaluate import evaluate
from codeq_train.loop import Epoch, Precision, fit, launch, seed_everything
from codeq_train.quantizers import WeightQuantizer, make_quantizer
from codeq_train.recipes import models
from codeq_train.recipes.data import Dataset
from codeq_train.recipes.datasets import cifar10

BATCH_SIZE = 128
LR, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 1e-4
EPOCHS = 300
LOGIT_LR = 1e-3
"""Of theta_dz and theta_bit over `EPOCHS`; their penalties are this optimizer's weight decay."""
LAMBDA_DZ, LAMBDA_BIT = 0.01, 0.01
FLOAT_ACTIVATIONS = 32


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What the experiment gives; shares in [0, 1].

    Parameters
    ----------
    widths : {"fixed 4", "mixed 2-8"}
    epochs, seed : int
    seconds : float
        Both trainings, in this process.
    float_accuracy, accuracy : float
        On the test set, of the float and of the quantized network; that of the real levels with
        which it was trained, as in the paper, and not of int8 levels near them.
    delta : float
        Their difference, in points.
    density : float
        Share of weights that are not zero.
    relative_bops : float
        With 32 bits for activations, as the paper counts.
    """

    widths: str
    epochs: int
    seed: int
    seconds: float
    float_accuracy: float
    accuracy: float
    delta: float
    density: float
    relative_bops: float


def layer_config(*, mixed: bool) -> LayerConfig:
    """The paper's quantizer: one range a layer, a real offset, almost no dead zone at the start."""
    return LayerConfig(
        quantizer="codeq_offset",
        bits=8 if mixed else 4,
        learn_bits=mixed,
        per_channel=False,
        snap=False,
        paper_init=True,
    )


def quantize_weights(network: nn.Module, config: LayerConfig) -> list[WeightQuantizer]:
    """Put a quantizer before the weight of every convolution and linear layer, first and last too.

    Returns
    -------
    list of WeightQuantizer
        In the order of the layers; BatchNorm stays as it is.
    """
    quantizers = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            quantizer = make_quantizer(layer.weight, config)
            parametrize.register_parametrization(layer, "weight", quantizer)
            quantizers.append(quantizer)
    return quantizers


def keep_real_levels(network: nn.Module) -> None:
    """Put the quantized weights that training uses in the place of weights and quantizers.

    In evaluation a quantizer gives the int8 levels that would be exported.
    """
    network.train()
    for layer in list(network.modules()):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def optimizer(network: nn.Module, *, epochs: int = EPOCHS) -> Optimizer:
    """SGD; the logits have their own rate, and a weight decay that is the paper's lambda.

    Fewer `epochs` raise that rate in proportion, so that the logits come as far as in the paper:
    the dead zone opens by ``exp(-rate · lambda / (1 - momentum) · steps)``.
    """
    logits: dict[str, list[nn.Parameter]] = {"dead_zone": [], "bits": []}
    for module in network.modules():
        if isinstance(module, WeightQuantizer):
            for name, group in module.learned.items():
                parameter = module.get_parameter(name)
                if parameter.requires_grad and group in logits:
                    logits[group].append(parameter)
    taken = {id(parameter) for group in logits.values() for parameter in group}
    others = [each for each in network.parameters() if id(each) not in taken]
    logit_lr = LOGIT_LR * EPOCHS / epochs
    groups = [
        {"params": others, "lr": LR, "weight_decay": WEIGHT_DECAY},
        {"params": logits["dead_zone"], "lr": logit_lr, "weight_decay": LAMBDA_DZ},
        {"params": logits["bits"], "lr": logit_lr, "weight_decay": LAMBDA_BIT},
    ]
    return SGD([group for group in groups if group["params"]], momentum=MOMENTUM)


def run(
    dataset: Dataset,
    directory: Path,
    *,
    mixed: bool,
    epochs: int,
    seed: int,
    resume: bool = False,
    precision: Precision = "32-true",
    device: str = "auto",
) -> Result:
    """Train both networks and judge them once, on the test set.

    Parameters
    ----------
    dataset : Dataset
        CIFAR-10; its validation images are not used.
    directory : Path
        For checkpoints, ``fixed.json`` and ``mixed.json``.
    mixed : bool
        Learn the widths, 2 to 8 bits; otherwise 4 bits everywhere.
    epochs, seed : int
    resume : bool
        Continue from the checkpoints.
    precision : {"32-true", "bf16-mixed"}
        Mixed: convolutions in bfloat16, quantizers in float32.
    device : {"auto", "cpu", "cuda"}
    """
    started = time.monotonic()
    directory.mkdir(parents=True, exist_ok=True)
    seed_everything(seed)
    baseline, network = models.resnet20(), models.resnet20()
    quantize_weights(network, layer_config(mixed=mixed))
    widths = "mixed" if mixed else "fixed"
    for name, each in (("float", baseline), (widths, network)):
        fit(
            each,
            torch.arange(len(dataset.train)),
            dataset.train.y,
            epochs=epochs,
            batch_size=BATCH_SIZE,
            optimizer=partial(optimizer, epochs=epochs),
            augment=dataset.draw,
            precision=precision,
            channels_last=True,
            checkpoint=directory / f"{name}.pt",
            resume=resume,
            on_epoch=partial(_say, name),
            seed=seed,
            fabric=launch(accelerator=device),
        )
    baseline.cpu()
    layers = network_ops(network.cpu(), dataset.test.x[:1])
    keep_real_levels(network)
    reached = [evaluate(each, dataset.test.x, dataset.test.y) for each in (baseline, network)]
    weights = sum(layer.weights for layer in layers)
    result = Result(
        widths="mixed 2-8" if mixed else "fixed 4",
        epochs=epochs,
        seed=seed,
        seconds=round(time.monotonic() - started, 1),
        float_accuracy=reached[0],
        accuracy=reached[1],
        delta=round(100 * (reached[1] - reached[0]), 2),
        density=sum(layer.weights * layer.density for layer in layers) / weights,
        relative_bops=relative_bops(layers, activation_bits=FLOAT_ACTIVATIONS),
    )
    (directory / f"{widths}.json").write_bytes(msgspec.json.format(msgspec.json.encode(result)))
    return result


def _say(name: str, epoch: Epoch) -> None:
    print(
        f"{name:9} epoch {epoch.number:3}/{epoch.epochs}  loss {epoch.loss:.3f}  "
        f"accuracy {epoch.accuracy:6.2%}",
        file=sys.stderr,
        flush=True,
    )


def main(arguments: Sequence[str]) -> int:
    """Run from a shell."""
    parser = argparse.ArgumentParser(prog="paper_codeq", description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, metavar="DIR", help="CIFAR-10, as for codeq train ic")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    parser.add_argument("--mixed", action="store_true", help="learn widths of 2 to 8 bits")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    given = parser.parse_args(arguments)
    try:
        result = run(
            cifar10.load(given.data),
            given.output,
            mixed=given.mixed,
            epochs=given.epochs,
            seed=given.seed,
            resume=given.resume,
            precision=given.precision,
            device=given.device,
        )
    except CodeqError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(msgspec.json.format(msgspec.json.encode(result)).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
