"""Numbers that go wrong: NaN or inf in a batch, in a loss, in a gradient, by both policies of the recipe."""

from __future__ import annotations

import json

import torch
from safetensors.torch import load_file

from engine.data.loader import Order
from faults.workplace import STAGES, STEPS, Case, demand, same

SAMPLES = 24
BATCH = 2
ACCUMULATE = 2


def bad_steps(stage: str, index: int) -> list[int]:
    """The steps (from 0) of a stage that draw a sample."""
    order = Order(SAMPLES, BATCH, 0, stage)
    micro = [n for n in range(STEPS * ACCUMULATE) if index in (drawn for _, drawn in order.draws(n))]
    return sorted({n // ACCUMULATE for n in micro})


def sample_of(case: Case, stage: str) -> int:
    """A sample that `stage` draws, and that is in no stage's first batch, which is tried before the first step."""
    first = {drawn for each in STAGES for _, drawn in Order(SAMPLES, BATCH, 0, each).draws(0)}
    return case.rng.choice([index for index in range(SAMPLES) if index not in first and bad_steps(stage, index)])


def fault_of(case: Case, index: int) -> dict[str, str]:
    """NaN or inf in the sample, in the loss or in the gradient."""
    where, what = case.rng.choice(
        (("sample", "nan"), ("sample", "inf"), ("loss", "nan"), ("loss", "inf"), ("loss", "gradient"))
    )
    return {f"{where} train-{index}": what}


async def stop(case: Case) -> None:
    """Policy stop: exit 3, the batch is kept with its ids, the weights are those before it; mended, the run goes on."""
    index = sample_of(case, case.rng.choice(STAGES))
    stage = next(each for each in STAGES if bad_steps(each, index))
    fault = fault_of(case, index)
    done = await case.strike("run", "toy.toml", fault=fault)
    demand(done.code == 3, f"{fault} ends with {done.code}: {done.err}")
    step = bad_steps(stage, index)[0]
    kept = case.run_folder / f"stage-{stage}" / f"nonfinite-step-{step}.pt"
    demand(kept.exists() and kept.name in done.err, f"the batch is not kept in {kept.name}: {done.err}")
    batches = torch.load(kept, weights_only=True)
    batches = batches if isinstance(batches, list) else batches["batches"]
    ids = [name for batch in batches for name in batch["id"]]
    demand(f"train-{index}" in ids, f"train-{index} is not in {ids}")
    for folder in (case.run_folder / f"stage-{stage}" / "checkpoints").glob("step-*"):
        demand(int(folder.name.removeprefix("step-")) <= step, f"{folder.name} was saved after the bad step {step}")
        for name in ("weights.safetensors", "average.safetensors"):
            there = case.place.every_step / f"stage-{stage}" / "checkpoints" / folder.name / name
            demand(same(folder / name, there), f"{name} of {folder.name} is not that of the untouched run")
    await case.resume()


async def skip(case: Case) -> None:
    """Policy skip: the run completes, every bad step is counted, nothing that is not finite reaches the weights."""
    index = sample_of(case, case.rng.choice(STAGES))
    fault = fault_of(case, index)
    done = await case.strike("run", "toy.toml", "--set", 'train.nonfinite.policy="skip"', fault=fault)
    demand(done.code == 0, f"{fault} ends with {done.code}: {done.err}")
    for stage in STAGES:
        for name, tensor in load_file(case.run_folder / f"stage-{stage}" / "weights.safetensors").items():
            demand(bool(torch.isfinite(tensor).all()), f"{name} of stage {stage} is not finite after {fault}")
        found = [
            event["skipped"]
            for event in map(json.loads, (case.run_folder / "events.jsonl").read_text().splitlines())
            if event["event"] == "step" and event["stage"] == stage
        ]
        expected = len(bad_steps(stage, index))
        demand(found[-1] == expected, f"stage {stage} counts {found[-1]} skipped steps, {expected} were bad")


KINDS = {
    "NaN or inf, policy stop": (stop, 12),
    "NaN or inf, policy skip": (skip, 10),
}
