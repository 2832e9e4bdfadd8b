"""A sweep's trials in an sqlite file: what the next one tries, and which of them count."""

from __future__ import annotations

import fcntl
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from engine.errors import WorldError
from engine_sweep.sweep import Sweep

FILE = "study.db"
STUDY = "sweep"
PATIENCE = 60
"""Seconds that a worker waits for another one's write to the file."""

CONTINUES, VALUES, REPORTS, RUN = "continues", "values", "reports", "run"
REASON, EXIT, SECONDS = "reason", "exit", "seconds"
"""What is noted beside a trial: the interrupted one whose work it goes on with, the values that were queued for it, and
what that one had measured; the name of its run directory; why it came to no end and the exit code that its run alone
would have had, and how long it took."""


class ByPlace(optuna.samplers.BaseSampler):
    """TPE with a seed of its own for every trial, so that a sweep that was interrupted draws what it would have drawn.

    A trial's draws follow from the sweep's seed, its place among the trials, and the figures of those before it.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._made: tuple[int, optuna.samplers.TPESampler] | None = None

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """As TPE does."""
        return self._of(study, trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As TPE does."""
        return self._of(study, trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As TPE does."""
        return self._of(study, trial).sample_independent(study, trial, param_name, param_distribution)

    def _of(self, study: optuna.Study, trial: FrozenTrial) -> optuna.samplers.TPESampler:
        if self._made is None or self._made[0] != trial.number:
            place = places(study.get_trials(deepcopy=False))[trial.number]
            sampler = optuna.samplers.TPESampler(seed=zlib.crc32(f"{self._seed} {place}".encode()))
            self._made = (trial.number, sampler)
        return self._made[1]


@contextmanager
def in_words(sweep: Sweep) -> Iterator[None]:
    """WorldError for what cannot be done with the study's file: a full disk, damage, another one's endless write."""
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        # Optuna's own words speak of a commit; those of sqlite are behind it.
        why = str(error.__cause__ or error).splitlines()[0]
        raise WorldError(f"{sweep.folder / FILE} cannot be read or written: {why}") from error


def open_study(sweep: Sweep) -> optuna.Study:
    """The study of a sweep, a new one where there is none; WorldError for a file that is none."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    file = sweep.folder.absolute() / FILE
    with in_words(sweep):
        storage = optuna.storages.RDBStorage(f"sqlite:///{file}", {"connect_args": {"timeout": PATIENCE}})
        return optuna.create_study(
            storage=storage,
            study_name=STUDY,
            direction="maximize" if sweep.maximize else "minimize",
            sampler=ByPlace(sweep.seed),
            pruner=_pruner(sweep),
            load_if_exists=True,
        )


def _pruner(sweep: Sweep) -> optuna.pruners.BasePruner:
    if sweep.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=sweep.prune_after)
    return optuna.pruners.SuccessiveHalvingPruner() if sweep.pruner == "halving" else optuna.pruners.NopPruner()


def queue(study: optuna.Study, values: Mapping[str, Any], **noted: Any) -> None:
    """Have the next trial try these values. They are noted too: a trial that is killed while it asks has taken none."""
    study.enqueue_trial(dict(values), {VALUES: values, **noted})


def ask(sweep: Sweep, study: optuna.Study) -> optuna.Trial:
    """The next trial: an interrupted one if there is any, else a new one.

    One worker asks at a time. An sqlite file locks no rows, so that two would now and then go on with the same
    interrupted trial. The lock goes with its holder, however that dies.
    """
    with (sweep.folder / "ask.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return study.ask({each.key: each.distribution() for each in sweep.swept})


def places(trials: Sequence[FrozenTrial]) -> Mapping[int, int]:
    """Number in the file -> place in the sweep, from 0, of the trials that no later one goes on with."""
    left_behind = {trial.user_attrs[CONTINUES] for trial in trials if CONTINUES in trial.user_attrs}
    standing = [trial.number for trial in trials if trial.number not in left_behind]
    return {number: place for place, number in enumerate(standing)}


def counted(study: optuna.Study) -> list[tuple[int, FrozenTrial]]:
    """The trials that are over, each with its place."""
    trials = study.get_trials(deepcopy=False)
    of = places(trials)
    over = (TrialState.COMPLETE, TrialState.PRUNED)
    return [(of[trial.number], trial) for trial in trials if trial.number in of and trial.state in over]


def take_up(study: optuna.Study) -> int:
    """Queue again what was interrupted, with its values, its run and what it had measured; how many trials that are.

    Only while no worker is at work: whoever is at work looks interrupted.
    """
    trials = study.get_trials(deepcopy=False)
    of = places(trials)
    interrupted = [trial for trial in trials if trial.state == TrialState.RUNNING]
    for trial in interrupted:
        if trial.number in of:  # else it was queued again before, and the process died before the next line
            noted = {key: trial.user_attrs[key] for key in (RUN,) if key in trial.user_attrs}
            reports = trial.user_attrs.get(REPORTS, {}) | {str(k): v for k, v in trial.intermediate_values.items()}
            values = trial.user_attrs.get(VALUES, {}) | trial.params
            queue(study, values, **noted, **{REPORTS: reports, CONTINUES: trial.number})
        study.tell(trial.number, state=TrialState.FAIL)
    return len(interrupted)
