# SPDX-License-Identifier: Apache-2.0
"""The reference loop: seeded, reported, evaluated in float, fake-quantized and in integers."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from codeq_compile.errors import InputError
from codeq_train import (
    BudgetConfig,
    Callback,
    Epoch,
    LayerConfig,
    QuantConfig,
    Step,
    evaluate,
    export,
    fit,
    integer_accuracy,
    predict,
    prepare,
    projected_bytes,
    reestimate_batchnorm,
)
from codeq_train.layers import Conv
from tests.train import runs
from tests.train.nets import ConvNet, Rows, bright_thirds


@pytest.fixture(scope="module")
def task() -> tuple[Tensor, Tensor]:
    return bright_thirds()


@pytest.fixture(scope="module")
def trained(task: tuple[Tensor, Tensor]) -> tuple[nn.Module, list[Epoch]]:
    torch.manual_seed(0)
    ours = prepare(
        Rows(), task[0], QuantConfig(weights=LayerConfig(bits=4), budgets=BudgetConfig(weights=260))
    )
    epochs: list[Epoch] = []
    fit(ours, *task, epochs=8, lr=1e-2, freeze_epochs=3, validation=task, on_epoch=epochs.append)
    return ours.eval(), epochs


@pytest.mark.slow
def test_a_prepared_model_learns(
    trained: tuple[nn.Module, list[Epoch]], task: tuple[Tensor, Tensor]
) -> None:
    """Weights, grids, gap and width move together, and the task is solved."""
    assert evaluate(trained[0], *task) > 0.95


def test_each_epoch_is_reported(trained: tuple[nn.Module, list[Epoch]]) -> None:
    """The progress bar shows loss, accuracy, bits, sparsity and flash."""
    model, epochs = trained

    assert [*range(1, 9)] == [epoch.number for epoch in epochs]
    assert [False] * 5 + [True] * 3 == [epoch.frozen for epoch in epochs]
    assert projected_bytes(model) == epochs[-1].flash_bytes
    assert epochs[-1].loss < epochs[0].loss
    assert 2.0 <= epochs[-1].mean_bits <= 4.0
    assert 0.0 <= epochs[-1].sparsity < 1.0


def test_the_same_seed_gives_the_same_model(task: tuple[Tensor, Tensor]) -> None:
    """A result that cannot be repeated cannot be compared."""

    def run(seed: int) -> Tensor:
        torch.manual_seed(0)
        ours = prepare(Rows(), task[0][:60], QuantConfig())
        fit(ours, *task, epochs=1, seed=seed)
        return predict(ours, task[0][:4])

    assert torch.equal(run(3), run(3))
    assert not torch.equal(run(3), run(4))


def test_float_models_go_through_the_same_loop(task: tuple[Tensor, Tensor]) -> None:
    """The baseline must be trained alike."""
    model, epochs = ConvNet(), []
    fit(model, *task, epochs=2, on_epoch=epochs.append, augment=lambda x: x * 1.01)

    assert [(32.0, 0.0, 0)] * 2 == [(e.mean_bits, e.sparsity, e.flash_bytes) for e in epochs]


@pytest.mark.slow
def test_training_leaves_the_floats_of_the_process_alone() -> None:
    """Whoever trains in a program of their own has denormals before and after."""
    flushed: list[bool] = []

    class Watch(Callback):
        def on_epoch(self, model: nn.Module, epoch: Epoch) -> None:
            flushed.append(sys.float_info.min / 2 == 0.0)

    fit(nn.Linear(2, 3), torch.zeros(4, 2), torch.zeros(4).long(), epochs=1, callbacks=(Watch(),))

    assert [True] == flushed
    assert sys.float_info.min / 2 > 0.0


def test_mixed_precision_computes_in_bfloat16_until_the_last_phase(
    task: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Grids are met in float32, and what is selected is computed as the integers are."""
    kinds: list[set[torch.dtype]] = []
    outputs: set[torch.dtype] = set()
    linear = Conv.linear

    def spy(self: Conv, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        y = linear(self, x, weight, bias)
        if self.training:
            kinds.append({x.dtype, weight.dtype, y.dtype})
        return y

    monkeypatch.setattr(Conv, "linear", spy)
    torch.manual_seed(0)
    ours = prepare(Rows(), task[0], QuantConfig(weights=LayerConfig(bits=4)))
    for layer in ours.layers:
        layer.register_forward_hook(lambda _, __, y: outputs.add(y.dtype))
    fit(ours, *task, epochs=8, lr=1e-2, freeze_epochs=2, precision="bf16-mixed", batch_size=45)

    assert [{torch.float32, torch.bfloat16}] * 24 + [{torch.float32}] * 8 == kinds[-32:]
    assert {torch.float32} == outputs
    assert evaluate(ours, *task) > 0.9


def test_images_are_laid_out_with_channels_last_when_asked(task: tuple[Tensor, Tensor]) -> None:
    """Most convolutions are faster so; the outcome is the same but for the order of sums."""
    seen = Seen()
    fit(Rows(), *task, epochs=1, channels_last=True, callbacks=[seen])

    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in seen.inputs)
    assert all(x.shape[1:] == (2, 9, 9) for x in seen.inputs)


