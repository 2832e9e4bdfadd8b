"""SIGTERM, SIGINT and SIGUSR1: a polite stop that says "resume me", and a second one that stops at once."""

from __future__ import annotations

import asyncio
import signal

from forked import Outcome

from faults.workplace import Case, MissedError, demand

SIGNALS = ("SIGTERM", "SIGINT", "SIGUSR1")


async def once(case: Case) -> None:
    """One signal at a moment of the run, from inside or from outside."""
    name = case.rng.choice(SIGNALS)
    if case.rng.random() < 0.5:
        moment = case.place.moment(case.rng, "step", "evaluated", "stage_started", "stage_frozen", "sample", "forward")
        done = await case.strike("run", "toy.toml", fault={moment: name})
    else:
        done = await _from_outside(case, name)
    if done.code != 5 and case.is_done():  # it came after the last step, or as the process ended
        case.nothing_lost()
        return
    demand(done.code == 5, f"{name} ends with {done.code}: {done.err}")
    demand(f"stopped by {name}" in done.err, f"nothing tells of {name}: {done.err}")
    demand("--resume" in done.err, f"nothing tells how to go on: {done.err}")
    await case.resume()


async def _from_outside(case: Case, name: str) -> Outcome:
    seconds = case.place.seconds
    for _ in range(10):
        running = case.start("run", "toy.toml")
        while not any(case.folder.glob("runs/toy/*/events.jsonl")) and not running.ended():
            await asyncio.sleep(0.005)  # before there is a run, a signal ends the command and there is nothing to save
        await asyncio.sleep(case.rng.uniform(0, seconds))
        over = running.ended()
        running.signal(signal.Signals[name])
        done = await case.end(running)
        if not over:
            return done
        seconds /= 2
        case.renew()
    raise MissedError("the run was always over before the signal")


async def twice(case: Case) -> None:
    """A second signal before the step is over stops the process at once; the run resumes all the same."""
    name = case.rng.choice(SIGNALS)
    moment = case.place.moment(case.rng, "step", "evaluated", "forward")
    done = await case.strike("run", "toy.toml", fault={moment: f"twice {name}"})
    demand(done.code == -signal.Signals[name], f"the second {name} should end the process, exit {done.code}")
    case.note_kill()
    await case.resume()


KINDS = {
    "SIGTERM, SIGINT, SIGUSR1": (once, 24),
    "a second signal": (twice, 8),
}
