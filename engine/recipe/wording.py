"""Say pydantic's errors in the words of a recipe: where, what is wrong, what was expected, what to try."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from engine.errors import Problem, nearest
from engine.recipe.nodes import KeyPath, Node, spelled
from engine.recipe.options import known_keys
from engine.recipe.schema import SLUG, Stage, Train

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Facts = dict[str, Any]

# Error type -> what was expected, from pydantic's context. What is not here is said in pydantic's own words.
EXPECTED: dict[str, Callable[[Facts], str]] = {
    "int_type": lambda facts: "a whole number",
    "int_parsing": lambda facts: "a whole number",
    "int_from_float": lambda facts: "a whole number",
    "float_type": lambda facts: "a number",
    "float_parsing": lambda facts: "a number",
    "finite_number": lambda facts: "a finite number",
    "bool_type": lambda facts: "true or false",
    "bool_parsing": lambda facts: "true or false",
    "string_type": lambda facts: "a text in quotes",
    "string_sub_type": lambda facts: "a text in quotes",
    "path_type": lambda facts: "a path in quotes",
    "list_type": lambda facts: "an array",
    "tuple_type": lambda facts: "an array",
    "set_type": lambda facts: "an array",
    "dict_type": lambda facts: "a table",
    "model_type": lambda facts: "a table",
    "model_attributes_type": lambda facts: "a table",
    "greater_than": lambda facts: f"a number above {facts['gt']:g}",
    "greater_than_equal": lambda facts: f"a number of at least {facts['ge']:g}",
    "less_than": lambda facts: f"a number below {facts['lt']:g}",
    "less_than_equal": lambda facts: f"a number of at most {facts['le']:g}",
    "string_too_short": lambda facts: "a text that is not empty" if facts["min_length"] == 1 else "a longer text",
    "string_too_long": lambda facts: f"at most {facts['max_length']} characters",
    "too_short": lambda facts: f"at least {_items(facts['min_length'])}",
    "too_long": lambda facts: f"at most {_items(facts['max_length'])}",
    "literal_error": lambda facts: str(facts["expected"]),
    "enum": lambda facts: str(facts["expected"]),
    "string_pattern_mismatch": lambda facts: (
        "letters, digits, '-' and '_'" if facts["pattern"] == SLUG else f"a text like {facts['pattern']}"
    ),
}


def problems_of(
    error: ValidationError, root: Node, model: type[BaseModel], prefix: KeyPath = (), own_keys: tuple[str, ...] = ()
) -> list[Problem]:
    """One problem for each place that pydantic complains about.

    root: the whole recipe. prefix: where in it the validated table is. own_keys: further keys that this table may have.
    """
    # A value that fits no branch of a union has an error for each branch: one mistake, several expectations.
    found: dict[tuple[str, str], Problem] = {}
    errors = error.errors(include_url=False)
    meant = _meant(errors)
    for details in errors:
        if details["loc"] in meant.values():
            continue  # told where the key is written that means it
        problem = _problem(details, root, model, prefix, own_keys)
        if details["loc"] in meant:
            problem = Problem(problem.where, problem.what, near=(str(meant[details["loc"]][-1]),))
        same = found.get((problem.where, problem.what))
        if same is not None and problem.expected not in ("", same.expected):
            joined = f"{same.expected} or {problem.expected}" if same.expected else problem.expected
            problem = Problem(same.where, same.what, joined, (*same.near, *problem.near))
        found[problem.where, problem.what] = problem
    return list(found.values())


def _meant(errors: Sequence[ErrorDetails]) -> dict[tuple[int | str, ...], tuple[int | str, ...]]:
    """Unknown keys that are a missing key of the same table, misspelt: place of the one -> place of the other."""
    missing = [details["loc"] for details in errors if details["type"] == "missing"]
    found: dict[tuple[int | str, ...], tuple[int | str, ...]] = {}
    for details in errors:
        if details["type"] != "extra_forbidden":
            continue
        *table, key = details["loc"]
        needed = {str(loc[-1]): loc for loc in missing if list(loc[:-1]) == table and loc not in found.values()}
        for name in nearest(str(key), list(needed), count=1):
            found[details["loc"]] = needed[name]
    return found


def _problem(
    details: ErrorDetails, root: Node, model: type[BaseModel], prefix: KeyPath, own_keys: tuple[str, ...]
) -> Problem:
    location = details["loc"]
    kind = details["type"]
    facts: Facts = details.get("ctx", {})
    if kind == "missing":
        node, path = root.follow((*prefix, *location[:-1]))
        if isinstance(location[-1], int):  # of an array of a certain length
            return Problem(node.here, f"item {location[-1] + 1} of {_name(path)} is missing")
        return Problem(node.here, f"the key {str(location[-1])!r} is missing in {_table(node.path)}")

    node, path = root.follow((*prefix, *location))
    if kind == "extra_forbidden":
        key = str(location[-1])
        inside = path[len(prefix) : -1]  # not `location`: pydantic puts the branch of a union into that
        known = known_keys(model, inside) + (list(own_keys) if not inside else [])
        if path[:1] == ("stage",) and len(path) == 3:
            known = [key for key in (*known_keys(Stage, ()), *known_keys(Train, ())) if key != "train"]
        near = nearest(key, known)
        expected = "" if near or not known else f"one of {', '.join(sorted(known))}"
        return Problem(node.here, f"unknown key {key!r} in {_table(node.path[:-1])}", expected, near)
    if kind == "recipe":
        return Problem(node.here, facts["what"], facts["expected"], tuple(facts["near"]))
    if kind == "value_error":
        return Problem(node.here, f"{_name(path)}: {facts['error']}")

    value = details["input"]
    expected = EXPECTED[kind](facts) if kind in EXPECTED else details["msg"]
    near = nearest(value, _quoted(expected)) if kind in ("literal_error", "enum") and isinstance(value, str) else []
    return Problem(node.here, f"{_name(path)} is {_described(value)}", expected, tuple(near))


def _table(path: KeyPath) -> str:
    return f"[{spelled(tuple(part for part in path if isinstance(part, str)))}]" if path else "the recipe"


def _name(path: KeyPath) -> str:
    """The last key of the path in quotes, with the indices behind it."""
    last = max((index for index, part in enumerate(path) if isinstance(part, str)), default=0)
    return repr(spelled(path[last:])) if path else "the recipe"


def _described(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return f"an array of {_items(len(value))}"
    if isinstance(value, str):
        return f"the text {value if len(value) <= 60 else value[:57] + '...'!r}"
    return "null" if value is None else f"{value!r}"[:60]


def _items(count: int) -> str:
    return f"{count} item" if count == 1 else f"{count} items"


def _quoted(expected: str) -> list[str]:
    """The names in pydantic's "'a', 'b' or 'c'"."""
    return expected.split("'")[1::2]
