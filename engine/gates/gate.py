"""The gate `feasibility`: may a stage that trains a bounded correction begin?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.contracts import GateContext, Verdict
from engine.errors import InputError, Problem, WorldError
from engine.files import write_json, write_whole
from engine.gates.decision import judge
from engine.gates.feasibility import FeasibilityReport, Settings
from engine.gates.options import FeasibilityOptions
from engine.gates.picture import histogram, save_histogram
from engine.gates.residuals import Residuals, collect

FIGURES_FILE = "feasibility.json"
PICTURE_FILE = "feasibility.png"


@dataclass(frozen=True)
class FeasibilityGate:
    """Compares the base's held-out residuals with the injection's bound.

    Writes feasibility.json, and feasibility.png where matplotlib is installed, into the context's directory. The
    verdict's figures are the report as plain data, with a `histogram` of the residuals, and `picture`: the file's name,
    or why there is none.
    InputError: the recipe has no injection, its bound is not a positive number, or a named field is missing.
    """

    options: FeasibilityOptions

    def __call__(self, context: GateContext) -> Verdict:
        """Measure, write the figures, decide."""
        report, figures = self._measured(context)
        return Verdict(report.decision.status, "; ".join(report.decision.reasons), figures, report.decision.advice)

    def report(self, context: GateContext) -> FeasibilityReport:
        """The whole report, for a command that prints it; the same files are written."""
        return self._measured(context)[0]

    def _measured(self, context: GateContext) -> tuple[FeasibilityReport, dict[str, Any]]:
        injection = context.system.injection
        bound = _bound_of(injection)
        held_out = self._collect(context, injection, "val")
        train = self._collect(context, injection, "train") if self.options.train_images else None
        report = judge(held_out, bound, self._settings(context.system), train)
        figures = report.to_dict()
        figures["histogram"] = histogram(held_out.images, bound).to_dict()
        figures["picture"] = PICTURE_FILE
        try:
            write_whole(
                context.directory / PICTURE_FILE,
                lambda partial: save_histogram(held_out.images, bound, partial, self.options.unit),
            )
        except WorldError as missing:
            figures["picture"] = f"none: {missing}"
        write_json(context.directory / FIGURES_FILE, figures)
        return report, figures

    def _collect(self, context: GateContext, injection: Any, data: Any) -> Residuals:
        return collect(
            context.predictions(data=data),
            target=context.system.target,
            region=self.options.region,
            strata=self.options.strata if data == "val" else (),
            injection=injection,
            images=self.options.train_images if data == "train" else None,
        )

    def _settings(self, system: Any) -> Settings:
        return Settings(
            rho=self.options.rho,
            statistic=self.options.statistic,
            negligible=self.options.negligible,
            minimum_images=self.options.minimum_images,
            minimum_scenes=self.options.minimum_scenes,
            unit=self.options.unit,
            bound_option=getattr(system.injection, "bound_option", "bound"),
            base_learns=any(True for _ in system.base.parameters()),
        )


def _bound_of(injection: Any) -> float:
    if injection is None:
        raise InputError(
            Problem("", "the gate 'feasibility' needs an injection, and the recipe has none", "a table [injection]")
        )
    bound = float(injection.bound)
    if not 0 < bound < float("inf"):
        raise InputError(Problem("", f"the injection's bound is {bound:g}", "a positive number in the target's units"))
    return bound
