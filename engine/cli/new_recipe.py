"""`engine new recipe`: a recipe to begin with, by flags or by answers on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast, get_args

import typer

from engine.cli.opening import SetOption

if TYPE_CHECKING:
    from engine.cli.asking import Asking
    from engine.plugins import Plugins
    from engine.recipe.beginning import Missing

Pattern = Literal["base", "module", "three"]
Source = Literal["gt", "pred"]


def recipe(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The recipe to write: NAME.toml.", show_default=False)],
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="The base.")] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="FILE|builtin:NAME|none", help="What the base begins with.")
    ] = None,
    injection: Annotated[
        str | None, typer.Option("--injection", metavar="NAME|none", help="The module that corrects it.")
    ] = None,
    data: Annotated[str | None, typer.Option("--data", metavar="NAME", help="The data set to train on.")] = None,
    val: Annotated[
        str | None,
        typer.Option("--val", metavar="NAME", help="The data set to measure on; the same where it has both."),
    ] = None,
    stages: Annotated[
        Pattern | None,
        typer.Option("--stages", help="Train the base; the module on a frozen base; or base, module, and both."),
    ] = None,
    loss: Annotated[
        list[str] | None, typer.Option("--loss", metavar="NAME", help="What is minimised. May be repeated.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", metavar="NAME|none", help="What is measured. May be repeated.")
    ] = None,
    gate: Annotated[
        list[str] | None,
        typer.Option("--gate", metavar="NAME|none", help="What checks the module's stage. May be repeated."),
    ] = None,
    warp: Annotated[Source | None, typer.Option("--warp", help="What aligns the signal in the module's stage.")] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, metavar="N", help="Optimiser steps of each stage.")] = 200,
    overrides: SetOption = [],  # noqa: B006  # typer copies the default, and None would need a second type
    plugin: Annotated[
        list[Path] | None, typer.Option("--plugin", metavar="FILE", help="A plugin file to use. May be repeated.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a recipe that `engine check` accepts, and say in it what each part is for.

    What the flags leave open is asked on a terminal; elsewhere it is a mistake that names the flag. Options of a
    plugin without a default are asked too, or given by --set.

        engine new recipe mine.toml

        engine new recipe mine.toml --model NAME --injection NAME --data NAME --loss NAME --metric NAME
        --set injection.KEY=VALUE
    """
    from engine.cli.asking import NONE, Asking
    from engine.cli.check import check_globs
    from engine.errors import InputError
    from engine.files import write_whole
    from engine.plugins import load
    from engine.recipe import beginning
    from engine.recipe.load import recipe_of
    from engine.recipe.overrides import apply
    from engine.registered import SINGULAR

    _refuse(file, force)
    registry, ask = load(plugin or ()), Asking()
    known = {kind: registry.names(kind) for kind in SINGULAR}
    base = ask.one("--model", "model", known["models"], model)
    weights = weights or _weights(ask, registry, base)
    module = ""
    if injection or stages != "base":
        module = ask.one("--injection", "injection", [*known["injections"], NONE], injection)
    train = ask.one("--data", "data set", known["datasets"], data)
    held_out = _held_out(ask, registry, train, val, overrides)
    pattern = _pattern(ask, stages, module)
    losses = ask.several("--loss", "loss", known["losses"], loss or [])
    metrics = ask.several("--metric", "metric", [*known["metrics"], NONE], metric or [])
    gates, source = [], "gt"
    if pattern != "base":
        source = ask.one("--warp", "alignment of the signal", ["gt", "pred"], warp, "gt")
        gates = ask.several("--gate", "gate", [*known["gates"], NONE], gate or [], "feasibility")
    if ask.problems:
        raise InputError(ask.problems, "\n".join(registry.broken))

    root = beginning.begin(
        beginning.Choices(
            file=file,
            plugins=plugin or (),
            model=base,
            weights=None if weights == NONE else weights,
            injection=module or None,
            train=train,
            val=held_out,
            stages=pattern,
            losses=losses,
            metrics=metrics,
            gates=gates,
            warp=source,
            steps=steps,
        ),
        registry,
    )
    mistakes = apply(root, overrides)
    for option in beginning.missing(root, registry):
        _ask_option(ask, option)
    if ask.problems or mistakes:
        raise InputError([*mistakes, *ask.problems])
    made = recipe_of(root)
    try:
        unseen = check_globs(made)
    except InputError as error:
        if not all(problem.where.startswith("--stages") for problem in error.problems):
            raise
        # The globs are this command's own: they fit no base that has nothing to train.
        raise InputError(error.problems, "--stages module trains the injection alone") from error
    beginning.complete(root, made)
    text = beginning.written(root, registry, file)
    write_whole(file, lambda place: place.write_text(text))
    typer.echo(f"{file}: stages {' -> '.join(stage.name for stage in made.stages)}")
    if unseen:
        typer.echo(f"  its globs were not looked at: {unseen}")
    typer.echo(f"  engine plan {file} && engine run {file}")


