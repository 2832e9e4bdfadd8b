"""One measurement in a process of its own: prints seconds and peak memory as JSON.

The network comes from whatever `engine_s2m2` is found first, so that older versions can be measured too; nothing else
of the project is imported where that is all that is asked.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from engine_s2m2 import network
from torch import Tensor, nn

Batch = dict[str, Tensor]
HEIGHT, WIDTH = 256, 512
LR = 1e-6
CHECKPOINT = 200_000_000
"""Bytes that the checkpoint of one save holds."""


def filled(model: nn.Module) -> nn.Module:
    """The same weights in every version: drawn for each name, scaled by what a weight sums over."""
    for name, tensor in model.state_dict().items():
        numbers = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(crc32(name.encode())))
        tensor.copy_(numbers / (tensor.numel() / tensor.shape[0]) ** 0.5 if tensor.dim() > 1 else 0.1 * numbers)
    model.state_dict()["disp_init.layer_norm.weight"].fill_(0.6)
    model.state_dict()["global_refiner.out_feat.0.weight"].mul_(0.02)
    return model


def pair(height: int = HEIGHT, width: int = WIDTH) -> Batch:
    """A pair of noise, shifted by 12 px, with its disparity."""
    noise = torch.rand(1, 3, height, width + 12, generator=torch.Generator().manual_seed(0)) * 255
    return {"left": noise[..., :-12], "right": noise[..., 12:], "disparity": torch.full((1, 1, height, width), 12.0)}


def loss_of(prediction: Any, batch: Batch) -> Tensor:
    """Every output has a gradient, whatever losses a version knows."""
    distance = (prediction.value - batch["disparity"]).abs().mean()
    maps = (prediction.confidence, prediction.visibility, prediction.features["transport"].square().sum(-1))
    inner = (estimate.sub(12).abs().mean() for estimate in prediction.intermediates)
    total: Tensor = distance + sum(inner) + sum(each.mean() for each in maps)
    return total


@dataclass
class Step:
    """A training step of the network and what can be switched in it."""

    size: str = "S"
    options: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=lambda: {"fused": True})
    within: Callable[[], AbstractContextManager[Any]] = nullcontext
    change: Callable[[Any], None] = lambda model: None

    def __post_init__(self) -> None:
        self.model = filled(network.S2M2(network.SIZES[self.size], **self.options)).train()
        self.change(self.model)
        self.adamw = torch.optim.AdamW(self.model.parameters(), lr=LR, **self.optimizer)

    def __call__(self, batch: Batch) -> None:
        with self.within():
            loss_of(self.model(batch), batch).backward()
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)


def channels_first(model: Any) -> None:
    """Maps as torch lays them out by itself."""
    from engine_s2m2 import blocks, refinement, upsampling

    for module in (blocks, refinement, upsampling):
        module.join = lambda *maps: torch.cat(maps, 1)
    network.left_half = lambda maps: maps.chunk(2)[0]
    blocks.GELU.forward = nn.GELU.forward
    model.cnn_backbone.register_forward_pre_hook(lambda module, images: (images[0].contiguous(),))


def plain_attention() -> AbstractContextManager[Any]:
    """Attention as two products and a softmax in between."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return sdpa_kernel(SDPBackend.MATH)


STEPS: dict[str, Callable[[], Step]] = {
    "as shipped": Step,
    "channels first": partial(Step, change=channels_first),
    "attention without the fused kernel": partial(Step, within=plain_attention),
    "optimiser: a loop over tensors": partial(Step, optimizer={"foreach": False}),
    "optimiser: foreach": partial(Step, optimizer={"foreach": True}),
    "checkpointing = true": partial(Step, options={"checkpointing": True}),
    'precision = "bf16"': partial(Step, within=lambda: torch.autocast("cpu", torch.bfloat16)),
    "compile = true": partial(Step, change=lambda model: model.compile(dynamic=False)),
}


def batches(workers: int, count: int) -> Iterator[Batch]:
    """Batches of one embedded scene, through the engine's loader."""
    from engine_scenes.dataset import PolarizedScenes
    from engine_scenes.options import SceneOptions

    from engine.data.loader import Order, training_batches

    scenes = PolarizedScenes(SceneOptions(count=8, height=HEIGHT, width=WIDTH))
    scenes.prepare(lambda *_: None)
    return training_batches(scenes, Order(len(scenes), 1, 0, "A"), 0, count, workers=workers, pin=False)


def seconds(call: Callable[[], Any], repeats: int) -> list[float]:
    """Of each of `repeats` calls, after one that is not counted."""
    call()
    found = []
    for _ in range(repeats):
        begun = time.perf_counter()
        call()
        found.append(time.perf_counter() - begun)
    return found


def forward(repeats: int, out: str) -> list[float]:
    model = filled(network.S2M2(network.SIZES["S"])).eval()
    batch = pair()
    with torch.inference_mode():
        if out:
            torch.save(model.match(batch["left"], batch["right"]), out)
        return seconds(lambda: model.match(batch["left"], batch["right"]), repeats)


def backward(repeats: int, out: str) -> list[float]:
    model = filled(network.S2M2(network.SIZES["S"])).train()
    batch = pair()

    def both() -> None:
        model.zero_grad(set_to_none=True)
        loss_of(model(batch), batch).backward()

    found = seconds(both, repeats)
    if out:
        torch.save({name: each.grad for name, each in model.named_parameters()}, out)
    return found


def step(name: str, repeats: int) -> list[float]:
    run, batch = STEPS[name](), pair()
    return seconds(lambda: run(batch), repeats)


def loading(workers: int, repeats: int) -> list[float]:
    """A step of the smallest size, waiting for its batch included."""
    run, source = Step("nano"), batches(workers, repeats + 1)
    return seconds(lambda: run(next(source)), repeats)


def saving(waits: bool, repeats: int) -> list[float]:
    """The worst of fifty short steps, one of which saves a checkpoint of 200 MB."""
    from engine.checkpoints.store import CheckpointStore

    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    adamw, images = torch.optim.AdamW(model.parameters(), fused=True), torch.randn(32, 64)
    kept = {"weights": torch.zeros(CHECKPOINT // 4)}
    worst = []
    with tempfile.TemporaryDirectory(prefix="bench-s2m2-") as folder:
        store = CheckpointStore(Path(folder), keep=1)
        for turn in range(repeats):

            def one(number: int, turn: int = turn) -> None:
                model(images).square().mean().backward()
                adamw.step()
                adamw.zero_grad(set_to_none=True)
                if number == 25:
                    store.save(turn, kept, None, {}, best=False)
                    if waits:
                        store.wait()

            taken = []
            for number in range(50):
                begun = time.perf_counter()
                one(number)
                taken.append(time.perf_counter() - begun)
            worst.append(max(taken))
            store.wait()
        store.close()
    return worst


def main(what: str, repeats: int, out: str = "") -> None:
    torch.set_num_threads(1)
    work: dict[str, Callable[[], list[float]]] = {
        "forward": lambda: forward(repeats, out),
        "forward and backward": lambda: backward(repeats, out),
        "0 workers": lambda: loading(0, repeats),
        "1 worker": lambda: loading(1, repeats),
        "save, in the background": lambda: saving(False, repeats),
        "save, waiting for the disk": lambda: saving(True, repeats),
    }
    found = work[what]() if what in work else step(what, repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": found, "peak": peak}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
