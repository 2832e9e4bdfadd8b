"""Writes docs/recipe.md from the schema that `engine schema` prints; a test holds the page to it.

python docs/make_recipe_reference.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.plugins import OWN_DISTRIBUTION, Plugins, load
from engine.recipe.json_schema import NAMED, WHOLE, recipe_schema
from engine.recipe.schema import (
    DataTable,
    GateTable,
    InjectionTable,
    LossTable,
    MetricTable,
    ModelTable,
    TrackerTable,
)

PAGE = Path(__file__).with_name("recipe.md")
Schema = Mapping[str, Any]

HEAD = """\
# Recipe reference

Every key of a recipe, from the schema that `engine schema` prints ([editors](editors.md) complete and check by it).
This page is written by `python docs/make_recipe_reference.py` and has the plugins that come with the engine.

Paths are relative to the file that writes them. A recipe with `extends` is laid over another one: tables key by key,
stages by name, arrays as a whole. Unknown keys are errors.
"""
DATA = WHOLE["properties"]["data"]["required"]
"""What [data] needs, of which a recipe that extends another one may write a part."""
PLACES = {
    ModelTable: "[model]",
    InjectionTable: "[injection]",
    DataTable: "[data.train], [data.val], [data.retention.NAME]",
    LossTable: "losses of [train] and [[stage]]",
    MetricTable: "metrics of [evaluate]",
    GateTable: "[[stage.gate]]",
    TrackerTable: "[[tracker]]",
}
TABLES = {
    "Data": "[data]",
    "Train": "[train], and in every [[stage]]",
    "Evaluate": "[evaluate]",
    "Optimizer": "optimizer",
    "ParameterGroup": "optimizer.groups",
    "Schedule": "schedule",
    "Nonfinite": "nonfinite",
    "WarpMix": "warp, drawn in each step",
    "WarpSchedule": "warp, changing over the stage",
    "Extend": "extend of a gate",
}


def page(plugins: Plugins) -> str:
    """The page for `plugins`."""
    schema = recipe_schema(plugins)
    parts = schema["$defs"]
    blocks = [HEAD, "## At the top", _rows(schema["properties"], ("name", "model", "data"))]
    stage = {
        key: value for key, value in parts["Stage"]["properties"].items() if key not in parts["Train"]["properties"]
    }
    blocks += ["## [[stage]]", _rows(stage, ("name", "trainable", "steps"))]
    for name, title in TABLES.items():
        blocks += [
            f"## {title}",
            _sentence(parts[name]),
            _rows(parts[name]["properties"], DATA if name == "Data" else parts[name].get("required", ())),
        ]
    for table, title in PLACES.items():
        kind, key = NAMED[table]
        own = [name for name in table.own_keys() if name != key]
        forms = {
            name: parts[f"{kind}.{name}"]
            for name in plugins.names(kind)
            if plugins.get(kind, name).distribution.startswith(OWN_DISTRIBUTION)
        }
        first = next(iter(forms.values()))["properties"]
        blocks += [f"## {title}", _sentence(parts[table.__name__])]
        blocks += [_rows({key: {"enum": list(forms)}, **{name: first[name] for name in own}}, (key,))]
        for names, form in _grouped(forms, [key, *own]):
            named = ", ".join(f'`{key} = "{name}"`' for name in names)
            needed = set(form["required"]) | set(_needed(plugins, kind, names[0]))
            options = {name: value for name, value in form["properties"].items() if name not in (key, *own)}
            blocks += [f"### {named}", _sentence(form), _rows(options, needed)]
    return "\n\n".join(filter(None, map(str.strip, blocks))) + "\n"


def _needed(plugins: Plugins, kind: Any, name: str) -> Iterator[str]:
    fields = plugins.get(kind, name).options.model_fields
    return (field.alias or each for each, field in fields.items() if field.is_required())


def _grouped(forms: Mapping[str, Schema], own: Sequence[str]) -> Iterator[tuple[list[str], Schema]]:
    """Things with the same options together."""
    groups: dict[str, list[str]] = {}
    for name, form in forms.items():
        options = {key: value for key, value in form["properties"].items() if key not in own}
        groups.setdefault(json.dumps(options, sort_keys=True), []).append(name)
    for names in groups.values():
        yield names, forms[names[0]] if len(names) == 1 else {**forms[names[0]], "description": ""}


def _rows(properties: Schema, needed: Any) -> str:
    if not properties:
        return "No options."
    lines = ["| key | value | default | |", "|---|---|---|---|"]
    for name, value in properties.items():
        default = "needed" if name in needed else _default(value)
        lines.append(f"| `{name}` | {_words(value)} | {default} | {_plain(value.get('description', ''))} |")
    return "\n".join(lines)


def _sentence(schema: Schema) -> str:
    text = re.sub(r"^\[.*?\]: ", "", _plain(schema.get("description", "")))  # the heading says where it is
    return text if not text or text.endswith(".") else f"{text}."


def _plain(text: str) -> str:
    """On one line, with what Markdown would take for a tag, for stress or for the end of a cell kept as it is."""
    marks = {"<": "&lt;", "*": "\\*"}
    words = re.sub(r"`[^`]*`|[<*]", lambda found: marks.get(found[0], found[0]), " ".join(text.split()))
    return words.replace("|", "\\|")


def _default(value: Schema) -> str:
    if "default" not in value or isinstance(value["default"], dict) or value["default"] in ("", []):
        return ""
    return f"`{json.dumps(value['default'])}`"


def _words(value: Schema) -> str:
    """What a value may be, in words."""
    if "const" in value:
        return f"`{json.dumps(value['const'])}`"
    if "enum" in value:
        return ", ".join(f"`{json.dumps(each)}`" for each in value["enum"])
    if "$ref" in value or "allOf" in value:
        return "table"
    for several in ("anyOf", "oneOf"):
        if several in value:
            return " or ".join(dict.fromkeys(map(_words, value[several])))
    if value.get("type") == "array":
        items = value.get("items", {})
        each = ", ".join(map(_words, items)) if isinstance(items, list) else _words(items)
        return f"array of {each}"
    names = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text"}
    words = "path" if value.get("format") == "path" else names.get(value.get("type", ""), "table")
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return " ".join([words, *(f"{sign} {value[key]}" for key, sign in signs.items() if key in value)])


if __name__ == "__main__":
    PAGE.write_text(page(load()))
