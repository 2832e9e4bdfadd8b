"""Check data against pydantic models with TOML's own types, and find the paths among a plugin's options."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel

from engine.plugin_table import InnerData
from engine.recipe.expand import absolute
from engine.recipe.nodes import KeyPath, Node

M = TypeVar("M", bound=BaseModel)


def parse(model: type[M], data: Any, extra: Literal["forbid"] | None) -> M:
    """`data` as an instance of `model`; `extra` replaces what the model says of unknown keys, at every depth.

    Raises pydantic's ValidationError.

    Goes through JSON because pydantic's strict rules for JSON are TOML's types: "5" is no number and 5 is no text, but
    a text may become a Path, a date or an Enum, and an array a tuple, as a plugin's model asks.
    """
    return model.model_validate_json(json.dumps(data, default=str), strict=True, extra=extra)


def parse_options(model: type[M], data: Any) -> M:
    """As `parse`; unknown keys are errors at every depth unless the plugin's model says that it takes any."""
    return parse(model, data, None if model.model_config.get("extra") == "allow" else "forbid")


def make_paths_absolute(annotation: Any, node: Node) -> list[Node]:
    """Make the values under `node` absolute where `annotation` asks for a path and leaves no other reading.

    Returns the nodes of these paths.
    """
    paths = []
    for _, inner, readings in _under(annotation, node, ()):
        if isinstance(inner.value, str):
            texts = any(_takes_text(form, inner.value) for form in readings)
            if any(_is_path(form) for form in readings) and not texts:
                absolute(inner)
                paths.append(inner)
    return paths


def inner_data(annotation: Any, node: Node, path: KeyPath) -> Iterator[tuple[KeyPath, Node, type[InnerData]]]:
    """The tables at and under `node`, which is at `path`, that `annotation` takes for data sets of their own."""
    for inner, table, readings in _under(annotation, node, path):
        if isinstance(table.value, dict):
            yield from (
                (inner, table, form) for form in readings if isinstance(form, type) and issubclass(form, InnerData)
            )


def _under(annotation: Any, node: Node, path: KeyPath) -> Iterator[tuple[KeyPath, Node, list[Any]]]:
    """Path, node and plain readings of every value at and under `node` that `annotation` knows."""
    if node.value is None:
        return
    readings = list(forms(annotation))
    yield path, node, readings
    for form in readings:
        if _is_model(form) and isinstance(node.value, dict):
            for name, field in form.model_fields.items():
                child = node.child(field.alias or name)
                if child is not None:
                    yield from _under(field.annotation, child, (*path, field.alias or name))
        elif get_origin(form) is dict and isinstance(node.value, dict):
            for key, child in node.value.items():
                yield from _under(get_args(form)[1], child, (*path, key))
        elif get_origin(form) is not None and isinstance(node.value, list):
            for index, child in enumerate(node.value):
                yield from _under(get_args(form)[0], child, (*path, index))


def known_keys(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """The keys that `model` allows in the table at `path`."""
    annotations: list[Any] = [model]
    for part in path:
        annotations = [inner for form in annotations for inner in _inside(form, part)]
    return [key for form in annotations if _is_model(form) for key in _keys(form)]


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _inside(form: Any, part: str | int) -> Iterator[Any]:
    """What annotations allow one step inside `form`, every reading of a union."""
    if _is_model(form):
        for name, field in form.model_fields.items():
            if (field.alias or name) == part:
                yield from forms(field.annotation)
    elif get_origin(form) is dict:
        yield from forms(get_args(form)[1])
    elif get_origin(form) is not None and isinstance(part, int):
        yield from forms(get_args(form)[0])


def forms(annotation: Any) -> Iterator[Any]:
    """The plain readings of an annotation: `Annotated` taken off, unions taken apart."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from forms(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from forms(part)
    else:
        yield annotation


def _is_model(form: Any) -> bool:
    return isinstance(form, type) and issubclass(form, BaseModel)


def _is_path(form: Any) -> bool:
    return isinstance(form, type) and issubclass(form, Path)


def _takes_text(form: Any, text: str) -> bool:
    return form is str or (get_origin(form) is Literal and text in get_args(form))
