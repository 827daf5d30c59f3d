# SPDX-License-Identifier: Apache-2.0
"""Many runs of one recipe: the frontier of accuracy against flash and against cost.

Every run is a trial of an Optuna study, enqueued under its identity: (method, budget, seed), or the
number of a search.  Any number of workers share a study through its storage; each identity is
finished exactly once, whoever is killed meanwhile.

Whatever is chosen (a run's epoch, a search's next settings, what lies on the frontier) is chosen by
the validation set.  The test set is measured once, on the finished model, and only reported.
"""

import contextlib
import itertools
import os
import shutil
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import msgspec
import optuna
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from codeq_compile.emit import check_output
from codeq_compile.errors import DoesNotFit, InputError, ModelError, NoKernel
from codeq_compile.ir.serial import write_whole
from codeq_compile.report.collect import Report
from codeq_compile.report.table import Table
from codeq_train import methods
from codeq_train.evaluate import Accuracy
from codeq_train.recipes import recipe as recipes
from codeq_train.recipes.recipe import OnProgress, Recipe, Run, Trained

FORMAT = 1
FILE_NAME = "frontier.json"
_IDENTITY, _OUTCOME, _ERROR, _SETTINGS = "identity", "outcome", "error", "settings"
_MOST_KILLS = 3
"""After so many workers died of a run while this one watched, it is left out."""
_ALIVE = {TrialState.WAITING, TrialState.RUNNING, TrialState.COMPLETE}
_RESULTS = (DoesNotFit, ModelError, NoKernel)
"""What says something about the method; anything else is tried again."""
_OPENINGS = 4
_PATIENCE = 60
"""Seconds that a worker waits for its turn at an SQLite file."""
_LR_RANGE = (0.3, 3.0)
_RATE_RANGE = (2e-3, 5e-2)


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """What identifies a run.

    Parameters
    ----------
    method : str
        A name of `methods.METHODS`.
    weights : int
        Budget of weights and tables, in bytes.
    seed : int
    search : int, optional
        Number of this trial of the search; absent in the grid, whose settings are the recipe's.
    """

    method: str
    weights: int
    seed: int
    search: int | None = None

    @property
    def name(self) -> str:
        """Of the run's folder."""
        of_search = "" if self.search is None else f"-search{self.search}"
        return f"{self.method}-{self.weights}-seed{self.seed}{of_search}"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A finished run.

    Parameters
    ----------
    point : Point
    settings : dict of str to number
        What a search chose.
    validation : dict of str to float
        Accuracy of the integers on the validation set: what choices are made by.
    test : dict of str to dict of str to float
        Accuracy by stage on the test set; reported only.
    bytes : int
        Weights and tables in flash.
    flash : int, optional
        The whole image; known where one was linked.
    ram : int
    macs, macs_done : int
        Multiply-accumulates of one inference, and those left where zeros are skipped.
    bits_mean, zeros : float
    seconds : float
        Wall time of the run.
    """

    point: Point
    settings: dict[str, float]
    validation: Accuracy
    test: dict[str, Accuracy]
    bytes: int
    flash: int | None
    ram: int
    macs: int
    macs_done: int
    bits_mean: float
    zeros: float
    seconds: float

    @property
    def score(self) -> float:
        """What is maximised: mean of the plain and the balanced accuracy, on the validation set."""
        return statistics.fmean(self.validation.values())


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Mean and sample standard deviation; 0 of a single value."""

    mean: float
    sd: float


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of one method at one budget, one a seed; or one trial of the search.

    Parameters
    ----------
    method : str
    weights : int
        The budget.
    search : int, optional
    settings : dict of str to number
    seeds : tuple of int
    validation, test, balanced, float_test : Spread
        Integers on the validation set (score) and on the test set, plain and balanced; the float
        network on the test set.
    bytes, macs_done : Spread
    on_frontier : bool
        No other group has a higher validation score with at most as many bytes, and none with at
        most as many multiply-accumulates.
    """

    method: str
    weights: int
    search: int | None
    settings: dict[str, float]
    seeds: tuple[int, ...]
    validation: Spread
    test: Spread
    balanced: Spread
    float_test: Spread
    bytes: Spread
    macs_done: Spread
    on_frontier: bool


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A run that cannot succeed, e.g. because the method does not come so far down."""

    point: Point
    message: str


