# SPDX-License-Identifier: Apache-2.0
"""`codeq demo` and `codeq train`: what they show, write and refuse."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

import codeq_train.cli
from codeq_compile.cli import main
from codeq_compile.ir import load
from codeq_train import checkpoint as checkpoints
from codeq_train.cli import _limited
from codeq_train.config import BudgetConfig, QuantConfig
from codeq_train.loop import Epoch
from codeq_train.recipes import RECIPES, lengthened, scheduled
from codeq_train.recipes.demo import demo as demo_recipe
from codeq_train.recipes.kws import kws as kws_recipe
from codeq_train.recipes.recipe import Progress, Recipe
from tests.train.recipes.clips import write_clips


def codeq(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of random clips, and the keyword recipe shortened to three epochs."""

    def short(directory: Path) -> Recipe:
        return replace(
            kws_recipe(directory),
            config=QuantConfig(),
            float_epochs=1,
            quantized_epochs=2,
            frozen_epochs=1,
        )

    monkeypatch.setitem(RECIPES, "kws", replace(RECIPES["kws"], make=short))
    write_clips(tmp_path, clips=36)
    return tmp_path


@pytest.mark.slow
def test_training_prints_progress_and_report(clips: Path) -> None:
    """The whole road in one command, ending in a comparison of every byte."""
    result = codeq(
        "train", "kws", "--data", clips, "-o", clips / "kws", "--target", "host", "--samples", 2
    )

    assert 0 == result.exit_code, result.output
    assert "float     epoch  1/1  loss" in result.stderr
    assert "frozen    epoch  2/2  loss" in result.stderr
    for word in ("fake_quant", "weights", "tables", "arena", "block4.pw.conv"):
        assert word in result.stdout
    assert "\n0 differing bytes" in result.stdout
    assert (clips / "kws" / "report.json").exists()
    assert (clips / "kws" / "report.txt").read_text() in result.stdout


