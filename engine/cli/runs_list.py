"""`engine runs list`: which runs there are, and how they stand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli.opening import JsonOption, RunsOption, console, print_json

if TYPE_CHECKING:
    from engine.runs.history import RunHistory


def list_runs(
    recipe: Annotated[
        str | None, typer.Argument(metavar="[RECIPE]", help="The runs of this recipe alone, by its name.")
    ] = None,
    runs: RunsOption = Path("runs"),
    json: JsonOption = False,
) -> None:
    """List runs, the newest first: when they began, how they stand, their stages, their newest held-out figure.

    States: done, running, refused (by a gate), diverged, interrupted, failed, and killed where a run told nothing and
    goes on no more.

        engine runs list

        engine runs list RECIPE
    """
    from engine.errors import InputError, WorldError, nearest
    from engine.reporting.run_tables import runs_table
    from engine.runs.directory import runs_under
    from engine.runs.history import read_run

    folders = runs_under(runs)
    if recipe is not None:
        names = sorted({folder.parent.name for folder in folders})
        folders = [folder for folder in folders if folder.parent.name == recipe]
        if not folders:
            near = nearest(recipe, names)
            raise InputError(f"no runs of {recipe!r} under {runs}", f"there are runs of {', '.join(near or names)}")
    found, damaged = [], []
    for folder in folders:
        try:
            found.append(_as_data(read_run(folder)))
        except WorldError as damage:
            damaged.append(str(damage))
    out = console(as_json=json)
    if json:
        print_json({"runs": found, "damaged": damaged})
    elif found:
        out.print(runs_table(found))
    else:
        out.print("no runs yet; `engine run RECIPE` makes one")
    for each in damaged:
        out.print(f"left out: {each}", soft_wrap=True, markup=False)


def _as_data(run: RunHistory) -> dict[str, Any]:
    last = None if run.last is None else dict(zip(("metric", "value", "moment", "stage"), run.last, strict=True))
    stages = [{name: getattr(stage, name) for name in ("name", "state", "step", "steps")} for stage in run.stages]
    about = {"name": run.name, "path": run.path, "started": run.started, "state": run.state}
    return {**about, "stages": stages, "last": last, "report": run.report}
