"""The JSON Schema of recipes, with the options of everything that the plugins bring, for editors and for the reference.

What a schema cannot say is left to `engine check`: names of metrics and stages, globs, files, and which keys are
missing where a recipe is laid over another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from engine.plugin_table import InnerData, PluginTable
from engine.plugins import Plugins
from engine.recipe import schema as tables
from engine.registered import Kind, Registered, guarded

Schema = dict[str, Any]

DIALECT = "http://json-schema.org/draft-07/schema#"
"""The newest that Taplo, and with it Even Better TOML of VS Code, takes whole."""

NAMED: Mapping[type[PluginTable], tuple[Kind, str]] = {
    tables.ModelTable: ("models", "plugin"),
    tables.InjectionTable: ("injections", "plugin"),
    tables.DataTable: ("datasets", "plugin"),
    tables.LossTable: ("losses", "name"),
    tables.MetricTable: ("metrics", "name"),
    tables.GateTable: ("gates", "check"),
    tables.TrackerTable: ("trackers", "plugin"),
}
"""Tables of a recipe that ask for something of a plugin: its kind, and the key that names it."""

LAID_OVER = (tables.ModelTable, tables.InjectionTable, tables.DataTable)
"""Those of which a recipe that extends another one may write a part."""

WHOLE: Schema = {
    "required": ["name", "model", "data"],
    "properties": {
        "model": {"required": ["plugin"]},
        "data": {"required": ["val"], "properties": {"val": {"required": ["plugin"]}}},
        "stage": {"items": {"required": ["trainable", "steps"]}},
    },
}
"""What a recipe needs that extends no other."""


def recipe_schema(plugins: Plugins) -> Schema:
    """The schema of recipes that use `plugins`; PluginError for options that cannot be described."""
    whole = tables.Recipe.model_json_schema()
    made: Schema = whole.pop("$defs")
    for model in _models(tables.Recipe):
        _describe(whole if model is tables.Recipe else made[model.__name__], model)
    for name, field in tables.Train.model_fields.items():
        if tables.Off in field.metadata:
            made["Train"]["properties"][name]["anyOf"].append({"const": 0})
    inner: Schema = {}
    for table, (kind, key) in NAMED.items():
        own = made[table.__name__]
        names = []
        for thing in (plugins.get(kind, name) for name in plugins.names(kind)):
            names.append(f"{kind}.{thing.name}")
            made[names[-1]] = _form(own, key, thing.name, _options(thing, made, inner), partly=table in LAID_OVER)
        made[table.__name__] = _one_of(names, own, key, made, partly=table in LAID_OVER)
    for name, own in inner.items():
        _set_within(name, own, plugins.names("datasets"), made)
    _spell_stages(made["Stage"], made["Train"])
    whole["properties"]["extends"] = {"type": "string", "description": "the recipe that this one is laid over"}
    del whole["required"], made["Data"]["required"]
    either = [{"required": ["extends"]}, WHOLE]
    return {"$schema": DIALECT, **_for_toml({**whole, "$defs": made}), "anyOf": either}


def _form(own: Schema, key: str, name: str, options: Schema, partly: bool) -> Schema:
    """A table that names one thing: the engine's keys and the thing's options."""
    properties = {each: value for each, value in own["properties"].items() if each != "options"}
    properties[key] = {"const": name}
    return {
        "type": "object",
        "description": options.get("description", ""),
        "properties": properties | options["properties"],
        "required": [key] if partly else [key, *options.get("required", ())],
        "additionalProperties": options["additionalProperties"],
    }


def _one_of(names: list[str], own: Schema, key: str, made: Schema, partly: bool) -> Schema:
    """A table in one of its forms; one without the key that tells which has a key of any of them."""
    forms: list[Schema] = [{"$ref": f"#/$defs/{name}"} for name in names]
    if partly:
        any_key = {each: True for name in names for each in made[name]["properties"] if each != key}
        forms.append({"type": "object", "properties": any_key, "additionalProperties": False})
    return {"description": own["description"], "oneOf": forms}


def _options(thing: Registered, made: Schema, inner: Schema) -> Schema:
    """The schema of a thing's options; models within them go to `made`, tables of further data sets to `inner`."""
    prefix = f"{thing.kind}.{thing.name}:"
    with guarded(f"the options of {thing} could not be described"):
        options = thing.options.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
        within: Schema = options.pop("$defs", {})
        for model in _models(thing.options):
            schema = options if model is thing.options else within[model.__name__]
            # As a recipe is read: only a model that asks for it takes any key.
            schema.setdefault("additionalProperties", thing.options.model_config.get("extra") == "allow")
            _describe(schema, model)
            if issubclass(model, InnerData):
                inner[prefix + model.__name__] = schema
    made |= {prefix + name: schema for name, schema in within.items()}
    return {"properties": {}, **options}