def test_who_stops_a_training_is_told_how_it_goes_on(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours are lost where nobody knows of the checkpoints."""
    folder = clips / "kws.training"

    def at_once(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def after_an_epoch(*_: object, **__: object) -> None:
        folder.mkdir()
        (folder / "float.pt").touch()
        raise KeyboardInterrupt

    arguments = ("train", "kws", "--data", clips, "-o", clips / "kws", "--target", "host")
    monkeypatch.setattr(codeq_train.cli.recipes, "train", at_once)
    early = codeq(*arguments)
    monkeypatch.setattr(codeq_train.cli.recipes, "train", after_an_epoch)
    late = codeq(*arguments)

    assert [130, 130] == [early.exit_code, late.exit_code]
    assert "--resume" not in early.stderr
    assert f"--resume goes on from the last epoch in {folder}" in late.stderr


@pytest.mark.parametrize(
    ("reached", "where"),
    [
        ({"float": (12, 400)}, "float epoch 12 of 400"),
        ({"float": (12, 400), "quantized": (40, 40)}, "float epoch 12 of 400"),
        ({"float": (400, 400)}, "float epoch 400 of 400"),
        ({"float": (400, 400), "quantized": (3, 40)}, "quantized epoch 3 of 40"),
        ({"quantized": (3, 40)}, "quantized epoch 3 of 40"),
        ({"float": (400, 400), "quantized": (40, 40)}, None),
    ],
)
def test_an_unfinished_run_is_not_written_over(
    reached: dict[str, tuple[int, int]],
    where: str | None,
    clips: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who forgets --resume must not lose the hours before; a finished run may be run anew."""
    folder = clips / "kws.training"
    for phase, (done, epochs) in reached.items():
        checkpoints.save(folder / f"{phase}.pt", {"epoch": done, "settings": {"epochs": epochs}})

    def begun(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(codeq_train.cli.recipes, "train", begun)
    arguments = ("train", "kws", "--data", clips, "-o", clips / "kws", "--target", "host")
    result = codeq(*arguments)

    assert 130 == codeq(*arguments, "--resume").exit_code
    assert (130 if where is None else 2) == result.exit_code
    if where is not None:
        assert f"{folder} holds an unfinished run ({where}): --resume goes on" in result.stderr
        assert f"--teacher takes a finished {folder / 'float.pt'}" in result.stderr


def test_an_output_that_cannot_be_written_is_told_before_training(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library comes last: a mistake in -o would cost the whole training."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was trained")

    monkeypatch.setattr(codeq_train.cli.recipes, "train", never)
    file, foreign = clips / "afile", clips / "foreign"
    file.touch()
    foreign.mkdir()
    (foreign / "thesis.txt").touch()
    for output in (file, foreign, file / "below"):
        result = codeq("train", "kws", "--data", clips, "-o", output, "--target", "host")

        assert 2 == result.exit_code
        assert str(output) in result.stderr


@pytest.mark.slow
def test_json_is_all_that_stands_on_the_standard_output(clips: Path) -> None:
    """Scripts parse it; progress must not get in between."""
    out = clips / "kws"
    result = codeq("train", "kws", "--data", clips, "-o", out, "--target", "host", "--json")

    assert 0 == result.exit_code, result.output
    assert json.loads((out / "report.json").read_text()) == json.loads(result.stdout)


@pytest.mark.slow
def test_settings_from_a_file_replace_the_recipes(clips: Path) -> None:
    """Another trade of bytes against accuracy should need no Python; the board is one of them."""
    settings = "weights: {bits: 5, learn_bits: false}\nbudgets: {target: host, rate: 0.01}\n"
    (clips / "quant.yaml").write_text(settings)
    out = clips / "kws"
    options = ["-o", out, "--config", clips / "quant.yaml"]

    assert 0 == codeq("train", "kws", "--data", clips, *options).exit_code

    report = json.loads((out / "report.json").read_text())
    assert {5} == {layer["bits"] for layer in report["layers"] if layer["bits"] is not None}
    assert "host" == report["target"]


def test_a_limit_on_the_command_line_leaves_the_files_other_settings() -> None:
    """Four limits are replaced by those given; how they are counted and met is not."""
    budgets = BudgetConfig(ram="64K", rate=0.01, packing="small", target="microbit")
    recipe = replace(demo_recipe(), config=QuantConfig(budgets=budgets))
    limited = _limited(recipe, {"weights": 5000}, None, "host").config.budgets

    assert limited == BudgetConfig(weights=5000, rate=0.01, packing="small", target="host")


def test_nothing_to_resume_is_said(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error in the folder's name would start an hour anew, in silence."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(codeq_train.cli.recipes, "train", interrupted)
    arguments = ("train", "kws", "--data", clips, "-o", clips / "kws", "--target", "host")

    assert "nothing to resume" not in codeq(*arguments).stderr
    said = codeq(*arguments, "--resume").stderr
    assert f"nothing to resume in {clips / 'kws.training'}: starting anew" in said


def test_a_gpu_that_is_not_there_is_told_in_a_line(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning's traceback names neither the option nor the way out."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folder = ("--data", clips, "-o", clips / "out", "--target", "host")
    for command in (("train", "kws"), ("sweep", "kws", "--weights", "6K")):
        result = codeq(*command, *folder, "--device", "cuda")

        assert 2 == result.exit_code
        assert "no GPU for --device cuda: give --device cpu, or auto" in result.stderr


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_a_command_that_says_what_it_needs(name: str) -> None:
    """A recipe that is registered and not offered is not found."""
    listed = codeq("train", "--help").output
    command = " ".join(codeq("train", name, "--help").output.split())

    assert name in listed
    assert RECIPES[name].title in command
    assert RECIPES[name].files.split()[0] in command
    assert f"{RECIPES[name].full} times as many epochs" in command


@pytest.mark.parametrize("name", RECIPES)
def test_a_folder_without_the_data_is_refused(name: str, tmp_path: Path) -> None:
    """Every recipe names the folder, before anything is trained."""
    result = codeq("train", name, "--data", tmp_path, "--target", "host")

    assert 2 == result.exit_code
    assert str(tmp_path) in result.stderr
    assert RECIPES[name].files in result.stderr
    assert "docs/RECIPES.md" in result.stderr


def test_the_full_schedule_is_longer(clips: Path) -> None:
    """Figures of papers need more epochs than a CPU has patience for."""
    recipe = lengthened(RECIPES["kws"].make(clips), 3)

    assert (3, 6, 3) == (recipe.float_epochs, recipe.quantized_epochs, recipe.frozen_epochs)


def test_fewer_epochs_keep_their_proportion(clips: Path) -> None:
    """A comparison may be shortened: what is frozen stays the same share, at least one epoch."""
    recipe = RECIPES["kws"].make(clips)

    assert recipe == scheduled(recipe, None)
    longer = scheduled(recipe, 10)
    assert (1, 10, 5) == (longer.float_epochs, longer.quantized_epochs, longer.frozen_epochs)
    assert 1 == scheduled(recipe, 1).frozen_epochs
    assert 5 == scheduled(recipe, float_epochs=5).float_epochs


def test_the_recorded_command_says_for_which_board_and_how_precisely(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both steer what is learned: without them the library is not made again."""
    recorded = []

    def deliver(*_: object, command: str, **__: object) -> None:
        recorded.append(command)
        raise KeyboardInterrupt

    monkeypatch.setattr(codeq_train.cli.recipes, "train", lambda *_, **__: None)
    monkeypatch.setattr(codeq_train.cli.recipes, "deliver", deliver)
    monkeypatch.setattr(codeq_train.cli, "require_tools", lambda _: None)
    arguments = ("train", "kws", "--data", clips, "-o", clips / "kws")
    codeq(*arguments)
    codeq(*arguments, "--target", "host", "--precision", "bf16-mixed")

    usual, other = (each.partition(clips.name)[2] for each in recorded)
    assert " --seed 0" == usual
    assert " --target host --precision bf16-mixed --seed 0" == other


@pytest.mark.slow
def test_a_method_by_name_replaces_the_recipes(clips: Path) -> None:
    """One word compares two papers; the report says which it was."""
    out = clips / "kws"
    options = ["-o", out, "--target", "host", "--method", "lsq", "--weights", "14K"]

    assert 0 == codeq("train", "kws", "--data", clips, *options).exit_code

    report = json.loads((out / "report.json").read_text())
    assert "--method lsq" in report["command"] + (out / "kws.cq").read_bytes().decode("latin1")
    assert report["flash"]["weights"] + report["flash"]["tables"] <= 14 * 1024
    assert 1 < len({layer["bits"] for layer in report["layers"] if layer["bits"] is not None})


@pytest.mark.slow
def test_budgets_on_the_command_line_replace_the_recipes(clips: Path) -> None:
    """The one number that a user has is given where the run is started; the library keeps it."""
    out = clips / "kws"
    options = ["-o", out, "--target", "host", "--samples", 1, "--weights", "40K", "--ram", "64K"]

    assert 0 == codeq("train", "kws", "--data", clips, *options, "--packing", "small").exit_code

    graph = load(out / "kws.cq")
    assert "--weights 40960 --ram 65536 --packing small" in graph.provenance["training"]
    assert "--packing small" in json.loads((out / "report.json").read_text())["command"]


def test_activations_that_do_not_fit_are_refused_before_training(clips: Path) -> None:
    """Only channels and inputs change them: twenty minutes would be lost."""
    result = codeq("train", "kws", "--data", clips, "--target", "host", "--ram", "8K")

    assert 3 == result.exit_code
    assert "8192 allowed" in result.stderr
    assert "--structure channel" in result.stderr
    assert "epoch" not in result.stderr


@pytest.mark.slow
def test_channels_leave_for_a_budget_of_ram(clips: Path) -> None:
    """The same command with one more word: what was refused is met, and compiled so."""
    out = clips / "kws"
    options = ["-o", out, "--target", "host", "--samples", 1, "--ram", "8K"]

    assert 0 == codeq("train", "kws", "--data", clips, *options, "--structure", "channel").exit_code

    report = json.loads((out / "report.json").read_text())
    assert report["ram"]["total"] <= 8192
    assert "--structure channel" in load(out / "kws.cq").provenance["training"]


def test_a_structure_that_no_method_has_is_refused(clips: Path) -> None:
    """Before anything is trained."""
    for structure, message in (("1x8", "channel, 1x16, and N:M"), ("4:2", "removes nothing")):
        result = codeq("train", "kws", "--data", clips, "--structure", structure)

        assert 2 == result.exit_code
        assert message in result.stderr


@pytest.mark.slow
def test_a_budget_out_of_reach_says_what_would_help(clips: Path) -> None:
    """By how much it is missed, and where the bytes are."""
    options = ["-o", clips / "kws", "--target", "host", "--weights", "3K"]
    result = codeq("train", "kws", "--data", clips, *options)

    assert 3 == result.exit_code
    for part in ("more than the budget of 3072", "the largest layers", "what would help"):
        assert part in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "nowhere"),
        (["--data", "nowhere", "--weights", "6 apples"], "is not a size"),
        (["--data", "nowhere", "--instructions", "fast"], "is not a number such as"),
        (["--data", "nowhere", "--target", "mps2_an38"], "mps2_an386"),
    ],
)
def test_what_is_wrong_is_told_before_training(arguments: list[str], message: str) -> None:
    """Not after twenty minutes."""
    result = codeq("train", "kws", *arguments)

    assert 2 == result.exit_code
    assert message in result.stderr


def test_the_bar_shows_loss_accuracy_bits_zeros_and_flash() -> None:
    """What one watches while a model shrinks."""
    epoch = Epoch(
        number=3,
        epochs=40,
        loss=0.25,
        accuracy=0.875,
        mean_bits=4.5,
        sparsity=0.6,
        flash_bytes=14500,
        frozen=True,
    )
    line = codeq_train.cli.describe(
        Progress(phase="frozen", epoch=epoch, integers={"accuracy": 0.88})
    )

    assert "loss 0.250  accuracy 87.50%  bits 4.50  zeros 60%  weights 14500 B  int8 88.00%" == line
    assert len(line) <= 80
