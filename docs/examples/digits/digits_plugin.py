"""Reading digits with the help of a second sensor: a base, a bounded correction, their data, and a gate of their own.

No stereo anywhere: a *reading* is a column of eleven numbers, (11, 1, 1), ten scores for the digits 0..9 (logits) and
the angle by which the sheet is turned, in radians, counter-clockwise. docs/examples/digits.md tells the story.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from engine.contracts import GateContext, Picture, Verdict
from engine.errors import InputError, WorldError
from engine.hookspecs import Register, hookimpl
from engine.prediction import Batch, Prediction

ENGINE_API = 1

DIGITS = 10
SIDE = 8
"""Height and width of a picture: scikit-learn's digits are 8 x 8."""
TRAINED = 1200
"""So many of the 1797 digits train, the first ones; unshuffled, as neighbours may be by the same hand."""


def turned(pictures: Tensor, angle: Tensor) -> Tensor:
    """Pictures (B, 1, H, W) turned counter-clockwise by `angle` (B,), in radians, about their middle."""
    cosine, sine, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    rotation = torch.stack([cosine, -sine, zero, sine, cosine, zero], dim=1).reshape(-1, 2, 3)
    grid = F.affine_grid(rotation, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, align_corners=False)


# ---------------------------------------------------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------------------------------------------------


class SheetOptions(BaseModel):
    """Options of the data set `askew_digits`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: Literal["train", "val"] = Field("train", description="digits of the two never coincide")
    askew: float = Field(75, ge=0, le=180, description="degrees; sheets are turned by at most this, either way")
    hidden: int = Field(5, ge=0, lt=SIDE, description="rows of the camera's picture, from the top, that are covered")
    noise: float = Field(0.3, ge=0, description="standard deviation of what the mat adds; full ink is 1")


class Sheets:
    """Handwritten digits on sheets that lie askew, seen by a camera that is partly covered, felt by a mat."""

    def __init__(self, options: SheetOptions) -> None:
        self.options = options

    def __len__(self) -> int:
        return len(_digits()[1]) - TRAINED if self.options.split == "val" else TRAINED

    def scenes(self) -> list[str]:
        """Every digit is a scene of its own."""
        return [self._name(index) for index in range(len(self))]

    def sample(self, index: int, rng: np.random.Generator | None) -> dict[str, Any]:
        """Digit `index`; training draws angle and noise anew each time, otherwise each digit has its own.

        camera, mat: (1, 8, 8), 0 for paper and 1 for full ink. reading: (11, 1, 1), 1 for the digit it is, 0 for the
        others, and the angle. valid: (1, 1, 1).
        """
        options, number = self.options, self._number(index)
        drawn = rng or np.random.default_rng([number, 8])
        angle = math.radians(options.askew) * drawn.uniform(-1, 1)
        ink, digit = torch.from_numpy(_digits()[0][number]), int(_digits()[1][number])
        sheet = turned(ink[None, None], torch.tensor([angle], dtype=torch.float32))[0].numpy()
        camera = sheet.copy()
        camera[:, : options.hidden] = 0
        reading = np.zeros((DIGITS + 1, 1, 1), np.float32)
        reading[digit], reading[DIGITS] = 1, angle
        return {
            "camera": camera,
            "mat": (sheet + options.noise * drawn.standard_normal(sheet.shape)).astype(np.float32),
            "reading": reading,
            "valid": np.ones((1, 1, 1), bool),
            "id": self._name(index),
            "scene": self._name(index),
        }

    def _number(self, index: int) -> int:
        return index + TRAINED if self.options.split == "val" else index

    def _name(self, index: int) -> str:
        return f"digit-{self._number(index)}"


@cache
def _digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """All pictures (1797, 8, 8), full ink 1, and what they show (1797,); scikit-learn brings them."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        cure = 'pip install "experiment-engine[examples]"'
        raise WorldError(f"the digits come with scikit-learn, and it cannot be imported: {error}; {cure}") from error

    pictures, digits = load_digits(return_X_y=True)
    return (pictures.reshape(-1, SIDE, SIDE) / 16).astype(np.float32), digits