def _set_within(name: str, own: Schema, sets: list[str], made: Schema) -> None:
    """The table `name` of a data set within another's options: one form for each data set."""
    keys = {key: value for key, value in own["properties"].items() if key not in ("options", "plugin")}
    names = [f"{name}.{each}" for each in sets]
    for form, each in zip(names, sets, strict=True):
        alone = made[f"datasets.{each}"]
        options = {key: value for key, value in alone["properties"].items() if key != "damaged"}
        needed = ["plugin", *(key for key in own.get("required", ()) if key != "plugin")]
        made[form] = {**alone, "properties": keys | options, "required": needed}
    made[name] = _one_of(names, own, "plugin", made, partly=False)


def _spell_stages(stage: Schema, train: Schema) -> None:
    """In a file a stage has the keys of [train] itself, and `warp` has short forms."""
    del stage["properties"]["train"]
    stage["properties"] |= {name: {**schema} for name, schema in train["properties"].items()}
    for name in train["properties"]:
        stage["properties"][name].pop("default", None)  # [train] tells it
    stage["required"] = ["name"]
    forms = [{"enum": ["gt", "pred"]}, {"$ref": "#/$defs/WarpMix"}, {"$ref": "#/$defs/WarpSchedule"}]
    stage["properties"]["warp"] = {"description": stage["properties"]["warp"]["description"], "anyOf": forms}


def _for_toml(schema: Any) -> Any:
    """The same without null, which TOML has not, and without titles that repeat a name."""
    if isinstance(schema, list):
        return [_for_toml(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _for_toml(value) for key, value in schema.items() if key != "title" or isinstance(value, dict)}
    if "default" in made and made["default"] is None:
        del made["default"]
    if {"type": "null"} in made.get("anyOf", ()):
        forms = [form for form in made.pop("anyOf") if form != {"type": "null"}]
        made |= {"anyOf": forms} if len(forms) > 1 or "$ref" in forms[0] else forms[0]
    if "prefixItems" in made:
        made["items"] = made.pop("prefixItems")  # as the dialect calls it
    if "$ref" in made and len(made) > 1:
        made["allOf"] = [{"$ref": made.pop("$ref")}]  # the dialect looks at nothing beside a $ref
    return made


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A model, and every model within its fields."""
    seen = [model]
    for each in seen:
        yield each
        for field in each.model_fields.values():
            seen += [found for found in _within(field.annotation) if found not in seen]


def _within(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _within(part)


def _describe(schema: Schema, model: type[BaseModel]) -> None:
    """Put what a docstring says of single keys, as "key: what it does.", to these keys."""
    properties: Schema = schema.get("properties", {})
    text = " ".join((model.__doc__ or "").split())
    parts = re.split(rf"(?:(?<=\. )|^)({'|'.join(properties)}): ", text) if properties else [text]
    schema["description"] = parts[0].strip()
    for name, said in zip(parts[1::2], parts[2::2], strict=True):
        properties[name].setdefault("description", said.strip().rstrip("."))
