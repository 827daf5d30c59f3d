# SPDX-License-Identifier: Apache-2.0
"""What all recipes share: how accuracy is counted, which epoch is kept, what is written."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codeq_compile.errors import DoesNotFit, InputError
from codeq_train import LayerConfig, layer_costs
from codeq_train.config import BudgetConfig, InputConfig, QuantConfig
from codeq_train.recipes import recipe as recipes
from codeq_train.recipes.demo import demo
from codeq_train.recipes.recipe import Progress, Recipe, Run, Trained


@pytest.fixture(scope="module")
def short() -> Recipe:
    """The demo, in a few seconds, on every eighth sample."""
    full = demo()
    data = full.dataset
    few = {
        name: recipes.Samples(x=samples.x[::8], y=samples.y[::8])
        for name, samples in (
            ("train", data.train),
            ("validation", data.validation),
            ("test", data.test),
        )
    }
    dataset = replace(data, **few, draw=lambda index: data.draw(index * 8))
    return replace(
        full,
        dataset=dataset,
        config=QuantConfig(budgets=BudgetConfig(weights=16_000)),
        float_epochs=4,
        quantized_epochs=4,
        frozen_epochs=3,
    )


@pytest.fixture(scope="module")
def seen() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
def trained(short: Recipe, seen: list[Progress]) -> Trained:
    return recipes.train(short, seed=3, on_progress=seen.append)


def test_rare_classes_count_more_and_all_together_the_same() -> None:
    """Half of the clips are `unknown`: ten words must not drown in it, nor the step size change."""
    y = torch.tensor([0] * 16 + [1])
    weights = recipes._class_weights(y, 0.25)

    assert 2.0 == pytest.approx(float(weights[1] / weights[0]))
    assert 1.0 == pytest.approx(float(weights[y].mean()))
    assert torch.equal(torch.ones(2), recipes._class_weights(y, 0.0))


@pytest.mark.slow
def test_progress_tells_every_epoch_and_its_phase(
    short: Recipe, trained: Trained, seen: list[Progress]
) -> None:
    """The bar shows what happens now."""
    phases = [each.phase for each in seen]

    assert ["float"] * 4 + ["quantized"] + ["frozen"] * 3 == phases
    assert all((each.integers is not None) == (each.phase == "frozen") for each in seen)
    assert all(0 < each.epoch.flash_bytes < 16_000 for each in seen[4:])


@pytest.mark.slow
def test_the_epoch_whose_integers_validate_best_is_kept(
    short: Recipe, trained: Trained, seen: list[Progress]
) -> None:
    """The last epoch is not the best by right."""
    kept = recipes.integer_accuracy(trained.graph, short.dataset.validation)
    validated = [sum(each.integers.values()) for each in seen if each.integers is not None]

    assert max(validated) == sum(kept.values())
    assert not trained.model.training
    costs = sum(c.weight_bytes + c.table_bytes for c in layer_costs(trained.model))
    assert costs in [each.epoch.flash_bytes for each in seen]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_model(short: Recipe, trained: Trained) -> None:
    """A reported accuracy must be reproducible from the command that is printed with it."""
    again = recipes.train(short, seed=3, on_progress=lambda _: None)

    for name, value in trained.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


class PowerFailure(Exception):  # noqa: N818  # not an error of ours
    pass


@pytest.mark.slow
def test_an_interrupted_recipe_is_finished_alike(
    short: Recipe, trained: Trained, tmp_path: Path
) -> None:
    """An hour of training survives a reboot; the float phase is not repeated."""
    run = Run(directory=tmp_path / "watch.training", resume=True)

    def fail(progress: Progress) -> None:
        if progress.phase == "frozen":
            raise PowerFailure

    with pytest.raises(PowerFailure):
        recipes.train(short, seed=3, on_progress=fail, run=run)
    seen: list[Progress] = []
    again = recipes.train(short, seed=3, on_progress=seen.append, run=run)

    assert ["frozen"] * 2 == [each.phase for each in seen]
    for name, value in trained.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    for name, value in trained.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name


@pytest.mark.slow
def test_several_budgets_share_one_float_network(short: Recipe, tmp_path: Path) -> None:
    """A sweep would train it over and over, to the same weights."""
    less = replace(short, float_epochs=1, quantized_epochs=1, frozen_epochs=1)
    first = recipes.train(
        less, seed=3, on_progress=lambda _: None, run=Run(directory=tmp_path / "a")
    )
    seen: list[Progress] = []
    run = Run(directory=tmp_path / "b", teacher=tmp_path / "a" / "float.pt")
    other = replace(less, config=QuantConfig(weights=LayerConfig(bits=3)))
    second = recipes.train(other, seed=3, on_progress=seen.append, run=run)

    assert {"frozen"} == {each.phase for each in seen}
    assert not (tmp_path / "b" / "float.pt").exists()
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name
    with pytest.raises(InputError, match="seed was 3, is 4"):
        recipes.train(other, seed=4, on_progress=seen.append, run=run)
    with pytest.raises(InputError, match="no float network"):
        recipes.train(other, seed=3, on_progress=seen.append, run=Run(teacher=tmp_path / "x.pt"))
    wrong = Run(teacher=tmp_path / "a" / "quantized.pt")
    with pytest.raises(InputError, match=r"of the quantized network: give the float\.pt"):
        recipes.train(other, seed=3, on_progress=seen.append, run=wrong)


def test_a_new_run_leaves_no_checkpoint_of_the_last_one(short: Recipe, tmp_path: Path) -> None:
    """Resumed, it would meet the old integers behind the new float network: hours for a refusal."""
    run = Run(directory=tmp_path)
    (tmp_path / "quantized.pt").touch()

    def fail(progress: Progress) -> None:
        raise PowerFailure

    with pytest.raises(PowerFailure):
        recipes.train_float(short, seed=3, on_progress=fail, run=run)

    assert [tmp_path / "float.pt"] == list(tmp_path.iterdir())


def test_another_runs_float_network_is_not_trained_on(short: Recipe, tmp_path: Path) -> None:
    """It may still be running, and its file is its own."""
    path = tmp_path / "a" / "float.pt"

    def fail(progress: Progress) -> None:
        raise PowerFailure

    with pytest.raises(PowerFailure):
        recipes.train_float(short, seed=3, on_progress=fail, run=Run(directory=path.parent))
    before = path.read_bytes()

    with pytest.raises(InputError, match=r"stopped after 1 of 4 epochs.*--resume"):
        recipes.train(short, seed=3, on_progress=lambda _: None, run=Run(teacher=path))
    assert before == path.read_bytes()


def test_a_teacher_of_another_length_names_the_option_for_it(short: Recipe, tmp_path: Path) -> None:
    """Who gives --epochs is not helped by "epochs was 1, is 4": those are the float network's."""
    run = Run(directory=tmp_path)
    one = replace(short, float_epochs=1)
    recipes.train_float(one, seed=3, on_progress=lambda _: None, run=run)

    with pytest.raises(InputError, match=r"for 1 epochs in float, .* for 4: .*--float-epochs 1$"):
        recipes.train_float(
            short, seed=3, on_progress=lambda _: None, run=Run(teacher=tmp_path / "float.pt")
        )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (QuantConfig(layers={"conv9": {"bits": 4}}), 'pattern "conv9" matches no layer'),
        (QuantConfig(budgets=BudgetConfig(instructions="1M", target="host")), "no.*host"),
        (QuantConfig(inputs={"input": InputConfig(scale=3.0)}), "leave inputs out"),
    ],
)
def test_what_cannot_be_prepared_is_refused_before_training(
    short: Recipe, config: QuantConfig, message: str
) -> None:
    """An hour in float would be lost."""
    seen: list[Progress] = []
    with pytest.raises(InputError, match=message):
        recipes.train(replace(short, config=config), seed=3, on_progress=seen.append)
    assert not seen


