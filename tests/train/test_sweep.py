# SPDX-License-Identifier: Apache-2.0
"""Sweeps: each point is finished once, whoever dies; choices look at the validation set only."""

import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import msgspec
import optuna
import pytest
from optuna.trial import TrialState

from codeq_compile.errors import DoesNotFit, InputError
from codeq_train.config import BudgetConfig, QuantConfig
from codeq_train.methods import needs_widths
from codeq_train.recipes import recipe as recipes
from codeq_train.recipes.recipe import Recipe, Trained
from codeq_train.sweep import (
    FILE_NAME,
    Frontier,
    Outcome,
    Plan,
    Point,
    Spread,
    Sweep,
    configured,
    failure_table,
    frontier_table,
    groups,
    open_storage,
    reference,
)
from tests.train import sweeping
from tests.train.sweeping import PLAN, tiny


def outcome(
    method: str,
    *,
    seed: int = 0,
    weights: int = 1000,
    validation: float = 0.9,
    test: float = 0.8,
    size: int = 1000,
    macs_done: int = 500,
    search: int | None = None,
) -> Outcome:
    accuracy = {"accuracy": test, "balanced": test - 0.1}
    return Outcome(
        point=Point(method=method, weights=weights, seed=seed, search=search),
        settings={},
        validation={"accuracy": validation + 0.01, "balanced": validation - 0.01},
        test={"float": {"accuracy": 0.95 + seed / 100, "balanced": 0.9}, "integer": accuracy},
        bytes=size,
        flash=None,
        ram=100,
        macs=1000,
        macs_done=macs_done,
        bits_mean=4.0,
        zeros=0.5,
        seconds=1.0,
    )


def completed(storage: str) -> Counter[str]:
    """How many times each point was finished."""
    study = optuna.load_study(study_name="tiny", storage=storage)
    trials = study.get_trials(states=[TrialState.COMPLETE])
    return Counter(trial.user_attrs["name"] for trial in trials)


def names(plan: Plan) -> Counter[str]:
    return Counter(point.name for point in plan.points())


