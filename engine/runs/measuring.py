"""The recipe's metrics of given weights, and whether a correction can repair what they get wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine import events
from engine.contracts import Ablation, Evaluation, Verdict
from engine.errors import InputError, Problem, nearest
from engine.files import write_json
from engine.gates.feasibility import FeasibilityReport
from engine.gates.gate import FIGURES_FILE, FeasibilityGate
from engine.gates.options import FeasibilityOptions
from engine.recipe.schema import GateTable, Recipe, Stage
from engine.stages.gating import Measured, ask
from engine.stages.session import Session
from engine.system import System, Warp
from engine.training.exporting import Exporting

NO_SIGNAL = "the data bring no auxiliary signal, so the base is measured alone"


def measure(
    session: Session,
    weights: Path | None,
    warp: Warp = "pred",
    ablation: Ablation = "none",
    exports: Sequence[Exporting] = (),
    system: System | None = None,
) -> Evaluation:
    """The recipe's metrics on its validation data with the weights of a file, or with what the recipe starts from.

    system: one that is at hand, which is measured as it is. Where the data bring no auxiliary signal the base is
    measured alone, and a note says so.
    """
    system = session.system(weights) if system is None else system
    inject = system.corrector is None or session.brings("val", system.corrector.signal)
    if not inject:
        session.emit(events.Note("warning", NO_SIGNAL, {}))
    evaluation = session.evaluate(system, warp=warp, inject=inject, ablation=ablation, exports=exports)
    session.damaged.count()
    return evaluation


def feasibility(
    session: Session, stage: Stage | None, weights: Path | None, folder: Path
) -> FeasibilityReport | Verdict:
    """What the recipe's feasibility gate would say of `weights` before `stage`; its figures go to `folder`.

    A report where it is the engine's own gate, else the verdict of the plugin's.
    """
    gate = feasibility_gate(session.recipe, stage)
    measured = Measured(session, session.system(weights), stage.name if stage else "", folder, inject=False)
    if isinstance(gate.options, FeasibilityOptions):
        return FeasibilityGate(gate.options).report(measured)
    folder.mkdir(parents=True, exist_ok=True)
    verdict = ask(gate, measured)
    write_json(folder / FIGURES_FILE, told(verdict))
    return verdict


def feasibility_gate(recipe: Recipe, stage: Stage | None) -> GateTable:
    """The stage's own gate that tells feasibility, else the recipe's first one, else the engine's with its defaults."""
    for each in [*([stage] if stage else []), *recipe.stages]:
        for gate in each.gates:
            if recipe.registry.get("gates", gate.check).extra.get("feasibility"):
                return gate
    gate = GateTable(check="feasibility")
    gate.options = FeasibilityOptions.model_validate({})
    return gate


def told(verdict: Verdict) -> dict[str, Any]:
    """A plugin's verdict on feasibility as plain data, in the shape of the engine's own report."""
    decision = {"status": verdict.status, "reasons": [verdict.reason], "notes": [], "advice": verdict.advice}
    return {"figures": dict(verdict.figures), "decision": decision}


def stage_named(recipe: Recipe, name: str | None, where: str) -> Stage | None:
    """The stage of that name, the first for None; InputError at `where` when there is no such stage."""
    if name is None:
        return recipe.stages[0] if recipe.stages else None
    for stage in recipe.stages:
        if stage.name == name:
            return stage
    names = [stage.name for stage in recipe.stages]
    raise InputError(
        Problem(where, f"the recipe has no stage '{name}'", f"one of {', '.join(names)}", nearest(name, names))
    )


def starting_weights(recipe: Recipe, stage: Stage | None) -> Path | None:
    """The file a stage starts from when the recipe alone tells it; InputError when only a run can."""
    if stage is None or stage.init is None:
        return None
    if stage.init_is_file:
        return Path(stage.init)
    raise InputError(
        f"stage {stage.name} starts from what stage {stage.init} will have learnt",
        f"pass the weights of a run: --weights runs/{recipe.name}/RUN/stage-{stage.init}",
    )
