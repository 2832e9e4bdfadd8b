"""`engine`: the program's entry; errors become words and exit codes here and nowhere else."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from engine import __version__
from engine.cli import check, data, evaluation, feasibility, plan, plugins, run, runs, verify
from engine.errors import EngineError, InputError, WorldError

EPILOG = (
    "Exit codes: 0 done, 1 the world, 2 your input, 3 diverged, 4 a gate said no, 5 interrupted (resume with --resume)."
)

app = typer.Typer(
    help="Train a base network and the module that corrects it, in stages declared by a recipe.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.command("run")(run.run)
app.command("plan")(plan.plan)
app.command("check")(check.check)
app.command("check-feasibility")(feasibility.check_feasibility)
app.command("verify-resume")(verify.verify_resume)
app.command("eval")(evaluation.evaluate)
app.command("plugins")(plugins.plugins)
app.add_typer(data.app, name="data")
app.add_typer(runs.app, name="runs")


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Options before the command."""
    if version:
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
        app()
    except OSError as error:  # the world again: a full disk, a folder that may not be written to
        raise WorldError(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from error


def tell(error: EngineError) -> None:
    """Print an error to standard error: a line a problem, then what to do next."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    lines = [str(problem) for problem in error.problems] if isinstance(error, InputError) else [str(error)]
    for line in lines:
        console.print(f"[red]error[/red] {escape(line)}")
    advice = error.advice if isinstance(error, InputError) else ""
    if advice:
        console.print(f"  {escape(advice)}")


if __name__ == "__main__":
    main()
