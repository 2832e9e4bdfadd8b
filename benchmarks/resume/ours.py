"""The engine itself, by its command line: `engine run`, and `engine run --resume` in a new process."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from cell import Cell, script
from safetensors.torch import load_file
from work import BATCH, BOUNDARY, EPOCH_STEPS, LEARNING_RATE, SAVE_EVERY, SEED, STEPS, WEIGHT_DECAY, Watch

import engine.cli.main
import engine.runs.execute  # what a run imports by and by, so that a fork of this process starts at once

HERE = Path(__file__).parent
ONE_STAGE = "engine run"
TWO_STAGES = "engine run, two stages"
PREFIX = "base.network."


def recipe(asked: Cell) -> str:
    """The recipe; a stage's title tells the plugin how many steps the stages before it make."""
    lines = [
        'name = "resume"',
        f"seed = {SEED}",
        f'plugins = ["{HERE / "ours_plugin.py"}"]',
        f'model = {{ plugin = "resume_work", dropout = {asked.variant.dropout} }}',
        "[data]",
        f'train = {{ plugin = "resume_work", split = "train", augment = {str(asked.variant.augment).lower()} }}',
        'val = { plugin = "resume_work", split = "val" }',
        "[train]",
        f"batch_size = {BATCH}",
        f"workers = {asked.workers}",
        f"optimizer = {{ lr = {LEARNING_RATE}, weight_decay = {WEIGHT_DECAY} }}",
        'schedule = { name = "constant", warmup = 0.0 }',
        'losses = [{ name = "resume_work" }]',
        "clip_norm = 0",
        "log_every = 1",
        f"evaluate_every = {EPOCH_STEPS}",
        f"checkpoint_every = {SAVE_EVERY}",
        "[evaluate]",
        f"batch_size = {BATCH}",
        'metrics = [{ name = "resume_work" }]',
    ]
    whole = {"all": (0, STEPS)}
    split = {"first": (0, BOUNDARY - 1), "second": (BOUNDARY - 1, STEPS)}
    for name, (first, last) in (split if asked.flavour == TWO_STAGES else whole).items():
        lines += ["[[stage]]", f'name = "{name}"', f'title = "{first}"', 'trainable = ["**"]', "injection = false"]
        lines += [f"steps = {last - first}"] + (['init = "first"'] if name == "second" else [])
    return "\n".join(lines) + "\n"


def main(asked: Cell) -> int:
    path, runs = asked.folder / "recipe.toml", asked.folder / "runs"
    if not asked.resumes:
        path.write_text(recipe(asked))
    watch = {"folder": str(asked.folder), "attempt": asked.attempt, "stop": asked.stop}
    os.environ["RESUME_WATCH"] = json.dumps(watch)
    sys.argv = ["engine", "run", str(path), "--runs", str(runs), *(["--resume"] if asked.resumes else [])]
    try:
        engine.cli.main.main()
    except SystemExit as ended:
        if ended.code:
            return int(ended.code)
    keep_weights(asked.folder)
    return 0


def keep_weights(folder: Path) -> None:
    """Copy what the last stage of the run in `folder` handed on to where every trainer leaves its weights."""
    files = folder.glob("runs/resume/*/stage-*/weights.safetensors")
    weights = load_file(max(files, key=lambda file: file.stat().st_mtime_ns))
    Watch(folder, 0, None).finish({name.removeprefix(PREFIX): tensor for name, tensor in weights.items()})


if __name__ == "__main__":
    script(main, (ONE_STAGE, TWO_STAGES), ("experiment-engine", "torch"))
