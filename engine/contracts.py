"""The shapes of the objects that plugins build; all are structural, nothing needs to be inherited."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from engine.prediction import Batch, Prediction

Sample = dict[str, Any]
"""One example: arrays (C, H, W), float32 or bool, and strings `id` and `scene`."""

Progress = Callable[[int, int, str], None]
"""Called as progress(done, total, what) during long preparations."""


class Dataset(Protocol):
    """Examples by index.

    Optionally also `prepare(progress)`: called once in the main process before anything is read. And `scenes()`: the
    scene of each example, in their order, by a name that no other scene has, told without reading or preparing
    anything, or None where they are not known; a run whose training and validation share one is refused. And `units()`:
    field -> unit, such as {"target": "m"}, which a packed store keeps.

    For stages with `augment = "after-cache"` it offers `augment(sample, rng)`: a whole example as training sees it,
    cropped and flipped by `rng`. The example brings the base's answer as further fields, "base.value" and so on, (C, H,
    W) as the target and to be moved like it. InputError for random changes that the base would have to see. And
    optionally `whole(index)`: the example before those changes, where `sample(index, None)` is a part of the frame.
    """

    def __len__(self) -> int:
        """How many examples there are."""
        ...

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Example `index`; `rng` drives random augmentation and is None in evaluation, where the answer is fixed.

        What all samples of a batch must share, such as their size, is drawn from `engine.data.draws.of_batch(rng)`.
        """
        ...


class Base(Protocol):
    """A torch module; `forward(batch)` gives the prediction.

    Optionally `notes`: `engine.events.Note`s on what it was built from, which the user is told once. And `traits`: name
    -> text, what its weights belong to beside its architecture, such as the axis of an attention. Weight files keep
    them, and a warning tells where weights are loaded that were trained with another.
    """

    def __call__(self, batch: Batch) -> Prediction:
        """The base's own answer."""
        ...


class Injection(Protocol):
    """A torch module that corrects a base's prediction by at most `bound`.

    bound: largest correction, in the target's units. signal: the batch fields that carry the auxiliary signal (what the
    ablations shuffle or blank). zero_init: a fresh module corrects by exactly 0, and the engine checks it. Optionally
    `reads`: all fields that it reads, those of the base's answer as "base.value", "base.confidence" and so on. Where
    the injection and all losses of a stage declare them, the frozen-output cache keeps nothing else. And optionally
    `ablations`: name -> function of a sample, which gives what the injection sees in place of fields of `signal`.
    """

    bound: float
    signal: Sequence[str]
    zero_init: bool

    def __call__(self, batch: Batch, base: Prediction, alignment: Tensor) -> Prediction:
        """`base.corrected(...)`; `alignment` is the target or the base's detached value, as the stage's warp says."""
        ...

    def correctable(self, batch: Batch) -> Tensor:
        """(B, 1, H, W) bool: valid places, of the value's height and width, at which the signal can say anything."""
        ...


class Loss(Protocol):
    """A scalar to minimise; the recipe's weight is applied by the engine. Optionally `reads`, as of an injection."""

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        """The loss, differentiable, shape ()."""
        ...


class Metric(Protocol):
    """Per-sample sums and counts, so that means over samples, pooled means and skipped samples can all be told."""

    def __call__(self, prediction: Prediction, batch: Batch) -> Mapping[str, tuple[Tensor, Tensor]]:
        """name -> (sum (B,), count (B,)); count 0 marks a sample on which the metric is not defined."""
        ...


class Export(Protocol):
    """Writes what a system answered in somebody else's format."""

    def __call__(self, prediction: Prediction, batch: Batch, folder: Path, seconds: float) -> None:
        """Write a file or more below `folder`, which is there, for each sample of the batch.

        The batch may lack the target, as the data of a contest do. seconds: what the system took for one sample.
        """
        ...


Status = Literal["pass", "warn", "fail", "nothing-to-gain", "undetermined"]