# ---------------------------------------------------------------------------------------------------------------------
# Base and correction
# ---------------------------------------------------------------------------------------------------------------------


class ReaderOptions(BaseModel):
    """Options of the model `digit_reader`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(8, ge=1, description="channels of the first layer")


class Reader(nn.Module):
    """A small classifier that sees the camera alone, and tells the digit and how the sheet lies."""

    def __init__(self, options: ReaderOptions) -> None:
        super().__init__()
        width = options.width
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * width * (SIDE // 2) ** 2, 4 * width),
            nn.ReLU(),
        )
        self.digit = nn.Linear(4 * width, DIGITS)
        self.angle = nn.Linear(4 * width, 1)

    def forward(self, batch: Batch) -> Prediction:
        """The reading, (B, 11, 1, 1); the confidence is the softmax of the digit that it reads, (B, 1, 1, 1)."""
        seen = self.body(batch["camera"])
        scores, angle = self.digit(seen).float(), self.angle(seen).float()
        sure = scores.softmax(1).amax(1)
        return Prediction(torch.cat([scores, angle], 1)[..., None, None], confidence=sure[:, None, None, None])


class MatOptions(BaseModel):
    """Options of the injection `pressure_mat`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bound: float = Field(gt=0, description="largest change of a score, in logits")
    width: int = Field(32, ge=1, description="numbers of the hidden layer")


class MatCorrection(nn.Module):
    """Turns what the mat felt upright, and moves each score by bound * tanh(raw); the angle stays as it is.

    It is two layers without any notion of turning: only a mat that was turned back by the right angle tells it much.
    """

    signal = ("mat",)
    reads = ("mat", "base.value")
    zero_init = True

    def __init__(self, options: MatOptions) -> None:
        super().__init__()
        self.bound = options.bound
        self.body = nn.Sequential(nn.Linear(SIDE * SIDE + DIGITS, options.width), nn.ReLU())
        self.head = nn.Linear(options.width, DIGITS)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch, base: Prediction, alignment: Tensor) -> Prediction:
        """alignment (B, 11, 1, 1): a reading, the true one or the base's; of it the angle is used and nothing else."""
        upright = turned(batch["mat"], -alignment[:, DIGITS, 0, 0].float())
        scores = base.value[:, :DIGITS].detach()
        raw = self.head(self.body(torch.cat([upright.flatten(1), scores.flatten(1)], 1))).float()
        raw = F.pad(raw, (0, 1))[..., None, None]  # 0 for the angle, of which tanh is 0 too
        return base.corrected(self.bound * torch.tanh(raw), raw)

    def correctable(self, batch: Batch) -> Tensor:
        """(B, 1, 1, 1) bool: the mat feels every sheet."""
        return torch.as_tensor(batch["valid"])


# ---------------------------------------------------------------------------------------------------------------------
# Losses, the metric, and pictures for the report
# ---------------------------------------------------------------------------------------------------------------------


