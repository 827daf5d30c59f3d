# SPDX-License-Identifier: Apache-2.0
"""The training loop: one processor or many, float and prepared models alike, resumable.

Processes, devices and the averaging of gradients are Lightning Fabric's.  Everything here can be
had in a loop of your own: docs/examples/ shows three.
"""

import gc
import itertools
import os
import random
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from codeq_compile.errors import InputError
from codeq_train import checkpoint as checkpoints
from codeq_train.batches import Batches, make_batches
from codeq_train.checkpoint import State
from codeq_train.cost import layer_costs, mean_bits, mean_sparsity
from codeq_train.evaluate import (
    Accuracy,
    Data,
    Measure,
    accuracy,
    float_figures,
    integer_figures,
    predict,
)
from codeq_train.export import convert
from codeq_train.landing import land
from codeq_train.lrp import update_relevance
from codeq_train.model import QuantizedModel
from codeq_train.optim import parameter_groups
from codeq_train.oscillation import Oscillation
from codeq_train.prepare import freeze, reestimate_batchnorm
from codeq_train.regularizer import regularizer

if TYPE_CHECKING:  # its import takes seconds, which `codeq --help` shall not
    from lightning_fabric import Fabric

Precision = Literal["32-true", "bf16-mixed"]
Teacher = nn.Module | Callable[[Tensor], Tensor]