def test_the_first_seed_of_everything_comes_first() -> None:
    """A sweep that is stopped half way has all methods and budgets, with fewer seeds."""
    plan = Plan(methods=("codeq", "ecq"), weights=(10, 20), seeds=(0, 1), trials=5)
    grid, search = plan.points()[:8], plan.points()[8:]

    assert [0] * 4 + [1] * 4 == [point.seed for point in grid]
    assert 8 == len({point.name for point in grid})
    assert [0, 1, 2, 3, 4] == [point.search for point in search]
    assert ("codeq", 10) == (search[0].method, search[0].weights)
    assert ("codeq", 10) == (search[4].method, search[4].weights)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ("ecc",)}, "no method"),
        ({"methods": ()}, "a sweep needs methods"),
        ({"seeds": (1, 1)}, "seeds, each once"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(
    changes: dict[str, tuple[object, ...]], message: str
) -> None:
    """Before anything is trained."""
    with pytest.raises(InputError, match=message):
        replace(PLAN, **changes).check()


def test_a_run_gets_its_method_and_its_budget() -> None:
    """The rest is the recipe's; what a search chose is in place of it."""
    recipe = tiny()
    point = Point(method="ecq", weights=2048, seed=1)
    plain = configured(recipe, point, {})
    searched = configured(recipe, point, {"lr": 2.0, "rate": 0.01, "bits": 5})

    assert ("ecq", 4, 2048) == (
        plain.config.weights.quantizer,
        plain.config.weights.bits,
        plain.config.budgets.weights,
    )
    assert recipe.quantized_lr == plain.quantized_lr
    assert (5, 0.01) == (searched.config.weights.bits, searched.config.budgets.rate)
    assert searched.quantized_lr == 2 * recipe.quantized_lr


def test_a_runs_budget_is_counted_as_the_recipes() -> None:
    """One limit takes the place of all; the board and the packing stay."""
    budgets = BudgetConfig(ram="64K", packing="small", target="host")
    recipe = replace(tiny(), config=QuantConfig(budgets=budgets))
    made = configured(recipe, Point(method="lsq", weights=2048, seed=1), {}).config

    assert made.budgets == BudgetConfig(weights=2048, packing="small", target="host")
    assert needs_widths(made)


def test_means_are_over_the_seeds_of_one_method_and_budget() -> None:
    """With the sample standard deviation; a search's trial is a group of its own."""
    made = groups(
        [
            outcome("ecq", test=0.8),
            outcome("ecq", seed=1, test=0.9),
            outcome("ecq", search=3, test=0.5),
            outcome("codeq", test=0.7),
        ]
    )

    assert [("ecq", (0, 1)), ("ecq", (0,)), ("codeq", (0,))] == [(g.method, g.seeds) for g in made]
    assert Spread(mean=pytest.approx(0.85), sd=pytest.approx(0.0707, abs=1e-4)) == made[0].test
    assert made[1].search == 3
    assert made[2].test.sd == 0.0


def test_the_frontier_is_chosen_by_the_validation_set() -> None:
    """Choosing by test accuracy would report the luckiest of many runs as its accuracy."""
    made = groups(
        [
            outcome("codeq", validation=0.9, test=0.5, size=1000),
            outcome("ecq", validation=0.8, test=0.99, size=1000),  # worse by validation
            outcome("lsq", validation=0.8, test=0.99, size=900),  # smaller
            outcome("diffq", validation=0.8, test=0.99, size=2000, macs_done=400),  # cheaper
        ]
    )

    assert [True, False, True, True] == [group.on_frontier for group in made]


def test_the_table_shows_means_and_the_float_reference() -> None:
    """What one reads first."""
    outcomes = (outcome("ecq", test=0.8), outcome("ecq", seed=1, test=0.9))
    found = Frontier(
        format=1,
        recipe="kws",
        chosen_by="validation set",
        missing=(),
        groups=groups(outcomes),
        failures=(),
        outcomes=outcomes,
    )
    table = frontier_table(found)

    assert reference(found) == Spread(
        mean=pytest.approx(0.955), sd=pytest.approx(0.00707, abs=1e-5)
    )
    assert "float 95.50 ± 0.71" in table.title
    assert ("*ecq", "1000", "1000", "500") == table.rows[0][:4]
    assert ("90.00 ± 0.00", "85.00 ± 7.07", "75.00 ± 7.07", "2") == table.rows[0][4:]


def does_not_fit(recipe: Recipe, **_: object) -> Trained:
    raise DoesNotFit(f"{recipe.name} is too large\nthe largest layers: …")


@pytest.mark.slow
def test_a_run_that_cannot_succeed_is_told_and_not_repeated(tmp_path: Path) -> None:
    """That a method does not come so far down is a result."""
    plan = replace(PLAN, methods=("ec2t",), seeds=(0,))
    storage = f"sqlite:///{tmp_path}/sweep.db"
    for _ in range(2):
        found = Sweep(tiny(), plan, tmp_path, open_storage(storage), train=does_not_fit).run()

        assert (("tiny is too large",),) == tuple(row[1:] for row in failure_table(found).rows)
        assert ((), ()) == (found.outcomes, found.missing)

    assert 1 == len(optuna.load_study(study_name="tiny", storage=storage).get_trials())


@pytest.mark.slow
def test_a_crash_is_tried_again_when_the_sweep_is(tmp_path: Path) -> None:
    """Memory runs out, a disk is full: that says nothing about the method."""
    plan = replace(PLAN, methods=("codeq",), seeds=(0,))
    storage = f"sqlite:///{tmp_path}/sweep.db"

    def crash(*_: object, **__: object) -> Trained:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        Sweep(tiny(), plan, tmp_path, open_storage(storage), train=crash).run()
    found = Sweep(tiny(), plan, tmp_path, open_storage(storage), train=does_not_fit).run()

    assert 1 == len(found.failures)


def test_a_storage_of_other_settings_is_refused(tmp_path: Path) -> None:
    """Runs of 3 and of 300 epochs in one table would compare nothing."""
    storage = f"sqlite:///{tmp_path}/sweep.db"
    Sweep(tiny(), PLAN, tmp_path, open_storage(storage))
    with pytest.raises(InputError, match=r"other settings \(quantized_epochs\)"):
        Sweep(replace(tiny(), quantized_epochs=300), PLAN, tmp_path, open_storage(storage))


def test_a_folder_that_a_run_cannot_take_is_refused_before_training(tmp_path: Path) -> None:
    """Its library is written behind hours of training."""

    def never(*_: object, **__: object) -> Trained:
        raise AssertionError("it was trained")

    last = PLAN.points()[-1]
    (tmp_path / last.name).touch()
    sweep = Sweep(tiny(), PLAN, tmp_path, open_storage(f"sqlite:///{tmp_path}/s.db"), train=never)

    with pytest.raises(InputError, match=f"{last.name} exists and is not an emitted library"):
        sweep.run()


def test_overrides_that_no_method_of_the_plan_can_have_are_told_at_once(tmp_path: Path) -> None:
    """Not after all runs of the methods before it."""
    recipe = replace(tiny(), config=QuantConfig(layers={"0": {"min_bits": 6}}))
    plan = replace(PLAN, methods=("codeq", "ecq"))
    with pytest.raises(InputError, match="min_bits 6 is above bits 4"):
        Sweep(recipe, plan, tmp_path, open_storage(f"sqlite:///{tmp_path}/sweep.db"))


@pytest.mark.parametrize("url", ["nonsense", "sqlite:////proc/no/such/sweep.db", "odd://host/db"])
def test_a_storage_that_does_not_open_is_told(url: str) -> None:
    """No traceback of the database's driver."""
    with pytest.raises((InputError, OSError)):
        open_storage(url)


def test_a_file_that_is_no_database_is_told_in_a_line(tmp_path: Path) -> None:
    """SQL and a link into a library's manual say nothing about the file."""
    file = tmp_path / "sweep.db"
    file.write_bytes(b"garbage")

    with pytest.raises(InputError, match=r"sweep\.db: .*file is not a database$"):
        open_storage(f"sqlite:///{file}")


@pytest.mark.slow
def test_a_run_leaves_its_report_and_a_point_of_the_frontier(tmp_path: Path) -> None:
    """Every number of the table can be traced to a library."""
    plan = replace(PLAN, methods=("codeq",), seeds=(0,))
    found = Sweep(
        tiny(), plan, tmp_path, open_storage(f"sqlite:///{tmp_path}/sweep.db"), command="sweep tiny"
    ).run()
    (point,) = plan.points()
    (made,) = found.outcomes
    report = json.loads((tmp_path / point.name / "report.json").read_text())

    assert made.test == report["accuracy"]
    assert made.bytes == report["flash"]["weights"] + report["flash"]["tables"] <= 400
    assert made.macs_done == report["macs_done"]
    assert all(group.on_frontier for group in found.groups)
    stored = json.loads((tmp_path / FILE_NAME).read_text())
    assert "validation" in stored["chosen_by"]
    assert made.validation == stored["outcomes"][0]["validation"]


@pytest.mark.slow
def test_a_search_tries_other_settings_and_sees_no_test_set(tmp_path: Path) -> None:
    """Its objective is validation score, bytes and cost, of which trials know nothing else."""
    plan = replace(PLAN, methods=("codeq",), seeds=(0,), trials=2)
    storage = f"sqlite:///{tmp_path}/sweep.db"
    found = Sweep(tiny(), plan, tmp_path, open_storage(storage)).run()
    searched = [each for each in found.outcomes if each.point.search is not None]
    study = optuna.load_study(study_name="tiny", storage=storage)

    assert [0, 1] == [each.point.search for each in searched]
    assert {"lr", "rate", "min_bits"} == {*searched[0].settings}
    assert searched[0].settings != searched[1].settings
    assert {(each.score, each.bytes, each.macs_done) for each in found.outcomes} == {
        tuple(trial.values) for trial in study.get_trials(states=[TrialState.COMPLETE])
    }


@pytest.mark.slow
def test_a_larger_plan_repeats_nothing(tmp_path: Path) -> None:
    """Another seed or method is added to what is there."""
    storage = f"sqlite:///{tmp_path}/sweep.db"
    trained: list[int] = []

    def counting(recipe: Recipe, *, seed: int, **rest: object) -> Trained:
        trained.append(seed)
        return recipes.train(recipe, seed=seed, **rest)

    for seeds in ((0,), (0, 1)):
        plan = replace(PLAN, methods=("codeq",), seeds=seeds)
        found = Sweep(tiny(), plan, tmp_path, open_storage(storage), train=counting).run()

    assert [0, 1] == trained
    assert [(0, 1)] == [group.seeds for group in found.groups]


def start(directory: Path, storage: str, mark: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, sweeping.__file__, directory, storage, mark])


