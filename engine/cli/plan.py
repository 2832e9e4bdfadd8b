"""`engine plan`: what a run would do, without data and without memory for weights."""

from __future__ import annotations

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
    from rich.tree import Tree

    from engine.globs import Selection
    from engine.recipe.schema import Stage
    from engine.stages.reuse import Decision
    from engine.stages.session import Session
    from engine.system import System

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
    from engine.stages.outline import keep
    from engine.stages.patterns import check_patterns

    asked = read_recipe(recipe, overrides)
    out = console(as_json=json)
    session = open_session(asked, console(as_json=json or measured))
    system = session.outline()
    keep(asked, system)
    selections = check_patterns(asked, system)
    weights = session.pretrained()
    start = (
        "fresh weights"
        if weights is None
        else f"{asked.model.weights}{'' if weights.is_file() else ' (file not there yet)'}"
    )
    decisions = _decisions(session, runs, processes)
    if json:
        stages = [
            _as_data(stage, selection, system) | {"reused_from": decision.run, "reason": decision.reason}
            for stage, selection, decision in zip(asked.stages, selections, decisions, strict=True)
        ]
        print_json({"name": asked.name, "weights": start, "stages": stages, **(_costs(session) if measured else {})})
        return
    out.print(
        f"[bold]{asked.name}[/bold], starting from {escape(start)}, {_count(system.parameters()):,} parameters",
        soft_wrap=True,
    )
    for stage, selection, decision in zip(asked.stages, selections, decisions, strict=True):
        for line in [*_about(stage, selection, system), f"  {escape(str(decision))}"]:
            out.print(line, soft_wrap=True, markup=True)
        out.print(_tree(system, selection))
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


def _decisions(session: Session, runs: Path, processes: int) -> list[Decision]:
    """For every stage whether a run would take it from an earlier one, as far as can be told without data."""
    from engine import events
    from engine.stages.key import stage_keys
    from engine.stages.reuse import decide, made_before

    def warn(text: str) -> None:
        session.emit(events.Note("warning", text, {}))

    keys = stage_keys(session, processes)
    return decide(session.recipe, keys, made_before(runs, list(keys), warn), warn)


def _about(stage: Stage, selection: Selection, system: System) -> list[str]:
    train = stage.train
    title = f" {escape(stage.title)}" if stage.title else ""
    aligned = "injection off" if stage.warp is None else f"aligned by {_warp(stage)}"
    rates = f"lr {train.optimizer.lr:g}" + "".join(f", {g.match} {g.lr:g}" for g in train.optimizer.groups)
    losses = " + ".join(f"{loss.weight:g} {loss.name}" for loss in train.losses)
    samples = train.batch_size * train.accumulate
    numbers = train.precision + (" compiled" if train.compile else "")
    lines = [
        f"[bold]stage {stage.name}[/bold]{title}: {stage.steps} steps of {samples} samples, {numbers}, "
        f"from {escape(stage.init or 'the starting weights')}, {aligned}",
        f"  {train.optimizer.name} {escape(rates)}, {train.schedule.name} schedule; {escape(losses)}"
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


def _tree(system: System, selection: Selection) -> Tree:
    """Modules with their parameter counts; opened as far as they differ within."""
    from rich.tree import Tree

    counts = {name: parameter.numel() for name, parameter in system.named_parameters()}

    def label(name: str, inside: list[str]) -> str:
        trains = sum(counts[each] for each in inside if each in selection.parameters)
        frozen = sum(counts[each] for each in inside) - trains
        name = escape(name)
        if not frozen:
            return f"{name} [green]trains[/green] {trains:,}"
        if not trains:
            return f"{name} [dim]frozen {frozen:,}[/dim]"
        return f"{name} [green]trains[/green] {trains:,}, [dim]frozen {frozen:,}[/dim]"

    def grow(branch: Tree, prefix: str, depth: int) -> None:
        inside = [name for name in counts if name.startswith(prefix)]
        for child in dict.fromkeys(name[len(prefix) :].split(".")[0] for name in inside):
            full = prefix + child
            below = [name for name in inside if name == full or name.startswith(full + ".")]
            twig = branch.add(label(child, below))
            mixed = len({name in selection.parameters for name in below}) > 1
            if mixed or depth < DEPTH:
                grow(twig, full + ".", depth + 1) if full not in counts else None

    root = Tree(label("system", list(counts)))
    grow(root, "", 1)
    return root


def _as_data(stage: Stage, selection: Selection, system: System) -> dict[str, Any]:
    counts = {name: parameter.numel() for name, parameter in system.named_parameters()}
    trains = sum(counts[name] for name in selection.parameters)
    return {
        "name": stage.name,
        "title": stage.title,
        "steps": stage.steps,
        "init": stage.init,
        "trainable_parameters": trains,
        "frozen_parameters": sum(counts.values()) - trains,
        "trainable": sorted(selection.parameters),
        "warp": None if stage.warp is None else [stage.warp.gt_share(0.0), stage.warp.gt_share(1.0)],
        "gates": [gate.model_dump(mode="json") for gate in stage.gates],
    }


def _count(parameters: Any) -> int:
    return sum(parameter.numel() for parameter in parameters)
