"""`engine eval`: measure weights on held-out data, and write what they answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

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


def evaluate(
    recipe: RecipeArgument,
    weights: WeightsOption = None,
    overrides: SetOption = [],  # noqa: B006  # typer copies the default, and None would need a second type
    data: Annotated[
        str | None,
        typer.Option("--data", metavar=FORM, help="Measure on this data set in place of the recipe's [data.val]."),
    ] = None,
    warp: Annotated[Literal["pred", "gt"], typer.Option(help="What aligns the auxiliary signal.")] = "pred",
    ablation: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="The signal of another scene (shuffle), zero, or an ablation of the injection's own."
        ),
    ] = "none",
    per_image: Annotated[
        Path | None, typer.Option("--per-image", metavar="FILE.csv", help="Write a row of figures for each sample.")
    ] = None,
    exports: Annotated[
        list[str],
        typer.Option("--export", metavar=FORM, help="Write the predictions in this format. May be repeated."),
    ] = [],  # noqa: B006  # as above
    out_dir: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Exports go to a folder here, named as the format.")
    ] = Path("runs/eval"),
    json: JsonOption = False,
) -> None:
    """Measure the recipe's metrics on its validation data, the base alone beside the corrected system.

    Without --weights, what a run's last finished stage handed on, or the weights that a recipe's [model] names. Where
    the data bring no auxiliary signal, the base is measured alone, and a line says so.

        engine eval recipe.toml --weights runs/RECIPE/RUN

        engine eval recipe.toml --weights runs/RECIPE/RUN/stage-C --per-image figures.csv

        engine eval recipe.toml --data DATASET:root=/data/other --export FORMAT
    """
    from engine.reporting.per_sample import write_per_sample
    from engine.reporting.tables import evaluation_table
    from engine.runs.directory import is_run
    from engine.runs.measuring import measure

    asked = read_recipe(recipe, overrides, data)
    writers = [asked_export(asked.registry, text, out_dir) for text in exports]
    out = console(as_json=json)
    session = open_session(asked, out)
    file = weights_file(weights or (recipe if is_run(recipe) else None))
    evaluation = measure(session, file, warp, ablation, writers)
    if per_image is not None:
        write_per_sample(per_image, evaluation)
    if json:
        print_json(vars(evaluation))
        return
    out.print(evaluation_table(evaluation))
    for path in [each.folder for each in writers] + ([per_image] if per_image else []):
        out.print(f"written: {path}", soft_wrap=True, markup=False)
