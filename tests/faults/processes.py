"""Other processes: a data worker that is killed, a second run in the same folder, the lock of a killed run."""

from __future__ import annotations

import asyncio
import signal

from faults.workplace import Case, demand

WORKERS = ("--set", "train.workers=2")


async def worker_killed(case: Case) -> None:
    """kill -9 of a data worker, at a sample or at a step: words and exit 1, no hang; then the run goes on."""
    fault = case.rng.choice(
        (
            {f"sample train-{case.rng.randrange(24)}": "SIGKILL"},
            {f"step {case.rng.choice('ABC')} {case.rng.randrange(1, 7)}": f"worker {case.rng.randrange(2)}"},
        )
    )
    done = await case.strike("run", "toy.toml", *WORKERS, fault=fault)
    demand(done.code == 1, f"a killed worker ends with {done.code}: {done.err}")
    demand("worker" in done.err, f"nothing tells of the worker: {done.err}")
    await case.resume(*WORKERS)


async def second_process(case: Case) -> None:
    """A second process on the same run is refused, and the first goes on undisturbed."""
    moment = case.place.moment(case.rng, "step", "evaluated", "stage_frozen")
    first = case.start("run", "toy.toml", fault={moment: "wait go"})
    while not case.hits():
        demand(not first.ended(), "the first run ended too early")
        await asyncio.sleep(0.005)
    run = str(case.run_folder.relative_to(case.folder))
    for words in (("run", run, "--resume"), ("run", "toy.toml", "--resume")):
        second = await case.run(*words)
        demand(second.code == 1, f"the second process ends with {second.code}: {second.err}")
        demand("another process" in second.err, f"the second process is not told why: {second.err}")
    demand(not first.ended(), "the first run ended while the second was refused")
    (case.folder / "go").touch()
    done = await case.end(first)
    demand(done.code == 0, f"the first process ends with {done.code}: {done.err}")
    case.nothing_lost()


async def lock_of_a_killed_process(case: Case) -> None:
    """The lock of a run that was killed by -9 is taken over at once, while its data workers still live."""
    stage = case.rng.choice("ABC")
    done = await case.strike("run", "toy.toml", *WORKERS, fault={f"step {stage} {case.rng.randrange(1, 9)}": "SIGKILL"})
    demand(done.code == -signal.SIGKILL, f"the process should have been killed, exit {done.code}")
    case.note_kill()
    await case.resume(*WORKERS)


KINDS = {
    "data worker killed": (worker_killed, 10),
    "second process on the same run": (second_process, 6),
    "lock of a killed process": (lock_of_a_killed_process, 6),
}
