"""The promises of an injection: bounded, without effect at first, and led by its signal alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from engine.contracts import Injection
from engine.declared import BASE, declared, is_declared
from engine.errors import EngineError
from engine.prediction import Batch, Prediction
from engine.reading import FROZEN, fields_of, reading
from engine.stages.proof import prove_identity
from engine.system import System
from engine.testing.modules import Part, StandInBase, of_target
from engine.testing.subject import Check, Given, Subject, given, same

SHAKEN = 10.0
"""Standard deviation of weights that are far from the fresh ones: a correction without a bound would be large."""


def injection(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    batch: Given,
    target: str,
    base: Callable[[Batch], Prediction] | None = None,
    files: Sequence[Path] = (),
) -> list[Check]:
    """Checks of the injection `name`.

    batch: tensors (B, C, H, W), with the auxiliary signal and the target. base: what the base answers to a batch, where
    the injection reads more of it than its value; by default a value near the target.
    """
    subject = Subject("injections", name, options or {}, files)

    def answer(fields: Batch) -> Prediction:
        return base(fields) if base else Prediction(of_target(fields, target))

    def system(seed: int) -> System:
        return System(StandInBase(answer), subject.build(seed), target, ("the stand-in", str(subject)))

    part = Part(subject, batch, lambda: target, "injection", system)

    def corrector(made: System) -> Injection:
        found = made.corrector
        assert found is not None, "the system is made with one"
        return found

    def shaken() -> System:
        made = system(0)
        torch.manual_seed(2)
        with torch.no_grad():
            for parameter in corrector(made).parameters():  # type: ignore[attr-defined]  # a torch module by contract
                parameter.normal_(std=SHAKEN)
        return made.eval()

    def it_says_what_it_is() -> None:
        made = corrector(system(0))
        for attribute, kinds in (("bound", (int, float)), ("zero_init", bool)):
            if not isinstance(getattr(made, attribute, None), kinds):
                subject.fail(f"its attribute {attribute!r} is {getattr(made, attribute, None)!r}", "see its contract")
        signal = getattr(made, "signal", None)
        missing = [field for field in signal or () if field not in part.fields]
        if not signal or isinstance(signal, str) or missing:
            brings = ", ".join(part.fields)
            subject.fail(f"its signal is {signal!r}", f"names of fields; the batch of the test brings {brings}")

    def a_fresh_one_corrects_nothing() -> None:
        made = system(0)
        if corrector(made).zero_init:
            subject.run("it is fresh", lambda: prove_identity(made, part.fields, "gt"))

    def no_correction_exceeds_the_bound() -> None:
        made = shaken()
        with torch.no_grad():
            found, alone = part.answer(made), part.answer(made, inject=False)
        if found.correction is None or found.base is None or found.raw is None:
            subject.fail("its answer does not say what was corrected", "return base.corrected(correction, raw)")
        most, bound = float(found.correction.abs().max()), float(corrector(made).bound)
        if not most <= bound:
            subject.fail(f"its bound is {bound:g}, and with large weights it corrects by {most:g}", "bound * tanh(raw)")
        if not same(found.base.value, alone.value):
            subject.fail("it changes the base's own answer, past the bound", "correct by `correction` alone")
        if not torch.equal(found.value, found.base.value + found.correction):
            subject.fail("its value is not the base's with the correction added", "return base.corrected(...)")

    def the_number_behind_the_correction_stays_in_float32() -> None:
        made = system(0)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            raw = part.answer(made).raw
        if raw is not None and raw.dtype != torch.float32:
            subject.fail(
                f"under autocast its raw is {raw.dtype}, in which tanh is exactly 1 long before the bound",
                "raw.float() before tanh",
            )

    def it_says_where_it_can_correct() -> None:
        def asked() -> Any:
            with reading(str(subject)):
                return corrector(system(0)).correctable(fields_of(given(part.fields), "the batch of the test"))

        mask = subject.run("`correctable` fails", asked)
        shape = (len(part.fields[target]), 1, *part.fields[target].shape[2:])
        if getattr(mask, "dtype", None) != torch.bool or tuple(mask.shape) != shape:
            subject.fail(f"`correctable` gives {_described(mask)}", f"a bool mask of shape {shape}")
        if "valid" in part.fields and bool((mask & ~part.fields["valid"]).any()):
            subject.fail("`correctable` names places that are not valid", 'mask & batch["valid"]')

    def without_its_signal_it_still_answers() -> None:
        made = shaken()
        blank = {name: torch.zeros_like(part.fields[name]) for name in corrector(made).signal}
        with torch.no_grad():
            found = part.answer(made, {**part.fields, **blank})
        if not bool(torch.isfinite(found.value).all()):
            subject.fail("with a signal of zeros it answers numbers that are not finite", "the ablation zero does that")

    def it_reads_what_it_declares() -> None:
        made = system(0)
        try:
            reads, _ = declared({str(subject): corrector(made)}, target)
            with torch.no_grad():
                # as the frozen-output cache brings it: the base's answer too has what is declared, and no more
                answered = {f"{BASE}{name}": each for name, each in part.answer(made, inject=False).tensors().items()}
                brought = {**part.fields, **answered}
                left_out = frozenset(name for name in brought if not is_declared(name, reads))
                kept = {name: value for name, value in part.fields.items() if name not in left_out}
                base = {name.removeprefix(BASE): each for name, each in answered.items() if name not in left_out}
                made(fields_of({**kept, FROZEN: base}, "the batch of the test", left_out))
        except EngineError as error:
            subject.fail(f"with the fields of `reads` alone it fails: {error}", "name there all that it reads")

    return subject.checks(
        it_says_what_it_is,
        a_fresh_one_corrects_nothing,
        no_correction_exceeds_the_bound,
        the_number_behind_the_correction_stays_in_float32,
        it_says_where_it_can_correct,
        without_its_signal_it_still_answers,
        it_reads_what_it_declares,
        *part.promises(),
    )


def _described(mask: Any) -> str:
    return f"{mask.dtype} of shape {tuple(mask.shape)}" if isinstance(mask, torch.Tensor) else type(mask).__name__
