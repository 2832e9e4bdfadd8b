"""The commands of this package by themselves: python -m engine_deploy COMMAND."""

from __future__ import annotations

import sys

from engine.errors import EngineError, InputError
from engine_deploy.commands import app


def main() -> None:
    """Run a command; an error of the engine is told in words, and gives the exit code."""
    try:
        app(prog_name="python -m engine_deploy")
    except EngineError as error:
        for line in str(error).splitlines():
            print(f"error {line}", file=sys.stderr)
        if isinstance(error, InputError) and error.advice:
            print(f"  {error.advice}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
