"""`engine new`: a plugin or a recipe to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from engine.cli.new_recipe import recipe

app = typer.Typer(no_args_is_help=True, help="Begin something of your own.")

Kind = Literal["injection", "model", "dataset", "gate", "loss", "metric", "tracker"]

MODULES: dict[str, tuple[str, str]] = {
    "injection": ("correction", "Correction"),
    "model": ("network", "Network"),
    "dataset": ("data", "Data"),
    "gate": ("gate", "Gate"),
    "loss": ("loss", "Loss"),
    "metric": ("metric", "Metric"),
    "tracker": ("tracker", "Tracker"),
}
"""Kind -> the module that holds it, and how the name of its class ends."""

ABOUT = {
    "injection": "A module that corrects a base's prediction from an auxiliary signal.",
    "model": "A base model.",
    "dataset": "A data set.",
    "gate": "A check before or after a stage.",
    "loss": "A loss.",
    "metric": "A metric.",
    "tracker": "A program that is told of runs.",
}


@app.callback()
def new() -> None:
    """Begin something of your own."""


app.command()(recipe)


@app.command()
def plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What recipes will call it.", show_default=False)],
    kind: Annotated[Kind, typer.Option("--kind", help="What it brings.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where its folder is made.")] = Path(),
) -> None:
    """Write a small distribution that can be installed as it is, and passes its own tests.

    engine new plugin thermal --kind injection

    pip install -e ./thermal && pytest thermal
    """
    folder = out / name
    write(folder, _words(name, kind))
    typer.echo(f"{folder}: {ABOUT[kind]}\n  pip install -e {folder} && pytest {folder}")


def _words(name: str, kind: Kind) -> dict[str, str]:
    """What stands in the place of the templates' names; InputError for a name that cannot be one of a package."""
    import keyword
    import re
    from importlib.util import find_spec

    from engine import __version__, api
    from engine.errors import InputError
    from engine.plugins import load
    from engine.registered import SINGULAR

    package = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9_-]*[a-z0-9]", name) or keyword.iskeyword(package):
        raise InputError(f"{name!r} cannot name a package", "small letters, digits and '-', such as thermal-correction")
    if find_spec(package) is not None:
        raise InputError(f"there is a Python module {package!r} already", f"another name, such as my-{name}")
    for registered, singular in SINGULAR.items():
        if singular.replace(" ", "") == kind and (taken := load().find(registered, name)) is not None:
            raise InputError(f"{taken} is there already", f"another name, such as my-{name}")
    module, ending = MODULES[kind]
    spoken = "".join(part.capitalize() for part in package.split("_"))
    return {
        "name": name,
        "distribution": name,
        "package": package,
        "kind": kind,
        "module": module,
        "class_name": spoken if spoken.endswith(ending) else spoken + ending,
        "about": ABOUT[kind],
        "engine": __version__,
        "api": str(api.VERSION),
    }


def write(folder: Path, words: dict[str, str]) -> None:
    """Fill in the templates of a kind; InputError where something is in the way."""
    from importlib.resources import files
    from string import Template

    from engine.errors import InputError

    if folder.exists():
        raise InputError(f"{folder} is there already", "another name, or --out another folder")
    templates, package = files("engine") / "templates", words["package"]

    def filled(kind: str, file: str) -> str:
        return Template((templates / kind / file).read_text()).substitute(words)

    kind = words["kind"]
    words["recipe"] = filled(kind, "recipe.txt").strip()
    for place, text in {
        "pyproject.toml": filled("common", "pyproject.toml.txt"),
        "README.md": filled("common", "README.md.txt"),
        f"{package}/__init__.py": filled("common", "__init__.py.txt"),
        f"{package}/plugin.py": filled(kind, "plugin.py.txt"),
        f"{package}/{words['module']}.py": filled(kind, f"{words['module']}.py.txt"),
        f"tests/test_{package}.py": filled(kind, "test.py.txt"),
    }.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