def test_the_devices_integers_are_the_recordings_counts(short: Recipe, trained: Trained) -> None:
    """A watch feeds the counts as they are: no conversion may be needed before the model."""
    (name,) = trained.graph.inputs

    assert short.dataset.grid == trained.graph.tensors[name].grid


@pytest.mark.slow
def test_delivery_writes_library_report_and_table(
    short: Recipe, trained: Trained, tmp_path: Path
) -> None:
    """What the command promises: sizes, accuracy at every stage, and a check of every sample."""
    report = recipes.deliver(
        short, trained, tmp_path / "watch", target="host", board_samples=20, command="codeq demo"
    )
    stored = json.loads((tmp_path / "watch" / "report.json").read_text())
    table = (tmp_path / "watch" / "report.txt").read_text()

    assert ["float", "fake_quant", "integer"] == list(report.accuracy)
    assert {stage: dict(values) for stage, values in report.accuracy.items()} == stored["accuracy"]
    assert 0 == sum(check["bytes_differing"] for check in stored["checks"])
    assert f"{report.accuracy['integer']['accuracy']:.2%}" in table
    assert (tmp_path / "watch" / "watch.cq").exists()


@pytest.mark.parametrize(
    ("limits", "target"), [({"weights": 1000}, "host"), ({"instructions": 1000}, "mps2_an386")]
)
def test_a_library_above_the_limit_is_refused(
    short: Recipe, trained: Trained, limits: dict[str, int], target: str, tmp_path: Path
) -> None:
    """The promise of at most so many bytes and instructions is kept or broken loudly."""
    with pytest.raises(DoesNotFit):
        recipes.deliver(
            replace(short, config=QuantConfig(budgets=BudgetConfig(**limits))),
            trained,
            tmp_path / "watch",
            target=target,
            board_samples=1,
            command="codeq demo",
        )


@pytest.mark.parametrize(("total", "count"), [(773, 24), (5, 24), (24, 24)])
def test_samples_for_the_board_are_spread_over_all(total: int, count: int) -> None:
    """Recordings stand person by person: the first two dozen would be one person's."""
    positions = recipes._spread(total, count)

    assert min(total, count) == len(set(positions.tolist()))
    assert (0, total - 1) == (positions[0], positions[-1])