class Frontier(msgspec.Struct, frozen=True, kw_only=True):
    """Contents of `frontier.json`.

    Parameters
    ----------
    format : int
    recipe : str
    chosen_by : str
        Which data any choice looked at.
    missing : tuple of Point
        Not finished yet.
    groups : tuple of Group
        By method and budget.
    failures : tuple of Failure
    outcomes : tuple of Outcome
        Every finished run.
    """

    format: int
    recipe: str
    chosen_by: str
    missing: tuple[Point, ...]
    groups: tuple[Group, ...]
    failures: tuple[Failure, ...]
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a sweep is to run.

    Parameters
    ----------
    methods : tuple of str
        Names of `methods.METHODS`.
    weights : tuple of int
        Budgets in bytes.
    seeds : tuple of int
    trials : int
        Of the search, in turn over all methods and budgets, with the first seed.
    target : str
        Board to compile for; "host" needs no cross compiler.
    board_samples : int
        Test samples that run on the board.
    heartbeat : int
        Seconds between the signs of life of a running trial; after four missing ones another worker
        takes it over.
    """

    methods: tuple[str, ...]
    weights: tuple[int, ...]
    seeds: tuple[int, ...]
    trials: int = 0
    target: str = "host"
    board_samples: int = 24
    heartbeat: int = 15

    def points(self) -> tuple[Point, ...]:
        """All runs: the grid, the first seed of everything first, then the search."""
        pairs = list(itertools.product(self.weights, self.methods))
        grid = [
            Point(method=name, weights=weights, seed=seed)
            for seed in self.seeds
            for weights, name in pairs
        ]
        search = [
            Point(method=name, weights=weights, seed=self.seeds[0], search=number)
            for number, (weights, name) in zip(range(self.trials), itertools.cycle(pairs))
        ]
        return (*grid, *search)

    def check(self) -> None:
        """Refuse what no run can be made of.

        Raises
        ------
        InputError
        """
        for name in self.methods:
            methods.method(name)
        for what in ("methods", "weights", "seeds"):
            values = getattr(self, what)
            if not values or len(set(values)) < len(values):
                given = ", ".join(map(str, values)) or "none were given"
                raise InputError(f"a sweep needs {what}, each once: {given}")


def open_storage(url: str, *, heartbeat: int = 15) -> optuna.storages.BaseStorage:
    """A storage that notices killed workers.

    Parameters
    ----------
    url : str
        Of a database that SQLAlchemy knows: ``sqlite:///runs/kws/sweep.db``,
        ``postgresql+psycopg://…``.
    heartbeat : int
        Seconds between signs of life.

    Raises
    ------
    InputError
        The database cannot be opened, or its driver is missing.
    """
    is_file = url.startswith("sqlite:///")
    if is_file:
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(_OPENINGS):
        try:
            with _no_experimental_warnings():
                storage = optuna.storages.RDBStorage(
                    url,
                    engine_kwargs={"connect_args": {"timeout": _PATIENCE}} if is_file else None,
                    heartbeat_interval=heartbeat,
                    grace_period=4 * heartbeat,
                )
            if is_file:
                _take_turns(storage.engine)
            return storage
        except (SQLAlchemyError, ImportError, ValueError, RuntimeError) as error:
            # two workers that make the same tables at the same time: the second try finds them
            if attempt + 1 == _OPENINGS or not isinstance(error, IntegrityError | OperationalError):
                reason = str(error).partition("\n")[0]  # SQL and a link follow
                raise InputError(f"cannot open the storage {url}: {reason}") from error
            time.sleep(0.5 * (attempt + 1))
    raise AssertionError("unreachable")


def _take_turns(engine: Engine) -> None:
    """Let one worker at a time read and write an SQLite file.

    SQLite knows no lock on a row: two workers that read the same waiting trial would both take it.
    Source: SQLAlchemy's page on SQLite, "Transactions with SQLite and the sqlite3 driver".
    """

    @event.listens_for(engine, "connect")
    def own_transactions(connection: Any, _: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def lock_first(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # connections from before this do not know it


@contextlib.contextmanager
def _no_experimental_warnings() -> Iterator[None]:
    # heartbeats are "experimental" since Optuna 2.9
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # said above
        yield


class Sweep:
    """One worker of a sweep; others may work on the same storage at the same time.

    Parameters
    ----------
    recipe : Recipe
        Its quantization settings are the base of all methods.
    plan : Plan
    directory : Path
        For a folder a run, with library and report.
    storage : optuna storage
        From `open_storage`, or any other; without heartbeats killed workers are not noticed.
    command : str
        What reports say they were made by.
    on_progress : callable
        Of every epoch.
    say : callable
        Of one line a run.
    run : Run
        Device, processes and precision of all runs.
    train : callable
        `recipes.train`, or one that wraps it.
    """

    def __init__(
        self,
        recipe: Recipe,
        plan: Plan,
        directory: Path,
        storage: optuna.storages.BaseStorage,
        *,
        command: str = "codeq sweep",
        on_progress: OnProgress = lambda _: None,
        say: Callable[[str], None] = lambda _: None,
        run: Run | None = None,
        train: Callable[..., Trained] = recipes.train,
    ) -> None:
        plan.check()
        for name in plan.methods:
            # overrides of single layers may not go together with a method
            recipes.with_method(recipe, name)
        self._recipe, self._plan, self._directory = recipe, plan, directory
        self._command, self._on_progress, self._say = command, on_progress, say
        self._run_settings, self._train = run or Run(), train
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # what it would say is in the tables
        self._storage = storage
        self._study = optuna.create_study(
            storage=storage,
            study_name=recipe.name,
            directions=["maximize", "minimize", "minimize"],
            load_if_exists=True,
        )
        with _no_experimental_warnings():
            self._study.set_metric_names(["validation score", "bytes", "MACs done"])
        self._first = len(self._study.get_trials(deepcopy=False))
        self._seen_running: set[int] = set()
        self._check_settings()

    def run(self) -> Frontier:
        """Work until every point is finished, here or by another worker; then what came out.

        Returns
        -------
        Frontier
            Also written to `frontier.json`.

        Raises
        ------
        InputError
            A run's folder holds something else than its library.
        """
        for point in self._plan.points():
            check_output(self._directory / point.name)
        while True:
            with _no_experimental_warnings():
                optuna.storages.fail_stale_trials(self._study)
            self._watch()
            self._enqueue_missing()
            trials = self._wanted(TrialState.WAITING, TrialState.RUNNING)
            if any(trial.state == TrialState.WAITING for trial in trials):
                self._run_one()
                self.frontier()
            elif trials:
                # another worker's: if it dies, this one takes over
                time.sleep(self._plan.heartbeat)
            else:
                break
        return self.frontier()

    def frontier(self) -> Frontier:
        """What is finished so far; written to `frontier.json`."""
        trials = self._wanted(TrialState.COMPLETE, TrialState.FAIL)
        outcomes = [
            msgspec.convert(trial.user_attrs[_OUTCOME], Outcome)
            for trial in trials
            if trial.state == TrialState.COMPLETE
        ]
        failures = [
            Failure(point=_point(trial), message=trial.user_attrs[_ERROR])
            for trial in trials
            if _ERROR in trial.user_attrs
        ]
        known = {each.point for each in outcomes} | {each.point for each in failures}
        order = {point: number for number, point in enumerate(self._plan.points())}
        result = Frontier(
            format=FORMAT,
            recipe=self._recipe.name,
            chosen_by="validation set; test accuracies are reported, nothing is chosen by them",
            missing=tuple(point for point in order if point not in known),
            groups=groups(sorted(outcomes, key=lambda each: order[each.point])),
            failures=tuple(failures),
            outcomes=tuple(sorted(outcomes, key=lambda each: order[each.point])),
        )
        self._directory.mkdir(parents=True, exist_ok=True)
        text = msgspec.json.format(msgspec.json.encode(result), indent=2)
        write_whole(text + b"\n", self._directory / FILE_NAME)
        return result

    def _check_settings(self) -> None:
        """Refuse to mix runs of other settings into one study."""
        now = _fingerprint(self._recipe) | {"target": self._plan.target}
        before = self._study.user_attrs.get(_SETTINGS)
        if before is None:
            self._study.set_user_attr(_SETTINGS, now)
        elif before != now:
            different = [key for key in now if now[key] != before.get(key)]
            raise InputError(
                f'the storage holds a sweep of "{self._recipe.name}" with other settings '
                f"({', '.join(different)}): give another --storage"
            )

    def _enqueue_missing(self) -> None:
        """Every point that is not finished, running or waiting gets a trial.

        Two workers may enqueue one point at the same time: `_is_duplicate` decides who runs it.
        """
        trials: dict[Point, list[FrozenTrial]] = {point: [] for point in self._plan.points()}
        for trial in self._wanted(*TrialState):
            trials[_point(trial)].append(trial)
        has_pioneer = set()
        for point, of_point in trials.items():
            if any(_ERROR in trial.user_attrs for trial in of_point):
                continue
            # one run of a seed trains the float network, and all others wait for that
            may_begin = self._teacher(point.seed).exists() or point.seed not in has_pioneer
            has_pioneer.add(point.seed)
            kills = [
                trial
                for trial in of_point
                if trial.state == TrialState.FAIL and trial.number >= self._first
            ]
            is_alive = any(trial.state in _ALIVE for trial in of_point)
            if may_begin and not is_alive and len(kills) < _MOST_KILLS:
                self._study.enqueue_trial(
                    # what a search chose stays: there may be a checkpoint of it
                    of_point[-1].params if of_point else {},
                    user_attrs={_IDENTITY: msgspec.to_builtins(point), "name": point.name},
                )

    def _watch(self) -> None:
        """Give every trial that runs a sign of life when it is first seen.

        Optuna never gives up a trial without any: of a worker killed between taking it and its own.
        """
        storage = self._storage
        if not isinstance(storage, optuna.storages.RDBStorage):
            return
        study = storage.get_study_id_from_name(self._study.study_name)
        for trial in self._wanted(TrialState.RUNNING):
            if trial.number not in self._seen_running:
                self._seen_running.add(trial.number)
                storage.record_heartbeat(
                    storage.get_trial_id_from_study_id_trial_number(study, trial.number)
                )

    def _teacher(self, seed: int) -> Path:
        """The float network of a seed: the same for every method and budget."""
        return self._directory / "training" / f"float-seed{seed}.pt"

    def _wanted(self, *states: TrialState) -> list[FrozenTrial]:
        """Trials of this plan: the study may hold those of a larger one."""
        wanted = {*self._plan.points()}
        return [
            trial
            for trial in self._study.get_trials(deepcopy=False, states=states)
            if _IDENTITY in trial.user_attrs and _point(trial) in wanted
        ]

    def _run_one(self) -> None:
        begun = len(self._study.get_trials(deepcopy=False)) - len(
            self._study.get_trials(deepcopy=False, states=[TrialState.WAITING])
        )
        self._study.sampler = optuna.samplers.TPESampler(seed=begun, constant_liar=True)
        try:
            with _no_experimental_warnings():
                self._study.optimize(self._objective, n_trials=1, catch=_RESULTS)
        except optuna.exceptions.UpdateFinishedTrialError:
            self._say("a run was taken over by another worker: this one was silent for too long")

    def _objective(self, trial: Trial) -> tuple[float, float, float]:
        if _IDENTITY not in trial.user_attrs or self._is_duplicate(trial):
            raise optuna.TrialPruned
        point = msgspec.convert(trial.user_attrs[_IDENTITY], Point)
        if point not in self._plan.points():
            raise optuna.TrialPruned  # of a larger plan, which enqueues it again
        done, of = self._count()
        self._say(f"{done + 1}/{of} {point.name}")
        try:
            outcome = self._outcome(point, trial)
        except _RESULTS as error:
            trial.set_user_attr(_ERROR, str(error))
            self._say(f"{point.name} failed: {error}")
            raise
        trial.set_user_attr(_OUTCOME, msgspec.to_builtins(outcome))
        self._say(
            f"  validation {outcome.score:.2%}, {outcome.bytes} bytes, {outcome.macs_done} MACs, "
            f"{outcome.seconds:.0f} s"
        )
        return outcome.score, outcome.bytes, outcome.macs_done

    def _count(self) -> tuple[int, int]:
        """How many points are finished, and of how many."""
        finished = {_point(each) for each in self._wanted(TrialState.COMPLETE)}
        lost = {_point(t) for t in self._wanted(TrialState.FAIL) if _ERROR in t.user_attrs}
        return len(finished | lost), len(self._plan.points())

    def _is_duplicate(self, trial: Trial) -> bool:
        """Another trial of the same point is finished, or began to run before this one."""
        own = trial.user_attrs[_IDENTITY]
        return any(
            other.user_attrs.get(_IDENTITY) == own
            and (
                other.state == TrialState.COMPLETE
                or (other.state == TrialState.RUNNING and other.number < trial.number)
            )
            for other in self._study.get_trials(deepcopy=False)
        )

    def _outcome(self, point: Point, trial: Trial) -> Outcome:
        started = time.monotonic()
        settings = {} if point.search is None else _suggest(point, trial)
        recipe = configured(self._recipe, point, settings)
        folder = self._directory / point.name
        teacher, own = self._teacher(point.seed), self._directory / "training" / point.name
        run = replace(
            self._run_settings,
            directory=own,
            resume=True,
            teacher=teacher if teacher.exists() else None,
        )

        def advance(progress: recipes.Progress) -> None:
            if progress.phase != "float":
                _publish(own / "float.pt", teacher)
            self._on_progress(progress)

        trained = self._train(recipe, seed=point.seed, on_progress=advance, run=run)
        validation = recipes.integer_accuracy(trained.graph, recipe.dataset.validation)
        report = recipes.deliver(
            recipe,
            trained,
            folder,
            target=self._plan.target,
            board_samples=self._plan.board_samples,
            command=f"{self._command} ({point.name})",
        )
        return _outcome(point, settings, validation, report, time.monotonic() - started)


def _point(trial: FrozenTrial) -> Point:
    return msgspec.convert(trial.user_attrs[_IDENTITY], Point)


def _fingerprint(recipe: Recipe) -> dict[str, str]:
    """Everything that makes runs comparable: all but the data themselves and the network's code."""
    settings = {
        field.name: getattr(recipe, field.name)
        for field in fields(recipe)
        if field.name not in {"dataset", "network"}
    }
    settings["samples"] = len(recipe.dataset.train)
    return {name: msgspec.json.encode(value).decode() for name, value in settings.items()}


