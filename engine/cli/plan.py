"""`engine plan`: what a run would do, without data and without memory for weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from engine.cli.opening import (
    JsonOption,
    RecipeArgument,
    RunsOption,
    SetOption,
    console,
    open_session,
    print_json,
    read_recipe,
)

if TYPE_CHECKING:
    from rich.table import Table

    from engine.recipe.schema import Stage
    from engine.runs.planning import PlannedStage
    from engine.stages.session import Session

DEPTH = 2
"""Levels of modules shown below `base` and `injection`; a level whose children agree is not opened."""


def plan(
    recipe: RecipeArgument,
    overrides: SetOption = [],  # noqa: B006  # typer copies the default, and None would need a second type
    runs: RunsOption = Path("runs"),
    measured: Annotated[
        bool, typer.Option("--measure", help="Make a few steps of every stage, and tell what all would cost.")
    ] = False,
    processes: Annotated[
        int, typer.Option("--processes", min=1, metavar="N", help="Tell what a run with so many processes would reuse.")
    ] = 1,
    json: JsonOption = False,
) -> None:
    """Show what would happen: stages, weights, gates, and the tree of modules with what trains and what is frozen.

    Modules are built on torch's meta device: no data is read, no weights are loaded. A stage that a run under --runs
    has finished is reused where nothing it depends on has changed; where it runs, the change is named.

    With --measure data and weights are read, and the estimate tells how long each stage takes, its memory, and what it
    writes; nothing is written into runs/.

        engine plan recipe.toml

        engine plan recipe.toml --measure
    """
    from engine.runs.planning import plan as planned

    asked = read_recipe(recipe, overrides)
    out = console(as_json=json)
    session = open_session(asked, console(as_json=json or measured))
    found = planned(session, runs, processes)
    if json:
        about = {
            "name": found.name,
            "weights": found.weights,
            "missing": [vars(problem) for problem in found.missing],
            "stages": [vars(stage) for stage in found.stages],
        }
        print_json({**about, **(_costs(session) if measured else {})})
        return
    size = f"{sum(found.parameters.values()):,} parameters"
    out.print(
        f"[bold]{found.name}[/bold], starting from {escape(found.weights)}, {size}",
        soft_wrap=True,
    )
    for problem in found.missing:
        out.print(f"  not there yet: {problem}", soft_wrap=True, markup=False)
    for stage, told in zip(asked.stages, found.stages, strict=True):
        for line in [*_about(stage), f"  {escape(_decided(told))}"]:
            out.print(line, soft_wrap=True, markup=True)
    if found.stages:
        out.print(_tree(found.parameters, {stage.name: frozenset(stage.trainable) for stage in found.stages}))
    if measured:
        from engine.reporting.tables import cost_table

        out.print(cost_table(**_costs(session)["cost"]))


def _costs(session: Session) -> dict[str, Any]:
    """What every stage costs and how it was measured, for the JSON document and for the table."""
    from dataclasses import asdict

    from engine.runs import cost

    stages = [{**asdict(each), "seconds": each.seconds} for each in cost.measure(session)]
    how = {"steps": cost.STEPS, "warm_up": cost.STEPS, "samples": cost.SAMPLES, "device": str(session.device)}
    return {"cost": {"stages": stages, "seconds": sum(each["seconds"] for each in stages), "how": how}}


def _decided(stage: PlannedStage) -> str:
    return f"reuse (from {stage.reused_from}): {stage.reason}" if stage.reused_from else f"run: {stage.reason}"


def _about(stage: Stage) -> list[str]:
    train = stage.train
    title = f" {escape(stage.title)}" if stage.title else ""
    aligned = "injection off" if stage.warp is None else f"aligned by {_warp(stage)}"
    adamw = train.optimizer
    rates = f"lr {adamw.lr:g}" + "".join(f", {group.match} {group.lr:g}" for group in adamw.groups)
    rates += f", betas {adamw.betas[0]:g} {adamw.betas[1]:g}, decay {adamw.weight_decay:g}, eps {adamw.eps:g}"
    losses = " + ".join(f"{loss.weight:g} {loss.name}" for loss in train.losses)
    samples = train.batch_size * train.accumulate
    numbers = train.precision + (" compiled" if train.compile else "")
    lines = [
        f"[bold]stage {stage.name}[/bold]{title}: {stage.steps} steps of {samples} samples, {numbers}, "
        f"from {escape(stage.init or 'the starting weights')}, {aligned}",
        f"  {adamw.name} {escape(rates)}, {train.schedule.name} schedule; {escape(losses)}"
        + {"on": ", the frozen base's outputs cached", "auto": ", cached where that is quicker"}.get(train.cache, "")
        + (", augmented after the base" if train.augment == "after-cache" else ""),
    ]
    for gate in stage.gates:
        accepted = f", accepts {' '.join(gate.accept)}" if gate.accept else ""
        lines.append(f"  gate {escape(gate.check)} at {gate.at}, on fail: {gate.on_fail}{accepted}")
    return lines


def _warp(stage: Stage) -> str:
    assert stage.warp is not None, "asked only of stages with the injection on"
    first, last = stage.warp.gt_share(0.0), stage.warp.gt_share(1.0)
    if first == last:
        return {1.0: "the ground truth", 0.0: "the prediction"}.get(
            first, f"the ground truth in {first:.0%} of the steps"
        )
    return f"the ground truth in {first:.0%} of the steps at first, {last:.0%} at the end"


def _tree(counts: Mapping[str, int], trainable: Mapping[str, frozenset[str]]) -> Table:
    """Modules with their numbers of parameters, a column a stage; opened as far as a stage tells them apart.

    trainable: stage -> the names of the tensors that it trains.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("module")
    table.add_column("parameters", justify="right")
    for stage in trainable:
        table.add_column(escape(stage), justify="right")

    def add(label: str, inside: Sequence[str]) -> None:
        cells = []
        for chosen in trainable.values():
            trains = sum(counts[name] for name in inside if name in chosen)
            whole = not any(name not in chosen for name in inside)
            cells.append(
                "[green]trains[/green]" if whole else f"[green]{trains:,}[/green]" if trains else "[dim]frozen[/dim]"
            )
        table.add_row(escape(label), f"{sum(counts[name] for name in inside):,}", *cells)

    def grow(prefix: str, depth: int) -> None:
        for child in dict.fromkeys(name[len(prefix) :].split(".")[0] for name in counts if name.startswith(prefix)):
            full = prefix + child
            below = [name for name in counts if name == full or name.startswith(full + ".")]
            add("  " * depth + child, below)
            mixed = any(len({name in chosen for name in below}) > 1 for chosen in trainable.values())
            if full not in counts and (mixed or depth + 1 < DEPTH):
                grow(full + ".", depth + 1)

    add("system", list(counts))
    if not any(name.startswith("base.") for name in counts):
        table.add_row("  [dim]base has no parameters[/dim]")
    grow("", 0)
    return table
