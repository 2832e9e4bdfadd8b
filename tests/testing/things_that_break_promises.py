"""A plugin file: things that break one promise each, registered by the name of what they do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import nn
from toy_plugin import (
    BaseOptions,
    BoundOptions,
    DataOptions,
    Options,
    ToyBase,
    ToyData,
    ToyInjection,
    ToyLoss,
    ToyMetric,
)

from engine.contracts import Verdict
from engine.hookspecs import hookimpl
from engine.prediction import Prediction


class NotAtZero(ToyInjection):
    def __init__(self, options: BoundOptions) -> None:
        super().__init__(options)
        nn.init.ones_(self.head.bias)


class WithoutBound(ToyInjection):
    def forward(self, batch: Any, base: Prediction, alignment: torch.Tensor) -> Prediction:
        raw = self.head(torch.cat([batch["signal"], 0 * alignment], dim=1))
        return base.corrected(raw, raw)


class WithUnusedLayer(ToyInjection):
    def __init__(self, options: BoundOptions) -> None:
        super().__init__(options)
        self.spare = nn.Linear(2, 2)


class WithNumbersForAMask(ToyInjection):
    def correctable(self, batch: Any) -> torch.Tensor:
        return batch["valid"].float()


class WithASignalThatIsNotThere(ToyInjection):
    signal = ("sginal",)


class InBfloat16(ToyInjection):
    def forward(self, batch: Any, base: Prediction, alignment: torch.Tensor) -> Prediction:
        raw = self.head(torch.cat([batch["signal"], 0 * alignment], dim=1)).bfloat16()
        return base.corrected(self.bound * torch.tanh(raw).float(), raw)


class WithAMemory(ToyInjection):
    def __init__(self, options: BoundOptions) -> None:
        super().__init__(options)
        self.slant = torch.rand(()).item()

    def forward(self, batch: Any, base: Prediction, alignment: torch.Tensor) -> Prediction:
        raw = self.head(torch.cat([batch["signal"], 0 * alignment], dim=1)) + self.slant
        return base.corrected(self.bound * torch.tanh(raw), raw)


class WithAMemoryOfItsOwn(ToyBase):
    def __init__(self, options: BaseOptions) -> None:
        super().__init__(options)
        self.slant = torch.rand(()).item()

    def forward(self, batch: Any) -> Prediction:
        return Prediction(super().forward(batch).value + self.slant)


class WithoutSeed(ToyBase):
    def __init__(self, options: BaseOptions) -> None:
        super().__init__(options)
        nn.init.constant_(self.head.bias, np.random.default_rng().random())


class WithChanceInEvaluation(ToyBase):
    def forward(self, batch: Any) -> Prediction:
        return Prediction(super().forward(batch).value + torch.rand(()))


class InTrainingMode(ToyBase):
    def forward(self, batch: Any) -> Prediction:
        self.head.train()
        return super().forward(batch)


class OfAnotherShape(ToyBase):
    def forward(self, batch: Any) -> Prediction:
        return Prediction(super().forward(batch).value[..., :-1])


class InDoublePrecision(ToyBase):
    def forward(self, batch: Any) -> Prediction:
        return Prediction(super().forward(batch).value.double())


class WithConfidenceBeforeItsSigmoid(ToyBase):
    def forward(self, batch: Any) -> Prediction:
        value = super().forward(batch).value
        return Prediction(value, confidence=9 * value)


class WritingToItsBatch(ToyBase):
    def forward(self, batch: Any) -> Prediction:
        batch["image"] /= 255
        return super().forward(batch)


class NotFiniteInBfloat16(ToyBase):
    def forward(self, batch: Any) -> Prediction:
        value = super().forward(batch).value
        fine = torch.get_autocast_dtype("cpu") != torch.bfloat16 or not torch.is_autocast_enabled("cpu")
        return Prediction(value if fine else (value - value) / (value - value))


class MovingTheBase(ToyInjection):
    def forward(self, batch: Any, base: Prediction, alignment: torch.Tensor) -> Prediction:
        answer = super().forward(batch, base, alignment)
        assert answer.correction is not None
        assert answer.raw is not None
        return Prediction(base.value + 100.0).corrected(answer.correction, answer.raw)


class CorrectableEverywhere(ToyInjection):
    def correctable(self, batch: Any) -> torch.Tensor:
        return torch.ones_like(batch["valid"])


class ReadingMoreThanItDeclares(ToyInjection):
    reads = ("signal",)

    def forward(self, batch: Any, base: Prediction, alignment: torch.Tensor) -> Prediction:
        assert base.confidence is not None
        return super().forward(batch, base, alignment + 0 * base.confidence)


class WritingWhereNothingIsKnown(ToyBase):
    def forward(self, batch: Any) -> Prediction:
        batch["target"].nan_to_num_()
        return super().forward(batch)


class OfWhatIsValid(ToyLoss):
    """This one keeps its promises."""

    def __call__(self, prediction: Prediction, batch: Any) -> torch.Tensor:
        truth = batch["target"].where(batch["valid"], prediction.value.detach())
        return (prediction.value - truth).square().mean()


class ReadingWhatItDeclares(ToyInjection):
    """This one keeps its promises."""

    reads = ("signal",)


class DrawingALoss(ToyLoss):
    def __call__(self, prediction: Prediction, batch: Any) -> torch.Tensor:
        return super().__call__(prediction, batch) * (1 + torch.rand(()))


class RememberingALoss(ToyLoss):
    calls = 0

    def __call__(self, prediction: Prediction, batch: Any) -> torch.Tensor:
        self.calls += 1
        return super().__call__(prediction, batch) * self.calls


class GivingOneNumberASample(ToyLoss):
    def __call__(self, prediction: Any, batch: Any) -> torch.Tensor:
        return (prediction.value - batch["target"]).square().flatten(1).mean(1)


class Detached(ToyLoss):
    def __call__(self, prediction: Any, batch: Any) -> torch.Tensor:
        return super().__call__(prediction, batch).detach()


class WithoutGuardAgainstNothing(ToyLoss):
    def __call__(self, prediction: Any, batch: Any) -> torch.Tensor:
        return (prediction.value - batch["target"])[batch["valid"]].square().mean()


class WritingToTheTruth(ToyLoss):
    def __call__(self, prediction: Any, batch: Any) -> torch.Tensor:
        batch["target"].clamp_(0, 0.1)
        return super().__call__(prediction, batch)


class MeasuringTheBatch(ToyMetric):
    def __call__(self, prediction: Any, batch: Any) -> Any:
        ((total, count),) = super().__call__(prediction, batch).values()
        return {"error": (total.mean().expand_as(total), count)}


class ForTheWholeBatch(ToyMetric):
    def __call__(self, prediction: Any, batch: Any) -> Any:
        ((total, count),) = super().__call__(prediction, batch).values()
        return {"error": (total.sum(), count.sum())}


class WithNothingToMeasure(ToyMetric):
    """This one keeps its promises."""

    def __call__(self, prediction: Prediction, batch: Any) -> Any:
        count = torch.zeros(len(prediction.value))
        return {"error": (count / count, count)}


class DrawingAMetric(ToyMetric):
    def __call__(self, prediction: Prediction, batch: Any) -> Any:
        total, count = super().__call__(prediction, batch)["error"]
        return {"error": (total * (1 + torch.rand(())), count)}


class SummingUp(ToyMetric):
    total = 0.0

    def __call__(self, prediction: Prediction, batch: Any) -> Any:
        total, count = super().__call__(prediction, batch)["error"]
        self.total = self.total + total
        return {"error": (self.total, count)}


class WritingToWhatItMeasures(ToyMetric):
    def __call__(self, prediction: Prediction, batch: Any) -> Any:
        batch["target"].sub_(1)
        prediction.value.sub_(1)
        return super().__call__(prediction, batch)


class WithNumbersForValid(ToyData):
    def sample(self, index: int, rng: Any) -> Any:
        made = super().sample(index, rng)
        return {**made, "valid": made["valid"].astype(np.float32)}


class WithLists(ToyData):
    def sample(self, index: int, rng: Any) -> Any:
        made = super().sample(index, rng)
        return {**made, "signal": made["signal"].tolist()}


class WithoutId(ToyData):
    def sample(self, index: int, rng: Any) -> Any:
        return {name: value for name, value in super().sample(index, rng).items() if name != "id"}


class InFloat64(ToyData):
    def sample(self, index: int, rng: Any) -> Any:
        made = super().sample(index, rng)
        return {**made, "image": made["image"].astype(np.float64)}


class DrawingFromElsewhere(ToyData):
    def sample(self, index: int, rng: Any) -> Any:
        made = super().sample(index, rng)
        return {**made, "image": made["image"] + np.float32(np.random.random())}


class CountingItsCalls(ToyData):
    calls = 0

    def sample(self, index: int, rng: Any) -> Any:
        self.calls += 1
        made = super().sample(index, rng)
        return {**made, "image": made["image"] + np.float32(self.calls if rng is not None else 0)}


class LendingItsSamples(ToyData):
    def __init__(self, options: DataOptions) -> None:
        super().__init__(options)
        self.kept: dict[int, Any] = {}

    def sample(self, index: int, rng: Any) -> Any:
        return self.kept.setdefault(index, super().sample(index, None))


class HoldingALambda(ToyData):
    def __init__(self, options: DataOptions) -> None:
        super().__init__(options)
        self.scale = lambda image: image


class OfManySizes(ToyData):
    def sample(self, index: int, rng: Any) -> Any:
        made = super().sample(index, rng)
        return {n: v[..., : 4 + index] if isinstance(v, np.ndarray) else v for n, v in made.items()}


class NamingEachSceneOnce(ToyData):
    def scenes(self) -> list[str]:
        return ["even", "odd"]


class SilentGate:
    def __init__(self, options: Options) -> None:
        pass

    def __call__(self, context: Any) -> Verdict:
        return Verdict("pass", "")


class GateWithATensor(SilentGate):
    def __call__(self, context: Any) -> Verdict:
        return Verdict("pass", "fine", {"mean": torch.zeros(2)})


class GateThatMaybes(SilentGate):
    def __call__(self, context: Any) -> Verdict:
        return Verdict("maybe", "who knows")  # type: ignore[arg-type]  # the mistake


class GateByTorchsChance(SilentGate):
    def __call__(self, context: Any) -> Verdict:
        return Verdict("pass", f"it drew {torch.rand(()).item()}")


class GateThatCounts(SilentGate):
    calls = 0

    def __call__(self, context: Any) -> Verdict:
        self.calls += 1
        return Verdict("pass", f"asked {self.calls} times")


class GateThatChangesTheSystem(SilentGate):
    def __call__(self, context: Any) -> Verdict:
        with torch.no_grad():
            for parameter in context.system.parameters():
                parameter.zero_()
        return Verdict("pass", "all is zero now")


class GateWithAnUnknownFigure(SilentGate):
    """This one keeps its promises."""

    def __call__(self, context: Any) -> Verdict:
        return Verdict("pass", "one sample, so no interval", {"low": float("nan")})


class GateByChance(SilentGate):
    def __call__(self, context: Any) -> Verdict:
        return Verdict("pass", f"it drew {np.random.default_rng().random()}")


class NamelessTracker:
    where = ""

    def __init__(self, options: Options) -> None:
        pass

    def begin(self, run: Any) -> None: ...

    def figures(self, step: int, figures: Any) -> None: ...

    def tags(self, step: int, tags: Any) -> None: ...

    def end(self, status: str) -> None: ...


class TrackerThatBeginsAnew(NamelessTracker):
    where = "a folder"

    def begin(self, run: Any) -> None:
        Path(run.directory, "told").mkdir()


class TrackerForFiniteNumbers(NamelessTracker):
    where = "a folder"

    def figures(self, step: int, figures: Any) -> None:
        [int(value) for value in figures.values()]


class Lenient(BaseModel):
    """It takes anything."""

    model_config = ConfigDict(extra="allow")


class Undocumented(Options):
    sharpness: float = 1.0


def _all(register: Any, base: type, options: type, **extra: Any) -> None:
    for each in list(globals().values()):
        if isinstance(each, type) and issubclass(each, base) and each.__module__ == __name__:
            register(each.__name__, options, each, **extra)


@hookimpl
def engine_models(register: Any) -> None:
    _all(register, ToyBase, BaseOptions, target="target")


@hookimpl
def engine_injections(register: Any) -> None:
    _all(register, ToyInjection, BoundOptions)


@hookimpl
def engine_datasets(register: Any) -> None:
    _all(register, ToyData, DataOptions)


@hookimpl
def engine_losses(register: Any) -> None:
    _all(register, ToyLoss, Options)
    register("Lenient", Lenient, ToyLoss)
    register("Undocumented", Undocumented, ToyLoss)


@hookimpl
def engine_metrics(register: Any) -> None:
    _all(register, ToyMetric, Options, produces=lambda options: ["error"])
    register("Misannounced", Options, ToyMetric, produces=lambda options: ["eror"])


@hookimpl
def engine_gates(register: Any) -> None:
    _all(register, SilentGate, Options)


@hookimpl
def engine_trackers(register: Any) -> None:
    _all(register, NamelessTracker, Options)
