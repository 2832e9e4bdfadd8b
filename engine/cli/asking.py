"""What flags leave open: asked on a terminal, and elsewhere a mistake that names the flag."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import typer

from engine.errors import Problem, nearest

NONE = "none"
"""The answer that wants nothing."""


class Asking:
    """Asks for names; `problems` has what is wrong with flags, and what is missing where nobody can be asked."""

    def __init__(self) -> None:
        self.on_terminal = sys.stdin.isatty() and sys.stderr.isatty()
        self.problems: list[Problem] = []

    def one(self, flag: str, what: str, known: Sequence[str], given: str | None, default: str = "") -> str:
        """One of the known names; "" where there is none, and a problem."""
        return next(iter(self.several(flag, what, known, [] if given is None else [given], default, most=1)), "")

    def several(
        self, flag: str, what: str, known: Sequence[str], given: Sequence[str], default: str = "", most: int = 99
    ) -> list[str]:
        """Some of the known names, `given` after the flag or asked for; without NONE.

        default: what holds where nobody can be asked, and for an empty answer.
        """
        if given:
            self.problems += [_unknown(f"{flag} {name}", what, name, known) for name in given if name not in known]
            return _wanted(given)
        if not self.on_terminal:
            if not default:
                self.problems.append(Problem(flag, f"the {what} is missing", f"one of {', '.join(known)}"))
            return _wanted([default] if default else [])

        def wrong(answer: str) -> list[Problem]:
            names = _split(answer, most)
            return [_unknown("", what, name, known) for name in names if name not in known]

        more = "" if most == 1 else ", several with commas between"
        return _wanted(_split(self.text(f"{what}{more} ({', '.join(known)})", wrong, default), most))

    def text(self, question: str, wrong: Callable[[str], Sequence[Problem]], default: str = "") -> str:
        """An answer that is not empty and of which `wrong` finds nothing; asked again until there is one."""
        while True:
            answer = str(typer.prompt(question, default=default, show_default=bool(default), err=True)).strip()
            found = wrong(answer)
            if answer and not found:
                return answer
            if not answer:
                typer.echo("  an answer is needed: there is no default", err=True)
            for problem in found:
                typer.echo(f"  {problem}", err=True)


def _split(answer: str, most: int) -> list[str]:
    return [answer] if most == 1 else [name.strip() for name in answer.split(",") if name.strip()]


def _wanted(names: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name != NONE]


def _unknown(where: str, what: str, name: str, known: Sequence[str]) -> Problem:
    near = nearest(name, known)
    return Problem(where, f"there is no {what} {name!r}", "" if near else f"one of {', '.join(known)}", near)
