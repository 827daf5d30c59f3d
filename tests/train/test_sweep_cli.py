# SPDX-License-Identifier: Apache-2.0
"""`codeq sweep`: what it prints, writes and refuses."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import codeq_train.sweep_cli
from codeq_compile.cli import main
from codeq_train.sweep import Sweep
from tests.train.sweeping import tiny


def codeq(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's place is taken by a recipe of seconds."""
    monkeypatch.setattr(codeq_train.sweep_cli, "demo", tiny)


@pytest.mark.slow
def test_a_sweep_ends_in_a_table_plots_and_json(recipe: None, tmp_path: Path) -> None:
    """And a second start only shows what is there."""
    command = ["sweep", "demo", "--weights", "0.5K", "--methods", "lsq", "-o", tmp_path / "out"]
    result = codeq(*command)

    assert 0 == result.exit_code, result.output
    assert "1/1 lsq-512-seed0" in result.stderr
    assert "*lsq" in result.stdout
    for name in ("frontier.json", "accuracy_bytes.png", "accuracy_macs_done.svg", "sweep.db"):
        assert (tmp_path / "out" / name).exists()
    again = codeq(*command, "--json")
    assert "lsq-512" not in again.stderr
    assert json.loads((tmp_path / "out" / "frontier.json").read_text()) == json.loads(again.stdout)


def test_a_report_trains_nothing(recipe: None, tmp_path: Path) -> None:
    """A sweep that was stopped has finished runs, which one wants to see before the rest is run."""
    result = codeq(
        *("sweep", "demo", "--weights", "0.5K", "--methods", "lsq,codeq", "--report"),
        *("-o", tmp_path / "out"),
    )

    assert 0 == result.exit_code, result.output
    assert "not finished: lsq-512-seed0, codeq-512-seed0" in result.stdout
    assert 2 == len(json.loads((tmp_path / "out" / "frontier.json").read_text())["missing"])


def test_who_stops_a_sweep_is_told_how_it_goes_on(
    recipe: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody starts hours again by a command that may begin from nothing."""

    def interrupted(_: Sweep) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Sweep, "run", interrupted)
    result = codeq("sweep", "demo", "--weights", "0.5K", "-o", tmp_path / "out")

    assert 130 == result.exit_code
    assert "stopped: the same command goes on from the last epoch" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kws", "--weights", "6K"], "--data DIR is missing"),
        (["kws", "--weights", "6K", "--data", "nowhere"], "docs/RECIPES.md says where"),
        (["demo", "--weights", "6K", "--data", "x"], "brings its data"),
        (["demo", "--weights", "6Q"], "not a size"),
        (["demo", "--weights", "6K", "--methods", "ecc"], 'no method "ecc"'),
        (["demo", "--weights", "6K", "--seeds", "a"], "not a seed"),
        (["demo", "--weights", "6K", "--target", "mps2_an38"], "mps2_an386"),
        (["demo", "--weights", ","], "a sweep needs weights"),
        (["nothing", "--weights", "6K"], "nothing"),
    ],
)
def test_what_is_wrong_is_told_at_once(
    recipe: None, arguments: list[str], message: str, tmp_path: Path
) -> None:
    """Not after the first of many hours."""
    result = codeq("sweep", *arguments, "-o", tmp_path / "out")

    assert 2 == result.exit_code
    assert message in result.stderr
