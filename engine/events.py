"""The payloads of the lifecycle hooks: plain data, so that a log line or a tracker needs nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from engine.contracts import Evaluation, Verdict

LOG = "events.jsonl"
"""The file of a run that holds its events, one a line; a stage that was taken from another run brings such a file."""


@dataclass(frozen=True)
class RunStarted:
    """name of the recipe, directory of the run, stages as (name, title, steps) in order.

    gates: all that will be asked, as (stage, "entry" or "exit", check) in the recipe's order.
    """

    name: str
    directory: Path
    stages: Sequence[tuple[str, str, int]]
    resumed: bool
    device: str
    gates: Sequence[tuple[str, str, str]] = ()


@dataclass(frozen=True)
class StageStarted:
    """stage `name`, number `index` of `total`; `source` says where its weights come from."""

    name: str
    title: str
    index: int
    total: int
    steps: int
    source: str


NOTHING_FROZEN = hashlib.sha256().hexdigest()
"""The digest of a stage in which nothing is frozen."""


@dataclass(frozen=True)
class StageFrozen:
    """Parameter counts, the digest of everything frozen, and tensors whose proof gradient was exactly zero."""

    name: str
    trainable: int
    frozen: int
    digest: str
    zero_gradient: Sequence[str]


@dataclass(frozen=True)
class Step:
    """Means since the last event: loss and its weighted terms, gradient norm, learning rate, seconds.

    gradient_norm: None where neither the guard nor clipping asked for it.
    """

    stage: str
    step: int
    steps: int
    loss: float
    terms: Mapping[str, float]
    gradient_norm: float | None
    learning_rate: float
    seconds_per_step: float
    data_share: float
    skipped: int


@dataclass(frozen=True)
class Evaluated:
    """`moment` is "before", "step N" or "after"; `warp` is "gt", "pred" or "off" (no injection).

    data: "val", or the NAME of [data.retention.NAME].
    """

    stage: str
    moment: str
    warp: str
    ablation: str
    evaluation: Evaluation
    data: str = "val"


@dataclass(frozen=True)
class GateDecided:
    """`action` is what follows: "go on", "stop", "extend", or "go on, overridden"."""

    stage: str
    at: Literal["entry", "exit"]
    check: str
    verdict: Verdict
    action: str


@dataclass(frozen=True)
class CheckpointSaved:
    """A checkpoint of `stage` at `step` will be at `path` once written; `best` when it is the best so far."""

    stage: str
    step: int
    path: Path
    best: bool


@dataclass(frozen=True)
class StageFinished:
    """`frozen_digest` equals the one of `StageFrozen`; that is what "frozen" means."""

    name: str
    seconds: float
    weights: Path
    frozen_digest: str


@dataclass(frozen=True)
class RunFinished:
    """`status` is "done", "refused" (a gate), "diverged", "interrupted" or "failed".

    summary: the final rows. gates: every verdict, with `stage`, `at`, `check`, `status`, `action` and `reason`.
    """

    status: str
    seconds: float
    directory: Path
    summary: Sequence[Mapping[str, Any]]
    message: str
    gates: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Note:
    """A sentence for the user; `details` hold its figures, or `done` and `total` of a long preparation.

    Of a `stage` that has work behind it they hold the `gates` that were asked, as in `RunFinished`, and `taken`: "here"
    where the run has finished it before, "reused" where another run has; neither where it goes on in its middle.
    """

    level: Literal["info", "warning"]
    text: str
    details: Mapping[str, Any]