@dataclass(frozen=True)
class Verdict:
    """What a gate decided: one sentence, the figures behind it, and what to do next."""

    status: Status
    reason: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    advice: str = ""


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one pass over a data set.

    mean: name -> mean over samples with a defined value. pooled: name -> mean over all that counts, such as pixels.
    skipped: name -> samples without a defined value. per_sample: name -> one value a sample (nan = not defined).
    base_mean, base_per_sample: the same of the base alone, when an injection corrected it. ids, scenes: one a sample.
    """

    mean: Mapping[str, float]
    pooled: Mapping[str, float]
    skipped: Mapping[str, int]
    per_sample: Mapping[str, Sequence[float]]
    base_mean: Mapping[str, float]
    ids: Sequence[str]
    scenes: Sequence[str]
    base_per_sample: Mapping[str, Sequence[float]] = field(default_factory=dict)


Ablation = str
"""What the injection sees in place of its signal: "none" of it changed, another scene's ("shuffle"), "zero", or what
one of its own `ablations` makes of it."""


class GateContext(Protocol):
    """What a gate may look at; everything is held-out data in evaluation mode."""

    system: Any
    stage: str
    directory: Path

    @property
    def seed(self) -> int:
        """The run's seed."""
        ...

    def evaluate(self, warp: Literal["gt", "pred"] = "pred", ablation: Ablation = "none") -> Evaluation:
        """Metrics on the validation data, computed once for each set of weights and setting."""
        ...

    def predictions(self, warp: Literal["gt", "pred"] = "pred", data: Literal["val", "train"] = "val") -> Any:
        """Iterate (batch, prediction) over validation (or training) data without random augmentation."""
        ...


class Gate(Protocol):
    """A named check with parameters, at the entry or the exit of a stage."""

    def __call__(self, context: GateContext) -> Verdict:
        """The verdict; nothing may be changed on the way."""
        ...


@dataclass(frozen=True)
class Finding:
    """What an inspection found in a data set: one sentence, the figures behind it, and what to do.

    level: training on it gives garbage (error) or may (warning), or it is good to know (note).
    """

    level: Literal["error", "warning", "note"]
    what: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    advice: str = ""


class Inspection(Protocol):
    """Looks at samples of one data set, one after the other, and then says what is wrong with them.

    Samples may lack any field, and what an inspection does not know it passes over. Optionally also `draw(path)`:
    writes a PNG of what was seen and returns True, or returns False where there was nothing to draw.
    """

    def look(self, sample: Sample, index: int, dataset: Dataset) -> None:
        """Measure example `index`; `dataset` is where it comes from, for those that know its files."""
        ...

    def figures(self) -> Mapping[str, Any]:
        """What was measured: a row of the table each, name with its unit -> number or text."""
        ...

    def findings(self) -> Sequence[Finding]:
        """What is wrong, the worst first."""
        ...


@dataclass(frozen=True)
class Picture:
    """A picture of one sample: `pixels` (H, W, 3) uint8, what it shows, and its scale.

    note: a few words beside the name, such as a mean. scale: (text, "#rrggbb") from the lowest value to the highest,
    texts may be empty; it must follow from the sample and the options alone, so that stages can be compared.
    """

    name: str
    pixels: np.ndarray
    note: str = ""
    scale: Sequence[tuple[str, str]] = ()


class Pictures(Protocol):
    """Draws a sample and what a system answered to it; what it does not know it leaves out."""

    def __call__(self, batch: Batch, prediction: Prediction, bound: float | None) -> Sequence[Picture]:
        """The pictures of a batch of one sample; `bound` is the injection's, None where no injection corrected."""
        ...


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told first.

    name: of the recipe. id: of the run, TIME-ID, the same when it is resumed. directory: the run's, absolute. params:
    the resolved recipe, flat, as {"stage.B.steps": 250}, without what it says of trackers.
    """

    name: str
    id: str
    directory: Path
    resumed: bool
    params: Mapping[str, Any]


class Tracker(Protocol):
    """Passes a run on to another program, such as a server of experiments.

    Called by one thread, never by the one that trains, in the order of the run and `begin` first. What it raises never
    ends the run: a warning says so once, the call is counted as missed, and a later one, `begin` too where it was that
    one, is tried again. where: whom messages shall name, such as "http://localhost:5000".
    """

    where: str

    def begin(self, run: TrackedRun) -> None:
        """The run begins, or goes on after an interruption."""
        ...

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """Figures by name, "train/loss" or "val/error", at a step of the whole run; the same may come again."""
        ...

    def tags(self, step: int, tags: Mapping[str, str]) -> None:
        """Texts by name, "gate.B.entry.feasibility" -> its verdict; a later one replaces an earlier."""
        ...

    def end(self, status: str) -> None:
        """The run is over: "done", "refused", "diverged", "interrupted" or "failed"."""
        ...