_RANK_SEED = 1_000_003
_MOMENTUM = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What `fit` reports after each epoch.

    Parameters
    ----------
    number, epochs : int
        Number of this epoch, from 1, and of all.
    loss : float
        Mean task loss over the epoch's samples, without the penalty.
    accuracy : float
        On the validation set, or on the training batches where there is none; in [0, 1].
    mean_bits, sparsity : float
        Averages over all weights.
    flash_bytes : int
        Weights and tables as they would be stored now; 0 for a float model.
    frozen : bool
        The last phase has begun.
    integers : dict of str to float, optional
        Of the exported integers on the validation set; in the last phase, if they are looked at.
    """

    number: int
    epochs: int
    loss: float
    accuracy: float
    mean_bits: float = 32.0
    sparsity: float = 0.0
    flash_bytes: int = 0
    frozen: bool = False
    integers: Accuracy | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """What a `Callback` sees after each step of the optimizer.

    Parameters
    ----------
    number : int
        Of this step, from 1.
    inputs, targets : tensors
        This process's part of the batch, on the model's device.
    frozen : bool
        The last phase has begun.
    """

    number: int
    inputs: Tensor
    targets: Tensor
    frozen: bool


class Callback:
    """Something that acts while `fit` runs; the default does nothing.

    With many processes it runs in each of them: what it does to the model must be the same in all.
    What it must remember across a resumption goes through `state_dict` and `load_state_dict`.
    """

    def on_step(self, model: nn.Module, step: Step) -> None:
        """After each step of the optimizer."""

    def on_epoch(self, model: nn.Module, epoch: Epoch) -> None:
        """After each epoch, before its checkpoint is written."""

    def state_dict(self) -> State:
        """Tensors, numbers and strings, in nested dicts and lists."""
        return {}

    def load_state_dict(self, state: State) -> None:
        """Continue from what `state_dict` gave."""


def seed_everything(seed: int) -> None:
    """Seed torch, numpy and Python, and let torch compute the same each time, in true float32."""
    random.seed(seed)
    np.random.seed(seed % (1 << 32))
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False


def launch(*, accelerator: str = "auto", devices: int | list[int] = 1) -> "Fabric":
    """The processes of a run: those that torchrun started, else one for each device.

    Parameters
    ----------
    accelerator : {"cpu", "cuda", "auto"}
        By default a GPU where there is one.
    devices : int or list of int
        How many or which, where torchrun did not decide: with more than one, the command starts
        itself once for each.

    Raises
    ------
    InputError
        There is no GPU, and one was asked for.
    """
    from lightning_fabric import Fabric

    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "torch finds no GPU for --device cuda: give --device cpu, or auto for a GPU where "
            "there is one"
        )
    nodes = 1
    if torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    processes = nodes * (devices if isinstance(devices, int) else len(devices))
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if processes > 1 else "auto",
    )
    fabric.launch()
    return fabric


@contextmanager
def _denormals_flushed() -> Iterator[None]:
    """Denormals slow dead channels; elsewhere in the process they are none of our business."""
    were_flushed = sys.float_info.min / 2 == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(were_flushed)


@_denormals_flushed()
def fit(
    model: nn.Module,
    x: Data,
    y: Tensor | None = None,
    *,
    epochs: int,
    batch_size: int = 64,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    optimizer: Literal["adamw", "sgd"] | Callable[[nn.Module], Optimizer] = "adamw",
    clip_norm: float | None = None,
    validation: tuple[Tensor, Tensor] | Data | None = None,
    measure: Measure = accuracy,
    freeze_epochs: int = 0,
    reestimate_batches: int = 0,
    keep_best: bool = False,
    augment: Callable[[Tensor], Tensor] | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    teacher: Teacher | None = None,
    teacher_share: float = 0.5,
    temperature: float = 2.0,
    precision: Precision = "32-true",
    channels_last: bool = False,
    checkpoint: Path | None = None,
    resume: bool = False,
    settings: Mapping[str, object] | None = None,
    callbacks: Sequence[Callback] = (),
    on_epoch: Callable[[Epoch], None] | None = None,
    seed: int = 0,
    fabric: "Fabric | None" = None,
) -> None:
    """Train a classifier with one cosine cycle; float and prepared models alike.

    Parameters
    ----------
    model : nn.Module
        Ordinary module, or `QuantizedModel`: then the regularizer joins the loss.
    x : float tensor of shape (samples, ...), Dataset or DataLoader
        A tensor or a Dataset is shuffled here and shared out among the processes; a DataLoader
        does both itself.
    y : int64 tensor of shape (samples,), optional
        With a tensor `x`.
    epochs, batch_size : int
        A batch is that of all processes together.
    lr, weight_decay : float
        Peak learning rate; decay of weights only.
    optimizer : {"adamw", "sgd"} or callable
        SGD has Nesterov momentum 0.9.  A callable makes the optimizer of the model, with
        `parameter_groups` or without; `lr` and `weight_decay` are then its own affair.
    clip_norm : float, optional
        Largest norm of all gradients together.
    validation : tuple of tensors (x, y), Dataset or DataLoader, optional
        For the reported accuracy, and for `keep_best`.
    measure : callable
        What `validation` is measured by: figures of (outputs, targets), larger is better.
    freeze_epochs : int
        Length of the last phase, in which zeros, widths and BatchNorm are fixed.  It computes in
        float32 whatever the precision, so that what is selected is exact.
    reestimate_batches : int
        How many, at most an epoch's, give BatchNorm its statistics anew when the last phase begins;
        with 0 they stay as training made them.
    keep_best : bool
        Return with the state of the best epoch, by the mean of the figures: of a prepared model
        that epoch of the last phase whose exported integers are best, of others by their outputs.
    augment : callable
        Applied to each training batch where the data is; may make inputs of indices into the data.
    loss : callable
        Of (outputs, targets), a mean over the batch.
    teacher : nn.Module or callable, optional
        Trained float model, or a function from inputs to its outputs.
    teacher_share : float
        Of the distance from the teacher's outputs in the loss, in [0, 1].
    temperature : float
        By which both outputs are divided before the softmax.
    precision : {"32-true", "bf16-mixed"}
        Mixed: convolutions and products in bfloat16, grids and quantizers in float32.
    channels_last : bool
        Images are laid out with channels last, which is faster for most convolutions.
    checkpoint : Path, optional
        File that holds, after each epoch, all that is needed to continue after a kill.
    resume : bool
        Continue from `checkpoint`, if the file is there; a finished run is only loaded.
    settings : mapping of str to str or number, optional
        What else a run must agree in to continue this one.
    callbacks : sequence of Callback
    on_epoch : callable, optional
        Called after each epoch, in the first process.
    seed : int
        Of the order of samples and everything else that is random.
    fabric : Fabric, optional
        From `launch`; by default the processes that torchrun started, or this one, and the device
        that the model is on.

    Raises
    ------
    InputError
        The settings contradict each other or the data, or the checkpoint is of another run.
    """
    _check_choice("optimizer", optimizer, ("adamw", "sgd"))
    _check_choice("precision", precision, get_args(Precision))
    fabric = fabric or _where(model)
    seed_everything(seed + _RANK_SEED * fabric.global_rank)
    model.to(fabric.device)
    if isinstance(teacher, nn.Module):
        teacher.to(fabric.device)
    batches = make_batches(
        x,
        y,
        batch_size=batch_size,
        augment=augment,
        seed=seed,
        rank=fabric.global_rank,
        processes=fabric.world_size,
    )
    made = _optimizer(optimizer, model, lr=lr, weight_decay=weight_decay)
    trainer = _Trainer(
        model,
        fabric,
        batches,
        made,
        CosineAnnealingLR(made, epochs * len(batches)),
        _Loss(task=loss, teacher=teacher, share=teacher_share, temperature=temperature),
        clip_norm=clip_norm,
        mixed=precision == "bf16-mixed",
        channels_last=channels_last,
        callbacks=callbacks,
    )
    if reestimate_batches < 0:
        raise InputError(f"reestimate_batches is {reestimate_batches}: there are no such batches")
    if freeze_epochs > epochs:
        raise InputError(f"freeze_epochs is {freeze_epochs}: there are {epochs} epochs in all")
    if keep_best and isinstance(model, QuantizedModel) and freeze_epochs < 1:
        raise InputError(
            "the best epoch is one of the last phase, whose integers are exact: set freeze_epochs"
        )
    judge = _Judge(model, fabric, validation, measure, keep_best=keep_best)
    agreed = {
        **(settings or {}),
        "network": _fingerprint(model),
        "epochs": epochs,
        "freeze_epochs": freeze_epochs,
        **({"reestimate_batches": reestimate_batches} if reestimate_batches else {}),
        "batch_size": batch_size,
        "batches": len(batches),
        "optimizer": type(made).__name__,
        "lr": lr,
        "weight_decay": weight_decay,
        "clip_norm": clip_norm,
        "teacher_share": None if teacher is None else teacher_share,
        "temperature": None if teacher is None else temperature,
        "keep_best": keep_best,
        "precision": precision,
        "channels_last": channels_last,
        "seed": seed,
        "processes": fabric.world_size,
        **_described_config(model),
    }
    learning = epochs - freeze_epochs if isinstance(model, QuantizedModel) else epochs
    if isinstance(model, QuantizedModel):
        model.schedule(learning * len(batches))
    done = 0
    if resume and checkpoint is not None and checkpoint.exists():
        state = checkpoints.load(checkpoint, agreed)
        done, judge.best = int(state["epoch"]), state["best"]
        try:
            trainer.restore(state["trainer"], frozen=done > learning)
        except (KeyError, RuntimeError, ValueError) as error:
            message = f"{checkpoint} was written by another version of codeq: {error}"
            raise InputError(message) from error
    for number in range(done + 1, epochs + 1):
        if number == learning + 1:
            trainer.freeze()
            trainer.reestimate(reestimate_batches)
        mean_loss, share = trainer.epoch()
        if trainer.frozen and isinstance(model, QuantizedModel):
            land(model)  # what is judged and kept is inside the budgets
        epoch = judge.judge(
            Epoch(
                number=number,
                epochs=epochs,
                loss=mean_loss,
                accuracy=share,
                frozen=trainer.frozen,
            )
        )
        for callback in callbacks:
            callback.on_epoch(model, epoch)
        if checkpoint is not None:
            state = {"epoch": number, "trainer": trainer.state(), "best": judge.best}
            if fabric.is_global_zero:
                checkpoints.save(checkpoint, {"settings": agreed, **state})
        if on_epoch is not None and fabric.is_global_zero:
            on_epoch(epoch)
    judge.restore_best()


def _check_choice(what: str, chosen: object, known: tuple[str, ...]) -> None:
    """A name that is not known must not stand for the default."""
    if isinstance(chosen, str) and chosen not in known:
        raise InputError(f'{what} "{chosen}" is none of {", ".join(known)}')


def _where(model: nn.Module) -> "Fabric":
    """One process on the device that the model is on; those of torchrun if there are any."""
    device = next(model.parameters()).device
    return launch(accelerator=device.type, devices=1 if device.index is None else [device.index])


class _Trainer:
    """Everything that one epoch changes, and how it is stored."""

    def __init__(
        self,
        model: nn.Module,
        fabric: "Fabric",
        batches: Batches,
        optimizer: Optimizer,
        schedule: LRScheduler,
        loss: "_Loss",
        *,
        clip_norm: float | None,
        mixed: bool,
        channels_last: bool,
        callbacks: Sequence[Callback],
    ) -> None:
        self.model, self.fabric, self.batches = model, fabric, batches
        self.optimizer, self.schedule, self.loss = optimizer, schedule, loss
        self.clip_norm, self.mixed, self.channels_last = clip_norm, mixed, channels_last
        self.callbacks = callbacks
        self.oscillation = Oscillation()
        self.frozen = False
        self.steps = 0
        self._network: nn.Module | None = None

    def freeze(self) -> None:
        """Begin the last phase."""
        assert isinstance(self.model, QuantizedModel)
        freeze(self.model)
        self.frozen = True
        self._network = None  # wrapped anew: what stopped learning has no gradient to wait for
        gc.collect()

    def reestimate(self, batches: int) -> None:
        """Estimate the statistics of BatchNorm anew, over the first batches of an epoch."""
        assert isinstance(self.model, QuantizedModel)
        first = itertools.islice(self.batches, batches)
        reestimate_batchnorm(self.model, (self._placed(inputs) for inputs, _ in first))
        self._average_statistics()

    def epoch(self) -> tuple[float, float]:
        """Train on all batches; (mean loss, share of samples that were right)."""
        if self._network is None:
            self._network = self.fabric.setup_module(self.model, move_to_device=False)
        self.model.train()
        sums = torch.zeros(3, dtype=torch.float64, device=self.fabric.device)
        for inputs, targets in self.batches:
            loss, right = self._step(self._placed(inputs), targets.to(self.fabric.device))
            sums += torch.stack([loss.double() * len(inputs), right, right.new_tensor(len(inputs))])
        self._average_statistics()
        total_loss, right, count = _reduced(self.fabric, sums, "sum").tolist()
        return total_loss / count, right / count

    def _step(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """One step of the optimizer; (loss of the task, number of samples that were right)."""
        assert self._network is not None
        with torch.autocast(
            self.fabric.device.type, torch.bfloat16, enabled=self.mixed and not self.frozen
        ):
            outputs = self._network(inputs)
            taught = self.loss.taught(inputs)
        task = self.loss(outputs.float(), targets, taught)
        penalty = regularizer(self.model) if isinstance(self.model, QuantizedModel) else 0.0
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(task + penalty)
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        if isinstance(self.model, QuantizedModel):
            self.oscillation.step(self.model)
        self.schedule.step()
        if isinstance(self.model, QuantizedModel):
            update_relevance(self.model, inputs, targets)
        self.steps += 1
        step = Step(number=self.steps, inputs=inputs, targets=targets, frozen=self.frozen)
        for callback in self.callbacks:
            callback.on_step(self.model, step)
        return task.detach(), (outputs.detach().argmax(1) == targets).sum()

    def _placed(self, inputs: Tensor) -> Tensor:
        is_image = self.channels_last and inputs.dim() == 4
        layout = torch.channels_last if is_image else torch.preserve_format
        return inputs.to(self.fabric.device, memory_format=layout)

    def _average_statistics(self) -> None:
        """Of BatchNorm and the like: each process has seen its own part of each batch."""
        for buffer in self.model.buffers() if self.fabric.world_size > 1 else ():
            if buffer.is_floating_point():
                buffer.copy_(_reduced(self.fabric, buffer, "mean"))

    def state(self) -> State:
        """All that `restore` needs; a collective call."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "order": self.batches.state(),
            "random": _gathered(self.fabric, checkpoints.random_state(self.fabric.device)),
            "oscillation": self.oscillation.state_dict(),
            "callbacks": {name: each.state_dict() for name, each in _by_name(self.callbacks)},
            "steps": self.steps,
        }

    def restore(self, state: State, *, frozen: bool) -> None:
        """Continue from `state`."""
        self.model.load_state_dict(state["model"])
        if frozen:
            self.freeze()
            self.model.load_state_dict(state["model"])  # freezing chose from the weights of now
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.batches.restore(state["order"])
        self.oscillation.load_state_dict(state["oscillation"])
        for name, callback in _by_name(self.callbacks):
            if name in state["callbacks"]:  # logging, say, may begin or end with a resumption
                callback.load_state_dict(state["callbacks"][name])
        self.steps = state["steps"]
        rank = self.fabric.global_rank
        checkpoints.set_random_state(state["random"][rank], self.fabric.device)


