"""Read a recipe: the file, what it extends, the overrides, then every check, then one complete object."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import tomli
from pydantic import ValidationError

from engine import plugins
from engine.errors import InputError, Problem, nearest
from engine.recipe.expand import expand
from engine.recipe.named import table_of
from engine.recipe.nodes import Node, Source, build, merge, texts
from engine.recipe.options import parse
from engine.recipe.overrides import apply
from engine.recipe.schema import Recipe
from engine.recipe.validate import Meaning, attach
from engine.recipe.wording import problems_of


def load_recipe(path: Path | str, overrides: Sequence[str] = (), data: str | None = None) -> Recipe:
    """The recipe of a TOML file, or of the JSON that a run keeps, with `overrides` ("key.path=value") applied.

    data: what stands in place of [data.val], as `engine.recipe.named` reads it; overrides go over it.
    Plugins are loaded on the way; `recipe.registry` holds them. Raises InputError with every problem found.
    """
    root = _read(Path(path), ())
    if data is not None:
        _replace_validation(root, table_of("--data", data))
    return recipe_of(root, apply(root, overrides))


def recipe_of(root: Node, problems: Sequence[Problem] = ()) -> Recipe:
    """The recipe that nodes make, their paths made absolute; InputError with every mistake, `problems` among them."""
    _refuse_nul(root)
    root, mistakes = expand(root)
    problems = [*problems, *mistakes]

    registry = plugins.load()
    file_problems = _load_files(root, registry)
    meaning = Meaning(root, registry, may_miss_plugins=bool(file_problems))
    problems += file_problems + meaning.problems

    recipe = None
    try:
        recipe = parse(Recipe, root.plain(), extra="forbid")
    except ValidationError as error:
        problems += problems_of(error, root, Recipe)
    if problems or recipe is None:
        advice = "\n".join(registry.broken) if meaning.unknown_names else ""
        raise InputError(sorted(dict.fromkeys(map(_hashable, problems)), key=_place), advice)

    attach(recipe, meaning.options, registry)
    recipe._nodes, recipe._registry, recipe._data_paths = root, registry, tuple(meaning.data_paths)
    return recipe


def _replace_validation(root: Node, table: Node) -> None:
    """Put `table` in the place of [data.val]; what a recipe says in place of tables is reported as it is."""
    tables = root.value.setdefault("data", Node({}, table.source, ("data",))).value
    if isinstance(tables, dict):
        tables["val"] = table


def _read(path: Path, extended_by: tuple[Path, ...]) -> Node:
    """The nodes of one file laid over those of the file it extends."""
    text = _text(path)
    base = Path.cwd() / path.parent
    if path.suffix == ".json":
        return build(_json(path, text), Source(str(path), base))
    source = Source(str(path), base, text)
    root = build(_toml(path, text), source)
    _refuse_nul(root)
    extends = root.value.pop("extends", None)
    if extends is None:
        return root
    if not isinstance(extends.value, str):
        raise InputError(Problem(extends.here, "'extends' is not a text", "the path of another recipe"))
    under = Path(os.path.normpath(path.parent / extends.value))
    chain = (*extended_by, path)
    # os.path ends where links lead round in a circle, and pathlib raises
    if os.path.realpath(under) in [os.path.realpath(file) for file in chain]:
        round_trip = " -> ".join(str(file) for file in (*chain, under))
        raise InputError(Problem(extends.here, f"recipes extend each other in a circle: {round_trip}"))
    if not under.is_file():
        raise InputError(Problem(extends.here, f"there is no recipe {under}", near=_files_like(under)))
    return merge(_read(under, chain), root, is_root=True)


def _refuse_nul(root: Node) -> None:
    """InputError for texts with the character 0: as a name or a path, the system takes none."""
    found = [node.here for text, node in texts(root) if "\0" in text]
    if found:
        raise InputError([Problem(where, "this text holds the character U+0000") for where in dict.fromkeys(found)])


def _text(path: Path) -> str:
    try:
        # newline="" keeps line ends as they are: a column after a bare carriage return must be counted as written
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(Problem(f"{path}:{line}:1", "this line is not UTF-8 text")) from error
    except OSError as error:
        problem = Problem(str(path), f"the recipe cannot be read: {error.strerror}", near=_files_like(path))
        raise InputError(problem) from error


def _toml(path: Path, text: str) -> dict[str, object]:
    try:
        data = tomli.loads(text)
        json.dumps(data, default=str)  # what follows reads the data as JSON; hexadecimal digits fail only here
        return data
    except tomli.TOMLDecodeError as error:
        where = f"{path}:{error.lineno}:{error.colno}"
        raise InputError(Problem(where, f"this is not TOML: {error.msg}")) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; arrays nested without end
        raise InputError(Problem(str(path), f"this cannot be read as TOML: {error}")) from error


def _json(path: Path, text: str) -> dict[str, object]:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}:{error.colno}"
        raise InputError(Problem(where, f"this is not JSON: {error.msg}")) from error
    except (ValueError, RecursionError) as error:
        raise InputError(Problem(str(path), f"this cannot be read as JSON: {error}")) from error
    if not isinstance(data, dict):
        raise InputError(Problem(str(path), "this is not a recipe", "an object"))
    return data


def _load_files(root: Node, registry: plugins.Plugins) -> list[Problem]:
    """Load the plugin files that the recipe names."""
    files = root.child("plugins")
    items = files.value if files is not None and isinstance(files.value, list) else []
    return [
        Problem(item.here, reason)
        for item in items
        if isinstance(item.value, str)
        for reason in registry.add_path(Path(item.value))
    ]


def _files_like(path: Path) -> list[str]:
    """Recipes and runs in the same folder whose names are like this one's."""
    folder = path.parent
    if not folder.is_dir():
        return []
    near = nearest(path.name, [item.name for item in folder.iterdir()], count=8)
    return [str(folder / name) for name in near if _is_recipe(folder / name)][:2]


def _is_recipe(path: Path) -> bool:
    """Whether a file has what a recipe has, or a folder is that of a run, which stands for its recipe."""
    if path.is_dir():
        return (path / "recipe.json").is_file()
    try:
        return path.suffix == ".toml" and not tomli.loads(path.read_text()).keys().isdisjoint({"model", "extends"})
    except (OSError, ValueError, RecursionError):  # another file's troubles are not what was asked for
        return False


def _hashable(problem: Problem) -> Problem:
    return Problem(problem.where, problem.what, problem.expected, tuple(problem.near))


def _place(problem: Problem) -> tuple[str, int, int]:
    """Sort key: by file, line and column, as a reader goes through them."""
    match = re.fullmatch(r"(.*):(\d+):(\d+)", problem.where)
    return (match[1], int(match[2]), int(match[3])) if match else (problem.where, 0, 0)
