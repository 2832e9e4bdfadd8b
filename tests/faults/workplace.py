"""Where faults are injected: real runs of a small demanding recipe, and the run that nobody touched to compare with."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import shlex
import shutil
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forked import Forks, Outcome, Running
from safetensors.torch import load_file
from toy_world import RECIPE, STAGE_A, STAGE_B, STAGE_C, merged, threshold, toml

STAGES = ("A", "B", "C")
STEPS = 8
SECONDS = 60
"""A run takes half a second; one that is not over after this time hangs."""

# Everything that draws random numbers or keeps state between steps, with saves and evaluations among the steps.
CHANGES: dict[str, Any] = {
    "model": {"plugin": "fragile", "dropout": 0.3, "norm": True},
    "injection": {"plugin": "fragile"},
    "data": {"train": {"plugin": "fragile"}, "val": {"plugin": "fragile", "count": 6}},
    "train": {
        "batch_size": 2,
        "accumulate": 2,
        "ema": 0.8,
        "losses": [{"name": "fragile"}],
        "log_every": 1,
        "checkpoint_every": 3,
        "evaluate_every": 4,
        "keep": 3,
        "schedule": {"name": "one-cycle", "warmup": 0.3},
    },
    "stage": [
        {**STAGE_A, "steps": STEPS},
        {**STAGE_B, "steps": STEPS, "warp": {"gt": 0.5, "pred": 0.5}, "gate": [threshold(max=1000.0)]},
        {**STAGE_C, "steps": STEPS},
    ],
}
PLUGIN = Path(__file__).with_name("saboteur.py")


class LostError(Exception):
    """A fault that was not survived: what was promised and what was found."""


class MissedError(Exception):
    """The fault did not come to pass: the run was over before."""


def demand(holds: object, words: str) -> None:
    """Raise LostError with `words` unless `holds`."""
    if not holds:
        raise LostError(words)


@dataclass
class Workplace:
    """What the cases share: processes, the untouched run, and the moments that pass in it."""

    root: Path
    forks: Forks
    moments: list[str] = field(default_factory=list)
    seconds: float = 0.0
    made: dict[str, asyncio.Task[Path]] = field(default_factory=dict)
    saves: list[bool] = field(default_factory=list)  # for each process that was killed: whether a save was under way

    @property
    def every_step(self) -> Path:
        """The same run with a checkpoint of every step."""
        return only_run(self.root / "every-step")

    async def prepare(self) -> None:
        """Make the runs to compare with."""
        case = Case(self, self.root / "untouched", random.Random(0))
        done = await case.run("run", "toy.toml", environment={"SABOTAGE_LOG": str(self.root / "moments")})
        demand(done.code == 0, f"the untouched run fails: {done.err}")
        self.moments = list(dict.fromkeys((self.root / "moments").read_text().splitlines()))
        began = time.monotonic()
        other = Case(self, self.root / "every-step", random.Random(0))
        more = ("--set", "train.checkpoint_every=1", "--set", "train.keep=100")
        done = await other.run("run", "toy.toml", *more)
        self.seconds = time.monotonic() - began
        demand(done.code == 0, f"the run with a checkpoint at every step fails: {done.err}")
        other.same_weights()

    def moment(self, rng: random.Random, *kinds: str) -> str:
        """A moment of the untouched run whose first word is one of `kinds`."""
        return rng.choice([moment for moment in self.moments if moment.split()[0] in kinds])

    async def once(self, name: str, make: Callable[[Case], Awaitable[None]]) -> Path:
        """The folder of a case that `make` fills, which is made for the first that asks for `name`."""

        async def made() -> Path:
            case = Case(self, self.root / f"made-{len(self.made)}", random.Random(0))
            await make(case)
            return case.folder

        if name not in self.made:
            self.made[name] = asyncio.ensure_future(made())
        return await self.made[name]

    async def stopped(self, moment: str, case: Case) -> None:
        """Put a run that was stopped by SIGTERM at `moment` into the folder of a case."""

        async def stop(first: Case) -> None:
            done = await first.run("run", "toy.toml", fault={moment: "SIGTERM"})
            demand(done.code == 5, f"SIGTERM at {moment} ends with {done.code}: {done.err}")

        folder = await self.once(moment, stop)
        shutil.rmtree(case.folder)
        shutil.copytree(folder, case.folder)


@dataclass
class Case:
    """One run with faults in a folder of its own; `log` has every command, so that a failure can be repeated."""

    place: Workplace
    folder: Path
    rng: random.Random
    faults: int = 1
    reference: Path = field(init=False)  # the run to compare with

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.reference = self.place.root / "untouched"
        self.write()

    def write(self, **changes: Any) -> None:
        """Write the recipe, with tables changed."""
        recipe = merged(merged(RECIPE, CHANGES), changes) | {"plugins": [str(PLUGIN)]}
        (self.folder / "toy.toml").write_text(toml(recipe))

    @property
    def run_folder(self) -> Path:
        """The one run of this case."""
        return only_run(self.folder)

    def is_done(self) -> bool:
        """Whether the run says that it is done."""
        status = self.run_folder / "status.json"
        return status.exists() and json.loads(status.read_text())["status"] == "done"

    def renew(self) -> None:
        """Forget the run, to begin again."""
        shutil.rmtree(self.folder / "runs", ignore_errors=True)

    def start(
        self, *arguments: str, fault: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None
    ) -> Running:
        """Start `engine ARGUMENTS` in the case's folder."""
        more = {"OMP_NUM_THREADS": "1", "ENGINE_CACHE": str(self.folder / "cache"), **(environment or {})}
        if fault:
            more["SABOTAGE"] = json.dumps(fault)
        with (self.folder / "log").open("a") as log:
            shown = " ".join(f"{name}={shlex.quote(value)}" for name, value in more.items())
            log.write(f"$ {shown} engine {shlex.join(arguments)}\n")
        return self.place.forks.start(*arguments, folder=self.folder, **more)

    async def end(self, running: Running, seconds: float = SECONDS) -> Outcome:
        """Wait for the end of a process; a hang or a traceback is a lost run."""
        deadline = time.monotonic() + seconds
        while not running.ended():
            await asyncio.sleep(0.005)
            if time.monotonic() > deadline:
                running.signal(signal.SIGKILL)
                done = running.wait()
                raise LostError(f"it hangs: not over after {seconds:g} s; it printed {done.out}{done.err}")
        done = running.wait()
        with (self.folder / "log").open("a") as log:
            log.write(f"{done.out}{done.err}# exit {done.code}\n")
        demand("Traceback" not in done.out + done.err, f"a traceback: {done.err[-400:]}")
        return done

    async def run(
        self, *arguments: str, fault: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None
    ) -> Outcome:
        """`engine ARGUMENTS` to its end."""
        return await self.end(self.start(*arguments, fault=fault, environment=environment))

    async def strike(self, *arguments: str, fault: Mapping[str, str]) -> Outcome:
        """`engine ARGUMENTS` with a fault, which must have come to pass."""
        before = len(self.hits())
        done = await self.run(*arguments, fault=fault)
        if len(self.hits()) == before:
            raise MissedError(f"{fault} did not come to pass in: engine {shlex.join(arguments)}")
        return done

    def hits(self) -> list[str]:
        """The faults that came to pass in this case."""
        path = self.folder / "hits"
        return path.read_text().splitlines() if path.exists() else []

    async def resume(self, *more: str, made_twice: str = "") -> Outcome:
        """Resume as a user would, by the recipe or by the run's folder, to the end; then nothing may be lost."""
        if not any(self.folder.glob("runs/toy/*/recipe.json")):
            done = await self.run("run", "toy.toml", *more)  # it died before there was anything to go on with
        elif self.rng.random() < 0.5:
            done = await self.run("run", "toy.toml", "--resume", *more)
        else:
            done = await self.run("run", str(self.run_folder.relative_to(self.folder)), "--resume")
        demand(done.code == 0, f"resuming ends with {done.code}: {done.out[-300:]}{done.err}")
        self.nothing_lost(made_twice)
        return done

    def nothing_lost(self, made_twice: str = "") -> None:
        """The run is done, and its weights, losses and held-out figures are those of the untouched run, bit for bit.

        Of the steps of stage `made_twice`, which the fault itself had spoilt, only the last loss counts.
        """
        self.same_weights()
        run, other = self.run_folder, only_run(self.reference)
        demand(self.is_done(), "the status is not 'done'")
        for stage in STAGES:
            for path in sorted((other / f"stage-{stage}").glob("evaluation-after-*.json")):
                here = run / f"stage-{stage}" / path.name
                demand(here.exists(), f"{here} is missing")
                demand(json.loads(here.read_text()) == json.loads(path.read_text()), f"{here} has other figures")
        expected = losses(other)
        found = {
            (stage, step): values[-1:] if stage == made_twice else values
            for (stage, step), values in losses(run).items()
        }
        demand(found.keys() == expected.keys(), f"steps without a record: {sorted(expected.keys() - found.keys())}")
        other_losses = [place for place, values in found.items() if set(values) != set(expected[place])]
        demand(not other_losses, f"other losses at {other_losses}")

    def same_weights(self) -> None:
        """Every stage handed on the weights of the untouched run, bit for bit."""
        for stage in STAGES:
            path = self.run_folder / f"stage-{stage}" / "weights.safetensors"
            demand(path.exists(), f"stage {stage} handed on no weights")
            other = only_run(self.reference) / f"stage-{stage}" / "weights.safetensors"
            demand(same(path, other), f"the weights of stage {stage} differ from the untouched run's")

    def note_kill(self) -> None:
        """After a kill: note whether a save was under way."""
        in_operation = any(hit.startswith("operation") for hit in self.hits()[-1:])
        self.place.saves.append(in_operation or any(self.folder.glob("runs/toy/*/stage-*/checkpoints/.*")))


