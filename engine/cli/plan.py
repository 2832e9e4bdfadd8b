"""`engine plan`: what a run would do, without data and without memory for weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape

from engine.cli.opening import JsonOption, RecipeArgument, SetOption, console, open_session, print_json, read_recipe

if TYPE_CHECKING:
    from rich.tree import Tree

    from engine.globs import Selection
    from engine.recipe.schema import Stage
    from engine.system import System

DEPTH = 2
"""Levels of modules shown below `base` and `injection`; a level whose children agree is not opened."""


def plan(
    recipe: RecipeArgument,
    overrides: SetOption = [],  # noqa: B006  # typer copies the default, and None would need a second type
    json: JsonOption = False,
) -> None:
    """Show what would happen: stages, weights, gates, and the tree of modules with what trains and what is frozen.

    Modules are built on torch's meta device: no data is read, no weights are loaded.

        engine plan recipe.toml
    """
    import torch

    from engine.runs.execute import check_patterns
    from engine.stages.runner import select_stage

    asked = read_recipe(recipe, overrides)
    out = console(as_json=json)
    session = open_session(asked, out)
    check_patterns(session)
    with torch.device("meta"):
        system = session.bare_system()
    weights = session.pretrained()
    start = (
        "fresh weights"
        if weights is None
        else f"{asked.model.weights}{'' if weights.is_file() else ' (file not there yet)'}"
    )
    selections = [select_stage(session, stage, index, system) for index, stage in enumerate(asked.stages)]
    if json:
        stages = [_as_data(stage, selection, system) for stage, selection in zip(asked.stages, selections, strict=True)]
        print_json({"name": asked.name, "weights": start, "stages": stages})
        return
    out.print(
        f"[bold]{asked.name}[/bold], starting from {escape(start)}, {_count(system.parameters()):,} parameters",
        soft_wrap=True,
    )
    for stage, selection in zip(asked.stages, selections, strict=True):
        for line in _about(stage, selection, system):
            out.print(line, soft_wrap=True, markup=True)
        out.print(_tree(system, selection))


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
        + (", the frozen base's outputs cached" if train.cache == "on" else ""),
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
