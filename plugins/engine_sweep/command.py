"""`engine sweep`: search for the values of a recipe's keys that give the best figure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from engine.errors import DivergedError, EngineError, GateRefusedError, InputError, InterruptedRunError, WorldError
from engine.files import held

if TYPE_CHECKING:
    from engine_sweep.sweep import Sweep

LOCK = "sweep.lock"
NEEDED = ("optuna", "sqlalchemy", "matplotlib")


def sweep(
    recipe: Annotated[
        Path,
        typer.Argument(metavar="RECIPE", help="A recipe (TOML), or the directory of a run.", show_default=False),
    ],
    overrides: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="KEY=RANGE|VALUE",
            help="A range: log(a,b), uniform(a,b), range(a,b), int(a,b), choice(x,y,...); or a value for all trials.",
        ),
    ] = [],  # noqa: B006  # typer copies the default, and None would need a second type
    trials: Annotated[int, typer.Option("--trials", min=1, metavar="N", help="Trials in all.")] = 20,
    workers: Annotated[
        int, typer.Option("--workers", min=1, metavar="N", help="Processes that work on trials at once.")
    ] = 1,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="What decides, on validation data after the last stage; else evaluate.best, or the first of key.",
            show_default=False,
        ),
    ] = None,
    maximize: Annotated[bool, typer.Option("--maximize", help="The largest figure is the best.")] = False,
    pruner: Annotated[
        Literal["median", "halving", "none"],
        typer.Option("--pruner", help="What gives a trial up by its figures on the way."),
    ] = "median",
    prune_after: Annotated[
        int, typer.Option("--prune-after", min=0, metavar="N", help="Trials that end before `median` gives one up.")
    ] = 5,
    seed: Annotated[int, typer.Option("--seed", help="What the trials' values follow from.")] = 0,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Only go on with a sweep that was begun; without it one is begun if need be."),
    ] = False,
    runs: Annotated[Path, typer.Option("--runs", help="Where run directories are.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    """Search for the values of some keys that give the best figure after the last stage.

    Each trial is a run. The first one has the recipe's own values, where they lie within the ranges. Stages before the
    first swept one are trained once. A gate that says no, training that diverges, and the pruner, which looks at every
    evaluation of the swept stages (evaluate_every), give a trial up. The same command goes on after an interruption,
    and with more trials.

    Into runs/RECIPE-sweep-ID: study.db, sweep.json, trials.csv, pictures, and best.json, a recipe to run.

        engine sweep recipe.toml --set 'stage.C.optimizer.lr=log(1e-5,1e-3)' --trials 20

        engine sweep recipe.toml --set 'stage.C.optimizer.lr=log(1e-5,1e-3)' --trials 40 --workers 2

        engine sweep recipe.toml --set 'stage.C.schedule.name=choice(cosine,one-cycle)' --set stage.C.steps=50
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise WorldError(
            f"`engine sweep` needs {' and '.join(missing)}, which is not installed: "
            'pip install "experiment-engine[sweep]"'
        )
    from engine_sweep.space import split
    from engine_sweep.sweep import planned

    fixed, swept = split(overrides)
    asked, own = planned(recipe, fixed, swept, metric, maximize, pruner, prune_after, seed, runs)
    if resume and not asked.folder.is_dir():
        raise InputError(f"there is no sweep {asked.folder} to go on with", "the same command without --resume")
    search(asked, own, trials, workers, partial(typer.echo, err=json), json)
    if json:
        from engine_sweep.results import DOCUMENT

        typer.echo((asked.folder / DOCUMENT).read_text(encoding="utf-8").rstrip())


def search(
    asked: Sweep, own: Any, trials: int, workers: int, say: Callable[[str], None], told_on_error: bool = False
) -> None:
    """Carry a sweep out to its end, from wherever it stands.

    Raises InterruptedRunError; where no trial came to an end, InputError, DivergedError or GateRefusedError; and what
    ends a sweep with its trial, WorldError and PluginError.
    """
    from multiprocessing import get_context

    from engine_sweep import plots, results
    from engine_sweep.study import in_words, open_study, queue, take_up
    from engine_sweep.trial import share
    from engine_sweep.workers import Lock, left, work, work_together

    asked.folder.mkdir(parents=True, exist_ok=True)
    busy = f"the sweep {asked.folder} is still going on, or was killed and its workers stop after their step,"
    with held(asked.folder / LOCK, busy) as lock, in_words(asked):
        study = open_study(asked)
        values = asked.own(own)
        if not study.get_trials(deepcopy=False) and values is not None:
            queue(study, values)
        taken_up = take_up(study)
        todo = left(asked, study, trials)
        say(f"{asked.folder}: trials to do: {todo}" + (f", {taken_up} of them interrupted" if taken_up else ""))
        if asked.pruner != "none" and todo and not _measured_on_the_way(asked, own):
            say("no swept stage is measured on the way, so no trial is given up by its figures: set evaluate_every")
        try:
            if todo and (told := share(asked, study, own)):
                say(told)
            if workers == 1:
                work(asked, get_context().Semaphore(todo), say)
            elif todo:
                work_together(asked, Lock(lock), workers, todo, told_on_error)
        except InterruptedRunError as stopped:
            over = trials - left(asked, study, trials)
            how = str(stopped).partition("; go on with")[0]  # which would go on with one run, and not with the sweep
            raise InterruptedRunError(f"{how}; {over} of {trials} trials are over: the same command goes on") from None
        finally:
            found = results.document(asked, study, values)
            results.write(asked, found)
        for line in results.lines(asked, found):
            say(line)
        if found["best"] is None:
            raise _none_ended(found)
        results.write_best(asked, found, own.name)
        for line in results.verdict(asked, found):
            say(line)
        say("pictures: " + ", ".join(str(path) for path in plots.draw(asked, study)))


def _measured_on_the_way(asked: Sweep, own: Any) -> bool:
    stages = own.stages[asked.first_swept(own) :]
    return len(stages) > 1 or any((stage.train.evaluate_every or stage.steps) < stage.steps for stage in stages)


def _none_ended(found: dict[str, Any]) -> EngineError:
    trials = found["trials"]
    said = f"none of {len(trials)} trials came to its end; the last one: {trials[-1]['reason']}"
    codes = {trial["exit"] for trial in trials}
    alike = next((kind for kind in (InputError, DivergedError) if codes == {kind.exit_code}), GateRefusedError)
    return alike(said)
