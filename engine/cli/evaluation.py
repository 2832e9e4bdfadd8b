"""`engine eval`: measure weights on held-out data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from engine.cli.opening import (
    JsonOption,
    RecipeArgument,
    SetOption,
    WeightsOption,
    console,
    open_session,
    print_json,
    read_recipe,
    weights_file,
)

if TYPE_CHECKING:
    from rich.table import Table

    from engine.contracts import Evaluation


def evaluate(
    recipe: RecipeArgument,
    weights: WeightsOption = None,
    overrides: SetOption = [],  # noqa: B006  # typer copies the default, and None would need a second type
    warp: Annotated[Literal["pred", "gt"], typer.Option(help="What aligns the auxiliary signal.")] = "pred",
    ablation: Annotated[
        Literal["none", "shuffle", "zero"], typer.Option(help="Take the signal from another sample, or blank it.")
    ] = "none",
    json: JsonOption = False,
) -> None:
    """Measure the recipe's metrics on its validation data, the base alone beside the corrected system.

    Without --weights, what a run's last finished stage handed on, or the weights that a recipe's [model] names.

        engine eval recipes/s2m2_pol.toml --weights runs/s2m2_pol/RUN

        engine eval recipes/motorcycle.toml --weights runs/s2m2_pol/RUN/stage-C
    """
    from engine.runs.directory import is_run

    asked = read_recipe(recipe, overrides)
    out = console(as_json=json)
    session = open_session(asked, out)
    system = session.system(weights_file(weights or (recipe if is_run(recipe) else None)))
    evaluation = session.evaluate(system, warp=warp, ablation=ablation)
    session.damaged.count()
    if json:
        print_json(vars(evaluation))
    else:
        out.print(_table(evaluation))


def _table(evaluation: Evaluation) -> Table:
    from rich.table import Table

    corrected = bool(evaluation.base_mean)
    table = Table(title=f"{len(evaluation.ids)} samples", title_justify="left")
    columns = ["metric", *(["base alone"] if corrected else []), "mean over samples", "pooled", "samples skipped"]
    for column in columns:
        table.add_column(column, justify="left" if column == "metric" else "right", no_wrap=column == "metric")
    for name, skipped in evaluation.skipped.items():
        figures = [evaluation.mean.get(name), evaluation.pooled.get(name)]
        if corrected:
            figures.insert(0, evaluation.base_mean.get(name))
        table.add_row(escape(name), *("-" if figure is None else f"{figure:.3f}" for figure in figures), str(skipped))
    return table
