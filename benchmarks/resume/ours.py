"""The engine itself, by its command line: `engine run`, and `engine run --resume` in a new process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from cell import LIMIT, Cell, script
from safetensors.torch import load_file
from work import BATCH, BOUNDARY, EPOCH_STEPS, LEARNING_RATE, SAVE_EVERY, SEED, STEPS, WEIGHT_DECAY

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
    command = [sys.executable, "-m", "engine", "run", str(path), "--runs", str(runs)]
    if asked.resumes:
        command.append("--resume")
    else:
        path.write_text(recipe(asked))
    watch = {"folder": str(asked.folder), "attempt": asked.attempt, "stop": asked.stop}
    environment = {**os.environ, "RESUME_WATCH": json.dumps(watch)}
    ended = subprocess.run(command, env=environment, check=False, timeout=LIMIT)
    if ended.returncode == 0:
        (run,) = (runs / "resume").iterdir()
        weights = load_file(max(run.glob("stage-*/weights.safetensors"), key=lambda file: file.stat().st_mtime_ns))
        asked.watch().finish({name.removeprefix(PREFIX): tensor for name, tensor in weights.items()})
    return ended.returncode


if __name__ == "__main__":
    script(main, (ONE_STAGE, TWO_STAGES), ("experiment-engine", "torch"))