def _publish(source: Path, path: Path) -> None:
    """Copy a finished file to where others look for it, unless it is there."""
    if path.exists() or not source.exists():
        return
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    shutil.copyfile(source, beside)
    beside.replace(path)


def _suggest(point: Point, trial: Trial) -> dict[str, float]:
    """Settings of a search trial; each method has parameters of its own."""
    own = f"{point.method}."
    settings: dict[str, float] = {
        "lr": trial.suggest_float(f"{own}lr", *_LR_RANGE, log=True),
        "rate": trial.suggest_float(f"{own}rate", *_RATE_RANGE, log=True),
    }
    for name, (low, high) in methods.method(point.method).search.items():
        settings[name] = trial.suggest_int(f"{own}{name}", low, high)
    return settings


def configured(recipe: Recipe, point: Point, settings: Mapping[str, float]) -> Recipe:
    """The recipe of one run.

    Parameters
    ----------
    recipe : Recipe
    point : Point
    settings : mapping of str to number
        `lr`, a factor of the quantized phase's rate; `rate`, of the budget; and `LayerConfig`
        fields.  What is missing is the recipe's.
    """
    own = {name: int(value) for name, value in settings.items() if name not in {"lr", "rate"}}
    recipe = recipes.with_method(recipe, point.method, **own)
    given = recipe.config.budgets
    # as on the command line, one budget stands in place of all those of the recipe
    budgets = given.only({"weights": point.weights})
    budgets = msgspec.structs.replace(budgets, rate=settings.get("rate", given.rate))
    return replace(
        recipe,
        config=msgspec.structs.replace(recipe.config, budgets=budgets),
        quantized_lr=recipe.quantized_lr * settings.get("lr", 1.0),
    )


