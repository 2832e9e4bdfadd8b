"""Zarr stores beside the run: the frozen base's outputs, killed while they are made or damaged later; packed data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

from faults.damage import harm
from faults.kills import kill
from faults.workplace import STAGES, Case, demand

CACHED = ("--set", "stage.B.cache='on'")
SAMPLES, BATCH = 24, 2
SCENES = {"plugin": "scenes", "height": 32, "width": 32}


async def _fixed_data(case: Case) -> None:
    """A cache asks for data without random augmentation; the reference is without the cache."""

    async def untouched(first: Case) -> None:
        first.write(data={"train": {"noise": False}})
        done = await first.run("run", "toy.toml")
        demand(done.code == 0, f"the run on fixed data fails: {done.err}")

    case.reference = await case.place.once("fixed data", untouched)
    case.write(data={"train": {"noise": False}})


def frozen_outputs(case: Case, pattern: str = "*.zarr") -> list[Path]:
    """The stores of frozen outputs."""
    return sorted((case.folder / "cache" / "frozen").glob(pattern))


async def killed_in_the_fill(case: Case) -> None:
    """kill -9 while the frozen base's outputs are computed; the weights are those without the cache."""
    await _fixed_data(case)
    # From the third call on: the store is begun after the first batch, of which one sample is asked once more, alone.
    await kill(case, f"forward B {case.rng.randrange(3, SAMPLES // BATCH + 2)}", *CACHED)
    demand(frozen_outputs(case, "*.partial-*") and not frozen_outputs(case), "the kill did not hit the fill")
    await case.resume(*CACHED)
    demand(not frozen_outputs(case, "*.partial-*"), "half a store is left")


async def outputs_damaged(case: Case) -> None:
    """A file of the store is truncated, flipped or deleted: named, or never read; computed again it is as before."""
    await _fixed_data(case)
    moment = case.rng.choice(("stage_frozen B", "step B 2", "step B 5"))
    done = await case.strike("run", "toy.toml", *CACHED, fault={moment: "SIGTERM"})
    demand(done.code == 5, f"SIGTERM at {moment} ends with {done.code}: {done.err}")
    (store,) = frozen_outputs(case)
    path = case.rng.choice([path for path in sorted(store.rglob("*")) if path.is_file()])
    what = f"{harm(path, case.rng)} in {path.parent.name}"
    done = await case.run("run", "toy.toml", "--resume", *CACHED)
    if done.code == 0:
        case.nothing_lost()
        return
    demand(done.code == 1, f"after {what}, exit {done.code}: {done.err}")
    demand(store.name in done.err, f"after {what}, the store is not named: {done.err}")
    shutil.rmtree(store)  # as the message says
    await case.resume(*CACHED)


async def _scenes(case: Case) -> Path:
    """Bring rendered scenes into the case's cache; the chunk file of one training scene."""
    data = {"train": {**SCENES, "count": 6}, "val": {**SCENES, "split": "val", "count": 2}}

    async def untouched(first: Case) -> None:
        first.write(data=data)
        done = await first.run("run", "toy.toml")
        demand(done.code == 0, f"the run on scenes fails: {done.err}")

    case.reference = await case.place.once("scenes", untouched)
    shutil.copytree(case.reference / "cache", case.folder / "cache")
    case.write(data=data)
    chunks = [path for path in (case.folder / "cache").rglob("c/*/0/0/0") if "train" in str(path)]
    return case.rng.choice(sorted(chunks))


async def chunk_damaged_stop(case: Case) -> None:
    """A damaged chunk of packed data: exit 1, array and sample are named; with the file back, nothing is lost."""
    chunk = await _scenes(case)
    whole = chunk.read_bytes()
    what = harm(chunk, case.rng)
    done = await case.run("run", "toy.toml")
    demand(done.code == 1, f"after {what}, exit {done.code}: {done.err}")
    sample, array = f"train-{int(chunk.parts[-4]):05d}", chunk.parts[-6]
    demand(sample in done.err and f"'{array}'" in done.err, f"{array} of {sample} is not named: {done.err}")
    chunk.write_bytes(whole)
    await case.resume()


async def chunk_damaged_skip(case: Case) -> None:
    """The same with `damaged = "skip"`: the run completes, also through a kill, the sample is named and counted."""
    chunk = await _scenes(case)
    harm(chunk, case.rng)
    skip = ("--set", "data.train.damaged='skip'")
    await kill(case, case.place.moment(case.rng, "step"), *skip)
    done = await case.run("run", "toy.toml", "--resume", *skip)
    demand(done.code == 0, f"a damaged chunk that may be skipped ends with {done.code}: {done.err}")
    run = case.run_folder
    told = [json.loads(line).get("details") or {} for line in (run / "events.jsonl").read_text().splitlines()]
    counted = [name for details in told for name in details.get("damaged", [])]
    demand(set(counted) == {f"train-{int(chunk.parts[-4]):05d}"}, f"passed over and counted: {counted}")
    done = await case.run("run", "toy.toml", *skip, "--runs", "untouched")
    demand(done.code == 0, f"the untouched run with a damaged chunk ends with {done.code}: {done.err}")
    (case.folder / "reference").mkdir()
    (case.folder / "untouched").rename(case.folder / "reference" / "runs")
    case.reference = case.folder / "reference"
    case.nothing_lost()
    for stage in STAGES:
        weights = load_file(run / f"stage-{stage}" / "weights.safetensors").values()
        demand(all(bool(torch.isfinite(each).all()) for each in weights), f"stage {stage} is not finite")


KINDS = {
    "kill -9 while frozen outputs are cached": (killed_in_the_fill, 6),
    "cached frozen outputs damaged": (outputs_damaged, 6),
    "chunk of data damaged, policy stop": (chunk_damaged_stop, 5),
    "chunk of data damaged, policy skip": (chunk_damaged_skip, 3),
}