KindOfFault = Callable[[Case], Awaitable[None]]


def only_run(folder: Path) -> Path:
    """The one run under `folder`; a process that dies before it has written its recipe leaves none."""
    found = [recipe.parent for recipe in folder.glob("runs/toy/*/recipe.json")]
    demand(len(found) == 1, f"{len(found)} runs where one is expected")
    return found[0]


def tensors(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Every tensor of a weights file, by its bits."""
    return {
        name: (str(tensor.dtype), tuple(tensor.shape), tensor.contiguous().numpy().tobytes())
        for name, tensor in load_file(path).items()
    }


def same(one: Path, other: Path) -> bool:
    """Whether two weights files hold the same bits under the same names."""
    return tensors(one) == tensors(other)


def losses(run: Path) -> dict[tuple[str, int], list[float]]:
    """Every loss that a run wrote down, by stage and step: a step made again after a resume has one more."""
    found: dict[tuple[str, int], list[float]] = {}
    for number, line in enumerate((run / "events.jsonl").read_text().splitlines(), 1):
        try:
            event = json.loads(line)
        except ValueError as error:
            raise LostError(f"line {number} of events.jsonl is damaged: {line[:80]!r}") from error
        if event["event"] == "step":
            found.setdefault((event["stage"], event["step"]), []).append(event["loss"])
    return found


def checkpoints(run: Path) -> list[Path]:
    """The whole checkpoints of a run, oldest first, each held against the digests of its own manifest."""
    found = sorted(run.glob("stage-*/checkpoints/step-*"))
    for folder in found:
        manifest = json.loads((folder / "manifest.json").read_text())
        for name, digest in manifest["files"].items():
            whole = hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
            demand(whole, f"{folder / name} differs from its digest")
        load_file(folder / "weights.safetensors")
    return found


def workplace_folder() -> Path:
    """A fresh folder for a campaign; in memory where there is one, so that hundreds of runs do not wait for a disk."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="faults-", dir=memory if os.access(memory, os.W_OK) else None))
