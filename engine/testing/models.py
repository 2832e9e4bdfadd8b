"""The promises of a base model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from engine.system import System
from engine.testing.modules import Part, StandInInjection
from engine.testing.subject import Check, Given, Subject

SLACK = 1e-3
"""How far beyond 0 and 1 rounding may take a probability."""


def model(
    name: str, options: Mapping[str, Any] | None = None, *, batch: Given, files: Sequence[Path] = ()
) -> list[Check]:
    """Checks of the model `name`. batch: tensors (B, C, H, W) as in training, with the target that it registers."""
    subject = Subject("models", name, options or {}, files)

    def target() -> str:
        return str(subject.registered.extra["target"])

    def system(seed: int) -> System:
        return System(subject.build(seed), StandInInjection(), target(), (str(subject), "the stand-in"))

    part = Part(subject, batch, target, "base", system)

    def its_answer_has_the_targets_shape_and_type() -> None:
        answer = part.answer(system(0).eval())
        if answer.value.dtype != torch.float32:
            subject.fail(f"its value is {answer.value.dtype}", "answer in float32")
        wild = [name for name, tensor in answer.tensors().items() if not bool(torch.isfinite(tensor).all())]
        if wild:
            subject.fail(f"{', '.join(wild)} is not finite on the batch of the test")

    def its_confidence_and_visibility_are_between_0_and_1() -> None:
        with torch.no_grad():
            answer = part.answer(system(0).eval())
        for name, share in (("confidence", answer.confidence), ("visibility", answer.visibility)):
            if share is not None and not (float(share.min()) >= -SLACK and float(share.max()) <= 1 + SLACK):
                subject.fail(
                    f"its {name} is between {float(share.min()):.3g} and {float(share.max()):.3g}",
                    "a probability in [0, 1], not the number before a sigmoid",
                )

    return subject.checks(
        its_answer_has_the_targets_shape_and_type,
        its_confidence_and_visibility_are_between_0_and_1,
        *part.promises(),
    )
