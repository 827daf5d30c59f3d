# SPDX-License-Identifier: Apache-2.0
"""What all recipes do: train in float and on integers; choose, compile, check, measure, report."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

import codeq_compile
from codeq_compile import passes
from codeq_compile.errors import InputError
from codeq_compile.ir import Graph
from codeq_compile.report import collect, table
from codeq_compile.report.collect import Report
from codeq_train import checkpoint as checkpoints
from codeq_train import methods
from codeq_train.config import STRUCTURES, InputConfig, QuantConfig, parse_config
from codeq_train.cost import planned
from codeq_train.evaluate import Accuracy, float_figures, integer_figures
from codeq_train.export import export, to_graph_inputs
from codeq_train.limits import check_floor, check_instructions
from codeq_train.loop import Callback, Epoch, Precision, fit, seed_everything
from codeq_train.model import QuantizedModel
from codeq_train.prepare import prepare
from codeq_train.recipes.data import Dataset, Samples
from codeq_train.tensorboard import TensorBoard

if TYPE_CHECKING:
    from lightning_fabric import Fabric

HOST = "host"
CALIBRATION = 512
"""Training samples that set the activations' first ranges."""
CURVATURE_BATCH = 128
LABEL_SMOOTHING = 0.1
TABLE_NAME = "report.txt"
PHASES = ("float", "quantized")
"""Each has a checkpoint of its name in a run's folder."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recipe:
    """One reproducible run.

    Parameters
    ----------
    name : str
        A lower-case C identifier: prefix of the library's symbols.
    dataset : Dataset
    network : callable
        Makes the float network, untrained.
    config : QuantConfig
        Without `inputs`: the grid is that of `dataset`.  The library is held to the budgets too.
    float_epochs, quantized_epochs : int
    frozen_epochs : int
        How many of the last `quantized_epochs` keep zeros and widths as they are.
    reestimate_batches : int
        Over which BatchNorm's statistics are estimated anew before those epochs.
    batch_size : int
    float_lr, quantized_lr : float
        At the start; both fall to 0 along a cosine.
    weight_decay : float
    optimizer : {"adamw", "sgd"}
        SGD has Nesterov momentum 0.9.
    clip_norm : float, optional
        Largest norm of all gradients together.
    channels_last : bool
        Faster for images of several channels.
    class_weighting : float
        Classes count in the loss by their frequency to minus this: 0 leaves rare ones to
        themselves, 1 makes all classes alike.
    """

    name: str
    dataset: Dataset
    network: Callable[[], nn.Module]
    config: QuantConfig
    float_epochs: int
    quantized_epochs: int
    frozen_epochs: int
    batch_size: int
    float_lr: float
    quantized_lr: float
    weight_decay: float
    optimizer: Literal["adamw", "sgd"] = "adamw"
    clip_norm: float | None = None
    reestimate_batches: int = 0
    channels_last: bool = False
    class_weighting: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """How a recipe is trained, where that does not belong to the recipe.

    Parameters
    ----------
    directory : Path, optional
        For checkpoints after each epoch, `float.pt` and `quantized.pt`.
    resume : bool
        Continue from them; what is finished is only loaded.
    teacher : Path, optional
        `float.pt` of another run of this recipe with this seed: the float network is the same
        whatever the budget and the method.
    log : bool
        TensorBoard logs in `directory`.
    precision : {"32-true", "bf16-mixed"}
        Of all but the last phase, which is always in float32.
    fabric : Fabric, optional
        Device and processes, from `launch`; by default one process on the CPU.
    """

    directory: Path | None = None
    resume: bool = False
    teacher: Path | None = None
    log: bool = False
    precision: Precision = "32-true"
    fabric: "Fabric | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """An epoch of one phase: "float", "quantized" or "frozen".

    Parameters
    ----------
    phase : str
    epoch : Epoch
        Numbers and accuracies within the training that the phase belongs to.
    integers : Accuracy, optional
        Of the exported integers on the validation set; in the last phase.
    """

    phase: str
    epoch: Epoch
    integers: Accuracy | None = None


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """What `train` gives.

    Parameters
    ----------
    network : nn.Module
        Float, trained: the baseline.
    model : QuantizedModel
        As of the chosen epoch, in evaluation mode.
    graph : Graph
        Its integers.
    """

    network: nn.Module
    model: QuantizedModel
    graph: Graph


def train(recipe: Recipe, *, seed: int, on_progress: OnProgress, run: Run | None = None) -> Trained:
    """Train the float network, then its quantized copy with the float one as teacher.

    The test set is not looked at.  Of the last phase that epoch is kept whose integers are best on
    the validation set, by the mean of plain and balanced accuracy.  All is on the CPU afterwards.

    Raises
    ------
    InputError
        A checkpoint that is to be continued is of another recipe or seed; the teacher is not there
        or not finished.
    CodeqError
        The network or the settings cannot be prepared, or are above a budget: as `prepare` has it.
    """
    run = run or Run()
    network = train_float(recipe, seed=seed, on_progress=on_progress, run=run)
    data, shared = recipe.dataset, _shared(recipe, run)
    config = _with_input(recipe)
    if methods.needs_widths(config):
        config = methods.with_widths(config, network, _batches(data.train), shared["loss"])
    model = prepare(network, _some(data.train, CALIBRATION), config)
    fit(
        model,
        **shared,
        epochs=recipe.quantized_epochs,
        lr=recipe.quantized_lr,
        freeze_epochs=recipe.frozen_epochs,
        reestimate_batches=recipe.reestimate_batches,
        keep_best=True,
        teacher=network,
        checkpoint=_file(run, "quantized.pt"),
        resume=run.resume,
        callbacks=_logs(run, "quantized"),
        on_epoch=lambda epoch: on_progress(_progress(epoch)),
        seed=seed + 1,
    )
    network.cpu()
    model.cpu().eval()
    return Trained(network=network, model=model, graph=_export(model, recipe))


def train_float(
    recipe: Recipe, *, seed: int, on_progress: OnProgress, run: Run | None = None
) -> nn.Module:
    """The first phase of `train` alone: the baseline and teacher, on the CPU, in evaluation mode.

    Raises
    ------
    InputError
        As in `train`.
    """
    run = run or Run()
    if run.teacher is not None:
        _check_teacher(run.teacher, recipe)
    seed_everything(seed)
    network = recipe.network()
    _check(recipe, network)
    _clear(run)
    fit(
        network,
        **_shared(recipe, run),
        epochs=recipe.float_epochs,
        lr=recipe.float_lr,
        checkpoint=run.teacher or _file(run, "float.pt"),
        resume=run.resume or run.teacher is not None,
        callbacks=_logs(run, "float"),
        on_epoch=lambda epoch: on_progress(Progress(phase="float", epoch=epoch)),
        seed=seed,
    )
    return network.cpu().eval()


def unfinished(directory: Path) -> str | None:
    """Where the run whose checkpoints are in `directory` was interrupted; None if nowhere.

    Returns
    -------
    str, optional
        Such as "float epoch 12 of 400".

    Raises
    ------
    InputError
        A file with a checkpoint's name is none.
    """
    present = [phase for phase in PHASES if (directory / f"{phase}.pt").exists()]
    for phase in present:
        done, epochs = _reached(directory / f"{phase}.pt")
        if done < epochs or present == ["float"]:
            return f"{phase} epoch {done} of {epochs}"
    return None


def _shared(recipe: Recipe, run: Run) -> dict[str, Any]:
    """What both phases give to `fit`."""
    data = recipe.dataset
    return {
        "x": torch.arange(len(data.train)),
        "y": data.train.y,
        "batch_size": recipe.batch_size,
        "weight_decay": recipe.weight_decay,
        "optimizer": recipe.optimizer,
        "clip_norm": recipe.clip_norm,
        "validation": (data.validation.x, data.validation.y),
        "augment": data.draw,
        "loss": partial(_loss, _class_weights(data.train.y, recipe.class_weighting)),
        "precision": run.precision,
        "channels_last": recipe.channels_last,
        "settings": {"recipe": recipe.name, "class_weighting": recipe.class_weighting},
        "fabric": run.fabric,
    }


def _file(run: Run, name: str) -> Path | None:
    return None if run.directory is None else run.directory / name


def _clear(run: Run) -> None:
    """A run that starts anew is never resumed into the last phase of the one before."""
    if run.directory is None or run.resume:
        return
    for phase in PHASES if run.teacher is None else PHASES[1:]:  # float.pt may be the teacher
        (run.directory / f"{phase}.pt").unlink(missing_ok=True)


def _logs(run: Run, phase: str) -> tuple[Callback, ...]:
    if run.directory is None or not run.log:
        return ()
    return (TensorBoard(run.directory / "log" / phase),)


def _progress(epoch: Epoch) -> Progress:
    phase = "frozen" if epoch.frozen else "quantized"
    return Progress(phase=phase, epoch=epoch, integers=epoch.integers)


def _loss(class_weights: Tensor, outputs: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(
        outputs, y, weight=class_weights.to(outputs.device), label_smoothing=LABEL_SMOOTHING
    )


def _check_teacher(teacher: Path, recipe: Recipe) -> None:
    """Another run's file is not trained on: it may still be running."""
    if not teacher.is_file():
        raise InputError(f"{teacher}: there is no float network to reuse")
    network = checkpoints.read(teacher)["settings"]["network"]
    if network.startswith(QuantizedModel.__name__):
        raise InputError(f"{teacher} is of the quantized network: give the float.pt beside it")
    done, epochs = _reached(teacher)
    if done < epochs:
        raise InputError(
            f"{teacher} was stopped after {done} of {epochs} epochs: finish that run with --resume"
        )
    if epochs != recipe.float_epochs:
        raise InputError(
            f"{teacher} was trained for {epochs} epochs in float, and this recipe is for "
            f"{recipe.float_epochs}: give the teacher's number, --float-epochs {epochs}"
        )


