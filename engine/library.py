"""The engine as a library; each function is one command of the command line, and says nothing unless it is heard.

A `listener` is called with every event of `engine.events`. What goes wrong is an exception of `engine.errors`. Global
random generators are left as they were found; the runs of one process go one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from engine.errors import InputError
from engine.hookspecs import hookimpl
from engine.recipe import load as recipes
from engine.runs import directory

if TYPE_CHECKING:
    from torch import Tensor

    from engine.contracts import Ablation, Evaluation, Verdict
    from engine.gates.feasibility import FeasibilityReport
    from engine.prediction import Batch
    from engine.recipe.schema import Recipe
    from engine.runs.history import RunHistory
    from engine.runs.planning import Plan
    from engine.stages.session import Session
    from engine.system import System

Listener = Callable[[Any], None]


def load_recipe(path: Path | str, overrides: Sequence[str] = (), data: str | None = None) -> Recipe:
    """The recipe of a TOML file, or of a run's directory, checked and complete.

    overrides: "stage.B.steps=50", as after `--set`. data: "NAME:KEY=VALUE" in place of [data.val], as after `--data`.
    Raises InputError with every mistake found, each with its place.
    """
    path = Path(path)
    return recipes.load_recipe(path / directory.RECIPE if directory.is_run(path) else path, overrides, data)


def plan(recipe: Recipe, *, runs: Path | str = "runs", measure: bool = False, listener: Listener | None = None) -> Plan:
    """What `run` would do: stages, weights, what trains, and what is reused of the runs under `runs`.

    measure: make a few real steps of every stage and tell its `costs`. Raises InputError for patterns that match
    nothing, WorldError for a weights file that cannot be read.
    """
    from engine.runs import cost, planning

    with _session(recipe, listener) as session:
        planned = planning.plan(session, Path(runs))
        return replace(planned, costs=list(cost.measure(session))) if measure else planned


def run(
    recipe: Recipe,
    *,
    runs: Path | str = "runs",
    resume: bool | Path | str = False,
    fresh: bool = False,
    listener: Listener | None = None,
) -> RunHistory:
    """Train the recipe's stages in order, in a new directory under `runs`; what its directory tells at the end.

    resume: go on with the newest unfinished run of this recipe, or with the run of that directory. fresh: train every
    stage, also those that an earlier run has finished. Raises InputError before anything is written where the recipe
    cannot run, GateRefusedError, DivergedError, InterruptedRunError, and WorldError or PluginError for what fails.
    """
    from engine.reporting.recording import recording
    from engine.runs.conduct import conduct, to_resume
    from engine.runs.history import read_run

    folder, trackers = None, recipe.trackers
    if resume and fresh:
        raise InputError("`resume` goes on with a run, and `fresh` begins one", "give one of them")
    if resume:
        folder, recipe = to_resume(recipe, Path(runs), None if resume is True else Path(resume))
    with _session(recipe, listener) as session, recording(session, trackers, _silent):
        folder = conduct(session, Path(runs), folder, fresh)
        session.accelerator.wait_for_everyone()
        return read_run(folder)


def load_system(recipe: Recipe, *, weights: Path | str | None = None, listener: Listener | None = None) -> System:
    """Base and injection in evaluation mode on the device: a torch module that answers a batch with a Prediction.

    weights: as in `evaluate`. Its children are `base` and `injection`, which is None where the recipe has none.
    """
    from engine.runs.weights import weights_file

    with _session(recipe, listener) as session:
        return session.system(None if weights is None else weights_file(Path(weights)))


def read_weights(path: Path | str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a weights file by name, and the texts that it keeps beside them; no code is run from it.

    Raises WorldError where the file is missing or damaged, InputError where it is no weights file.
    """
    from engine.checkpoints import weights

    return weights.read_weights(Path(path))


def samples(recipe: Recipe, count: int = 1, *, listener: Listener | None = None) -> list[Batch]:
    """The first `count` samples of the recipe's validation data, or all where there are fewer, as batches of one."""
    from engine.data.loader import Fixed, evaluation_batches, to_device

    with _session(recipe, listener) as session:
        batches = evaluation_batches(Fixed(session.dataset("val")), 1, workers=0, pin=False)
        return [to_device(batch, session.device) for batch in islice(batches, count)]


def evaluate(
    recipe: Recipe,
    *,
    weights: Path | str | None = None,
    system: System | None = None,
    warp: Literal["pred", "gt"] = "pred",
    ablation: Ablation = "none",
    listener: Listener | None = None,
) -> Evaluation:
    """The recipe's metrics on its validation data, those of the base alone beside those of the corrected system.

    weights: a file, a run (the last stage it finished), a stage's folder or a checkpoint's; without it those that
    [model] names. system: what `load_system` gave, changed or not, in place of weights. ablation: take the auxiliary
    signal from another sample, or blank it.
    """
    from engine.runs.measuring import measure
    from engine.runs.weights import weights_file

    if weights is not None and system is not None:
        raise InputError("`system` has its weights, and `weights` names others", "give one of them")
    with _session(recipe, listener) as session:
        return measure(session, None if weights is None else weights_file(Path(weights)), warp, ablation, system=system)


def check_feasibility(
    recipe: Recipe,
    *,
    stage: str | None = None,
    weights: Path | str | None = None,
    folder: Path | str = "runs/feasibility",
    listener: Listener | None = None,
) -> FeasibilityReport | Verdict:
    """Hold the base's held-out error against the bound of the correction; `status` of the answer is the verdict.

    A FeasibilityReport, or where the recipe uses a plugin's gate on feasibility, the Verdict of that gate.

    stage: the stage that would start, by default the first. weights: as in `evaluate`; needed where the stage starts
    from what another will have learnt. Figures and picture are written to `folder`.
    """
    from engine.runs.measuring import feasibility, stage_named, starting_weights
    from engine.runs.weights import weights_file

    chosen = stage_named(recipe, stage, "stage")
    file = starting_weights(recipe, chosen) if weights is None else weights_file(Path(weights))
    with _session(recipe, listener) as session:
        return feasibility(session, chosen, file, Path(folder))


class _Hearing:
    """Hands every lifecycle event to a function."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener

    @hookimpl
    def engine_run_started(self, event: Any) -> None:
        self.listener(event)

    engine_stage_started = engine_stage_frozen = engine_step = engine_evaluated = engine_run_started
    engine_gate_decided = engine_checkpoint_saved = engine_stage_finished = engine_run_started
    engine_run_finished = engine_note = engine_run_started


@contextmanager
def _session(recipe: Recipe, listener: Listener | None) -> Iterator[Session]:
    """A session whose events `listener` hears; nothing of it stays behind."""
    import torch

    from engine.stages.session import open_session
    from engine.training.state import random_state, restore_random_state

    session, exact = open_session(recipe), torch.are_deterministic_algorithms_enabled()
    before = random_state(session.device)
    try:
        with recipe.registry.listening(_Hearing(listener or _silent), "listener"):
            yield session
    finally:
        restore_random_state(before, session.device)
        if recipe.deterministic:
            torch.use_deterministic_algorithms(exact)


def _silent(event: Any) -> None:
    pass
