"""What stages, gates and evaluations share: the recipe's objects, built once, and systems with weights in them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from engine import events
from engine.checkpoints.weights import load_system, read_weights
from engine.contracts import Ablation, Dataset, Evaluation, Metric
from engine.data.source import Source
from engine.errors import InputError, Problem
from engine.files import write_json
from engine.plugins import Plugins
from engine.prediction import Batch, Prediction
from engine.recipe.schema import Recipe
from engine.stages.damaged import DamagedSamples
from engine.system import System, Warp
from engine.training.evaluate import evaluate, predictions
from engine.training.interrupt import StopRequest
from engine.training.state import seed_everything

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass
class Session:
    """A recipe at work. Data sets are built and prepared at first use, systems on request."""

    recipe: Recipe
    plugins: Plugins
    emit: Callable[[Any], None]
    stop: StopRequest = field(default_factory=StopRequest)
    _datasets: dict[str, Source] = field(default_factory=dict)

    @cached_property
    def accelerator(self) -> Accelerator:
        """Device and processes; precision and accumulation are each stage's own and are not set here."""
        from accelerate import Accelerator

        return Accelerator()

    @cached_property
    def damaged(self) -> DamagedSamples:
        """The samples passed over, where the recipe says to go on without damaged ones."""
        return DamagedSamples(self.emit)

    @property
    def leads(self) -> bool:
        """Whether this process writes files and tells of events: the only one, or the first of several."""
        return bool(self.accelerator.is_main_process)

    def agree(self, value: Any) -> Any:
        """In every process the value that the leading one passes."""
        from accelerate.utils import broadcast_object_list

        shared = [value]
        broadcast_object_list(shared)
        return shared[0]

    def write(self, path: Path, data: Any) -> None:
        """Write JSON as a whole file, in the leading process alone; WorldError on a full disk."""
        if self.leads:
            write_json(path, data)

    @property
    def device(self) -> torch.device:
        """Where tensors live."""
        device: torch.device = self.accelerator.device
        return device

    def dataset(self, split: Literal["train", "val"]) -> Dataset:
        """A data set of the recipe, prepared (rendered, unpacked) if it has not been."""
        if split not in self._datasets:
            dataset = self._source(split)
            if self.accelerator.is_main_process:
                dataset.prepare(self._progress)
            self.accelerator.wait_for_everyone()
            if len(dataset) == 0:
                raise InputError(Problem(self.recipe.where("data", split), f"data.{split} holds no samples"))
            self._datasets[split] = dataset
        return self._datasets[split]

    def _source(self, split: Literal["train", "val"]) -> Source:
        section = self.recipe.data[split]
        built = self.plugins.get("datasets", section.plugin).build(section.options)
        return Source(built, f"data.{split} ({section.plugin})", section.damaged == "skip", self.damaged.tell)

    def check_scenes(self) -> None:
        """InputError where training and validation share scenes, as far as both data sets tell them unread."""
        if self.recipe.data.train is None:
            return
        train, val = self._source("train").scenes(), self._source("val").scenes()
        shared = sorted(set(train or ()) & set(val or ()))
        if shared:
            few = ", ".join(shared[:3]) + (", ..." if len(shared) > 3 else "")
            raise InputError(
                Problem(
                    self.recipe.where("data", "val"),
                    f"data.val holds {len(shared)} scenes that data.train trains on ({few})",
                    "held-out scenes",
                ),
                'give data.val scenes of its own, for example split = "val"',
            )

    def _progress(self, done: int, total: int, what: str) -> None:
        self.check_stop(what)
        self.emit(events.Note("info", what, {"done": done, "total": total}))

    def check_stop(self, where: str) -> None:
        """InterruptedRunError when this process alone was asked to stop; several processes agree in their steps."""
        if self.accelerator.num_processes == 1:
            self.stop.check(where)

    @cached_property
    def metrics(self) -> list[Metric]:
        """The recipe's metrics."""
        return [self.plugins.get("metrics", each.name).build(each.options) for each in self.recipe.evaluate.metrics]

    def bare_system(self) -> System:
        """The system with fresh weights drawn from the recipe's seed, on the current default device."""
        model = self.plugins.get("models", self.recipe.model.plugin)
        seed_everything(self.recipe.seed)
        base = model.build(self.recipe.model.options)
        injection, corrects = None, ""
        if self.recipe.injection is not None:
            corrects = self.recipe.injection.plugin
            injection = self.plugins.get("injections", self.recipe.injection.plugin).build(
                self.recipe.injection.options
            )
        names = (f"the model {self.recipe.model.plugin}", f"the injection {corrects}")
        return System(base, injection, model.extra["target"], names)

    def system(self, weights: Path | None = None) -> System:
        """A system in evaluation mode on the device: fresh, then the model's pretrained weights, then `weights`."""
        system = self.bare_system()
        for path in (self.pretrained(), weights):
            if path is not None:
                report = load_system(system, read_weights(path), f"{path.parent.name}/{path.name}")
                level: Literal["info", "warning"] = "warning" if report.unexpected else "info"
                self.emit(events.Note(level, f"weights {report}", report.to_dict()))
        return system.to(self.device).eval()

    def pretrained(self) -> Path | None:
        """The file that `[model] weights` names, one that the plugin ships or a path; None when there is none."""
        name = self.recipe.model.weights
        return None if name is None else self.plugins.get("models", self.recipe.model.plugin).weights_file(name)

    def predictions(
        self,
        system: System,
        split: Literal["train", "val"] = "val",
        *,
        warp: Warp = "pred",
        inject: bool = True,
        ablation: Ablation = "none",
    ) -> Iterator[tuple[Batch, Prediction]]:
        """(batch, prediction) over a data set without random augmentation; InterruptedRunError after a signal."""
        for pair in predictions(
            system,
            self.dataset(split),
            batch_size=self.recipe.evaluate.batch_size,
            device=self.device,
            warp=warp,
            inject=inject,
            ablation=ablation,
        ):
            yield pair
            self.check_stop("while it was measured")

    def evaluate(
        self, system: System, *, warp: Warp = "pred", inject: bool = True, ablation: Ablation = "none"
    ) -> Evaluation:
        """The recipe's metrics of a system on the validation data."""
        return evaluate(self.predictions(system, warp=warp, inject=inject, ablation=ablation), self.metrics)


def stage_seed(seed: int, stage: str) -> int:
    """The seed of a stage's own random numbers (dropout)."""
    return zlib.crc32(f"{seed}/{stage}".encode())