def _reached(path: Path) -> tuple[int, int]:
    """The last epoch in a checkpoint, and the number of all."""
    state = checkpoints.read(path)
    return state["epoch"], state["settings"]["epochs"]


def _check(recipe: Recipe, network: nn.Module) -> None:
    """What cannot be prepared, or does not fit whatever is learned, is refused before training."""
    model = prepare(network, _some(recipe.dataset.train, CALIBRATION), _with_input(recipe))
    check_floor(model)


def _class_weights(y: Tensor, exponent: float) -> Tensor:
    """Weight of each class, 1 in the mean over the samples: float tensor of shape (classes,)."""
    weights = torch.bincount(y).float() ** -exponent
    return weights / weights[y].mean()


def _with_input(recipe: Recipe) -> QuantConfig:
    if recipe.config.inputs:
        raise InputError(
            f"inputs: the data of {recipe.name} are on the grid that its device delivers; leave "
            "inputs out of the settings"
        )
    grid = recipe.dataset.grid
    given = {"input": InputConfig(scale=grid.scale, zero_point=grid.zero_point)}
    return msgspec.structs.replace(recipe.config, inputs=given)


def with_structure(recipe: Recipe, structure: str) -> Recipe:
    """`recipe` with weights that become 0 together; overrides of single layers stay.

    Parameters
    ----------
    recipe : Recipe
    structure : str
        Of `LayerConfig`.

    Raises
    ------
    InputError
        There is no such structure, or the method has no groups.
    """
    if not re.match(STRUCTURES, structure):
        raise InputError(
            f'there is no structure "{structure}": there are none, channel, 1x16, and N:M, '
            "such as 2:4"
        )
    settings = msgspec.to_builtins(recipe.config)
    settings["weights"]["structure"] = structure
    return replace(recipe, config=parse_config(settings, source="--structure"))


