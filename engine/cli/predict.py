"""`engine predict`: what a system answers to files, written as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli.opening import (
    FORM,
    JsonOption,
    RecipeArgument,
    SetOption,
    WeightsOption,
    asked_export,
    console,
    open_session,
    print_json,
    read_recipe,
    weights_file,
)

if TYPE_CHECKING:
    from engine.plugins import Plugins
    from engine.registered import Registered
    from engine.training.exporting import Exporting
    from engine.training.predicting import Answer
    from engine.training.tiling import Bands

ALONE = ", the base alone, without an auxiliary signal"

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


# What the command does not know are flags of the plugin that reads the inputs.
@app.command(context_settings={"ignore_unknown_options": True})
def predict(
    recipe: RecipeArgument,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUTS...",
            help="Files, folders or quoted patterns, as the plugin that reads them asks, then its flags.",
            show_default=False,
        ),
    ] = [],  # noqa: B006  # typer copies the default, and None would need a second type
    out_dir: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where predictions are written.")] = Path(
        "runs/predict"
    ),
    weights: WeightsOption = None,
    overrides: SetOption = [],  # noqa: B006  # as above
    tile: Annotated[
        int | None,
        typer.Option(metavar="ROWS", min=1, help="Answer higher pictures in bands of this many rows, to save memory."),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(metavar="ROWS", min=0, help="Rows that two bands share and are blended in (default: a quarter)."),
    ] = None,
    exports: Annotated[
        list[str],
        typer.Option("--export", metavar=FORM, help="Write this format, in a folder of its name. May be repeated."),
    ] = [],  # noqa: B006  # as above
    json: JsonOption = False,
) -> None:
    """Write what a run's last finished stage, or a recipe's starting weights, answers to your own files.

    Which inputs there are and what is written is told by the plugin for the recipe's model; `engine plugins` lists
    the flags as the options of a reader of inputs.

        engine predict runs/RECIPE/RUN LEFT RIGHT --out predictions

        engine predict recipe.toml "LEFT/*.png" "RIGHT/*.png" --tile 512
    """
    from engine.data.source import Source
    from engine.recipe.inputs import asked_inputs
    from engine.runs.cost import peak_memory
    from engine.runs.directory import is_run
    from engine.stages.not_finite import NotFinite, warning
    from engine.training.predicting import answers

    asked = read_recipe(recipe, overrides)
    target = asked.registry.get("models", asked.model.plugin).extra["target"]
    reader, options = asked_inputs(asked.registry, target, inputs)
    writers = [asked_export(asked.registry, text, out_dir) for text in exports]
    writers = writers or [_default(asked.registry, reader, name, out_dir) for name in reader.extra["exports"]]
    bands = _bands(tile, overlap)
    source = Source(reader.build(options), "the inputs")
    source.prepare(lambda done, total, what: None)

    out = console(as_json=json)
    session = open_session(asked, out)
    system = session.system(weights_file(weights or (recipe if is_run(recipe) else None)))
    rows: list[dict[str, Any]] = []
    seen = NotFinite()
    with peak_memory(session.device) as peak:
        for answer in answers(system, source, session.device, bands):
            for write in writers:
                write(answer.prediction, answer.batch, answer.seconds)
            seen.add(answer.batch, answer.prediction)
            rows.append(_row(answer))
            alone = system.corrector is not None and answer.prediction.base is None
            out.print(_line(rows[-1]) + ALONE * alone, soft_wrap=True, markup=False)
    if (told := warning("the inputs", seen.counts())) is not None:
        session.emit(told)
    folders = [write.folder for write in writers]
    if json:
        print_json({"predictions": rows, "folders": folders, "peak_bytes": peak[0] if peak else None})
        return
    if peak:
        out.print(f"peak memory: {peak[0] / 2**30:.2f} GiB", soft_wrap=True, markup=False)
    for folder in dict.fromkeys(folders):
        out.print(f"written: {folder}", soft_wrap=True, markup=False)


def _row(answer: Answer) -> dict[str, Any]:
    height, width = answer.prediction.value.shape[-2:]
    return {
        "id": answer.batch["id"][0],
        "width": width,
        "height": height,
        "seconds": answer.seconds,
        "corrected": answer.prediction.base is not None,
        "bands_differ": answer.seam,
    }


def _line(row: dict[str, Any]) -> str:
    seam = "" if row["bands_differ"] is None else f", bands differ by {row['bands_differ']:.3f} where they overlap"
    return f"{row['id']}: {row['width']} x {row['height']} px, {row['seconds']:.2f} s{seam}"


def _default(registry: Plugins, reader: Registered, name: str, folder: Path) -> Exporting:
    """A format that is written where the user asks for none."""
    from engine.registered import guarded
    from engine.training.exporting import Exporting

    export = registry.get("exports", name)
    with guarded(f"{export} of {reader} has no defaults"):
        return Exporting(name, export.build(export.options.model_validate({})), folder)


def _bands(tile: int | None, overlap: int | None) -> Bands | None:
    from engine.errors import InputError, Problem
    from engine.training.tiling import Bands

    if tile is None:
        if overlap is not None:
            raise InputError(Problem("--overlap", "without --tile there are no bands that overlap", "both, or neither"))
        return None
    return Bands(tile, tile // 4 if overlap is None else overlap)
