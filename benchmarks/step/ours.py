"""The engine itself.

As shipped: `engine run` as a user calls it, with five plugins that listen to every hook. Bare: the same run without
console, event log, listeners, guard and clipping. In both the samples are in memory as ready batches: what the loader
costs is left out here, as it is for every trainer.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from work import LEARNING_RATE, SEED, STEPS, WEIGHT_DECAY, Run, batches, script

import engine.cli.main  # and the rest at once, so that a fork of this process need not
from engine.data.loader import fields_of
from engine.recipe.load import load_recipe
from engine.runs.execute import execute, preflight
from engine.stages import runner
from engine.stages.session import Session

HERE = Path(__file__).parent
CLIPPED = "as shipped, every step clipped"
LISTENERS = 5
LISTENER = """
from engine import hookspecs
from engine.plugins import HOOK_OF_EVENT

heard = []


def listen(event):
    heard[:] = [event]


for name in HOOK_OF_EVENT.values():
    globals()[name] = hookspecs.hookimpl(listen, specname=name)
"""


def recipe(asked: Run) -> str:
    plugins = [HERE / "ours_plugin.py"]
    if not asked.bare:
        for number in range(LISTENERS):
            plugins.append(asked.folder.resolve() / f"listener_{number}.py")
            plugins[-1].write_text(LISTENER)
    lines = [
        'name = "step"',
        f"seed = {SEED}",
        f"plugins = {[str(plugin) for plugin in plugins]}",
        f'model = {{ plugin = "step_work", modules = {asked.modules} }}',
        "[data]",
        'train = { plugin = "step_work", split = "train" }',
        'val = { plugin = "step_work", split = "val" }',
        "[train]",
        f"optimizer = {{ lr = {LEARNING_RATE}, weight_decay = {WEIGHT_DECAY} }}",
        'losses = [{ name = "step_work" }]',
    ]
    if asked.bare:
        lines += ['schedule = { name = "constant", warmup = 0.0 }', "clip_norm = 0", f"log_every = {STEPS}"]
        lines += ['nonfinite = { policy = "off" }']
    if asked.setting == CLIPPED:
        lines += ["clip_norm = 1e-6"]
    lines += ["[evaluate]", 'metrics = [{ name = "step_work" }]']
    lines += ["[[stage]]", 'name = "only"', 'trainable = ["**"]', "injection = false", f"steps = {STEPS}"]
    return "\n".join(lines) + "\n"


def from_memory(dataset: Any, order: Any, first: int, last: int, **_: Any) -> Iterator[Any]:
    """Stands in for the engine's `training_batches`."""
    return iter([fields_of(batch, "data.train") for batch in batches()][first:last])


def main(asked: Run) -> None:
    runner.training_batches = from_memory
    path = asked.folder / "recipe.toml"
    path.write_text(recipe(asked))
    runs = asked.folder / "runs"
    if not asked.bare:
        sys.argv = ["engine", "run", str(path), "--runs", str(runs)]
        try:
            engine.cli.main.main()
        except SystemExit as ended:
            if ended.code:
                raise
        return
    loaded = load_recipe(path, [])
    session = Session(loaded, loaded.registry, loaded.registry.emit)
    preflight(session)
    folder = runs / "bare"
    folder.mkdir(parents=True, exist_ok=True)
    execute(session, folder, resumed=False)


if __name__ == "__main__":
    script(main, ("experiment-engine",))
