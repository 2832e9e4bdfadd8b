"""Asking gates: what they may look at, and what follows from their verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from engine import events
from engine.contracts import Ablation, Evaluation, Gate, Status, Verdict
from engine.errors import PluginError
from engine.prediction import Batch, Prediction
from engine.reading import reading
from engine.recipe.schema import GateTable
from engine.stages.session import Session
from engine.system import System, Warp


@dataclass
class Measured:
    """A system with its weights as they are now; every evaluation of it is made once. Fulfils `GateContext`.

    moment: under which name evaluations with an ablation are kept in `directory`; None keeps none.
    """

    session: Session
    system: System
    stage: str
    directory: Path
    inject: bool
    moment: str | None = None
    _evaluations: dict[tuple[Warp, Ablation], Evaluation] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.session.recipe.seed

    def evaluate(self, warp: Warp = "pred", ablation: Ablation = "none") -> Evaluation:
        """Metrics on the validation data."""
        key = (warp, ablation)
        if key not in self._evaluations:
            self._evaluations[key] = self.session.evaluate(
                self.system, warp=warp, inject=self.inject, ablation=ablation
            )
            if ablation != "none" and self.moment is not None:
                name = f"evaluation-{self.moment}-{warp}-{ablation}.json"
                self.session.write(self.directory / name, vars(self._evaluations[key]))
        return self._evaluations[key]

    def predictions(
        self, warp: Warp = "pred", data: Literal["val", "train"] = "val"
    ) -> Iterator[tuple[Batch, Prediction]]:
        """(batch, prediction) over validation or training data."""
        return self.session.predictions(self.system, data, warp=warp, inject=self.inject)


def ask(gate: GateTable, measured: Measured) -> Verdict:
    """The verdict of one gate; where the recipe hopes in vain for more training to change it, the advice says so."""
    built: Gate = measured.session.plugins.get("gates", gate.check).build(gate.options)
    with reading(f"the gate {gate.check}"):
        verdict = built(measured)
    if not isinstance(verdict, Verdict) or verdict.status not in get_args(Status):
        statuses = ", ".join(get_args(Status))
        raise PluginError(
            f"the gate {gate.check} gave {verdict!r}; expected a Verdict with one of the statuses {statuses}"
        )
    texts = isinstance(verdict.reason, str) and isinstance(verdict.advice, str)
    if not (texts and isinstance(verdict.figures, Mapping) and all(isinstance(name, str) for name in verdict.figures)):
        raise PluginError(
            f"the gate {gate.check} gave {verdict!r}; expected texts as its reason and advice, and figures by name"
        )
    if gate.on_fail != "extend" or verdict.status not in UNTRAINABLE or _accepted(gate, verdict):
        return verdict
    return replace(verdict, advice="; ".join(filter(None, [verdict.advice, UNTRAINABLE[verdict.status]])))


UNTRAINABLE: dict[Status, str] = {
    "undetermined": "training the parent stage further brings no more data to judge by, so it is not extended; "
    'accept = ["undetermined"] goes on without an answer',
    "nothing-to-gain": "training the parent stage further leaves even less to gain, so it is not extended; "
    'accept = ["nothing-to-gain"] goes on all the same',
}
"""Verdicts that no training of the parent stage can turn into a pass, and what to do instead."""

Action = Literal["go on", "go on, overridden", "stop", "extend"]


def action(gate: GateTable, verdict: Verdict, extensions_left: int) -> Action:
    """What follows from a verdict.

    A pass goes on. A status that the recipe accepts, or a failure it only wants to be warned of, goes on and is
    recorded as an override. What is left stops, unless the parent stage may be trained further and training can change
    the verdict: it brings neither more images to one that is undetermined nor more error to correct.
    """
    if verdict.status == "pass":
        return "go on"
    if _accepted(gate, verdict) or gate.on_fail == "warn":
        return "go on, overridden"
    if gate.on_fail == "extend" and extensions_left > 0 and verdict.status not in UNTRAINABLE:
        return "extend"
    return "stop"


def _accepted(gate: GateTable, verdict: Verdict) -> bool:
    """Whether the recipe accepts the status; having nothing to gain is a warning too, and is accepted as one."""
    return verdict.status in gate.accept or (verdict.status == "nothing-to-gain" and "warn" in gate.accept)


def decided(stage: str, gate: GateTable, verdict: Verdict, what: Action) -> events.GateDecided:
    """The event that tells of it."""
    return events.GateDecided(stage=stage, at=gate.at, check=gate.check, verdict=verdict, action=what)