class Nothing(BaseModel):
    """There is nothing to choose."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DigitLoss:
    """Cross-entropy of the ten scores."""

    reads = ("reading", "base.value")

    def __init__(self, options: Nothing) -> None:
        pass

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        """A scalar, in nats."""
        return _mean(F.cross_entropy(_scores(prediction), _digit(batch), reduction="none"), batch)


class AngleLoss:
    """Smooth L1 of the angle."""

    reads = ("reading", "base.value")

    def __init__(self, options: Nothing) -> None:
        pass

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        """A scalar, in radians beyond an error of 0.1."""
        each = F.smooth_l1_loss(_angle(prediction.value), _angle(batch["reading"]), reduction="none", beta=0.1)
        return _mean(each, batch)


class Mistakes:
    """Whether the digit is read wrong (1) or right (0), and by how many degrees the angle is off."""

    def __init__(self, options: Nothing) -> None:
        pass

    def __call__(self, prediction: Prediction, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        """name -> (sum (B,), count (B,))."""
        known = batch["valid"].flatten().float()
        wrong = _scores(prediction).argmax(1) != _digit(batch)
        off = torch.rad2deg((_angle(prediction.value) - _angle(batch["reading"])).abs())
        return {"wrong": (wrong * known, known), "angle": (off * known, known)}


class SheetPictures:
    """What the camera sees, what the mat felt, the mat turned upright by the angle that was read, and the scores."""

    def __init__(self, options: Nothing) -> None:
        pass

    def __call__(self, batch: Batch, prediction: Prediction, bound: float | None) -> Sequence[Picture]:
        """Pictures of one sheet; ink from 0 to 1, scores as probabilities."""
        angle, truth = _angle(prediction.value), int(_digit(batch)[0])
        read = int(_scores(prediction)[0].argmax())
        scale = (("0", "#ffffff"), ("1, full ink", "#000000"))
        upright = turned(batch["mat"], -angle)
        found = [
            Picture(name, _drawn(1 - ink[0, 0]), scale=scale)
            for name, ink in (("camera", batch["camera"]), ("mat", batch["mat"]), ("mat turned back", upright))
        ]
        note = f"reads {read}, it is {truth}; turned by {math.degrees(angle.item()):.0f}°"
        probabilities = _scores(prediction).softmax(1)[0]
        heights = torch.arange(SIDE, 0, -1).to(probabilities)[:, None] / SIDE
        bars = 1 - (probabilities >= heights - 0.5 / SIDE).float()
        scores = Picture("probability of 0 .. 9", _drawn(bars), note, scale=(("no", "#ffffff"), ("yes", "#000000")))
        return [*found, scores]


def _drawn(shade: Tensor) -> NDArray[np.uint8]:
    """(H, W) shades, 1 is white, as a picture sixteen times as large."""
    grey = (shade.float().cpu().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return np.repeat(np.kron(grey, np.ones((16, 16), np.uint8))[..., None], 3, axis=2)


def _mean(each: Tensor, batch: Batch) -> Tensor:
    """Of values (B,), over the sheets that are valid; 0 where none is."""
    known: Tensor = batch["valid"].flatten()
    return (each * known).sum() / known.sum().clamp(min=1)


def _scores(prediction: Prediction) -> Tensor:
    return prediction.value[:, :DIGITS, 0, 0].float()


def _angle(reading: Tensor) -> Tensor:
    return reading[:, DIGITS, 0, 0].float()


def _digit(batch: Batch) -> Tensor:
    return torch.as_tensor(batch["reading"][:, :DIGITS, 0, 0].argmax(1))


# ---------------------------------------------------------------------------------------------------------------------
# The gate
# ---------------------------------------------------------------------------------------------------------------------


class MarginOptions(BaseModel):
    """Options of the gate `margin`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(0.9, gt=0, lt=1, description="of the wrong readings, which a correction must be able to turn")
    rho: float = Field(0.9, gt=0, le=1, description="share of the bound that bound * tanh(raw) reaches comfortably")
    negligible: float = Field(0.02, ge=0, lt=1, description="share of wrong readings below which nothing is gained")