def _by_name(callbacks: Sequence[Callback]) -> Iterator[tuple[str, Callback]]:
    """Callbacks by class, numbered where there are several of one."""
    seen: Counter[str] = Counter()
    for callback in callbacks:
        name = type(callback).__qualname__
        seen[name] += 1
        yield f"{name} {seen[name]}", callback


def _reduced(fabric: "Fabric", x: Tensor, how: str) -> Tensor:
    """The sum or mean of what the processes have."""
    total = fabric.all_reduce(x, reduce_op=how)
    assert isinstance(total, Tensor)
    return total


def _gathered(fabric: "Fabric", state: State) -> list[State]:
    """What every process has, in the order of ranks."""
    if fabric.world_size == 1:
        return [state]
    states: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(states, state)
    return states


class _Judge:
    """Measures each epoch on the validation set, in the first process, and keeps the best one."""

    def __init__(
        self,
        model: nn.Module,
        fabric: "Fabric",
        data: tuple[Tensor, Tensor] | Data | None,
        measure: Measure,
        *,
        keep_best: bool,
    ) -> None:
        if keep_best and data is None:
            raise InputError("to keep the best epoch, fit needs a validation set")
        self.best: State | None = None
        self._model, self._fabric, self._measure = model, fabric, measure
        self._data = data if isinstance(data, tuple) or data is None else (data, None)
        self._keep_best = keep_best

    def judge(self, epoch: Epoch) -> Epoch:
        """`epoch` with what was measured."""
        model, data, integers = self._model, self._data, None
        if data is not None:
            figures = self._first(lambda: float_figures(model, *data, measure=self._measure))
            epoch = replace(epoch, accuracy=next(iter(figures.values())))
            if self._keep_best and isinstance(model, QuantizedModel):
                if epoch.frozen:
                    integers = self._first(self._integer_figures)
                    self._see(integers)
            elif self._keep_best:
                self._see(figures)
        if not isinstance(model, QuantizedModel):
            return epoch
        costs = layer_costs(model)
        return replace(
            epoch,
            mean_bits=mean_bits(costs),
            sparsity=mean_sparsity(costs),
            flash_bytes=sum(cost.weight_bytes + cost.table_bytes for cost in costs),
            integers=integers,
        )

    def _integer_figures(self) -> Accuracy:
        assert isinstance(self._model, QuantizedModel)
        assert self._data is not None
        self._model.eval()
        figures = integer_figures(convert(self._model)[0], *self._data, measure=self._measure)
        self._model.train()
        return figures

    def _first(self, compute: Callable[[], Accuracy]) -> Accuracy:
        """Computed by the first process, and known to all."""
        return self._fabric.broadcast(compute() if self._fabric.is_global_zero else {})

    def _see(self, figures: Accuracy) -> None:
        score = sum(figures.values())
        if self.best is None or score >= self.best["score"]:
            self.best = {"score": score, "model": checkpoints.copied(self._model.state_dict())}

    def restore_best(self) -> None:
        """Give the model the state of the best epoch, if one was kept."""
        if self.best is not None:
            self._model.load_state_dict(self.best["model"])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Loss:
    """The task's loss, mixed with the distance from a teacher."""

    task: Callable[[Tensor, Tensor], Tensor]
    teacher: Teacher | None
    share: float
    temperature: float

    @torch.no_grad()
    def taught(self, inputs: Tensor) -> Tensor | None:
        """What the teacher says."""
        if self.teacher is None:
            return None
        if isinstance(self.teacher, nn.Module):
            return predict(self.teacher, inputs).float()
        return self.teacher(inputs).float()

    def __call__(self, outputs: Tensor, targets: Tensor, taught: Tensor | None) -> Tensor:
        """Source of the distance: Hinton et al., arXiv:1503.02531."""
        task = self.task(outputs, targets)
        if taught is None:
            return task
        target = F.log_softmax(taught / self.temperature, dim=1)
        ours = F.log_softmax(outputs / self.temperature, dim=1)
        divergence = F.kl_div(ours, target, reduction="batchmean", log_target=True)
        return torch.lerp(task, divergence * self.temperature**2, self.share)