class Seen(Callback):
    """Remembers what it is shown."""

    def __init__(self) -> None:
        self.inputs: list[Tensor] = []
        self.steps: list[int] = []
        self.norms: list[float] = []
        self.epochs: list[Epoch] = []
        self.rates: list[bool] = []

    def on_step(self, model: nn.Module, step: Step) -> None:
        self.inputs.append(step.inputs)
        self.steps.append(step.number)
        self.rates.append(step.frozen)
        norms = [float(p.grad.norm()) for p in model.parameters() if p.grad is not None]
        self.norms.append(sum(norm**2 for norm in norms) ** 0.5)

    def on_epoch(self, model: nn.Module, epoch: Epoch) -> None:
        self.epochs.append(epoch)


@pytest.mark.slow
def test_a_callback_sees_every_step_and_epoch(task: tuple[Tensor, Tensor]) -> None:
    """A method of training that acts between steps needs no loop of its own."""
    ours, seen = prepare(Rows(), task[0], QuantConfig()), Seen()
    reported: list[Epoch] = []
    options: Any = {"epochs": 3, "batch_size": 60, "freeze_epochs": 1}
    fit(ours, *task, **options, callbacks=[seen], on_epoch=reported.append)

    assert [*range(1, 10)] == seen.steps
    assert [False] * 6 + [True] * 3 == seen.rates
    assert reported == seen.epochs


def test_gradients_are_clipped_together(task: tuple[Tensor, Tensor]) -> None:
    """One bad batch must not throw away what was learned."""
    free, clipped = Seen(), Seen()
    fit(Rows(), *task, epochs=1, callbacks=[free])
    fit(Rows(), *task, epochs=1, callbacks=[clipped], clip_norm=0.01)

    assert min(free.norms) > 0.01
    assert max(clipped.norms) <= 0.0101


def test_sgd_has_nesterov_momentum_and_exempts_grids_from_decay(
    task: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipes of papers are written for it."""
    made: list[torch.optim.Optimizer] = []
    step = torch.optim.SGD.step

    def spy(self: torch.optim.SGD, *arguments: Any) -> Any:
        made.append(self)
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.SGD, "step", spy)
    ours = prepare(Rows(), task[0], QuantConfig())
    fit(ours, *task, epochs=1, lr=0.05, weight_decay=1e-3, optimizer="sgd")
    groups = {group["name"]: group for group in made[0].param_groups}

    assert all(group["momentum"] == 0.9 and group["nesterov"] for group in groups.values())
    assert 1e-3 == groups["weights"]["weight_decay"]
    assert {0.0} == {groups[name]["weight_decay"] for name in groups if name != "weights"}


def test_an_optimizer_of_ones_own_is_used(task: tuple[Tensor, Tensor]) -> None:
    """With groups of one's own choice."""
    model = Rows()
    before = model.conv.weight.detach().clone()
    fit(model, *task, epochs=1, optimizer=lambda m: torch.optim.Adam(m.head.parameters(), 0.1))

    assert torch.equal(before, model.conv.weight)
    assert not torch.equal(torch.zeros(3), model.head.bias)


def test_the_best_epoch_of_a_float_model_is_kept(task: tuple[Tensor, Tensor]) -> None:
    """The last epoch is not the best by right: here the rate is far too high."""
    model, epochs = Rows(), []
    options: Any = {"validation": task, "keep_best": True, "on_epoch": epochs.append}
    fit(model, *task, epochs=6, lr=0.5, **options)

    best = max(epochs, key=lambda epoch: epoch.accuracy)
    assert evaluate(model, *task) == best.accuracy


@pytest.mark.slow
def test_the_best_epoch_of_a_prepared_model_is_that_of_its_integers(
    task: tuple[Tensor, Tensor],
) -> None:
    """What is deployed decides; epochs before the last phase are not what is deployed."""
    ours, epochs = prepare(Rows(), task[0], QuantConfig(weights=LayerConfig(bits=3))), []
    options: Any = {"validation": task, "keep_best": True, "on_epoch": epochs.append}
    fit(ours, *task, epochs=5, lr=0.02, freeze_epochs=3, **options)
    reached = [epoch.integers["accuracy"] for epoch in epochs if epoch.integers is not None]

    assert [None, None] == [epoch.integers for epoch in epochs[:2]]
    assert 3 == len(reached)
    assert max(reached) == integer_accuracy(export(ours.eval()), *task)


def test_keeping_the_best_epoch_needs_something_to_judge_by(task: tuple[Tensor, Tensor]) -> None:
    """Not silently the last one."""
    ours = prepare(Rows(), task[0], QuantConfig())

    with pytest.raises(InputError, match="validation"):
        fit(ours, *task, epochs=1, keep_best=True, freeze_epochs=1)
    with pytest.raises(InputError, match="freeze_epochs"):
        fit(ours, *task, epochs=1, keep_best=True, validation=task)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"freeze_epochs": 3}, "freeze_epochs is 3: there are 2"),
        ({"reestimate_batches": -1}, "reestimate_batches is -1"),
        ({"optimizer": "adam"}, 'optimizer "adam" is none of adamw, sgd'),
        ({"precision": "fp16"}, 'precision "fp16" is none of 32-true, bf16-mixed'),
    ],
)
def test_settings_that_would_mean_something_else_are_refused(
    settings: dict[str, Any], message: str, task: tuple[Tensor, Tensor]
) -> None:
    """A model that was never frozen, or another optimizer, is found out much later."""
    ours = prepare(Rows(), task[0])
    with pytest.raises(InputError, match=message):
        fit(ours, *task, epochs=2, **settings)