def _outcome(
    point: Point,
    settings: dict[str, float],
    validation: Accuracy,
    report: Report,
    seconds: float,
) -> Outcome:
    return Outcome(
        point=point,
        settings=settings,
        validation=validation,
        test={stage: dict(values) for stage, values in report.accuracy.items()},
        bytes=report.flash.weights + report.flash.tables,
        flash=report.flash.total,
        ram=report.ram.total,
        macs=report.macs,
        macs_done=report.macs_done,
        bits_mean=report.bits_mean,
        zeros=report.zeros,
        seconds=round(seconds, 1),
    )


# -- What came out --------------------------------------------------------------------------------


def groups(outcomes: Sequence[Outcome]) -> tuple[Group, ...]:
    """Means over the seeds, in the order of the outcomes; and which groups are on the frontier."""
    members: dict[tuple[str, int, int | None], list[Outcome]] = {}
    for outcome in outcomes:
        point = outcome.point
        members.setdefault((point.method, point.weights, point.search), []).append(outcome)
    found = [_group(each) for each in members.values()]
    return tuple(
        msgspec.structs.replace(
            group,
            on_frontier=is_efficient(group, found, "bytes")
            or is_efficient(group, found, "macs_done"),
        )
        for group in found
    )


def is_efficient(group: Group, others: Sequence[Group], cost: str) -> bool:
    """No other group has a higher validation score for as much or less, or the same for less.

    Parameters
    ----------
    group : Group
    others : sequence of Group
        `group` may be one of them.
    cost : {"bytes", "macs_done"}
    """
    score, price = group.validation.mean, getattr(group, cost).mean
    return not any(
        (other.validation.mean > score and getattr(other, cost).mean <= price)
        or (other.validation.mean == score and getattr(other, cost).mean < price)
        for other in others
    )