class MarginGate:
    """Can a correction within its bound turn the base's wrong readings into right ones?

    A reading is wrong where another digit leads the true one by some d >= 0. A correction that adds at most m to each
    score can raise the true digit by m and lower the leader by m, and no more: it can turn a reading if d < 2 m, and
    only then. The gate asks for `share` of the wrong readings on held-out data, with a tanh that reaches rho * m.
    """

    def __init__(self, options: MarginOptions) -> None:
        self.options = options

    def __call__(self, context: GateContext) -> Verdict:
        """pass or fail where the 95 % limit of the share in reach says so, warn where neither limit does."""
        if context.system.injection is None:
            raise InputError("the gate 'margin' asks what a correction can turn, and the recipe has no [injection]")
        asked, bound = self.options.share, float(context.system.injection.bound)
        leads = np.concatenate([_leads(batch, prediction) for batch, prediction in context.predictions()])
        behind = np.sort(leads[leads >= 0]) / 2
        reached = int((behind < self.options.rho * bound).sum())
        low, high = _limits(reached, len(behind))
        needed = self._needed(behind)
        figures = {
            "bound": bound,
            "readings": len(leads),
            "wrong": len(behind),
            "share wrong": len(behind) / len(leads),
            "share wrong after the best correction": float((leads >= 2 * bound).mean()),
            "in reach": reached,
            "in reach, lower limit": low,
            "in reach, upper limit": high,
            "bound needed": needed,
            "right readings that it could spoil": int(((leads < 0) & (leads >= -2 * bound)).sum()),
        }
        if len(behind) < self.options.negligible * len(leads):
            reason = f"the base reads {len(behind)} of {len(leads)} digits wrong, under {self.options.negligible:.0%}"
            return Verdict("nothing-to-gain", reason, figures, "leave this stage out, or set a harder task")
        if needed is None:
            reason = f"{len(behind)} wrong readings are too few to be sure of {asked:.0%} of them"
            return Verdict("undetermined", reason, figures, "give [data.val] more digits")
        reason = (
            f"a bound of {bound:g} can turn {reached} of {len(behind)} wrong readings "
            f"(95 % limits {low:.0%} and {high:.0%}), and {asked:.0%} are asked for"
        )
        if low >= asked:
            return Verdict("pass", reason, figures)
        advice = (
            f"raise the injection's bound to {math.ceil(100 * needed) / 100:g}, by which a wrong correction does more "
            f"harm too; or train the stage before until its wrong readings are closer calls"
        )
        return Verdict("fail" if high < asked else "warn", reason, figures, advice)

    def _needed(self, behind: NDArray[np.float64]) -> float | None:
        """The bound with which the gate would pass; None where so few wrong readings can never be certain."""
        for reached in range(1, len(behind) + 1):
            if _limits(reached, len(behind))[0] >= self.options.share:
                return float(behind[reached - 1]) / self.options.rho
        return None


def _leads(batch: Batch, prediction: Prediction) -> NDArray[np.float64]:
    """(B,) by how many logits the best other digit leads the true one by the base; negative where it is right."""
    scores, truth = _scores(prediction.base or prediction), _digit(batch)[:, None]
    others = scores.scatter(1, truth, -torch.inf).amax(1)
    leads: NDArray[np.float64] = (others - scores.gather(1, truth)[:, 0]).double().cpu().numpy()
    return leads


def _limits(reached: int, of: int) -> tuple[float, float]:
    """One-sided 95 % limits of a share of which `reached` of `of` were seen (Wilson 1927)."""
    if of == 0:
        return 0.0, 1.0
    from scipy.stats import binomtest

    interval = binomtest(reached, of).proportion_ci(0.90, method="wilson")
    return float(interval.low), float(interval.high)


# ---------------------------------------------------------------------------------------------------------------------
# Hooks
# ---------------------------------------------------------------------------------------------------------------------


@hookimpl
def engine_models(register: Register) -> None:
    """The base, and its weights from sheets that lie straight, with nothing covered (pretrain.toml makes them)."""
    weights = {"straight": Path(__file__).with_name("straight.safetensors")}
    register("digit_reader", ReaderOptions, Reader, target="reading", weights=weights)


@hookimpl
def engine_injections(register: Register) -> None:
    """The correction."""
    register("pressure_mat", MatOptions, MatCorrection)


@hookimpl
def engine_datasets(register: Register) -> None:
    """The sheets."""
    register("askew_digits", SheetOptions, Sheets)


@hookimpl
def engine_losses(register: Register) -> None:
    """What training minimises."""
    register("digit", Nothing, DigitLoss)
    register("angle", Nothing, AngleLoss)


@hookimpl
def engine_metrics(register: Register) -> None:
    """What is measured."""
    register("mistakes", Nothing, Mistakes, produces=lambda options: ["wrong", "angle"])


@hookimpl
def engine_gates(register: Register) -> None:
    """Whether the correction's bound is large enough."""
    register("margin", MarginOptions, MarginGate, feasibility=True)


@hookimpl
def engine_pictures(register: Register) -> None:
    """Sheets in the report."""
    register("sheets", Nothing, SheetPictures)
