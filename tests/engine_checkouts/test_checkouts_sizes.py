"""Pictures of mixed sizes train a network from a checkout in one stage, and what pads them has no part in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from checkout_world import FOLDERS, network, one_stage, pair, tiny, trainable
from conftest import Command
from engine_stereo.data.images import write_image
from engine_stereo.data.pfm import write_pfm
from engine_stereo.options import InitialOptions, SequenceOptions
from engine_stereo.sequence import Initial, Sequence
from torch import Tensor

SIZES = [(60, 100), (40, 90), (70, 130)]


def files(folder: Path) -> Path:
    """A manifest of pairs of mixed sizes."""
    folder.mkdir()
    rows = ["left,right,disparity"]
    for number, (height, width) in enumerate(SIZES):
        made = {name: value[0].numpy() for name, value in pair(height, width, seed=number).items()}
        for side in ("left", "right"):
            write_image(folder / f"{side}{number}.png", made[side])
        write_pfm(folder / f"{number}.pfm", made["disparity"][0])
        rows.append(f"left{number}.png,right{number}.png,{number}.pfm")
    (folder / "own.csv").write_text("\n".join(rows))
    return folder / "own.csv"


def mixed(folder: Path) -> Path:
    """The recipe of one stage on pairs of mixed sizes, in batches of two."""
    recipe = one_stage(folder, "foundation_stereo", FOLDERS["foundation_stereo"])
    buckets = "{ sizes = [[32, 64], [64, 32], [64, 64]] }"
    train, val = (f'"{files(folder / part)}"' for part in ("train", "val"))
    lines = recipe.read_text().splitlines()
    told = {
        "train =": f'train = {{ plugin = "manifest", file = {train}, buckets = {buckets} }}',
        "val =": f'val = {{ plugin = "manifest", file = {val} }}',
    }
    kept = [next((new for old, new in told.items() if line.startswith(old)), line) for line in lines]
    recipe.write_text("\n".join(kept).replace("[evaluate]", "[evaluate]\nbatch_size = 1"))
    return recipe


def small(**more: Any) -> list[str]:
    """Arguments of `tiny` without those of the scenes."""
    words = tiny(4, train__workers=2, **more)
    both = zip(words[::2], words[1::2], strict=True)
    return [word for flag, value in both if not value.startswith("data.") for word in (flag, value)]


@pytest.mark.usefixtures("quick_processes")
def test_an_interrupted_run_on_mixed_sizes_goes_on_bit_for_bit(engine: Command, tmp_path: Path) -> None:
    done = engine("verify-resume", mixed(tmp_path), "--steps", "4", *small())
    assert done.code == 0, done.err
    assert "bit for bit" in done.out


@pytest.mark.parametrize("preset", ["foundation_stereo", "raft_stereo"])
def test_nothing_that_the_network_answers_in_its_margin_reaches_a_loss(preset: str) -> None:
    batch = pair(60, 100, size=2)
    losses = [Sequence(SequenceOptions()), *([Initial(InitialOptions())] if preset == "foundation_stereo" else [])]

    def learnt(spoil: float | None) -> tuple[float, list[Tensor]]:
        made = trainable(network(preset, seed=1))

        def margin(answer: Any) -> Any:
            if isinstance(answer, list | tuple):
                return type(answer)(margin(each) for each in answer)
            step = 64 // answer.shape[-2]
            inside = torch.zeros_like(answer, dtype=torch.bool)
            inside[..., : 60 // step, : 100 // step] = True
            return torch.where(inside, answer, torch.full_like(answer, spoil or 0.0))

        if spoil is not None:
            made._network.register_forward_hook(lambda module, given, answer: margin(answer))
        torch.manual_seed(0)
        total = torch.stack([loss(made(batch), batch) for loss in losses]).sum()
        total.backward()
        return total.item(), [each.grad for each in made.parameters() if each.grad is not None]

    plain, gradients = learnt(None)
    spoilt, others = learnt(float("nan"))
    assert plain == spoilt
    assert all(torch.equal(one, other) for one, other in zip(gradients, others, strict=True))