def with_method(recipe: Recipe, name: str, **fields: Any) -> Recipe:
    """`recipe` with another method of quantization; overrides of single layers stay.

    Parameters
    ----------
    recipe : Recipe
    name : str
        One of `methods.METHODS`.
    **fields
        Of `LayerConfig`, in place of the method's.
    """
    return replace(recipe, config=methods.configured(recipe.config, name, **fields))


def _batches(samples: Samples) -> list[tuple[Tensor, Tensor]]:
    """Samples of all classes, for the curvature of the loss."""
    chosen = torch.from_numpy(_spread(len(samples), CALIBRATION))
    return [(samples.x[part], samples.y[part]) for part in torch.split(chosen, CURVATURE_BATCH)]


def _some(samples: Samples, count: int) -> Tensor:
    return samples.x[torch.from_numpy(_spread(len(samples), count))]


def _export(model: QuantizedModel, recipe: Recipe) -> Graph:
    return export(model, name=recipe.name, labels=recipe.dataset.labels)


# -- Accuracy -----------------------------------------------------------------------------------


def integer_accuracy(graph: Graph, samples: Samples) -> Accuracy:
    """Of the simulation, which the C equals."""
    return integer_figures(graph, samples.x, samples.y)


def stages(trained: Trained, samples: Samples) -> dict[str, Accuracy]:
    """Accuracy of the float network, of the fake-quantized one and of the integers."""
    return {
        "float": float_figures(trained.network, samples.x, samples.y),
        "fake_quant": float_figures(trained.model, samples.x, samples.y),
        "integer": integer_accuracy(trained.graph, samples),
    }


