"""Files and flags of `engine predict`, which are the options of the plugin that reads inputs of a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from engine.errors import InputError, Problem, nearest
from engine.plugins import Plugins
from engine.recipe.named import checked
from engine.recipe.nodes import Node, Source, build
from engine.recipe.overrides import value_of
from engine.registered import RESERVED, Registered


def asked_inputs(registry: Plugins, target: str, words: Sequence[str]) -> tuple[Registered, BaseModel]:
    """The reader of inputs for models that learn `target`, and its options from what stands on the command line.

    words: first the arguments, which are the reader's options without a default, in order; then its flags, `--FLAG
    VALUE` or, of several values, `--FLAG VALUE VALUE`. InputError with every mistake in them.
    """
    reader = registry.find("inputs", target)
    if reader is None:
        known = ", ".join(registry.names("inputs"))
        what = f"no plugin reads inputs of models that learn {target!r}"
        raise InputError(Problem("", what, f"one of {known}" if known else ""), "\n".join(registry.broken))
    fields = reader.options.model_fields
    arguments = [name for name, field in fields.items() if field.is_required()]
    given, flags = _split(words)
    problems = []
    if len(given) != len(arguments):
        what = f"{len(given)} arguments: {', '.join(given[:4])}{', ...' if len(given) > 4 else ''}"
        expected = f"{len(arguments)}, {' '.join(name.upper() for name in arguments)}, and flags after them"
        problems.append(Problem(f"inputs of '{target}'", what if given else "nothing was given", expected))
    for flag in flags:
        if flag not in fields or flag in arguments:
            known_flags = [f"--{name}" for name in fields if name not in arguments]
            near = nearest(f"--{flag}", [*known_flags, *(f"--{name}" for name in RESERVED["inputs"])])
            expected = "" if near else f"one of {', '.join(known_flags)}"
            problems.append(Problem(f"--{flag}", f"inputs of '{target}' have no such flag", expected, near))
    if problems:
        quote = "put a pattern with stars into quotes, or the shell replaces it" if len(given) > len(arguments) else ""
        raise InputError(problems, quote)
    table = {name: build(text, _said(name.upper()), (name,)) for name, text in zip(arguments, given, strict=True)}
    for flag, texts in flags.items():
        values = [value_of(text) for text in texts]
        table[flag] = build(values[0] if len(values) == 1 else values, _said(f"--{flag}"), (flag,))
    return reader, checked(reader, Node(table, _said(f"inputs of '{target}'"), ()))


def _split(words: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The words before the first flag, and what follows each flag; InputError for a flag that is said twice."""
    given: list[str] = []
    flags: dict[str, list[str]] = {}
    values = given
    for word in words:
        if not word.startswith("--"):
            values.append(word)
            continue
        name, equals, value = word.removeprefix("--").partition("=")
        flag = name.replace("-", "_")
        if flag in flags:
            raise InputError(Problem(word, "this flag is said twice", "several values after one flag"))
        values = flags[flag] = [value] if equals else []
    for flag, texts in flags.items():
        if not texts:
            raise InputError(Problem(f"--{flag}", "this flag has no value", f"--{flag} VALUE"))
    return given, flags


def _said(where: str) -> Source:
    return Source(where, Path.cwd(), is_override=True)
