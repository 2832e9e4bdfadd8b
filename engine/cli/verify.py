"""`engine verify-resume`: does this recipe survive an interruption exactly?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli.opening import JsonOption, RecipeArgument, SetOption, console, print_json, read_recipe

if TYPE_CHECKING:
    from rich.table import Table

    from engine.runs.identity import StageComparison
    from engine.runs.verify import Report


def verify_resume(
    recipe: RecipeArgument,
    overrides: SetOption = [],  # noqa: B006  # typer copies the default, and None would need a second type
    steps: Annotated[int, typer.Option("--steps", min=2, help="Steps of each stage.")] = 6,
    json: JsonOption = False,
) -> None:
    """Prove that an interrupted and resumed run of a recipe equals an untouched one, bit for bit.

    Runs the recipe, shortened, twice: untouched, and stopped by SIGTERM and killed by SIGKILL in every stage, resumed
    each time in a new process. Compares losses, gradient norms and learning rates of every step, every evaluation and
    every tensor. Exit code 1: something differs, and both runs are kept.

        engine verify-resume recipe.toml
    """
    from engine.runs import verify

    asked = read_recipe(recipe, overrides)
    out = console(as_json=json)
    report = verify.verify_resume(asked, steps, lambda line: out.print(line, soft_wrap=True, markup=False))
    if json:
        print_json(_as_data(report))
    else:
        out.print(_table(report.stages))
    if not report.identical:
        raise verify.explain(report)
    out.print(
        "identical: interrupted and resumed, the run gives the same figures and weights, bit for bit", soft_wrap=True
    )


def _table(stages: list[StageComparison]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("stage", "steps compared", "evaluations", "tensors", "result"):
        table.add_column(name, justify="left" if name in ("stage", "result") else "right")
    for stage in stages:
        counts = (str(count) for count in (stage.steps, stage.evaluations, stage.tensors))
        table.add_row(stage.stage, *counts, _result(stage))
    return table


def _result(stage: StageComparison) -> str:
    if stage.identical:
        return "identical"
    parts = []
    for kind, plural in (("step", "steps"), ("evaluation", "evaluations"), ("tensor", "tensors")):
        found = stage.of(kind)
        if found:
            largest = max((each.size for each in found if each.size is not None), default=None)
            size = "" if largest is None else f" by at most {largest:.3g}"
            parts.append(f"{len(found)} {plural}{size}, first {found[0].name}")
    return "differs: " + "; ".join(parts)


def _as_data(report: Report) -> dict[str, object]:
    return {
        "identical": report.identical,
        "shortened": report.shortened,
        "interruptions": [str(each) for each in report.interruptions],
        "stages": [
            {**vars(stage), "differences": [vars(each) for each in stage.differences]} for stage in report.stages
        ],
        "untouched_runs_agree": report.repeats,
        "kept": report.folder,
    }
