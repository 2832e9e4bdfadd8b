from __future__ import annotations

from pathlib import Path

import torch
from conftest import Command, WriteRecipe, events_of, only_run, weights_of

TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "engine")


def test_two_processes_share_each_batch_and_learn_what_one_learns(
    process: Command, engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    done = process("run", toy_recipe(train={"batch_size": 2, "ema": 0.5}), launcher=TWO, ACCELERATE_USE_CPU="true")
    assert done.code == 0, done.err
    run = only_run(tmp_path)
    assert done.out.count("held-out data") == 1, "one process tells, the other is quiet"
    assert len(events_of(run, "run_started")) == 1
    assert engine("run", toy_recipe(train={"batch_size": 4, "ema": 0.5}), "--runs", "alone").code == 0
    (alone,) = (tmp_path / "alone" / "toy").iterdir()
    for stage in "ABC":
        one, two = weights_of(alone, stage), weights_of(run, stage)
        for name in one:
            torch.testing.assert_close(two[name], one[name], atol=1e-4, rtol=1e-3)
