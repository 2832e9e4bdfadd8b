"""The promises of a metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.prediction import Batch, Prediction
from engine.reading import fields_of, reading
from engine.testing.modules import of_target
from engine.testing.subject import Check, Given, Subject, given, same
from engine.training.evaluate import mistake_in

Figures = Mapping[str, tuple[Tensor, Tensor]]


def metric(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    batch: Given,
    target: str,
    predicted: Callable[[Batch], Prediction] | None = None,
    files: Sequence[Path] = (),
) -> list[Check]:
    """Checks of the metric `name`.

    batch: tensors (B, C, H, W) of at least two samples, with what the metric reads. predicted: the prediction that it
    measures, where it reads more than the value; by default a value near the target.
    """
    subject = Subject("metrics", name, options or {}, files)

    def measured(fields: Batch, prediction: Prediction, built: Any = None) -> Figures:
        measure = subject.build() if built is None else built

        def call() -> Any:
            with torch.no_grad(), reading(str(subject)):
                return measure(prediction, fields_of(fields, "the batch of the test"))

        found: Figures = subject.run("it fails", call)
        mistake = mistake_in(found, len(prediction.value))
        if mistake:
            subject.fail(f"it {mistake}")
        return found

    def asked() -> tuple[Batch, Prediction]:
        fields = given(batch)
        return fields, predicted(fields) if predicted else Prediction(of_target(fields, target))

    def it_yields_the_figures_that_it_announces() -> None:
        announced, found = subject.registered.produces(subject.chosen), measured(*asked())
        if set(announced) != set(found):
            subject.fail(f"`produces` announces {sorted(announced)}, and it yields {sorted(found)}", "name the same")

    def it_gives_a_sum_and_a_count_for_each_sample() -> None:
        for figure, (total, count) in measured(*asked()).items():
            if not bool((count >= 0).all()):
                subject.fail(f"{figure!r} counts less than nothing")
            if not bool(total[count > 0].isfinite().all()):
                subject.fail(f"{figure!r} is not finite where it counts", "count 0 where it is not defined")

    def a_sample_counts_the_same_alone() -> None:
        fields, prediction = asked()
        together = measured(fields, prediction)
        for number in range(len(fields[target])):
            alone = measured(_only(fields, number), Prediction.of_tensors(_only(prediction.tensors(), number)))
            for figure, pair in together.items():
                for one, other in zip(pair, alone[figure], strict=True):
                    if not torch.allclose(one[number].float(), other[0].float(), rtol=1e-4, equal_nan=True):
                        subject.fail(
                            f"{figure!r} of sample {number} is {one[number]:g} in a batch and {other[0]:g} alone",
                            "measure each sample by itself",
                        )

    def it_measures_the_same_twice() -> None:
        built = subject.build()  # one for both, which may remember, and whose numbers come after each other
        one, other = measured(*asked(), built), measured(*asked(), built)
        differ = [name for name in one if not same(one[name], other.get(name))]
        if differ:
            subject.fail(f"{', '.join(differ)} differs for the same prediction", "draw nothing, remember nothing")

    def it_changes_nothing() -> None:
        fields, prediction = asked()
        before = {name: tensor.clone() for name, tensor in prediction.tensors().items()}
        measured(fields, prediction)
        wrote = [name for name, value in given(batch).items() if not same(value, fields.get(name))]
        wrote += [name for name, tensor in prediction.tensors().items() if not same(tensor, before.get(name))]
        if wrote:
            subject.fail(f"it writes to {', '.join(wrote)}", "work on a copy: others read it too")

    checks = [it_yields_the_figures_that_it_announces, it_gives_a_sum_and_a_count_for_each_sample]
    # What a prediction with a correction holds beside its tensors cannot be cut into samples.
    alone = [] if predicted else [a_sample_counts_the_same_alone]
    return subject.checks(*checks, *alone, it_measures_the_same_twice, it_changes_nothing)


def _only(fields: Mapping[str, Any], number: int) -> dict[str, Any]:
    return {name: value[number : number + 1] for name, value in fields.items()}
