"""Injections and losses read what they declare; what was not kept is told by name, whatever is done with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from engine.declared import declared, is_declared, without_undeclared
from engine.errors import PluginError
from engine.plugins import load
from engine.prediction import Prediction
from engine.reading import UndeclaredFieldError, fields_of, reading

SHAPE = (2, 1, 32, 64)
OPTIONS = {"polarization": {"max_correction": 4.0}, "uncertainty": {}}


def batch() -> dict[str, Any]:
    numbers = torch.Generator().manual_seed(0)
    masks = {name: torch.rand(SHAPE, generator=numbers) > 0.3 for name in ("valid", "occluded", "transparent")}
    pictures = {name: torch.rand(2, 3, 32, 64, generator=numbers) for name in ("left", "right")}
    polar = {f"polarization_{name}": torch.rand(2, 2, 32, 64, generator=numbers) for name in ("left", "right")}
    names = {"id": ["a", "b"], "scene": ["a", "b"]}
    return {**masks, **pictures, **polar, **names, "disparity": 8 * torch.rand(SHAPE, generator=numbers)}


def answer() -> Prediction:
    """All that a network may give in training."""
    small = (2, 1, 8, 16)
    features = {"transport": torch.rand(2, 8, 16, 16), "context": torch.rand(2, 4, 8, 16)}
    features |= {f"initial_{name}": torch.rand(small) for name in ("confidence", "visibility")}
    features |= {"initial": torch.rand(small)}
    features |= {name: torch.rand(1, *small) for name in ("confidences", "visibilities")}
    return Prediction(
        8 * torch.rand(SHAPE), [torch.rand(small) for _ in range(3)], torch.rand(SHAPE), torch.rand(SHAPE), features
    )


def strict(reads: frozenset[str] | None) -> tuple[dict[str, Any], Prediction]:
    whole, parts = batch(), answer().tensors()
    own = {name: value for name, value in whole.items() if is_declared(name, reads)}
    kept = {name: value for name, value in parts.items() if is_declared(f"base.{name}", reads)}
    left_out = frozenset({*whole, *(f"base.{name}" for name in parts)} - {*own, *(f"base.{name}" for name in kept)})
    assert left_out
    return fields_of(own, "the data set", left_out), without_undeclared(kept, left_out)


PLUGINS = load()
# `distillation` is built from another network, and has its own test that gives it no more than it declares.
LOSSES = [name for name in PLUGINS.names("losses") if name != "distillation"]


@pytest.mark.parametrize("name", LOSSES)
def test_the_built_in_losses_read_no_more_than_they_declare(name: str) -> None:
    torch.manual_seed(0)
    registered = PLUGINS.get("losses", name)
    loss = registered.build(registered.options())
    reads, silent = declared({name: loss}, "disparity")
    assert not silent
    fields, prediction = strict(reads)
    assert torch.isfinite(loss(prediction, fields))
    moved = prediction.corrected(0 * prediction.value, 0 * prediction.value)
    torch.manual_seed(0)
    whole = answer()
    assert torch.equal(loss(moved, fields), loss(whole.corrected(0 * whole.value, 0 * whole.value), batch()))


def test_the_built_in_injections_read_no_more_than_they_declare() -> None:
    for name in PLUGINS.names("injections"):
        registered = PLUGINS.get("injections", name)
        injection = registered.build(registered.options(**OPTIONS[name]))
        reads, silent = declared({name: injection}, "disparity")
        assert not silent
        torch.manual_seed(0)
        fields, prediction = strict(reads)
        found = injection(fields, prediction, fields["disparity"])
        torch.manual_seed(0)
        expected = injection(batch(), answer(), batch()["disparity"])
        assert torch.equal(found.value, expected.value)


@pytest.mark.parametrize(
    "read",
    [
        lambda p: p.confidence.mean(),
        lambda p: p.confidence + 1,
        lambda p: 1 - p.confidence,
        lambda p: torch.cat([p.value, p.confidence]),
        lambda p: torch.nn.functional.interpolate(p.confidence, scale_factor=2),
        lambda p: p.value * p.confidence,
        lambda p: p.corrected(p.value, p.value).confidence.float(),
    ],
    ids=["method", "left", "right", "list", "function", "product", "corrected"],
)
def test_whatever_is_done_with_a_part_that_was_not_kept_names_it(read: Callable[[Prediction], Any]) -> None:
    prediction = without_undeclared({"value": torch.ones(SHAPE)}, {"base.confidence", "left"})
    with pytest.raises(UndeclaredFieldError, match=r"'base\.confidence'"):
        read(prediction)


@pytest.mark.parametrize(
    "read",
    [
        lambda p: [*p.intermediates, p.value],
        lambda p: len(p.intermediates),
        lambda p: p.features.get("context"),
        lambda p: p.features["context"],
        lambda p: "context" in p.features,
    ],
    ids=["list", "length", "feature by get", "feature", "feature asked for"],
)
def test_groups_of_parts_that_were_not_kept_are_named_too(read: Callable[[Prediction], Any]) -> None:
    left_out = {"base.intermediates.0", "base.features.context"}
    prediction = without_undeclared({"value": torch.ones(SHAPE)}, left_out)
    with pytest.raises(UndeclaredFieldError, match=r"intermediates|context"):
        read(prediction)
    assert prediction.confidence is None, "the base gave none"


@pytest.mark.parametrize(
    "read",
    [
        lambda fields: fields.pop("signal", None),
        lambda fields: fields.copy().get("signal"),
        lambda fields: (fields | {"more": 2}).get("signal"),
    ],
    ids=["pop", "copy", "joined"],
)
def test_batches_made_of_a_batch_know_what_it_lacks(read: Callable[[Any], Any]) -> None:
    fields = fields_of({"image": 1}, "data.train (toy)", frozenset({"signal"}))
    with pytest.raises(UndeclaredFieldError, match="'signal'"):
        read(fields)
    assert fields.pop("image") == 1


def test_who_reads_an_undeclared_field_is_told_in_words() -> None:
    fields = fields_of({"image": 1}, "data.train (toy)", frozenset({"signal"}))
    said = r"the loss x reads 'signal', which is not among .* declares \(`reads`\)"
    with pytest.raises(PluginError, match=said), reading("the loss x"):
        fields.get("signal")


def test_all_that_stay_silent_are_named_and_a_declaration_that_is_no_list_is_refused() -> None:
    class Says:
        reads = ("signal", "base.features.left")

    reads, silent = declared({"the loss a": Says(), "the loss b": object()}, "target")
    assert (reads, silent) == (None, ["the loss b"])
    reads, _ = declared({"the loss a": Says()}, "target")
    assert reads == {"signal", "base.features.left", "base.value", "target", "valid", "id", "scene"}
    Says.reads = "signal"  # type: ignore[assignment]  # the mistake
    with pytest.raises(PluginError, match=r"the loss a declares `reads = 'signal'`; expected a list of names"):
        declared({"the loss a": Says()}, "target")
