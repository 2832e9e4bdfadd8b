"""Files truncated, flipped in one bit, or deleted: parts of checkpoints, weights handed on, JSON, the lock."""

from __future__ import annotations

import random
from pathlib import Path

from faults.workplace import STAGES, Case, demand

FILES = ("weights.safetensors", "average.safetensors", "state.pt", "manifest.json")


def harm(path: Path, rng: random.Random) -> str:
    """Truncate a file, flip one of its bits, or delete it; says what was done."""
    content = bytearray(path.read_bytes())
    how = rng.choice(("truncate", "flip", "delete"))
    if how == "delete":
        path.unlink()
    elif how == "truncate":
        path.write_bytes(content[: rng.randrange(len(content))])
    else:
        bit = rng.randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        return f"flip bit {bit} of {path.name}"
    return f"{how} {path.name}"


async def of_a_checkpoint(case: Case) -> None:
    """A part of the newest checkpoint, sometimes of the one before it too: named, and the next good one is used."""
    stage = case.rng.choice(STAGES)
    await case.place.stopped(f"step {stage} {case.rng.choice((5, 7))}", case)
    folder = case.run_folder / f"stage-{stage}" / "checkpoints"
    newest = sorted(folder.glob("step-*"))
    harmed = newest[-1 : -2 - (case.rng.random() < 0.3) : -1]
    case.faults = len(harmed)
    done_to = {each: (name := case.rng.choice(FILES), harm(each / name, case.rng)) for each in harmed}
    done = await case.resume()
    for each, (name, what) in done_to.items():
        # A digest that flipped in the manifest looks like a file that did: then that file of the checkpoint is named.
        named = f"{each.name}/" if name == "manifest.json" else f"{each.name}/{name}"
        demand(named in done.out + done.err, f"after {what}, {named} is not named")


async def of_a_pointer(case: Case) -> None:
    """The files `latest` and `best`, which name a checkpoint."""
    stage = case.rng.choice(STAGES)
    await case.place.stopped(f"step {stage} {case.rng.choice((5, 7))}", case)
    harm(case.run_folder / f"stage-{stage}" / "checkpoints" / case.rng.choice(("latest", "best")), case.rng)
    await case.resume()


async def of_weights_handed_on(case: Case) -> None:
    """The weights of a finished stage, before the stage that needs them begins or while it trains."""
    stage, follower = case.rng.choice((("A", "B"), ("B", "C"), ("A", "C")))
    moment = f"stage_started {follower}" if case.rng.random() < 0.5 else f"step {follower} 5"
    await case.place.stopped(moment, case)
    path = case.run_folder / f"stage-{stage}" / "weights.safetensors"
    what = harm(path, case.rng)
    done = await case.resume()
    demand(f"stage-{stage}/{path.name}" in done.out + done.err, f"after {what}, the file is not named")


async def of_json(case: Case) -> None:
    """Any JSON of the run: it is told by name, or the run recovers; never a traceback, never other weights."""
    await case.place.stopped(case.rng.choice(("step A 5", "step B 5", "stage_started C", "step C 7")), case)
    run = case.run_folder
    found = sorted({*run.rglob("*.json")} - {*run.rglob("checkpoints/**/*.json")})
    path = case.rng.choice(found)
    whole = path.read_bytes()
    what = harm(path, case.rng)
    by_recipe = ("run", "toy.toml", "--resume")
    by_folder = ("run", str(run.relative_to(case.folder)), "--resume")
    done = await case.run(*case.rng.choice((by_recipe, by_folder)))
    if done.code == 0:
        case.same_weights()
        return
    demand(done.code in (1, 2), f"after {what}, exit {done.code}: {done.err}")
    told = path.name in done.err or run.name in done.err or "no unfinished run" in done.err
    demand(told, f"after {what}, neither the file nor its run is named: {done.err}")
    path.write_bytes(whole)  # the user puts back what was named
    await case.resume()


async def of_the_log(case: Case) -> None:
    """The end of the event log is torn off in a line."""
    await case.place.stopped(case.rng.choice(("step A 5", "step C 7")), case)
    path = case.run_folder / "events.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][: case.rng.randrange(1, len(lines[-1]))])
    done = await case.run("run", "toy.toml", "--resume")
    demand(done.code == 0, f"a torn log ends with {done.code}: {done.err}")
    case.same_weights()


async def of_the_lock(case: Case) -> None:
    """The lock file of a run that nobody holds: gone, empty, full of anything, or of a process that is no more."""
    await case.place.stopped("step B 5", case)
    lock = case.run_folder / "lock"
    lock.unlink(missing_ok=True)
    content = case.rng.choice((None, b"", b"\xff\x00 no text", b"1\n", b"999999999\n", b'{"pid": 1}'))
    if content is not None:
        lock.write_bytes(content)
    await case.resume()


KINDS = {
    "file of a checkpoint damaged": (of_a_checkpoint, 26),
    "pointer to a checkpoint damaged": (of_a_pointer, 6),
    "weights handed on damaged": (of_weights_handed_on, 12),
    "JSON of the run damaged": (of_json, 20),
    "event log torn": (of_the_log, 2),
    "lock file damaged": (of_the_lock, 5),
}
