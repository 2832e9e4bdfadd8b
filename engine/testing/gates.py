"""The promises of a gate."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from torch import nn

from engine.contracts import Evaluation, Status, Verdict
from engine.prediction import Batch, Prediction
from engine.registered import guarded
from engine.testing.subject import Check, Subject, same

SAMPLES = 8


def gate(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    means: Mapping[str, float] | None = None,
    system: Any = None,
    predictions: Callable[[], Iterator[tuple[Batch, Prediction]]] = lambda: iter(()),
    files: Sequence[Path] = (),
) -> list[Check]:
    """Checks of the gate `name`. means: the metrics that it is shown, name -> mean, the same for every sample.

    system, predictions: for a gate that looks at the system itself, or at single predictions.
    """
    subject = Subject("gates", name, options or {}, files)

    def verdict(built: Any = None, of: Any = None) -> Verdict:
        gate = subject.build() if built is None else built
        shown = copy.deepcopy(system) if of is None else of

        def call() -> Any:
            with tempfile.TemporaryDirectory() as folder, guarded(f"{subject} failed"):
                return gate(Shown(dict(means or {}), shown, Path(folder), predictions))

        found = subject.run("it gives no verdict", call)
        if not isinstance(found, Verdict):
            subject.fail(f"it gives {type(found).__name__}", "a Verdict")
        return found

    def it_gives_a_verdict_with_its_reason() -> None:
        found = verdict()
        if found.status not in get_args(Status):
            subject.fail(f"its status is {found.status!r}", f"one of {', '.join(get_args(Status))}")
        if not found.reason.strip():
            subject.fail("it gives no reason", "a sentence with the figures that decided")

    def its_figures_can_be_written_down() -> None:
        found = verdict()
        try:
            json.dumps(dict(found.figures))
        except TypeError as error:
            subject.fail(f"its figures cannot be kept with the run: {error}", "numbers, texts, lists, and tables")

    def it_decides_the_same_twice() -> None:
        built = subject.build()  # one for both, which may remember, and whose numbers come after each other
        one, other = verdict(built), verdict(built)
        if not same(vars(one), vars(other)):
            subject.fail(f"it says {one.status!r} ({one.reason}) and then {other.status!r} ({other.reason})")

    def it_changes_nothing() -> None:
        if not isinstance(system, nn.Module):
            return
        shown = copy.deepcopy(system)
        verdict(of=shown)
        after = shown.state_dict()
        wrote = [name for name, tensor in system.state_dict().items() if not same(tensor, after.get(name))]
        if wrote:
            subject.fail(f"it writes to {', '.join(wrote[:4])} of the system", "others read it too")

    def it_names_the_metrics_that_it_needs() -> None:
        missing = [each for each in subject.registered.needs(subject.chosen) if each not in (means or {})]
        if missing:
            subject.fail(f"it needs {', '.join(missing)}, which the test does not show", "means={...}")

    return subject.checks(
        it_gives_a_verdict_with_its_reason,
        its_figures_can_be_written_down,
        it_decides_the_same_twice,
        it_changes_nothing,
        it_names_the_metrics_that_it_needs,
    )


@dataclass(frozen=True)
class Shown:
    """What a gate may look at, made of figures; `pairs` gives the predictions."""

    means: Mapping[str, float]
    system: Any = None
    directory: Path = Path()
    pairs: Callable[[], Iterator[tuple[Batch, Prediction]]] = lambda: iter(())
    stage: str = "A"
    seed: int = 0

    def evaluate(self, warp: str = "pred", ablation: str = "none") -> Evaluation:
        """The figures of the test, whatever is asked."""
        names = [f"sample {number}" for number in range(SAMPLES)]
        alone = {name: [value] * SAMPLES for name, value in self.means.items()}
        return Evaluation(self.means, self.means, dict.fromkeys(self.means, 0), alone, self.means, names, names, alone)

    def predictions(self, warp: str = "pred", data: str = "val") -> Iterator[tuple[Batch, Prediction]]:
        """The pairs of the test, whatever is asked."""
        return self.pairs()
