"""`engine data`: what can be done with the data of a recipe before anything trains on them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from engine.cli import inspecting
from engine.cli.opening import JsonOption, RecipeArgument, SetOption, console, open_session, print_json, read_recipe

app = typer.Typer(help="Inspect data, and pack them.", no_args_is_help=True, add_completion=False)
app.command("inspect")(inspecting.inspect)


@app.command("pack")
def pack(
    recipe: RecipeArgument,
    out: Annotated[Path, typer.Option("--out", metavar="X.zarr", help="The store to make.", show_default=False)],
    split: Annotated[Literal["train", "val"], typer.Option("--split", help="Which data of the recipe.")] = "train",
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=0, help="Processes that read and compress.", show_default="one a processor"),
    ] = None,
    overrides: SetOption = [],  # noqa: B006  # typer copies the default, and None would need a second type
    json: JsonOption = False,
) -> None:
    """Pack a recipe's data into a sharded zarr store, which the data set `zarr` reads.

    Samples are as the recipe configures them, without random augmentation. The same command goes on where an earlier
    one was stopped; the store appears under its name when it is complete.

        engine data pack recipes/own.toml --out own-train.zarr

        engine data pack recipes/own.toml --split val --out own-val.zarr
    """
    from engine.data.packing import pack as packed
    from engine.data.source import Source
    from engine.errors import InputError, InterruptedRunError, Problem
    from engine.events import Note
    from engine.runs.provenance import versions

    asked = read_recipe(recipe, overrides)
    if asked.data[split] is None:
        raise InputError(Problem(str(recipe), f"the recipe has no data.{split}"))
    terminal = console(as_json=json)
    session = open_session(asked, terminal)
    source = session.dataset(split)
    assert isinstance(source, Source), "a session gives data sets with their names"
    table = asked.data[split]
    about = {
        "data": asked.resolved()["data"][split],
        "plugin": str(session.plugins.get("datasets", table.plugin)),
        "versions": versions(),
    }
    if workers is None:
        workers = len(os.sched_getaffinity(0))

    def progress(done: int, total: int, what: str) -> None:
        session.emit(Note("info", what, {"done": done, "total": total}))

    try:
        done = packed(source, out, about, progress, workers)
    except KeyboardInterrupt as stopped:
        raise InterruptedRunError("interrupted; the same command goes on") from stopped
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    if json:
        print_json({"store": out, "bytes": size, **vars(done)})
        return
    parts = [f"{done.samples} samples", f"{size / 1e6:.1f} MB"]
    if done.groups > 1:
        parts.append(f"{done.groups} kinds of samples, which differ in sizes or fields")
    if done.damaged:
        parts.append(f"{done.damaged} damaged ones left out")
    if done.taken_up:
        parts.append(f"the first {done.taken_up} by an earlier command")
    terminal.print(f"{out}: {', '.join(parts)}", soft_wrap=True, markup=False)
