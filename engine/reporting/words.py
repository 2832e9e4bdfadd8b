"""The sentences of a run: how it gets on, what was measured, what a gate decided; the same for people everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from engine import events

COLOURS = {"pass": "green", "warn": "yellow", "undetermined": "yellow", "nothing-to-gain": "yellow", "fail": "red"}

OVERRIDDEN = "go on, overridden"
FOLLOWS = {
    "go on": "",
    OVERRIDDEN: "the recipe lets the run go on",
    "stop": "the run stops here",
    "extend": "the stage before is trained further, and the gate asked again",
}
"""What follows from a verdict, in words."""


def duration(seconds: float) -> str:
    """A time to read: "35 ms", "12.0 s", "3 min 05 s", "2 h 10 min"."""
    if seconds < 1:
        return f"{1e3 * seconds:.3g} ms"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{seconds:.1f} s"


def rate(seconds_per_step: float) -> str:
    """How fast the steps come: "12.3 steps/s", or "2.5 s/step" where one takes longer than a second."""
    if seconds_per_step >= 1:
        return f"{seconds_per_step:.1f} s/step"
    each = 1 / seconds_per_step if seconds_per_step else 0.0
    return f"{each:.0f} steps/s" if each >= 100 else f"{each:.1f} steps/s"


def losses(event: events.Step) -> str:
    """The loss, and its weighted terms where it has several."""
    terms = " + ".join(f"{name} {value:.3f}" for name, value in event.terms.items())
    return f"loss {event.loss:.3f}" + (f" = {terms}" if len(event.terms) > 1 else "")


def pace(event: events.Step, left: float) -> str:
    """Rate, time left (seconds), what of the time went into waiting for data, and skipped steps."""
    last = "" if event.step == event.steps else f"  {duration(left)} left"
    skipped = f"  {event.skipped} skipped" if event.skipped else ""
    return f"{rate(event.seconds_per_step)}{last}  {event.data_share:.0%} waiting for data{skipped}"


def figures(mean: Mapping[str, float], base: Mapping[str, float], key: Sequence[str]) -> str:
    """The key metrics, each with that of the base alone in brackets where an injection corrected it."""
    told = (name for name in key if name in mean)
    return "  ".join(f"{name} {mean[name]:.3f}" + (f" [{base[name]:.3f}]" if name in base else "") for name in told)


def verdict(event: events.GateDecided) -> list[str]:
    """What a gate decided, as lines with markup: the verdict with its figures and what follows, then what to do.

    What to do where the run stops is said by the error that ends it.
    """
    given, colour = event.verdict, COLOURS[event.verdict.status]
    follows = f"; {FOLLOWS[event.action]}" if FOLLOWS[event.action] else ""
    word = f"[{colour}]{given.status.upper()}[/{colour}]"
    lines = [f"gate {escape(event.check)} at {event.at} of {event.stage}: {word}, {escape(given.reason)}{follows}"]
    if given.advice and given.status != "pass" and event.action != "stop":
        lines.append(f"  what to do: {escape(given.advice)}")
    return lines


def note(event: events.Note) -> str:
    """A note, with markup."""
    colour = "yellow" if event.level == "warning" else "dim"
    return f"[{colour}]{escape(event.text)}[/{colour}]"


def end(event: events.RunFinished) -> str:
    """How a run ended and where it is, with markup."""
    colour = "green" if event.status == "done" else "red"
    return f"[{colour}]{event.status}[/{colour}] after {event.seconds:.0f} s  {escape(str(event.directory))}"


def say(console: Console, text: str) -> None:
    """Print one line, which a terminal shows in several below each other; square brackets in `text` are markup."""
    if console.is_terminal:
        words = text.lstrip()
        console.print(Padding(words, (0, 0, 0, len(text) - len(words)), expand=False), highlight=False)
    else:
        console.print(text, highlight=False, soft_wrap=True)