def begun(mark: Path) -> list[str]:
    lines = mark.read_text().splitlines() if mark.exists() else []
    return [line.split()[1] for line in lines if line.startswith("begin")]


@pytest.mark.slow
def test_a_killed_worker_costs_one_run_and_no_point(tmp_path: Path) -> None:
    """The power fails in the middle of the night: what was finished is not trained again."""
    storage, mark = f"sqlite:///{tmp_path}/sweep.db", tmp_path / "mark"
    worker = start(tmp_path, storage, mark)
    deadline = time.monotonic() + 300
    while len(begun(mark)) < 2:
        assert worker.poll() is None, "the worker ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    worker.kill()
    worker.wait()
    first, second = begun(mark)
    finished = completed(storage)
    told = msgspec.json.decode((tmp_path / FILE_NAME).read_bytes(), type=Frontier)
    again = start(tmp_path, storage, mark)

    assert 0 == again.wait(timeout=300)
    assert {first: 1} == finished
    assert [first] == [outcome.point.name for outcome in told.outcomes]
    assert names(PLAN) == completed(storage)
    assert names(PLAN) + Counter([second]) == Counter(begun(mark))
    assert not json.loads((tmp_path / FILE_NAME).read_text())["missing"]


@pytest.mark.slow
def test_a_worker_killed_before_its_first_sign_of_life_is_noticed(tmp_path: Path) -> None:
    """Its run would be waited for without end."""
    plan = replace(PLAN, methods=("codeq",), seeds=(0,))
    (point,) = plan.points()
    storage = f"sqlite:///{tmp_path}/sweep.db"
    sweep = Sweep(tiny(), plan, tmp_path, open_storage(storage, heartbeat=1), train=does_not_fit)
    study = optuna.load_study(study_name="tiny", storage=storage)
    study.enqueue_trial({}, user_attrs={"identity": msgspec.to_builtins(point)})
    study.ask()  # and dies

    assert 1 == len(sweep.run().failures)


@pytest.mark.slow
def test_two_workers_share_the_points(tmp_path: Path) -> None:
    """Both enqueue and both take: no run may be done twice, none forgotten."""
    storage, mark = f"sqlite:///{tmp_path}/sweep.db", tmp_path / "mark"
    workers = [start(tmp_path, storage, mark) for _ in range(2)]

    assert [0, 0] == [worker.wait(timeout=300) for worker in workers]
    assert names(PLAN) == completed(storage)
    assert names(PLAN) == Counter(begun(mark))
