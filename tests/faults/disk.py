"""A full disk: a small tmpfs, or where none can be mounted a limit on the size of a file."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from faults.workplace import Case, checkpoints, demand, losses

PRIVATE = "FAULTS_PRIVATE_MOUNTS"
PAGE = 4096


def private_mounts() -> None:
    """Start this program again where it may mount a tmpfs that nobody else sees and that goes when it ends."""
    if PRIVATE in os.environ or sys.platform != "linux":
        return
    os.environ[PRIVATE] = "no"
    trial = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", tempfile.gettempdir()]  # seen by the trial alone
    try:
        may = subprocess.run(trial, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        may = False
    if may:
        os.environ[PRIVATE] = "yes"
        os.execvp("unshare", ["unshare", "-rm", sys.executable, *sys.orig_argv[1:]])


def can_mount() -> bool:
    """Whether a tmpfs can be mounted."""
    return os.environ.get(PRIVATE) == "yes"


async def full(case: Case) -> None:
    """The disk takes no more at a random place; when there is space again, the run goes on."""
    await (_tmpfs if can_mount() else _file_limit)(case)


async def _tmpfs(case: Case) -> None:
    runs = case.folder / "runs"
    runs.mkdir()
    whole = _pages(case.reference / "runs")
    size = case.rng.randrange(2, whole) * PAGE
    await _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(runs))
    try:
        done = await case.run("run", "toy.toml")
        demand(done.code == 1, f"a full disk of {size} bytes ends with {done.code}: {done.err}")
        demand("No space left on device" in done.err, f"nothing tells of the full disk: {done.err}")
        _previous_is_whole(case)
        await _mount("-o", "remount,size=64m", str(runs))
        await case.resume()
    finally:
        # What is on the tmpfs goes with it: a failed case keeps a copy.
        await _command("cp", "-r", str(runs), str(case.folder / "copy"))
        await _command("umount", str(runs))
        runs.rmdir()
        (case.folder / "copy").rename(runs)


async def _file_limit(case: Case) -> None:
    """No file of a save grows past a number of bytes; the error says "File too large"."""
    moment = case.place.moment(case.rng, "write").replace("write", "operation")
    done = await case.strike("run", "toy.toml", fault={moment: f"full {case.rng.randrange(1, 2000)}"})
    demand(done.code == 1, f"a full disk ends with {done.code}: {done.err}")
    demand("File too large" in done.err, f"nothing tells of the full disk: {done.err}")
    _previous_is_whole(case)
    await case.resume()


def _previous_is_whole(case: Case) -> None:
    """Every checkpoint that stands under its final name is whole, and one stands there when one was saved before."""
    if not any(case.folder.glob("runs/toy/*/events.jsonl")):
        return
    run = case.run_folder
    whole = checkpoints(run)
    made = losses(run)  # also: no line of the log is torn
    if any(step > 6 for _, step in made):  # two saves of that stage were asked for; the second waited for the first
        demand(whole, "no checkpoint is left")
    for folder in run.glob("stage-*/checkpoints"):
        pointer = folder / "latest"
        if pointer.exists():
            named = folder / pointer.read_text().strip()
            demand(named in whole, f"{pointer} names {named.name}, which is not there")


def _pages(folder: Path) -> int:
    return sum(-(-path.stat().st_size // PAGE) for path in folder.rglob("*") if path.is_file())


async def _mount(*words: str) -> None:
    code = await _command("mount", *words)
    demand(code == 0, f"mount {' '.join(words)} failed")


async def _command(*words: str) -> int:
    process = await asyncio.create_subprocess_exec(*words)
    return await process.wait()


KINDS = {"disk full": (full, 18)}
