"""The small work whose step is short enough to show a loop: the same network, batches and optimiser for every trainer.

A script is one trainer. It runs the work once, as the command line asks, or with `--serve` again and again, each time
in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).parents[1]))  # for what all measurements share

from serving import serve  # found by the line above

SEED = 0
BATCH, WIDTH = 32, 64
FIRST, LAST = 100, 1100
STEPS = 1150
WINDOW, PLAIN_STEPS = 50, 20
"""Steps between two looks at how fast the machine is just now, and the plain steps that tell it."""
DISTINCT = 64
"""Batches that differ; they come round again."""

LEARNING_RATE, WEIGHT_DECAY = 1e-3, 1e-5
BARE, SHIPPED = "bare", "as shipped"


class Stamps:
    """Times before and after plain steps, when the network is asked at FIRST, every WINDOW steps after it and at LAST.

    A shared machine changes its speed several times a second, by more than any trainer adds to a step. A window is
    therefore told as a multiple of the plain steps before and after it. weights: the sum of the network's at LAST.
    """

    calls = 0
    times: ClassVar[list[tuple[float, float]]] = []
    weights = 0.0
    plain: ClassVar[list[Callable[[], None]]] = []

    @classmethod
    def take(cls) -> None:
        """A stamp, the first after a warm-up."""
        if not cls.plain:
            cls.plain.append(plain_steps())
            for _ in range(5):
                cls.plain[0]()
        before = time.perf_counter()
        cls.plain[0]()
        cls.times.append((before, time.perf_counter()))


def plain_steps() -> Callable[[], None]:
    """PLAIN_STEPS steps of the work, by a network that no trainer knows."""
    module = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))
    optimizer = optimizer_of(module)
    made = batches(PLAIN_STEPS)

    def steps() -> None:
        for batch in made:
            loss_of(module(batch["x"]), batch["y"]).backward()  # type: ignore[no-untyped-call]  # torch's gap
            optimizer.step()
            optimizer.zero_grad()

    return steps


class Network(nn.Module):
    """An MLP 64-64-1, (B, 64) to (B, 1); `modules` more stand in its tree and are never called."""

    def __init__(self, modules: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))
        self.others = nn.ModuleList(nn.Identity() for _ in range(modules))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            Stamps.calls += 1
            if FIRST <= Stamps.calls <= LAST and (Stamps.calls - FIRST) % WINDOW == 0:
                Stamps.take()
            if Stamps.calls == LAST:
                Stamps.weights = sum(each.detach().abs().sum().item() for each in self.parameters())
        predicted: Tensor = self.layers(x)
        return predicted


def network(modules: int) -> Network:
    torch.manual_seed(SEED)
    return Network(modules)


def loss_of(predicted: Tensor, target: Tensor) -> Tensor:
    return (predicted - target).square().mean()


def optimizer_of(module: nn.Module, fused: bool = True) -> torch.optim.Optimizer:
    """The engine's own choice, for all: a fused AdamW."""
    return torch.optim.AdamW(module.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=fused or None)


def batches(steps: int = STEPS) -> list[dict[str, Tensor]]:
    """A batch for each of `steps`, x (32, 64) and y (32, 1), all in memory."""
    numbers = torch.Generator().manual_seed(SEED)
    mixing = torch.randn(WIDTH, 1, generator=numbers) / WIDTH**0.5
    made = []
    for _ in range(min(steps, DISTINCT)):
        x = torch.randn(BATCH, WIDTH, generator=numbers)
        made.append({"x": x, "y": (x @ mixing).tanh()})
    return [made[step % DISTINCT] for step in range(steps)]


class Ready(DataLoader[Any]):
    """The batches as a loader for trainers that ask for one: it hands out what lies in memory and does nothing else."""

    def __init__(self, made: Sequence[Any]) -> None:
        super().__init__(made, batch_size=None)  # type: ignore[arg-type]  # a list has what is asked of a data set

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch names a class of its own
        return iter(self.dataset)


@dataclass(frozen=True)
class Run:
    """setting: BARE, SHIPPED, or another that the script knows. modules: how many more stand in the tree."""

    setting: str
    modules: int
    folder: Path

    @property
    def bare(self) -> bool:
        return self.setting == BARE


def windows(times: Sequence[tuple[float, float]]) -> list[float]:
    """A step of each window as a multiple of a plain step just before and just after it."""
    multiples = []
    for (arrived, left), (arrived_again, left_again) in pairwise(times):
        plain = (left - arrived + left_again - arrived_again) / (2 * PLAIN_STEPS)
        multiples.append((arrived_again - left) / WINDOW / plain)
    return multiples


def script(main: Callable[[Run], None], packages: Sequence[str]) -> None:
    """Run `main` as the command line asks; `packages` are those whose versions matter."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", action="store_true", help="fork a run for each line on stdin, see serving.py")
    parser.add_argument("--setting", default=SHIPPED)
    parser.add_argument("--modules", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("build/bench-step"))
    torch.set_num_threads(1)

    def run(arguments: Sequence[str]) -> int:
        asked = parser.parse_args(arguments)
        asked.folder.mkdir(parents=True, exist_ok=True)
        main(Run(asked.setting, asked.modules, asked.folder))
        figures = {
            "windows": windows(Stamps.times),
            "plain": min(left - arrived for arrived, left in Stamps.times) / PLAIN_STEPS * 1e6,
            "weights": Stamps.weights,
            "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "versions": {name: version(name) for name in packages},
        }
        (asked.folder / FIGURES).write_text(json.dumps(figures))
        return 0

    if parser.parse_args().serve:
        serve(run)
    else:
        run(sys.argv[1:])


FIGURES = "figures.json"
"""What a run measured, in its folder."""
