"""`engine check-feasibility`: can a correction within its bound repair the base's error?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from engine.gates.options import FeasibilityOptions
    from engine.recipe.schema import Recipe, Stage


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

    The same code as the gate `feasibility`, with the parameters of the stage's gate, or of the recipe's first one where
    the stage has none. Exit code 4 when it fails. Too few images for a verdict (UNDETERMINED) are no failure here,
    though a run stops at such a gate unless the recipe accepts it.

        engine check-feasibility recipe.toml --stage A

        engine check-feasibility recipe.toml --stage B --weights runs/RECIPE/RUN/stage-A
    """
    from engine.gates.feasibility_text import render
    from engine.gates.gate import PICTURE_FILE, FeasibilityGate
    from engine.stages.gating import Measured

    asked = read_recipe(recipe, overrides)
    out = console(as_json=json)
    chosen = _stage(asked, stage)
    file = weights_file(weights) or _starting_weights(asked, chosen)
    session = open_session(asked, out)
    system = session.system(file)
    if not json:
        out.print(f"weights: {file or session.pretrained() or 'fresh'}", soft_wrap=True, markup=False)
    gate = FeasibilityGate(_options(asked, chosen))
    report = gate.report(Measured(session, system, chosen.name if chosen else "", out_dir, inject=False))
    if json:
        print_json(report.to_dict())
    else:
        out.print(render(report))
        picture = out_dir / PICTURE_FILE
        if picture.is_file():
            out.print(f"picture: {picture}", soft_wrap=True, markup=False)
    if report.decision.status == "fail":
        raise typer.Exit(4)


def _stage(recipe: Recipe, name: str | None) -> Stage | None:
    from engine.errors import InputError, Problem, nearest

    if name is None:
        return recipe.stages[0] if recipe.stages else None
    for stage in recipe.stages:
        if stage.name == name:
            return stage
    names = [stage.name for stage in recipe.stages]
    raise InputError(
        Problem("--stage", f"the recipe has no stage '{name}'", f"one of {', '.join(names)}", nearest(name, names))
    )


def _starting_weights(recipe: Recipe, stage: Stage | None) -> Path | None:
    """The file a stage starts from when the recipe alone tells it; InputError when only a run can."""
    from engine.errors import InputError

    if stage is None or stage.init is None:
        return None
    if stage.init_is_file:
        return Path(stage.init)
    raise InputError(
        f"stage {stage.name} starts from what stage {stage.init} will have learnt",
        f"pass the weights of a run: --weights runs/{recipe.name}/RUN/stage-{stage.init}",
    )


def _options(recipe: Recipe, stage: Stage | None) -> FeasibilityOptions:
    """The parameters of the stage's own feasibility gate, else of the recipe's first one, else the defaults."""
    from engine.gates.options import FeasibilityOptions

    for each in [*([stage] if stage else []), *recipe.stages]:
        for gate in each.gates:
            if gate.check == "feasibility":
                options: FeasibilityOptions = gate.options
                return options
    return FeasibilityOptions.model_validate({})
