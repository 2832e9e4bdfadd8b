"""`engine runs`: what is on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal

from engine.cli import runs_compare, runs_list, runs_show, runs_verify
from engine.cli.opening import JsonOption, RunsOption, console, print_json
from engine.errors import InputError, WorldError

app = typer.Typer(
    help="List runs, show, verify and compare them, and free disk space.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)
app.command("list")(runs_list.list_runs)
app.command("show")(runs_show.show)
app.command("compare")(runs_compare.compare)
app.command("verify")(runs_verify.verify)


@app.command("gc")
def gc(
    runs: RunsOption = Path("runs"),
    keep: Annotated[
        int | None,
        typer.Option("--keep", min=1, metavar="N", help="Remove finished runs but the newest N of each recipe."),
    ] = None,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Remove runs that were refused, diverged, interrupted or failed.")
    ] = False,
    cache: Annotated[
        bool, typer.Option("--cache", help="Remove the frozen outputs that no process has open, of whatever run.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without this it is only shown.")] = False,
    json: JsonOption = False,
) -> None:
    """Free disk space: checkpoints of finished runs and, where asked, whole runs and the cache of frozen outputs.

    The weights that finished stages handed on stay, so that their runs can be measured and their stages reused; what
    goes is `checkpoints/`, the best one in mid-stage among it. A run that is still going on is never touched.

        engine runs gc

        engine runs gc --keep 3 --unfinished --yes

        engine runs gc --cache --yes
    """
    from engine.runs.cleaning import find_waste, freed, remove, unused_outputs

    if not runs.is_dir():
        raise InputError(f"there is no folder {runs}", "--runs names the folder that holds the runs")
    found, left = find_waste(runs, keep, unfinished)
    found += unused_outputs() if cache else []
    size = freed(waste.path for waste in found)
    out = console(as_json=json)
    kept = {waste.path: reason for waste in found if yes and (reason := remove(waste))}
    if json:
        rows = [
            {"path": each.path, "why": each.why, "bytes": each.bytes, "left": kept.get(each.path)} for each in found
        ]
        print_json({"removed": yes, "bytes": size, "found": rows, "left": left})
    for waste in found if not json else ():
        out.print(f"{decimal(waste.bytes):>10}  {waste.path}  {waste.why}", soft_wrap=True, markup=False)
    for reason in (*left, *kept.values()):
        out.print(f"left alone: {reason}", soft_wrap=True, markup=False)
    if kept:
        raise WorldError(f"{len(kept)} of {len(found)} could not be removed")
    if not json:
        out.print(_conclusion(len(found), decimal(size), yes), soft_wrap=True)


def _conclusion(count: int, size: str, removed: bool) -> str:
    if not count:
        return "nothing to remove"
    return f"{size} freed" if removed else f"{size} would be freed; --yes removes what is listed"
