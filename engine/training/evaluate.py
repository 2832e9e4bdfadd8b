"""One pass over held-out data: metrics per sample and their means, the base alone beside the corrected system."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from engine.contracts import Ablation, Dataset, Evaluation, Metric, Sample
from engine.data.loader import Fixed, evaluation_batches, to_device
from engine.errors import InputError, PluginError, Problem, nearest
from engine.prediction import Batch, Prediction
from engine.reading import reading
from engine.system import System, Warp

ABLATIONS = ("none", "shuffle", "zero")
"""Those that need no injection of a certain kind."""
OWN = "own"


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; every module's own mode is put back after."""
    modes = [(each, each.training) for each in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for each, mode in modes:
            each.training = mode


def predictions(
    system: System,
    dataset: Dataset,
    *,
    batch_size: int,
    device: torch.device,
    warp: Warp = "pred",
    inject: bool = True,
    ablation: Ablation = "none",
    workers: int = 0,
    share: tuple[int, int] = (0, 1),
) -> Iterator[tuple[Batch, Prediction]]:
    """(batch, prediction) over a data set in order, or this process's share, in evaluation mode and float32."""
    signal = system.corrector.signal if system.corrector is not None else ()
    own = own_ablations(system)
    check_ablation(ablation, own)
    fixed = Fixed(dataset, signal, ablation, own)
    for batch in evaluation_batches(fixed, batch_size, workers=workers, pin=device.type == "cuda", share=share):
        moved = to_device(batch, device)
        with evaluating(system):
            prediction = system(moved, warp=warp, inject=inject)
        yield moved, prediction


def own_ablations(system: System) -> Mapping[str, Callable[[Sample], Mapping[str, Any]]]:
    """The ablations that a system's injection brings, by name."""
    own: Mapping[str, Callable[[Sample], Mapping[str, Any]]] = getattr(system.corrector, "ablations", {})
    return own


def named_ablations(names: Sequence[str], system: System) -> list[str]:
    """The ablations that a recipe names, each once; `OWN` stands for all that the system's injection brings."""
    found = [own for name in names for own in (own_ablations(system) if name == OWN else (name,))]
    return list(dict.fromkeys(found))


def check_ablation(name: str, own: Collection[str], where: str = "") -> None:
    """InputError at `where` for a name that is neither the engine's nor one of the injection's own."""
    known = [*ABLATIONS, *own]
    if name not in known:
        near = nearest(name, known)
        raise InputError(Problem(where, f"there is no ablation {name!r}", f"one of {', '.join(known)}", near))


def evaluate(
    pairs: Iterator[tuple[Batch, Prediction]],
    metrics: Sequence[tuple[str, Metric]],
    gather: Callable[[list[Figures]], list[Figures]] = lambda own: own,
) -> Evaluation:
    """Collect metrics, each with the name that messages call it by, over (batch, prediction) pairs.

    A sample on which a metric is not defined is skipped and counted, never taken as 0. `gather` gives the figures of
    all processes, each of which measured its share, in their order. PluginError for a metric that raises or returns
    anything but sums and counts.
    """
    own = Figures()
    with torch.no_grad():
        for batch, prediction in pairs:
            size = prediction.value.shape[0]
            own.ids += batch.get("id", [None] * size)
            own.scenes += batch.get("scene", [None] * size)
            for name, metric in metrics:
                own.whole.add(_measured(name, metric, prediction, batch))
                if prediction.base is not None:
                    own.base.add(_measured(name, metric, prediction.base, batch))
    own.whole.to_cpu()
    own.base.to_cpu()
    figures = Figures()
    for part in gather([own]):
        figures.extend(part)
    whole, base = figures.whole, figures.base
    ids = [str(number) if name is None else name for number, name in enumerate(figures.ids)]
    scenes = [name if scene is None else scene for name, scene in zip(ids, figures.scenes, strict=True)]
    return Evaluation(
        mean=whole.means(),
        pooled=whole.pooled(),
        skipped=whole.skipped(),
        per_sample=whole.values(),
        base_mean=base.means(),
        ids=ids,
        scenes=scenes,
        base_per_sample=base.values(),
    )


def _measured(name: str, metric: Metric, prediction: Prediction, batch: Batch) -> Mapping[str, tuple[Tensor, Tensor]]:
    with reading(f"the metric {name}"):
        answer = metric(prediction, batch)
    mistake = mistake_in(answer, prediction.value.shape[0])
    if mistake:
        raise PluginError(f"the metric {name} {mistake}")
    return answer


def mistake_in(answer: Any, size: int) -> str:
    """What a metric returned for `size` samples, and what was expected; empty where it is that."""
    expected = f"expected {{name: (sum, count)}}, two tensors of shape ({size},) with a number for each sample"
    if not isinstance(answer, Mapping):
        return f"returned {_kind(answer)}; {expected}"
    for name, pair in answer.items():
        if not isinstance(name, str):
            return f"returned {_kind(name)} as a name; {expected}"
        tensors = isinstance(pair, tuple | list) and all(isinstance(each, Tensor) for each in pair)
        if not tensors or [each.shape for each in pair] != [(size,), (size,)]:
            return f"returned {_kind(pair)} for '{name}'; {expected}"
    return ""


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_kind, value))})" if len(value) <= 2 else f"{len(value)} values"
    if value is None or isinstance(value, int | float):
        return str(value)
    return f"a value of type {type(value).__name__}"