def test_statistics_can_be_estimated_anew_for_the_last_phase(task: tuple[Tensor, Tensor]) -> None:
    """Those of training follow the last ten batches or so, of weights that have changed since."""
    means = []
    for batches in (0, 6):
        torch.manual_seed(0)
        ours = prepare(Rows(), task[0])
        sizes = {"epochs": 2, "freeze_epochs": 1, "batch_size": 30}
        fit(ours, *task, **sizes, optimizer=still, reestimate_batches=batches)
        norm = next(ours.weighted()).norm
        assert norm is not None
        means.append(norm.mean.clone())
    reestimate_batchnorm(ours, task[0].split(30))  # weights that stand still have one right answer

    assert torch.allclose(norm.mean, means[1], atol=1e-5)
    assert not torch.allclose(norm.mean, means[0], atol=1e-2)


def still(model: nn.Module) -> torch.optim.Optimizer:
    """An optimizer that changes nothing."""
    return torch.optim.SGD(model.parameters(), lr=0.0)


def test_a_student_follows_its_teacher_alone_if_told_so(task: tuple[Tensor, Tensor]) -> None:
    """Distillation needs no labels; a teacher may be any function of the inputs."""
    x, y = task
    torch.manual_seed(0)
    student = Rows()

    def teacher(inputs: Tensor) -> Tensor:
        return 9.0 * inputs.mean((1, 3)).unflatten(1, (3, 3)).mean(2)

    options: Any = {"teacher": teacher, "teacher_share": 1.0, "temperature": 1.0}
    fit(student, x, torch.zeros_like(y), epochs=10, lr=1e-2, **options)

    assert evaluate(student, x, teacher(x).argmax(1)) > 0.95


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left of each of `runs.METHODS`."""
    directory = tmp_path_factory.mktemp("shared")
    root = Path(__file__).parents[2]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command = [*torchrun, "--standalone", "-m", "tests.train.runs", "share", str(directory)]
    subprocess.run(command, cwd=root, check=True, timeout=300, capture_output=True)
    return directory


def left_by_both(directory: Path, method: str) -> list[dict[str, Any]]:
    paths = [directory / f"rank{rank}.pt" for rank in range(2)]
    return [torch.load(path, weights_only=True)[method] for path in paths]


@pytest.mark.slow
@pytest.mark.parametrize("method", list(runs.METHODS))
def test_two_processes_end_with_the_same_weights_and_integers(
    method: str, two_processes: Path
) -> None:
    """torchrun is how everyone starts many processes; each sees its own half of each batch.

    ECQ chooses levels by strengths and relevance, which no averaging of gradients keeps equal.
    """
    first, second = left_by_both(two_processes, method)

    assert list(first["state"]) == list(second["state"])
    for name, value in first["state"].items():
        assert torch.equal(value, second["state"][name]), name
    for name, codes in first["codes"].items():
        assert torch.equal(codes, second["codes"][name]), name
    assert first["codes"]
    assert (runs.BATCH // 2, runs.BATCH // 2) == (len(first["first"]), len(second["first"]))
    both = torch.cat([first["first"], second["first"]])
    assert runs.BATCH == len(torch.unique(both.flatten(1), dim=0))
    assert (two_processes / f"{method}.pt").exists()


@pytest.mark.slow
def test_two_processes_prune_the_same_channels(two_processes: Path) -> None:
    """Each has seen its own half of what the loss feels of them."""
    first, second = (left["state"] for left in left_by_both(two_processes, "channels"))
    kept = [name for name in first if name.endswith("channels.kept")]

    assert kept
    assert any((first[name] == 0).any() for name in kept)
    assert all(torch.equal(first[name], second[name]) for name in kept)


@pytest.mark.slow
def test_two_processes_weigh_relevance_by_the_whole_batch(two_processes: Path) -> None:
    """Weights would be pruned by the samples of process 0 alone: its buffers are everyone's in the
    next step, so that all processes agree all the same.
    """
    first, second = (left["relevances"] for left in left_by_both(two_processes, "ecq"))

    assert first[0].any()
    assert all(map(torch.equal, first, second))