def _refuse(file: Path, force: bool) -> None:
    """InputError for a file that is no recipe's, or that is there already."""
    from engine.errors import InputError

    if file.suffix != ".toml":
        raise InputError(f"{file} does not end in .toml", f"engine new recipe {file.with_suffix('.toml')}")
    if file.exists() and not force:
        raise InputError(f"{file} is there already", "another name, or --force to write over it")


def _weights(ask: Asking, registry: Plugins, model: str) -> str:
    """What the base begins with: asked on a terminal, elsewhere nothing."""
    from engine.cli.asking import NONE
    from engine.errors import Problem, nearest
    from engine.registered import BUILTIN_WEIGHTS

    found = registry.find("models", model)
    if found is None or not ask.on_terminal:
        return NONE
    shipped = [BUILTIN_WEIGHTS + name for name in found.extra.get("weights", {})]

    def wrong(answer: str) -> list[Problem]:
        """A file may come later; what the model ships is known now."""
        if not answer.startswith(BUILTIN_WEIGHTS) or answer in shipped:
            return []
        near = nearest(answer, shipped)
        return [Problem("", f"the model ships no weights {answer!r}", "" if near else "a file", near)]

    return ask.text(f"weights (a file, {', '.join([*shipped, NONE])})", wrong, NONE)


def _held_out(ask: Asking, registry: Plugins, train: str, given: str | None, overrides: Sequence[str]) -> str:
    """The data set to measure on: the one to train on, where that has a part for it."""
    from engine.errors import Problem
    from engine.recipe.beginning import split_of

    found = registry.find("datasets", train)
    if given is None and (
        found is None or split_of(found.options) or any(o.startswith("data.val.") for o in overrides)
    ):
        return train  # an unknown one is told already
    if given is None and not ask.on_terminal:
        what = f"{train!r} has no option that is 'train' or 'val', so the data to measure on are missing"
        ask.problems.append(
            Problem("--val", what, "a data set, or --set data.val.KEY=VALUE for other options of this one")
        )
        return ""
    return ask.one("--val", "data set to measure on", registry.names("datasets"), given)


def _pattern(ask: Asking, given: Pattern | None, module: str) -> Pattern:
    """Which stages there are; those that train a module need one."""
    from engine.errors import Problem

    if module:
        return cast(Pattern, ask.one("--stages", "pattern of stages", get_args(Pattern), given, "three"))
    if given in ("module", "three"):
        ask.problems.append(Problem(f"--stages {given}", "these train an injection, and there is none", "--injection"))
    return "base"


def _ask_option(ask: Asking, option: Missing) -> None:
    """Set an option that has no default; where nobody can be asked it is a problem."""
    from engine.errors import Problem
    from engine.recipe.overrides import value_of

    about = f": {option.about}" if option.about else ""
    if not ask.on_terminal:
        ask.problems.append(Problem(f"--set {option.key}=VALUE", f"{option.of.name!r} needs it{about}"))
        return
    ask.text(f"{option.key}{about}", lambda answer: option.put(value_of(answer)))
