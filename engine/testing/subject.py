"""One thing of a plugin under test: how it is found and built, and what holds for things of every kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from pydantic import BaseModel, ValidationError

from engine.errors import EngineError, InputError
from engine.plugins import Plugins, load
from engine.recipe.options import parse_options
from engine.recipe.schema import inner_tables
from engine.registered import SINGULAR, Kind, Registered

Given = Mapping[str, Any] | Callable[[], Mapping[str, Any]]
"""A batch of named tensors, or a function that makes one, the same each time."""

MISSPELT = "misspelt_key"


@dataclass(frozen=True)
class Check:
    """A promise; calling it raises AssertionError where it is not kept. name: the promise, in words."""

    name: str
    holds: Callable[[], None]

    def __call__(self) -> None:
        """Hold the plugin to the promise."""
        self.holds()

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Subject:
    """What is registered as `name`, with these options. files: plugin files to load beside what is installed."""

    kind: Kind
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    files: Sequence[Path] = ()

    def __str__(self) -> str:
        return f"{SINGULAR[self.kind]} {self.name!r}"

    def fail(self, what: str, advice: str = "") -> NoReturn:
        """Say which promise was broken, and how."""
        raise AssertionError(f"{self}: {what}" + (f"; {advice}" if advice else ""))

    @cached_property
    def plugins(self) -> Plugins:
        """What is installed, and the files of the test."""
        return load([Path(file) for file in self.files])

    @cached_property
    def registered(self) -> Registered:
        """What the plugin registered."""
        try:
            return self.plugins.get(self.kind, self.name)
        except InputError as error:
            broken = "".join(f"\n  {line}" for line in error.advice.splitlines())
            self.fail(str(error), f"install it (pip install -e .), or name its file: files=[...]{broken}")

    @cached_property
    def chosen(self) -> BaseModel:
        """The options, validated as in a recipe."""
        try:
            options = parse_options(self.registered.options, self.options)
            for table in inner_tables(options):
                table.options = parse_options(self.plugins.get("datasets", table.plugin).options, table.options)
                table._registry = self.plugins
            return options
        except (ValidationError, InputError) as error:
            why = _first(error) if isinstance(error, ValidationError) else str(error)
            self.fail(f"the options {dict(self.options)} are refused: {why}", "give the test options that fit")

    def build(self, seed: int = 0) -> Any:
        """The object, its random numbers drawn from `seed`."""
        torch.manual_seed(seed)
        return self.run("could not be built", partial(self.registered.build, self.chosen))

    def run(self, what: str, work: Callable[[], Any]) -> Any:
        """What `work` gives; an error that the engine would explain to its user fails the test in the same words."""
        try:
            return work()
        except EngineError as error:
            self.fail(f"{what}: {error}")

    def checks(self, *more: Callable[[], None]) -> list[Check]:
        """What holds for every kind, then `more`, each called by the name of its function."""
        of_all = (self.it_is_registered, self.its_options_are_checked, self.its_options_document_themselves)
        return [Check(_spoken(each), each) for each in (*of_all, *more)]

    def it_is_registered(self) -> None:
        """The plugin loads, and registers something of this kind and name that can be built."""
        self.build()

    def its_options_are_checked(self) -> None:
        """The options of the test are taken, and a misspelt key is not."""
        options = self.registered.options
        try:
            parse_options(options, {**self.options, MISSPELT: 1}) if self.chosen else None
        except ValidationError as error:
            if any(MISSPELT in details["loc"] for details in error.errors()):
                return
            raise
        self.fail(
            f"{options.__name__} takes a key that it does not know, so a misspelt option would have no effect",
            'model_config = ConfigDict(extra="forbid")',
        )

    def its_options_document_themselves(self) -> None:
        """Every option is described, by `Field(description=...)` or by its name in the docstring of the options."""
        options = self.registered.options
        self.run("its options have no schema", options.model_json_schema)
        told = options.__doc__ or ""
        silent = [
            name
            for name, about in options.model_fields.items()
            if not about.description and not re.search(rf"\b{re.escape(name)}\b", told)
        ]
        if silent:
            self.fail(f"{', '.join(silent)} of {options.__name__} is not described", "Field(..., description=...)")


def given(batch: Given) -> dict[str, Any]:
    """The batch, for a check of its own: nothing that one check writes reaches another."""
    made = batch() if callable(batch) else batch
    return {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in made.items()}


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same, number by number; one that is not a number is the same as itself."""
    if isinstance(one, np.ndarray | np.generic):
        one = torch.as_tensor(np.array(one))
        other = torch.as_tensor(np.array(other)) if isinstance(other, np.ndarray | np.generic) else other
    if isinstance(one, torch.Tensor):
        if not isinstance(other, torch.Tensor) or one.shape != other.shape:
            return False
        return bool(((one == other) | ((one != one) & (other != other))).all())
    if isinstance(one, Mapping):
        return isinstance(other, Mapping) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        alike = isinstance(other, list | tuple) and len(one) == len(other)
        return alike and all(same(each, beside) for each, beside in zip(one, other, strict=True))
    return bool(one == other) or (one != one and other != other)


def _spoken(function: Callable[..., None]) -> str:
    named = function.func if isinstance(function, partial) else function
    return named.__name__.lstrip("_")


def _first(error: ValidationError) -> str:
    details = error.errors()[0]
    return f"{'.'.join(map(str, details['loc']))}: {details['msg']}"