def _group(outcomes: Sequence[Outcome]) -> Group:
    first = outcomes[0]
    return Group(
        method=first.point.method,
        weights=first.point.weights,
        search=first.point.search,
        settings=first.settings,
        seeds=tuple(each.point.seed for each in outcomes),
        validation=spread([each.score for each in outcomes]),
        test=spread([each.test["integer"]["accuracy"] for each in outcomes]),
        balanced=spread([each.test["integer"]["balanced"] for each in outcomes]),
        float_test=spread([each.test["float"]["accuracy"] for each in outcomes]),
        bytes=spread([each.bytes for each in outcomes]),
        macs_done=spread([each.macs_done for each in outcomes]),
        on_frontier=False,
    )


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation of at least one value."""
    sd = statistics.stdev(values) if len(values) > 1 else 0.0
    return Spread(mean=statistics.fmean(values), sd=sd)


def reference(frontier: Frontier) -> Spread | None:
    """Test accuracy of the float networks, one a seed; None where no run is finished."""
    by_seed = {each.point.seed: each.test["float"]["accuracy"] for each in frontier.outcomes}
    return spread(list(by_seed.values())) if by_seed else None


def frontier_table(frontier: Frontier) -> Table:
    """One row a method and budget; accuracies in percent, mean ± standard deviation."""
    base = reference(frontier)
    title = f"{frontier.recipe}: integers on the test set; * on the frontier by validation"
    if base is not None:
        title += f"; float {_percent(base)}"
    return Table(
        title=title,
        columns=(
            "method",
            "budget",
            "bytes",
            "MACs done",
            "validation",
            "test",
            "balanced",
            "seeds",
        ),
        rows=tuple(
            (
                ("*" if group.on_frontier else " ") + _label(group),
                str(group.weights),
                f"{group.bytes.mean:.0f}",
                f"{group.macs_done.mean:.0f}",
                _percent(group.validation),
                _percent(group.test),
                _percent(group.balanced),
                str(len(group.seeds)),
            )
            for group in frontier.groups
        ),
    )


def failure_table(frontier: Frontier) -> Table:
    """One row a run that cannot succeed: the first line of why."""
    return Table(
        title="Failed",
        columns=("run", "why"),
        rows=tuple(
            (each.point.name, each.message.partition("\n")[0]) for each in frontier.failures
        ),
    )


def _label(group: Group) -> str:
    return group.method if group.search is None else f"{group.method} search {group.search}"


def _percent(value: Spread) -> str:
    return f"{100 * value.mean:.2f} ± {100 * value.sd:.2f}"
