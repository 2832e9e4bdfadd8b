"""`engine`: the program's entry; errors become words and exit codes here and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from engine.commands import COMMANDS
from engine.errors import EngineError, InputError, WorldError, nearest
from engine.limits import limits_told

USAGE_ERROR: Any = typer.BadParameter.__bases__[0]
"""What typer raises where a command is called wrongly; it is at another place in each of typer's versions."""

EPILOG = (
    "Exit codes: 0 done, 1 the world, 2 your input, 3 diverged, 4 a gate said no, 5 interrupted (resume with --resume)."
)


class Commands(TyperGroup):
    """The commands, each imported when it is called, when its own help is asked for, or when its options are completed.

    A command of the engine loads no plugin on the way. typer's types for a context have changed place between its
    versions, hence Any.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {name: TyperCommand(name, help=line) for name, (_, line) in COMMANDS.items()}

    def list_commands(self, ctx: Any) -> list[str]:
        """The engine's commands, then those of plugins."""
        from engine.cli.brought import listed

        self._add(listed())
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The two lists of `engine --help`."""
        names = self.list_commands(ctx)
        for title, engines in (("Commands", True), ("Commands of plugins", False)):
            shown = [name for name in names if (name in COMMANDS) is engines]
            if shown:
                with formatter.section(title):
                    formatter.write_dl([(name, self.commands[name].help) for name in shown])

    def invoke(self, ctx: Any) -> Any:
        """Run the command; of the options that are proposed for an unknown one, only those that are really like it."""
        try:
            return super().invoke(ctx)
        except USAGE_ERROR as error:
            error.message = error.message.removeprefix("Value error, ")  # what pydantic puts before a wrong choice
            proposed = {name.lstrip("-"): name for name in getattr(error, "possibilities", None) or ()}
            if proposed:  # the two dashes alone make short names alike
                near = nearest(str(getattr(error, "option_name", "")).lstrip("-"), list(proposed))
                vars(error)["possibilities"] = [proposed[name] for name in near]
            raise

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The real command in place of its line in the list; only for a name that is not the engine's plugins load."""
        if args[0] in COMMANDS or args[0].startswith("-"):
            name, listed, rest = super().resolve_command(ctx, args)
            return name, listed and _imported(COMMANDS[listed.name or ""][0]), rest
        from engine.cli.brought import brought, guarded_command

        commands, broken = brought()
        self._add({command.name: command.line for command in commands})
        try:
            name, _, rest = super().resolve_command(ctx, args)
        except USAGE_ERROR as unknown:
            unknown.message = "\n  ".join([unknown.message, *broken])  # it may be one of these that brings it
            raise
        of = {command.name: command for command in commands}
        return name, of[name] and guarded_command(of[name]) if name else None, rest

    def _add(self, lines: Mapping[str, str]) -> None:
        for name, line in lines.items():
            self.commands.setdefault(name, TyperCommand(name, help=line))


def _imported(place: str) -> Any:
    """The command at "module:name" of engine.cli."""
    module, _, name = place.partition(":")
    return as_command(getattr(import_module(f"engine.cli.{module}"), name))


def as_command(found: Any) -> Any:
    """What typer makes of a function, or of a typer app with commands of its own."""
    if isinstance(found, typer.Typer):
        return typer.main.get_command(found)
    alone = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    alone.command()(found)
    return typer.main.get_command(alone)


# Without markup typer imports no rich, which would double the time to the first line of help; a command's help has it.
app = typer.Typer(
    cls=Commands,
    help="Train a base network and the module that corrects it, in stages declared by a recipe.",
    epilog=EPILOG,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Options before the command."""
    if version:
        from engine.version import __version__

        typer.echo(f"engine {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command line; an error of the engine is printed in words and its exit code returned."""
    try:
        command_line()
    except EngineError as error:
        tell(error)
        sys.exit(error.exit_code)


def command_line() -> None:
    """Run the command line; whatever its user can do something about is raised as an EngineError."""
    try:
        with limits_told():
            app(prog_name="engine")
    except OSError as error:  # the world again: a full disk, a folder that may not be written to
        raise WorldError(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from error


def tell(error: EngineError) -> None:
    """Print an error to standard error: a line a problem, then what to do next."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    lines = [str(problem) for problem in error.problems] if isinstance(error, InputError) else [str(error)]
    for line in lines:
        console.print(f"[red]error[/red] {escape(line)}")
    advice = error.advice if isinstance(error, InputError) else ""
    if advice:
        console.print(f"  {escape(advice)}")


if __name__ == "__main__":
    main()
