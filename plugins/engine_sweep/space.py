"""What `--set` may say in a sweep: a value, which every trial has, or a range, from which each trial takes its own."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tomli

from engine.errors import InputError, Problem, nearest

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FORMS = {
    "log": "log(1e-5, 1e-3)",
    "uniform": "uniform(0, 0.3)",
    "range": "range(0, 0.3)",
    "int": "int(1, 8)",
    "choice": "choice(cosine, one-cycle)",
}
"""The forms of a range, each with an example; `range` is `uniform`."""

_CALL = re.compile(r"\s*([A-Za-z_]\w*)\s*\(")
_BRACKETS = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Swept:
    """A key with its range. form: "log", "uniform", "int" or "choice". choices: TOML values, as written."""

    key: str
    form: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()

    def distribution(self) -> BaseDistribution:
        """The range as Optuna has it."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.form == "choice":
            return CategoricalDistribution(self.choices)
        if self.form == "int":
            return IntDistribution(int(self.low), int(self.high))
        return FloatDistribution(self.low, self.high, log=self.form == "log")

    def ends(self) -> Sequence[Any]:
        """The values that show whether the recipe takes the whole range: its two ends, or every choice."""
        if self.form == "choice":
            return self.choices
        return [int(self.low), int(self.high)] if self.form == "int" else [self.low, self.high]

    def own(self, value: Any) -> Any:
        """What stands for a value of the recipe in this range; None where it lies outside."""
        if self.form == "choice":
            return next((text for text in self.choices if same(_value(text), value)), None)
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return None
        if self.form == "int":
            return value if isinstance(value, int) else None
        return float(value)


def override(key: str, value: Any) -> str:
    """What `--set` says for one value of a range: a float in full, so that it is read back as the same bits."""
    return f"{key}={value!r}" if isinstance(value, float) else f"{key}={value}"


def split(arguments: Sequence[str]) -> tuple[list[str], list[Swept]]:
    """The fixed values and the ranges among `--set` arguments; InputError with the place of every mistake."""
    fixed: list[str] = []
    swept: list[Swept] = []
    problems: list[Problem] = []
    for argument in arguments:
        try:
            found = _swept(argument)
        except _MistakeError as mistake:
            where = f"--set {argument}, character {mistake.place + 1}"
            problems.append(Problem(where, mistake.what, mistake.expected, mistake.near))
            continue
        if found is None:
            fixed.append(argument)
        elif found.key in [each.key for each in swept]:
            problems.append(Problem(f"--set {argument}", f"{found.key!r} has a range already", "one range a key"))
        else:
            swept.append(found)
    if problems:
        raise InputError(problems)
    return fixed, swept


class _MistakeError(Exception):
    """What is wrong at a place of an argument."""

    def __init__(self, place: int, what: str, expected: str, near: Sequence[str] = ()) -> None:
        super().__init__(what)
        self.place, self.what, self.expected, self.near = place, what, expected, near


def _swept(argument: str) -> Swept | None:
    """The range in one argument; None where it says a plain value."""
    key, _, text = argument.partition("=")
    call = _CALL.match(text)
    if call is None:
        return None
    begin, inside = len(key) + 1 + call.start(1), len(key) + 1 + call.end()
    form = call[1]
    if form not in FORMS:
        expected = "" if nearest(form, list(FORMS)) else f"one of {', '.join(FORMS)}, or a text in quotes"
        raise _MistakeError(begin, f"there is no range {form!r}", expected, nearest(form, list(FORMS)))
    parts = list(_parts(argument, inside, FORMS[form]))
    form = "uniform" if form == "range" else form
    if form == "choice":
        return _choice(key.strip(), parts)
    if len(parts) != 2:
        what = f"{form} has {len(parts)} value{'' if len(parts) == 1 else 's'}"
        raise _MistakeError(inside, what, f"the lowest and the highest, such as {FORMS[form]}")
    (low_at, low), (high_at, high) = ((place, _number(place, part, form)) for place, part in parts)
    if low >= high:
        raise _MistakeError(high_at, f"{parts[1][1]} is not above {parts[0][1]}", "the lowest value first")
    if form == "log" and low <= 0:
        raise _MistakeError(low_at, f"{parts[0][1]} has no logarithm", "a number above 0")
    return Swept(key.strip(), form, low, high)


def _choice(key: str, parts: Sequence[tuple[int, str]]) -> Swept:
    if len(parts) < 2:
        place = parts[0][0]
        raise _MistakeError(place, "there is nothing to choose between", f"two values or more: {FORMS['choice']}")
    texts: list[str] = []
    for place, text in parts:
        if not text:
            raise _MistakeError(place, "a choice is empty", "a value between two commas")
        if any(same(_value(text), _value(each)) for each in texts):
            raise _MistakeError(place, f"{text} is there twice", "each choice once")
        texts.append(text)
    return Swept(key, "choice", choices=tuple(texts))


def _parts(argument: str, begin: int, example: str) -> Iterator[tuple[int, str]]:
    """(place, text) of the values between the parentheses; commas in brackets and quotes separate nothing."""
    awaited = [")"]
    quote, at = "", begin
    for place in range(begin, len(argument)):
        letter = argument[place]
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in _BRACKETS:
            awaited.append(_BRACKETS[letter])
        elif letter == awaited[-1]:
            awaited.pop()
            if not awaited:
                yield _stripped(argument, at, place)
                if argument[place + 1 :].strip():
                    raise _MistakeError(place + 1, "something stands behind the range", f"nothing, as in {example}")
                return
        elif letter == "," and len(awaited) == 1:
            yield _stripped(argument, at, place)
            at = place + 1
    raise _MistakeError(len(argument), "the range does not end", f"{quote or awaited[-1]!r}, as in {example}")


def _stripped(argument: str, begin: int, end: int) -> tuple[int, str]:
    text = argument[begin:end]
    return begin + len(text) - len(text.lstrip()), text.strip()


def _number(place: int, text: str, form: str) -> float:
    try:
        number = float(int(text)) if form == "int" else float(text)
    except ValueError:
        kind = "a whole number" if form == "int" else "a number"
        raise _MistakeError(place, f"{text!r} is not {kind}", f"{kind}, as in {FORMS[form]}") from None
    if not math.isfinite(number):
        raise _MistakeError(place, f"{text} is no end of a range", "a finite number")
    return number


def _value(text: str) -> Any:
    """A choice as `--set` reads it: TOML, and what is none a text."""
    try:
        data = tomli.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return data["value"] if data.keys() == {"value"} else text


def same(one: Any, other: Any) -> bool:
    """Whether two values of a recipe are the same: 1 and 1.0 are; true and 1, which Python takes for equal, are not."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def value_at(recipe: Any, key: str) -> Any:
    """The value at a dotted key of a resolved recipe, tables in arrays by name; None where there is none."""
    for part in key.split("."):
        if isinstance(recipe, list):
            recipe = next((item for item in recipe if part in _names(item)), None)
        else:
            recipe = recipe.get(part) if isinstance(recipe, dict) else None
    return recipe


def _names(table: Any) -> list[Any]:
    return [table.get(key) for key in ("name", "check", "plugin")] if isinstance(table, dict) else []