class Tally:
    """Sums and counts a sample, by metric name."""

    def __init__(self) -> None:
        self.sums: dict[str, list[Tensor]] = {}
        self.counts: dict[str, list[Tensor]] = {}

    def add(self, figures: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Add a batch."""
        for name, (total, count) in figures.items():
            self.sums.setdefault(name, []).append(total.double())
            self.counts.setdefault(name, []).append(count.double())

    def extend(self, more: Tally) -> None:
        """Add the batches that follow."""
        for name in more.sums:
            self.sums.setdefault(name, []).extend(more.sums[name])
            self.counts.setdefault(name, []).extend(more.counts[name])

    def to_cpu(self) -> None:
        """Take the figures from the device, on which another process could not read them."""
        for parts in (*self.sums.values(), *self.counts.values()):
            parts[:] = [each.cpu() for each in parts]

    def values(self) -> dict[str, list[float]]:
        """One value a sample; nan where the metric is not defined."""
        return {name: (torch.cat(self.sums[name]) / torch.cat(self.counts[name])).tolist() for name in self.sums}

    def means(self) -> dict[str, float]:
        """Mean over samples with a defined value; names without any are left out, a value that is not finite stays."""
        means = {}
        for name in self.sums:
            total, count = torch.cat(self.sums[name]), torch.cat(self.counts[name])
            if bool((count > 0).any()):
                means[name] = float((total / count)[count > 0].mean())
        return means

    def pooled(self) -> dict[str, float]:
        """All sums over all counts."""
        counts = {name: float(torch.cat(parts).sum()) for name, parts in self.counts.items()}
        return {name: float(torch.cat(self.sums[name]).sum()) / count for name, count in counts.items() if count}

    def skipped(self) -> dict[str, int]:
        """Samples without a defined value."""
        return {name: int((torch.cat(parts) == 0).sum()) for name, parts in self.counts.items()}


@dataclass
class Figures:
    """What was measured on some samples, in their order: of the system, of the base alone, and their names."""

    whole: Tally = field(default_factory=Tally)
    base: Tally = field(default_factory=Tally)
    ids: list[str | None] = field(default_factory=list)
    scenes: list[str | None] = field(default_factory=list)

    def extend(self, more: Figures) -> None:
        """Add what was measured on the samples that follow."""
        self.whole.extend(more.whole)
        self.base.extend(more.base)
        self.ids += more.ids
        self.scenes += more.scenes
