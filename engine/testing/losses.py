"""The promises of a loss."""

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


def loss(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    batch: Given,
    target: str,
    predicted: Callable[[Batch], Prediction] | None = None,
    files: Sequence[Path] = (),
) -> list[Check]:
    """Checks of the loss `name`.

    batch: tensors (B, C, H, W), with what the loss reads. predicted: the prediction that it judges, where it reads more
    than the value; by default a value near the target.
    """
    subject = Subject("losses", name, options or {}, files)

    def asked(**changes: Tensor) -> tuple[Prediction, dict[str, Tensor], Batch]:
        fields = given(batch) | changes
        prediction = predicted(fields) if predicted else Prediction(of_target(fields, target))
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in prediction.tensors().items()}
        return Prediction.of_tensors(leaves), leaves, fields_of(fields, "the batch of the test")

    def judged(prediction: Prediction, fields: Batch, built: Any = None) -> Tensor:
        judge = subject.build() if built is None else built

        def call() -> Any:
            with reading(str(subject)):
                return judge(prediction, fields)

        found: Tensor = subject.run("it fails", call)
        return found

    def it_is_one_finite_number() -> None:
        prediction, _, fields = asked()
        found = judged(prediction, fields)
        if not isinstance(found, Tensor) or found.shape != ():
            subject.fail(f"it gives {tuple(found.shape) if isinstance(found, Tensor) else type(found)}", "a scalar, ()")
        if not bool(torch.isfinite(found)):
            subject.fail(f"it is {found.item()} on the batch of the test")

    def its_gradient_reaches_the_prediction() -> None:
        prediction, leaves, fields = asked()
        found = judged(prediction, fields)
        if not found.requires_grad:
            subject.fail("it has no gradient", "compute it from the prediction's tensors, undetached")
        found.backward()  # type: ignore[no-untyped-call]  # torch leaves Tensor.backward unannotated
        wild = [name for name, leaf in leaves.items() if leaf.grad is not None and not bool(leaf.grad.isfinite().all())]
        if wild:
            subject.fail(f"its gradient by {', '.join(wild)} is not finite")
        if not any(leaf.grad is not None and bool(leaf.grad.any()) for leaf in leaves.values()):
            subject.fail(f"its gradient is 0 by each of {', '.join(leaves)}", "it would train nothing")

    def it_judges_the_same_twice_and_changes_nothing() -> None:
        prediction, leaves, fields = asked()
        before = {name: leaf.clone() for name, leaf in leaves.items()}
        built = subject.build()  # one for both, which may remember, and whose numbers come after each other
        one, other = judged(prediction, fields, built), judged(prediction, fields, built)
        if not same(one, other):
            advice = "draw nothing, remember nothing"
            subject.fail(f"it is {one.item():g} and then {other.item():g} for the same prediction", advice)
        wrote = [name for name, value in given(batch).items() if not same(value, fields.get(name))]
        wrote += [name for name, leaf in leaves.items() if not same(leaf, before[name])]
        if wrote:
            subject.fail(f"it writes to {', '.join(wrote)}", "work on a copy: others read it too")

    def without_a_valid_pixel_it_is_still_a_number() -> None:
        if "valid" not in given(batch):
            return
        prediction, leaves, fields = asked(valid=torch.zeros_like(given(batch)["valid"]))
        found = judged(prediction, fields)
        if found.requires_grad:
            found.backward()  # type: ignore[no-untyped-call]  # as above
        gradients = [leaf.grad for leaf in leaves.values() if leaf.grad is not None]
        if not all(bool(each.isfinite().all()) for each in [found, *gradients]):
            subject.fail(
                f"it is {found.item()}, or its gradient is not finite, where no pixel of a batch is valid",
                "a mean over nothing is 0 / 0: divide by the count of at least 1",
            )

    def it_is_computed_in_float32_under_autocast() -> None:
        prediction, _, fields = asked()
        with torch.autocast("cpu", torch.bfloat16):
            found = judged(prediction, fields)
        if found.dtype != torch.float32 or not bool(torch.isfinite(found)):
            subject.fail(f"under bf16 autocast it is {found.item()} in {found.dtype}", "compute it in float32")

    return subject.checks(
        it_is_one_finite_number,
        its_gradient_reaches_the_prediction,
        it_judges_the_same_twice_and_changes_nothing,
        without_a_valid_pixel_it_is_still_a_number,
        it_is_computed_in_float32_under_autocast,
    )
