"""The arguments of a network's constructor: gathered, held to what works, and put into the form that it wants."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.errors import InputError, Problem, WorldError, nearest
from engine_checkouts.options import NetworkOptions
from engine_checkouts.preset import Preset


class Arguments(dict[str, Any]):
    """Arguments by item, by attribute and by `.get`: authors' code mixes all three."""

    def __getattr__(self, name: str) -> Any:
        # AttributeError, not KeyError: copies and pickles ask for attributes that need not be there.
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


def arguments(preset: Preset, options: NetworkOptions) -> Arguments:
    """The preset's arguments, over them those of the authors' file, over them the recipe's.

    What the authors' file says beyond is passed on, since their own classes ignore it. Raises InputError with every
    argument that cannot work, and every option of the recipe's that means nothing to the network.
    """
    given = options.given()
    values = Arguments({**preset.arguments, **(read_config(options.config) if options.config else {}), **given})
    known = list(preset.arguments)
    problems = [
        Problem("", f"[model] sets {name!r}, which {preset.network} does not take", near=nearest(name, known))
        for name in given
        if name not in values or (name not in preset.arguments and name not in options.arguments)
    ]
    problems += [
        Problem("", f"{preset.network} cannot be built with {rule.argument} = {values[rule.argument]!r}", rule.expected)
        for rule in preset.rules
        if not _holds(rule.holds, values[rule.argument])
    ]
    problems += _without_effect(preset, options)
    if problems:
        raise InputError(problems, "`engine plan` shows the options of [model] as they are resolved")
    return values


def _without_effect(preset: Preset, options: NetworkOptions) -> list[Problem]:
    """What is asked for and means nothing to this network."""
    problems = []
    if options.disparity_attention == "paper" and preset.attention is None:
        what = f"nothing is known of an attention over disparity in {preset.network}"
        problems.append(Problem("", what, 'disparity_attention = "checkout"'))
    if preset.iterations is None and (options.train_iters or options.valid_iters):
        problems.append(Problem("", f"{preset.network} does not iterate", "neither train_iters nor valid_iters"))
    return problems


def called(make: Callable[..., Any], values: Arguments, form: str) -> Any:
    """`make` called with the arguments in one of the forms of `Preset.form`."""
    if form == "positional":
        return make(*values.values())
    if form == "keywords":
        return make(**values)
    return make(values if form == "mapping" else Namespace(**values))


def read_config(path: Path) -> Mapping[str, Any]:
    """The values of the authors' cfg.yaml; WorldError where it is missing, InputError where it is another thing."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise WorldError(f"{path} could not be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no YAML file: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no table of arguments")
    return {str(name): value for name, value in content.items()}


def _holds(rule: Callable[[Any], bool], value: Any) -> bool:
    try:
        return rule(value)
    except TypeError:  # a value of another kind, such as a number where there should be a list
        return False
