"""`engine check-feasibility`: can a correction within its bound repair the base's error?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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


def check_feasibility(
    recipe: RecipeArgument,
    stage: Annotated[
        str | None,
        typer.Option("--stage", metavar="NAME", help="Measure what this stage would start from (default: the first)."),
    ] = None,
    weights: WeightsOption = None,
    overrides: SetOption = [],  # noqa: B006  # typer copies the default, and None would need a second type
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for feasibility.json and feasibility.png.")] = Path(
        "runs/feasibility"
    ),
    json: JsonOption = False,
) -> None:
    """Hold the base's held-out error against the bound of the correction, before hours are spent.

    What the stage's gate on feasibility would say, or the recipe's first one where the stage has none: the engine's
    `feasibility`, or a plugin's that says so of itself. Exit code 4 when it fails. Too few images for a verdict
    (UNDETERMINED) are no failure here, though a run stops at such a gate unless the recipe accepts it.

        engine check-feasibility recipe.toml --stage A

        engine check-feasibility recipe.toml --stage B --weights runs/RECIPE/RUN/stage-A
    """
    from engine.contracts import Verdict
    from engine.gates.feasibility_text import render, render_verdict
    from engine.gates.gate import PICTURE_FILE
    from engine.runs.measuring import feasibility, feasibility_gate, stage_named, starting_weights, told

    asked = read_recipe(recipe, overrides)
    out = console(as_json=json)
    chosen = stage_named(asked, stage, "--stage")
    file = weights_file(weights) or starting_weights(asked, chosen)
    session = open_session(asked, out)
    if not json:
        out.print(f"weights: {file or session.pretrained() or 'fresh'}", soft_wrap=True, markup=False)
    report = feasibility(session, chosen, file, out_dir)
    if json:
        print_json(told(report) if isinstance(report, Verdict) else report.to_dict())
    elif isinstance(report, Verdict):
        out.print(render_verdict(feasibility_gate(asked, chosen).check, report), soft_wrap=True)
    else:
        out.print(render(report))
        picture = out_dir / PICTURE_FILE
        if picture.is_file():
            out.print(f"picture: {picture}", soft_wrap=True, markup=False)
    if report.status == "fail":
        raise typer.Exit(4)
