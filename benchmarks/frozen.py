"""What a frozen base costs in stage B of recipes/s2m2_pol.toml: with its graph, without, and read from the cache.

naive: the base builds a graph. frozen: it runs without one, on crops. whole: on whole frames, whose answers are cut
(`augment = "after-cache"`). cached: the same, read from the store. All steps take the same crops, batches and losses.
Rounds go naive, frozen, whole, cached; each kind's time is told by its minimum and median, ratios by the median of the
rounds'. Fewer samples than the recipe's are filled; fill time and store are told for as many as it has.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from engine.data.frozen import WholeFrames
from engine.data.loader import Order, to_device, training_batches
from engine.recipe.load import load_recipe
from engine.stages import freeze
from engine.stages.caching import training_samples
from engine.stages.patterns import select_stage
from engine.stages.session import Session, stage_seed
from engine.training.losses import WeightedLosses
from engine.training.optimizer import build_optimizer
from engine.training.state import seed_everything

RECIPE = Path(__file__).parents[1] / "recipes" / "s2m2_pol.toml"
KINDS = {
    "naive": ("off", "before-cache"),
    "frozen": ("off", "before-cache"),
    "whole": ("off", "after-cache"),
    "cached": ("on", "after-cache"),
}


class Pretrained(Session):
    """The recipe's session; a size for which the plugin ships no weights starts from fresh ones."""

    def pretrained(self) -> Path | None:
        return super().pretrained() if self.recipe.model.options.size == "nano" else None


class Trained:
    """Stage B of one kind, taken step by step."""

    def __init__(self, kind: str, size: str, samples: int, folder: Path) -> None:
        cache, augment = KINDS[kind]
        sets = [f"model.size={size}", f"data.train.count={samples}", f"stage.B.cache={cache}"]
        sets += [f"stage.B.augment={augment}"]
        recipe = load_recipe(RECIPE, sets)
        self.notes: list[Any] = []
        session = Pretrained(recipe, recipe.registry, self.notes.append)
        stage = next(each for each in recipe.stages if each.name == "B")
        index = recipe.stages.index(stage)
        self.system = session.system()
        selection = select_stage(session.recipe, stage, index, self.system)
        get = session.plugins.get
        losses = [(each.name, each.weight, get("losses", each.name).build(each.options)) for each in stage.train.losses]
        self.losses = WeightedLosses(losses)
        freeze.apply(self.system, selection)
        data = training_samples(session, stage, index, self.system, selection, self.losses, folder)
        if kind == "naive":
            self.system.base.requires_grad_(True)
            self.system.base_trains = True
        seed_everything(stage_seed(recipe.seed, stage.name))
        self.optimizer = build_optimizer(self.system, selection, stage.train.optimizer)
        self.parameters = [each for group in self.optimizer.param_groups for each in group["params"]]
        order = Order(samples, stage.train.batch_size, recipe.seed, stage.name)
        self.batches: Iterator[Any] = (
            data.batches(order, 0, 1 << 30, 0)
            if isinstance(data, WholeFrames)
            else training_batches(data, order, 0, 1 << 30, workers=0, pin=False)
        )
        self.batch_size, self.clip = stage.train.batch_size, stage.train.clip_norm

    def step(self) -> None:
        batch = to_device(next(self.batches), torch.device("cpu"))
        loss, _ = self.losses(self.system(batch, warp="gt"), batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.clip or float("inf"))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.system.base.zero_grad(set_to_none=True)

    def told(self) -> dict[str, Any]:
        return next(each.details for each in self.notes if "seconds" in getattr(each, "details", {}))

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: each.detach().clone() for name, each in self.system.injection.named_parameters()}


def timed(work: Callable[[], None], steps: int) -> tuple[float, float]:
    """Milliseconds a step: of the clock, and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    for _ in range(steps):
        work()
    return 1e3 * (time.perf_counter() - clock) / steps, 1e3 * (time.process_time() - processor) / steps


def measure(size: str, samples: int, rounds: int, steps: int, count: int, folder: Path) -> list[str]:
    """The rows of one size."""
    kinds = {kind: Trained(kind, size, samples, folder) for kind in KINDS}
    told = kinds["cached"].told()
    for each in kinds.values():
        each.step()  # warms up
    times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, each in kinds.items():
            times[kind].append(timed(each.step, steps))
    batch = kinds["cached"].batch_size
    rows = []
    for kind, pairs in times.items():
        clock, processor = zip(*pairs, strict=True)
        faster = [one[1] / cached[1] for one, cached in zip(pairs, times["cached"], strict=True)]
        rows.append(
            f"| {size} | {kind} | {min(clock):.0f} | {statistics.median(clock):.0f} | {min(processor):.0f} | "
            f"{statistics.median(processor):.0f} | {1e3 * batch / statistics.median(clock):.1f} | "
            f"{statistics.median(faster):.1f} ({min(faster):.1f} .. {max(faster):.1f}) |"
        )
    one, other = kinds["whole"].weights(), kinds["cached"].weights()
    apart = max(float((one[name] - other[name]).abs().max()) for name in one)
    largest = max(float(each.abs().max()) for each in one.values())
    median = {kind: statistics.median(clock for clock, _ in pairs) / 1e3 / batch for kind, pairs in times.items()}
    fill = told["seconds"] / samples
    store = sum(file.stat().st_size for file in Path(told["store"]).rglob("*") if file.is_file()) / samples
    rows.append(
        f"{size}: after {1 + rounds * steps} steps the weights of whole and cached differ by at most {apart:.1e} (the "
        f"largest is {largest:.2f}); answers alone and in a batch by {told['apart_in_a_batch']:.1e} px. Filling "
        f"{count} samples takes {fill * count:.1f} s and {store * count / 1e6:.0f} MB, and has paid after "
        f"{fill / (median['whole'] - median['cached']):.2f} epochs against whole, "
        f"{fill / (median['frozen'] - median['cached']):.2f} against frozen."
    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=["nano", "S"])
    parser.add_argument("--samples", type=int, default=32, help="training scenes that are filled and drawn")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=2, help="steps of each kind in a round")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    count = load_recipe(RECIPE).data["train"].options.count
    print(f"torch {torch.__version__}, one thread, {asked.rounds} rounds of {asked.steps} steps of 8 samples\n")
    head = ["size", "kind", "ms, min", "median", "CPU ms, min", "median", "samples/s", "times slower than cached, CPU"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    notes = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ENGINE_CACHE"] = folder
        for size in asked.sizes:
            *rows, note = measure(size, asked.samples, asked.rounds, asked.steps, count, Path(folder))
            print("\n".join(rows), flush=True)
            notes.append(note)
    print("", *notes, sep="\n")


if __name__ == "__main__":
    main()
