# SPDX-License-Identifier: Apache-2.0
"""CoDeQ's experiment: what is quantized, how the logits decay, what is reported."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from codeq_train.quantizers import WeightQuantizer
from codeq_train.recipes import models, paper_codeq
from codeq_train.recipes.datasets import cifar10
from tests.train.recipes.pictures import write_binary


def test_every_weight_is_quantized_and_no_batchnorm_is() -> None:
    """The first and the last layer too, as in the paper's figure 3."""
    network = models.resnet20()
    quantizers = paper_codeq.quantize_weights(network, paper_codeq.layer_config(mixed=False))

    assert 22 == len(quantizers)  # 20 layers and two shortcuts
    assert {4} == {quantizer.bits for quantizer in quantizers}
    parametrized = {type(m).__name__ for m in network.modules() if hasattr(m, "parametrizations")}
    assert {"ParametrizedConv2d", "ParametrizedLinear"} == parametrized


@pytest.mark.parametrize("mixed", [False, True])
def test_what_is_judged_has_the_real_levels_of_its_training(
    mixed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The paper's accuracy is that of its own levels, not of int8 levels near them."""
    weights: dict[str, Tensor] = {}

    def remember(what: str, network: nn.Module) -> None:
        first = next(each for each in network.modules() if isinstance(each, nn.Conv2d))
        weights[what] = first.weight.detach().clone()

    def fit(network: nn.Module, *_: object, **__: object) -> None:
        remember("int8", network.eval())
        remember("trained", network.train())

    def evaluate(network: nn.Module, *_: object) -> float:
        remember("judged", network.eval())
        return 0.0

    monkeypatch.setattr(paper_codeq, "fit", fit)
    monkeypatch.setattr(paper_codeq, "evaluate", evaluate)
    write_binary(tmp_path, 1)
    paper_codeq.run(cifar10.load(tmp_path), tmp_path, mixed=mixed, epochs=1, seed=0)

    assert torch.equal(weights["trained"], weights["judged"])
    assert not torch.equal(weights["int8"], weights["judged"])


def test_without_a_task_the_dead_zone_opens_as_in_the_papers_figure() -> None:
    """theta = 3 · exp(-lr · lambda / (1 - momentum) · steps): what SGD with weight decay does."""
    network = nn.Sequential(nn.Linear(4, 4))
    paper_codeq.quantize_weights(network, paper_codeq.layer_config(mixed=True))
    optimizer = paper_codeq.optimizer(network)
    theta = _theta_after(1000, network, optimizer)

    assert 3 * math.exp(-1e-3 * 0.01 / 0.1 * 1000) == pytest.approx(theta, rel=2e-3)


def test_a_shorter_run_opens_the_dead_zone_as_far() -> None:
    """A tenth of the epochs, ten times the rate of the logits."""
    opened = []
    for epochs, steps in ((300, 2000), (30, 200)):
        network = nn.Sequential(nn.Linear(4, 4))
        paper_codeq.quantize_weights(network, paper_codeq.layer_config(mixed=True))
        optimizer = paper_codeq.optimizer(network, epochs=epochs)
        opened.append(_theta_after(steps, network, optimizer))

    # momentum takes ten steps to build up: a twentieth of the shorter run
    assert opened[0] == pytest.approx(opened[1], rel=0.02)
    assert 3 * math.exp(-1e-3 * 0.01 / 0.1 * 2000) == pytest.approx(opened[0], rel=2e-3)


def _theta_after(steps: int, network: nn.Module, optimizer: Optimizer) -> float:
    """The logit of the dead zone once weight decay alone has acted for so many steps."""
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for _ in range(steps):
        optimizer.step()
    quantizer = next(m for m in network.modules() if isinstance(m, WeightQuantizer))
    return float(quantizer.get_parameter("theta").detach())


@pytest.mark.slow
def test_the_experiment_reports_accuracy_and_bit_operations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One epoch on a handful of pictures, both widths beside one float network."""
    write_binary(tmp_path, 40)
    out = tmp_path / "out"
    usual = [str(tmp_path), "-o", str(out), "--epochs", "1", "--device", "cpu", "--resume"]
    for widths, bits, further in (("fixed", 4, []), ("mixed", 8, ["--mixed"])):
        assert 0 == paper_codeq.main([*usual, *further])
        said = capsys.readouterr()
        assert (widths == "fixed") == ("float     epoch" in said.err)  # the second one finds it
        result = json.loads(said.out)
        assert result == json.loads((out / f"{widths}.json").read_text())
        assert 0.5 * bits / 32 < result["relative_bops"] <= bits / 32
        assert result["delta"] == round(100 * (result["accuracy"] - result["float_accuracy"]), 2)


def test_a_folder_without_pictures_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the exit code of every command."""
    assert 2 == paper_codeq.main([str(tmp_path), "-o", str(tmp_path / "out")])
    assert "cifar-10-batches-py" in capsys.readouterr().err
