"""kill -9: at a step, at any moment, between stages, in an evaluation, in a save, several times in a run."""

from __future__ import annotations

import asyncio
import signal

from faults.workplace import Case, MissedError, demand

KILLED = -signal.SIGKILL


async def at_a_step(case: Case) -> None:
    """Killed in the hook of a random step."""
    await kill(case, case.place.moment(case.rng, "step"))
    await case.resume()


async def at_any_moment(case: Case) -> None:
    """Killed from outside after a random time."""
    seconds = case.place.seconds
    for _ in range(10):
        running = case.start("run", "toy.toml")
        await asyncio.sleep(case.rng.uniform(0, seconds))
        running.signal(signal.SIGKILL)
        done = await case.end(running)
        if done.code == KILLED:
            break
        seconds /= 2  # it was over before the kill
        case.renew()
    else:
        raise MissedError("the run was always over before the kill")
    case.note_kill()
    await case.resume()


async def between_stages(case: Case) -> None:
    """Killed where one stage ends and the next begins, among the files that are handed on."""
    kinds = ("stage_started", "stage_frozen", "stage_finished", "run_started", "run_finished", "gate_decided")
    await kill(case, case.place.moment(case.rng, *kinds))
    if not case.is_done():
        await case.resume()
    case.nothing_lost()


async def in_an_evaluation(case: Case) -> None:
    """Killed while a held-out sample is drawn or when the figures are there."""
    held_out = [f"sample val-{index}" for index in range(6)]
    moment = case.rng.choice([*held_out, *(m for m in case.place.moments if m.startswith("evaluated"))])
    await kill(case, moment)
    await case.resume()


async def in_a_save(case: Case) -> None:
    """Killed at an operation on the files of a checkpoint, or at a byte of one of them."""
    if case.rng.random() < 0.5:
        await kill(case, case.place.moment(case.rng, "operation"))
    else:
        moment = case.place.moment(case.rng, "write").replace("write", "operation")
        done = await case.strike("run", "toy.toml", fault={moment: f"limit {case.rng.randrange(1, 9000)}"})
        demand(done.code == -signal.SIGXFSZ, f"the process should have died in its save, exit {done.code}")
        case.note_kill()
    await case.resume()


async def several_times(case: Case) -> None:
    """Killed in each stage and resumed each time."""
    case.faults = 3
    for stage, more in (("A", ()), ("B", ("--resume",)), ("C", ("--resume",))):
        # From step 4 on: a resumed stage does not pass the steps before its checkpoint again.
        await kill(case, f"step {stage} {case.rng.randrange(4, 9)}", *more)
    await case.resume()


async def kill(case: Case, moment: str, *more: str) -> None:
    done = await case.strike("run", "toy.toml", *more, fault={moment: "SIGKILL"})
    demand(done.code == KILLED, f"the process should have been killed at {moment}, exit {done.code}: {done.err}")
    case.note_kill()


KINDS = {
    "kill -9 at a step": (at_a_step, 16),
    "kill -9 at any moment": (at_any_moment, 16),
    "kill -9 between stages": (between_stages, 14),
    "kill -9 in an evaluation": (in_an_evaluation, 14),
    "kill -9 in a save": (in_a_save, 30),
    "kill -9, three in a run": (several_times, 8),
}
