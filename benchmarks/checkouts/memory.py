"""Memory and speed of a step with and without recomputed activations, in float32 and bfloat16.

python benchmarks/checkouts/memory.py --checkout FOLDER [--preset raft_stereo]. Each combination is a process of its
own: MiB of activations that a forward pass keeps for the backward pass, the process's peak over what it had before its
first step (gradients and moments among it), and the seconds of a step, median and range: of the clock on a GPU, of the
processor on a CPU, which others may share. With --soak N the first of them makes N more steps, and tells by how much it
grew over their second half.

FoundationStereo's backward pass in bfloat16 ends the process on a CPU: there only its forward pass is measured.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from engine_checkouts.network import Checkout, built
from engine_checkouts.options import CheckoutOptions
from engine_checkouts.presets import PRESETS
from engine_stereo.options import SequenceOptions
from engine_stereo.sequence import Sequence

PAGE = resource.getpagesize()
WARM = 1  # steps before the clock: the first one allocates


def pair(height: int, width: int, device: str) -> dict[str, torch.Tensor]:
    """Random texture, everywhere at 8 px."""
    numbers = torch.Generator().manual_seed(0)
    scene = 255 * torch.rand(1, 3, height, width + 8, generator=numbers)
    truth = torch.full((1, 1, height, width), 8.0)
    views = {"left": scene[..., :width], "right": scene[..., 8:], "disparity": truth}
    return {**{name: view.to(device) for name, view in views.items()}, "valid": truth.bool().to(device)}


def network(asked: argparse.Namespace, device: str) -> Checkout:
    torch.manual_seed(0)
    preset = PRESETS[asked.preset]
    segments = list(preset.segments) if asked.recompute else []
    sizes: dict[str, Any] = {"vit_size": asked.vit_size, "max_disp": asked.max_disp} if preset.backbone else {}
    more = {"allow_random_backbone": True, "checkpoint_segments": segments, "train_iters": asked.iters}
    options = CheckoutOptions(preset=asked.preset, checkout=asked.checkout, **sizes, **more)
    made = built(replace(preset, cpu_bf16=True), options).to(device).train()
    for pattern in preset.never_trained():
        made.get_submodule(pattern.removeprefix("base.").removesuffix(".**")).requires_grad_(False)
    return made


def resident() -> float:
    """MiB that the process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 2**20


def peak() -> float:
    """MiB that the process had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def kept(made: Checkout, batch: dict[str, torch.Tensor], cast: torch.autocast) -> float:
    """MiB of activations that a forward pass keeps."""
    own = {each.untyped_storage().data_ptr() for each in made.parameters()}
    found: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), cast:
        answer = made(batch)
        total = sum(found.values()) / 2**20
    del answer
    return total


def one(asked: argparse.Namespace) -> dict[str, Any]:
    """The figures of one combination, in this process."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(asked.threads)
    half = asked.precision == "bf16"
    clock = time.perf_counter if device == "cuda" else time.process_time
    made, batch = network(asked, device), pair(asked.height, asked.width, device)
    loss = Sequence(SequenceOptions())
    optimizer = torch.optim.AdamW([each for each in made.parameters() if each.requires_grad], lr=1e-5)
    cast = torch.autocast(device, torch.bfloat16, enabled=half)
    before, times, grown = torch.cuda.memory_allocated() / 2**20 if device == "cuda" else resident(), [], []

    def step() -> None:
        with cast:
            total = loss(made(batch), batch)
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves Tensor.backward unannotated
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    deadly = half and device == "cpu" and not PRESETS[asked.preset].cpu_bf16
    for number in range(0 if deadly else WARM + asked.steps + asked.soak):
        began = clock()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        if WARM <= number < WARM + asked.steps:
            times.append(clock() - began)
        elif number >= WARM + asked.steps:
            grown.append(resident())
    most = (torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else peak()) - before
    half_way = len(grown) // 2
    growth = grown[-1] - grown[half_way] if grown else None
    peak_of_steps = None if deadly else most
    return {
        "kept": kept(made, batch, cast),
        "peak": peak_of_steps,
        "seconds": times,
        "growth": growth,
        "soak": len(grown),
    }


def row(asked: argparse.Namespace, recompute: bool, precision: str, soak: int) -> str:
    """One combination, in a process of its own, as a row of the table."""
    words = ["--one", "--precision", precision, *(["--recompute"] if recompute else []), "--soak", str(soak)]
    done = subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], *words], capture_output=True, text=True, check=False
    )
    name = f"| {'all segments recomputed' if recompute else 'plain'} | {precision} |"
    if done.returncode:
        return f"{name} ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]} | | | |"
    told = json.loads(done.stdout.splitlines()[-1])
    times = told["seconds"]
    if not times:
        return f"{name} {told['kept']:.0f} | forward pass alone | | | |"
    spread = f"{statistics.median(times):.2f} ({min(times):.2f} .. {max(times):.2f})"
    grew = "" if told["growth"] is None else f"{told['growth']:+.1f} in the last half of {told['soak']}"
    return f"{name} {told['kept']:.0f} | {told['peak']:.0f} | {spread} | {1 / statistics.median(times):.2f} | {grew} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, required=True)
    parser.add_argument("--preset", default="foundation_stereo", choices=list(PRESETS))
    parser.add_argument("--vit-size", default="vits")
    parser.add_argument("--max-disp", type=int, default=64)
    parser.add_argument("--height", type=int, default=64)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--iters", type=int, default=12)
    parser.add_argument("--steps", type=int, default=5, help="steps that are timed")
    parser.add_argument("--soak", type=int, default=0, help="steps after those, of the first row alone")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--recompute", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="fp32", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(asked)))
        return
    machine = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    size = f"1 x {asked.height} x {asked.width}, {asked.iters} iterations"
    print(
        f"{asked.preset}, {size}, {machine}, torch {torch.__version__}, {asked.threads} thread, {asked.steps} steps\n"
    )
    head = ("activations", "precision", "kept MiB", "peak MiB over the network", "s/step", "it/s", "growth MiB")
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    soak = asked.soak
    for precision in ("fp32", "bf16"):
        for recompute in (False, True):
            print(row(asked, recompute, precision, soak), flush=True)
            soak = 0


if __name__ == "__main__":
    main()
