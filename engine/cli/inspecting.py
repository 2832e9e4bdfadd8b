"""`engine data inspect`: what is wrong with data, before anybody trains on it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from engine.cli.opening import JsonOption, SetOption, console, open_session, print_json, read_recipe

if TYPE_CHECKING:
    from rich.table import Table

    from engine.contracts import Finding, Inspection
    from engine.data.inspection import Inspected
    from engine.data.source import Source
    from engine.plugins import Plugins
    from engine.registered import Registered

COLOURS = {"error": "red", "warning": "yellow", "note": "dim"}


def inspect(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="RECIPE|PATH",
            help="A recipe, the directory of a run, a list of files such as own.csv, or the folder of a published set.",
            show_default=False,
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option("--as", metavar="DATASET", help="The data set that PATH is, by the name that a recipe would use."),
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", min=1, metavar="N", help="Look at this many samples, evenly spread.")
    ] = 8,
    drawn: Annotated[
        bool,
        typer.Option("--drawn", help="Look at the first samples that training draws, as it sees them."),
    ] = False,
    overrides: SetOption = [],  # noqa: B006  # typer copies the default, and None would need a second type
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the pictures.")] = Path("runs/inspect"),
    json: JsonOption = False,
) -> None:
    """Measure samples of a data set, as evaluation reads them, and say what is wrong with them and what to do.

    With --drawn they are cut and augmented as in training, and the pictures show what its random changes make of them.

    Plugins bring inspections of what they know (`engine plugins` lists them). Exit code 2 where training on the data
    would give garbage; warnings alone give 0.

        engine data inspect recipe.toml

        engine data inspect recipe.toml --drawn

        engine data inspect own.csv --samples 20

        engine data inspect downloads/folder --as DATASET
    """
    from engine.data.inspection import inspect as inspected
    from engine.data.inspection import shared

    out = console(as_json=json)
    sources, plugins, fields = _opened(path, name, overrides, out, samples if drawn else None)
    results: list[Inspected] = []
    for part, source in sources.items():
        inspections: dict[str, Inspection] = {"fields": fields()}
        for brought in plugins.names("inspections"):
            registered = plugins.get("inspections", brought)
            inspections[brought] = registered.build(registered.options())
        results.append(inspected(source, samples, inspections, out_dir, part))
    both: list[Finding] = []
    if {"train", "val"} <= sources.keys():
        train, val = ((sources[result.name], result) for result in results)
        both = shared(train, val)

    wrong = any(result.is_wrong for result in results) or any(each.level == "error" for each in both)
    if json:
        print_json({"sets": [asdict(each) for each in results], "shared": [asdict(each) for each in both]})
    else:
        out.print(_table(results))
        for result in results:
            _tell(out, result.findings, f"{result.name}: " if len(results) > 1 else "")
        _tell(out, both, "")
        for picture in (picture for result in results for picture in result.pictures):
            out.print(f"picture: {picture}", soft_wrap=True, markup=False)
    if wrong:
        raise typer.Exit(2)


def _opened(
    path: Path, name: str | None, overrides: list[str], out: Console, draws: int | None
) -> tuple[dict[str, Source], Plugins, Any]:
    """The data sets by part, the plugins, and what makes the inspection of their fields.

    draws: so many of a recipe's training, and nothing else.
    """
    from functools import partial

    from engine.data.drawn import drawn
    from engine.data.inspect_fields import FieldsInspection
    from engine.data.loader import Order, as_source
    from engine.data.source import Source
    from engine.errors import InputError
    from engine.plugins import load

    plugins = load()
    chosen = None
    if name is not None:
        chosen = plugins.get("datasets", name)
    elif not _is_recipe(path):
        chosen = _recognised(path, plugins)
    if chosen is not None:
        if draws is not None:
            raise InputError("--drawn shows what the first stage of a recipe trains on, and this is none")
        if overrides:
            raise InputError("--set changes a recipe's keys, and this is none")
        dataset = chosen.build(_options(chosen, path))
        return {path.stem or chosen.name: Source(dataset, f"{chosen} at {path}")}, plugins, FieldsInspection

    recipe = read_recipe(path, overrides)
    session = open_session(recipe, out)
    if draws is not None and (recipe.data.train is None or not recipe.stages):
        raise InputError("--drawn shows what the first stage of a recipe trains on, and this one trains nothing")
    parts: Sequence[Any] = ("train", "val") if recipe.data.train is not None else ("val",)
    batch = 0
    if draws is not None:
        stage = recipe.stages[0]
        train = as_source(session.dataset("train"))
        batch = stage.train.batch_size
        order = Order(len(train), batch, recipe.seed, stage.name)
        sources = {"drawn": drawn(train, order, draws)}
    else:
        sources = {part: as_source(session.dataset(part)) for part in parts}
    model = recipe.registry.get("models", recipe.model.plugin)
    reach = partial(model.reach, recipe.model.options)
    return sources, recipe.registry, partial(FieldsInspection, model.extra["target"], reach, batch)


def _is_recipe(path: Path) -> bool:
    """Whether a path is meant as a recipe: a run, or a file with one of the tables that only recipes have."""
    import tomli

    from engine.runs.directory import is_run

    if is_run(path):
        return True
    if path.suffix == ".json":
        return path.is_file()
    if path.suffix != ".toml":
        return False
    try:
        top = tomli.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomli.TOMLDecodeError):
        return True  # which tells what is wrong with it
    return not top.keys().isdisjoint({"model", "data", "extends", "stage"})


def _recognised(path: Path, plugins: Plugins) -> Registered:
    """The data set that a path is: by the suffix of a file, or the only one that finds its own layout in a folder."""
    from engine.errors import EngineError, InputError, WorldError

    if not path.exists():
        raise WorldError(f"there is no {path}")
    known = [plugins.get("datasets", each) for each in plugins.names("datasets")]
    if path.is_file():
        fitting = [each for each in known if path.suffix in each.extra.get("files", ())]
    else:
        fitting = []
        for each in known:
            with suppress(EngineError):  # what has another layout says so, each in its own way
                each.build(_options(each, path))
                fitting.append(each)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise InputError(f"{path} can be read as several data sets", _say_as(fitting))
    raise InputError(f"{path} is no recipe, and no data set that is known by its files", _say_as(known))


def _say_as(known: Sequence[Registered]) -> str:
    return f"say which: --as {' | '.join(each.name for each in known if _path_option(each) is not None)}"


def _path_option(registered: Registered) -> str | None:
    """The option of a data set that is where it lies: the one of the type Path that has no default."""
    fields = registered.options.model_fields.items()
    return next((name for name, field in fields if field.annotation is Path and field.is_required()), None)


def _options(registered: Registered, path: Path) -> Any:
    from pydantic import ValidationError

    from engine.errors import InputError

    option = _path_option(registered)
    if option is None:
        raise InputError(f"{registered} lies at no path", "name it in a recipe")
    try:
        return registered.options.model_validate({option: path})
    except ValidationError as error:
        needs = ", ".join(str(each["loc"][0]) for each in error.errors() if each["loc"])
        raise InputError(f"{registered} needs more than a path: {needs}", "name it in a recipe") from error


def _table(results: Sequence[Inspected]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("measured")
    for result in results:
        table.add_column(escape(result.name), justify="right")
    for row in dict.fromkeys(name for result in results for name in result.figures):
        table.add_row(escape(row), *(_cell(result.figures.get(row, "-")) for result in results))
    return table


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def _tell(out: Console, findings: Sequence[Finding], where: str) -> None:
    for finding in findings:
        colour = COLOURS[finding.level]
        advice = f"; {finding.advice}" if finding.advice else ""
        out.print(f"[{colour}]{finding.level}[/{colour}] {escape(where + finding.what + advice)}", soft_wrap=True)
