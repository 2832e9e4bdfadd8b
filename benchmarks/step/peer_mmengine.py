"""MMEngine's Runner, without checkpoints and the hook that seeds a sampler (once an epoch); bare: without its hooks."""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor
from work import STEPS, Ready, Run, batches, loss_of, network, optimizer_of, script

HOOKS = ("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint")


class Model(BaseModel):
    def __init__(self, modules: int) -> None:
        super().__init__()
        self.network = network(modules)

    def forward(self, x: Tensor, y: Tensor, mode: str) -> Any:
        predicted = self.network(x)
        return {"loss": loss_of(predicted, y)} if mode == "loss" else predicted


def main(asked: Run) -> None:
    model = Model(asked.modules)
    shipped = {"checkpoint": {"type": "CheckpointHook", "by_epoch": False, "interval": -1}, "sampler_seed": None}
    runner = Runner(
        model=model,
        work_dir=str(asked.folder / "runs"),
        train_dataloader=Ready(batches()),
        train_cfg={"by_epoch": False, "max_iters": STEPS},
        optim_wrapper=OptimWrapper(optimizer_of(model)),
        default_hooks=dict.fromkeys(HOOKS) if asked.bare else shipped,
        log_processor={"by_epoch": False},
    )
    runner.train()


if __name__ == "__main__":
    script(main, ("mmengine",))