# -- The library --------------------------------------------------------------------------------


def deliver(
    recipe: Recipe,
    trained: Trained,
    directory: Path,
    *,
    target: str,
    board_samples: int,
    command: str,
) -> Report:
    """Compile, check on this machine and on the board, measure on the test set, and report.

    Parameters
    ----------
    recipe : Recipe
    trained : Trained
    directory : Path
        For the library, `report.json` and `report.txt`.
    target : str
        A folder of `targets/`.
    board_samples : int
        Test samples that run on the board; on this machine all of them do.
    command : str
        The one that makes this library.

    Raises
    ------
    DoesNotFit
        The library is above a budget of the recipe.
    Mismatch
        The C differs from the simulation.
    """
    test, limits = recipe.dataset.test, recipe.config.budgets
    inputs = to_graph_inputs(trained.graph, test.x)
    graph = replace(trained.graph, provenance={**trained.graph.provenance, "training": command})
    check_instructions(planned(passes.run(graph), limits, weigh_code=True), limits)
    codeq_compile.compile(
        graph,
        directory,
        target=target,
        packing=limits.packing,
        weights=limits.limit("weights"),
        flash=limits.limit("flash"),
        ram=limits.limit("ram"),
        samples=_chosen(inputs, 2),
    )
    codeq_compile.check(directory, [HOST], inputs)
    codeq_compile.check(directory, [target], _chosen(inputs, board_samples))
    report = collect.add_accuracy(directory, stages(trained, test))
    tables = "\n".join(table.plain(each) for each in table.report_tables(report))
    (directory / TABLE_NAME).write_text(tables, encoding="utf-8")
    return report


def _chosen(inputs: Mapping[str, NDArray[np.int8]], count: int) -> dict[str, NDArray[np.int8]]:
    return {name: array[_spread(len(array), count)] for name, array in inputs.items()}


def _spread(total: int, count: int) -> NDArray[np.int64]:
    """Positions of `count` of `total` samples, evenly spread: of all people and all classes."""
    return np.linspace(0, total - 1, min(count, total)).round().astype(np.int64)