def _optimizer(
    chosen: Literal["adamw", "sgd"] | Callable[[nn.Module], Optimizer],
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float,
) -> Optimizer:
    if callable(chosen):
        return chosen(model)
    groups = (
        parameter_groups(model, lr=lr, weight_decay=weight_decay)
        if isinstance(model, QuantizedModel)
        else [{"params": list(model.parameters()), "lr": lr, "weight_decay": weight_decay}]
    )
    if chosen == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=_MOMENTUM, nesterov=True)
    return torch.optim.AdamW(groups)


def _fingerprint(model: nn.Module) -> str:
    """What tells networks apart in a message: number of parameters, and a sum over their shapes."""
    shapes = [(name, tuple(value.shape)) for name, value in model.named_parameters()]
    total = sum(value.numel() for value in model.parameters())
    return f"{type(model).__name__} of {total} parameters ({zlib.crc32(repr(shapes).encode()):08x})"


def _described_config(model: nn.Module) -> dict[str, str]:
    """Settings of a prepared model under dotted names."""
    if not isinstance(model, QuantizedModel):
        return {}
    flat: dict[str, str] = {}

    def add(name: str, value: object) -> None:
        if isinstance(value, dict):
            for key, each in value.items():
                add(f"{name}.{key}", each)
        else:
            flat[name] = str(value)

    add("config", msgspec.to_builtins(model.config))
    return flat
