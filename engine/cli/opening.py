"""What several commands share: their arguments, and a recipe opened for work."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.plain import finite

if TYPE_CHECKING:
    from rich.console import Console

    from engine.plugins import Plugins
    from engine.recipe.schema import Recipe
    from engine.stages.session import Session
    from engine.training.exporting import Exporting

RecipeArgument = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="A recipe (TOML), or the directory of a run.", show_default=False)
]
SetOption = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change one key: stage.B.steps=50, train.optimizer.lr=1e-4. May be repeated."
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="FILE|FOLDER",
        help="Weights to load: a file, a run (the last stage it finished), a stage, or checkpoints/best of a stage.",
    ),
]
PIPED = 120
"""Columns of text where no terminal says how many there are: at rich's 80 the tables would be broken."""
FORM = "NAME:KEY=VALUE,..."
RunsOption = Annotated[Path, typer.Option("--runs", help="Where run directories are.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Print only warnings, gates that do not pass, and the end.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def console(as_json: bool = False) -> Console:
    """Where text goes: standard output, or standard error when standard output carries JSON."""
    from rich.console import Console

    out = Console(stderr=as_json, highlight=False)
    return out if out.is_terminal or "COLUMNS" in os.environ else Console(stderr=as_json, highlight=False, width=PIPED)


def print_json(data: Any) -> None:
    """One JSON document on standard output; a number that is not finite, which JSON cannot write, becomes null."""
    typer.echo(json.dumps(finite(data), indent=1, default=str, allow_nan=False))


def read_recipe(path: Path, overrides: list[str], data: str | None = None) -> Recipe:
    """A recipe from a TOML file, or from a run's directory; `data` in place of [data.val]."""
    from engine.library import load_recipe

    return load_recipe(path, overrides, data)


def open_session(recipe: Recipe, out: Console, quiet: bool = False) -> Session:
    """A session whose events appear on the console; quiet: only those that somebody must know."""
    from engine.reporting.console import ConsoleReport
    from engine.reporting.quiet import QuietReport
    from engine.stages.session import open_session as opened

    report = QuietReport(out) if quiet else ConsoleReport(out, recipe.evaluate.key)
    recipe.registry.register_object(report, "console")
    session = opened(recipe)
    if isinstance(report, ConsoleReport):
        session.on_stop = report.say
    return session


def asked_export(registry: Plugins, text: str, out_dir: Path) -> Exporting:
    """What `--export` asks for, in a folder of its name; InputError with every mistake in it."""
    from engine.recipe.named import asked_for
    from engine.training.exporting import Exporting

    registered, options = asked_for(registry, "exports", "--export", text)
    return Exporting(registered.name, registered.build(options), out_dir / registered.name)


def weights_file(path: Path | None) -> Path | None:
    """The file that `--weights` means; WorldError or InputError when it means none."""
    from engine.runs.weights import weights_file as file_of

    return None if path is None else file_of(path)
