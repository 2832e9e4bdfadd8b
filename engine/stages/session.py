"""What stages, gates and evaluations share: the recipe's objects, built once, and systems with weights in them."""

from __future__ import annotations

import atexit
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from torch.overrides import TorchFunctionMode

from engine import events
from engine.checkpoints.weights import load_system, read_weights
from engine.contracts import Ablation, Dataset, Evaluation, Metric
from engine.data.loader import Fixed, evaluation_batches
from engine.data.source import Source
from engine.errors import EngineError, InputError, InterruptedRunError, Problem
from engine.files import write_json
from engine.plugins import Plugins
from engine.prediction import Batch, Prediction
from engine.recipe.schema import Recipe, Stage
from engine.stages.damaged import DamagedSamples
from engine.stages.not_finite import NotFinite, warning
from engine.system import System, Warp
from engine.training.evaluate import evaluate, predictions
from engine.training.exporting import Exporting, Stopwatch, exported
from engine.training.interrupt import Agreement, Company, StopRequest, host_group
from engine.training.parallel import lead
from engine.training.state import repeat_exactly, seed_everything

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")

Batches = Callable[[int, int], Iterator[Batch]]
"""batches(first, last): the batches of a stage from micro-step `first`."""


@dataclass
class Session:
    """A recipe at work. Data sets are built and prepared at first use, systems on request.

    trace: what watches the batches of each stage, given them with the stage and its folder. on_stop: what tells at once
    that a signal was heard, which the run heeds later.
    """

    recipe: Recipe
    plugins: Plugins
    emit: Callable[[Any], None]
    stop: StopRequest = field(default_factory=StopRequest)
    trace: Callable[[Batches, Stage, Path], Batches] | None = None
    on_stop: Callable[[str], None] | None = None
    _datasets: dict[str, Source] = field(default_factory=dict)
    _company: Company | None = None
    _told: set[str] = field(default_factory=set)

    @cached_property
    def accelerator(self) -> Accelerator:
        """Device and processes; precision and accumulation are each stage's own and are not set here.

        InputError for DeepSpeed, which a launcher asks for in the environment.
        """
        from accelerate import Accelerator
        from accelerate.utils import parse_flag_from_env

        if parse_flag_from_env("ACCELERATE_USE_DEEPSPEED"):
            raise InputError("the engine does not train with DeepSpeed", "shard with accelerate's FSDP instead")
        if self.recipe.deterministic:
            repeat_exactly()
        # Unless it is told so, accelerate takes each of several processes without a GPU for a run of its own.
        several = int(os.environ.get("WORLD_SIZE", "1")) > 1
        if several:
            # DDP imports it. Its functions take the group that there is by then for a default, and hold it for ever.
            import_module("torch.distributed.nn")
        accelerator = Accelerator(cpu=several and not torch.accelerator.is_available(), mixed_precision="no")
        if accelerator.num_processes > 1 and torch.distributed.get_backend() == torch.distributed.Backend.GLOO:
            # Else gloo's threads outlive the interpreter now and then, which aborts a process that has done well. They
            # end with the group, which lasts as long as anything holds it. Not so with NCCL, where a process that
            # leaves the group waits for the others, and one of them may have died.
            atexit.register(accelerator.end_training)
        return accelerator

    @cached_property
    def damaged(self) -> DamagedSamples:
        """The samples passed over, where the recipe says to go on without damaged ones."""
        return DamagedSamples(self.emit)

    @property
    def _several(self) -> bool:
        return bool(self.accelerator.num_processes > 1)

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

    def dataset(self, split: str) -> Dataset:
        """The recipe's data set "train", "val" or "retention.NAME", prepared (rendered, unpacked) if it was not yet."""
        if split not in self._datasets:
            dataset = self._source(split)
            self.led(partial(dataset.prepare, self._progress), f"preparing data.{split}")
            if len(dataset) == 0:
                raise InputError(Problem(self._where(split), f"data.{split} holds no samples"))
            self._datasets[split] = dataset
        return self._datasets[split]

    def extent(self, stage: Stage) -> tuple[int, int]:
        """The samples that a stage trains on, and its steps."""
        return len(self.dataset("train")), stage.steps

    def _where(self, split: str) -> str:
        return self.recipe.where("data", *split.split("."))

    def _source(self, split: str) -> Source:
        section = self.recipe.data[split]
        built = self.plugins.get("datasets", section.plugin).build(section.options)
        return Source(built, f"data.{split} ({section.plugin})", section.damaged == "skip", self.damaged.tell)

    def check_scenes(self) -> None:
        """InputError where training shares scenes with what is measured, as far as data sets tell them unread."""
        if self.recipe.data.train is None:
            return
        train = set(self._source("train").scenes() or ())
        for split in ("val", *self.recipe.data.kept()):
            shared = sorted(train & set(self._source(split).scenes() or ()))
            if shared:
                few = ", ".join(shared[:3]) + (", ..." if len(shared) > 3 else "")
                raise InputError(
                    Problem(
                        self._where(split),
                        f"data.{split} holds {len(shared)} scenes that data.train trains on ({few})",
                        "held-out scenes",
                    ),
                    f'give data.{split} scenes of its own, for example split = "val"',
                )

    def _progress(self, done: int, total: int, what: str) -> None:
        self.check_stop(what)
        self.emit(events.Note("info", what, {"done": done, "total": total}))

    def check_stop(self, where: str) -> None:
        """InterruptedRunError when the one process was asked to stop, or any of several for which one works alone.

        Otherwise several processes agree in their steps.
        """
        if self._company is not None:
            self._company.beat(True, where)
        elif not self._several:
            self.stop.check(where)

    def led(self, work: Callable[[], T], where: str) -> T | None:
        """What `work` gives, which the leading process does alone; None in the others, which wait for its end.

        They wait however long it takes, as long as it calls `check_stop` oftener than torch's patience ends. What it
        raises is raised in all of them.
        """
        if not self._several:
            return work()
        company = Company(self.stop, host_group())
        done, failure = None, None
        if self.leads:
            self._company = company
            try:
                done = work()
            except InterruptedRunError:  # the others have heard of it
                raise
            except EngineError as error:
                failure = error
            finally:
                self._company = None
            company.beat(False, where)
        else:
            while company.beat(False, where):
                pass
        failure = self.agree(failure)
        if failure is not None:
            raise failure
        return done

    @cached_property
    def metrics(self) -> list[tuple[str, Metric]]:
        """The recipe's metrics, each with its name in the recipe."""
        get = self.plugins.get
        return [(each.name, get("metrics", each.name).build(each.options)) for each in self.recipe.evaluate.metrics]

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

    def outline(self) -> System:
        """The same on torch's meta device: names and shapes, without memory for tensors."""
        with torch.device("meta"), _Undrawn():
            return self.bare_system()

    def system(self, weights: Path | None = None) -> System:
        """A system in evaluation mode on the device: fresh, then the model's pretrained weights, then `weights`."""
        system = self.bare_system()
        for note in getattr(system.base, "notes", ()):
            if note.text not in self._told:
                self.emit(note)
            self._told.add(note.text)
        for path in (self.pretrained(), weights):
            if path is not None:
                tensors, about = read_weights(path)
                report = load_system(system, tensors, f"{path.parent.name}/{path.name}")
                level: Literal["info", "warning"] = "warning" if report.unexpected else "info"
                self.emit(events.Note(level, f"weights {report}", report.to_dict()))
                self._tell_other_traits(system, about, path)
        return system.to(self.device).eval()

    def _tell_other_traits(self, system: System, about: Mapping[str, str], path: Path) -> None:
        """Warn of weights that were trained in a base which differs from this one in what no tensor shows."""
        for name, now in system.traits.items():
            was = about.get(name, now)
            if was != now:
                text = (
                    f"{path.parent.name}/{path.name} was trained with {name} = {was!r}, and the model has {now!r}: "
                    "it will answer otherwise than it learnt to"
                )
                self.emit(events.Note("warning", text, {name: {"weights": was, "model": now}}))

    def pretrained(self) -> Path | None:
        """The file that `[model] weights` names, one that the plugin ships or a path; None when there is none."""
        return self.recipe.pretrained

    def predictions(
        self,
        system: System,
        split: str = "val",
        *,
        warp: Warp = "pred",
        inject: bool = True,
        ablation: Ablation = "none",
    ) -> Iterator[tuple[Batch, Prediction]]:
        """(batch, prediction) over a data set without random augmentation; InterruptedRunError after a signal."""
        for pair in self._answers(system, split, (0, 1), warp=warp, inject=inject, ablation=ablation):
            yield pair
            self.check_stop("while it was measured")

    def _answers(
        self, system: System, split: str, share: tuple[int, int], **how: Any
    ) -> Iterator[tuple[Batch, Prediction]]:
        size = self.recipe.evaluate.batch_size
        return predictions(system, self.dataset(split), batch_size=size, device=self.device, share=share, **how)

    def evaluate(
        self,
        system: System,
        split: str = "val",
        *,
        warp: Warp = "pred",
        inject: bool = True,
        ablation: Ablation = "none",
        exports: Sequence[Exporting] = (),
    ) -> Evaluation:
        """The recipe's metrics of a system on held-out data; each of `exports` writes the predictions on the way.

        Data without the target, which can be written and not measured, give no figures. Every process measures its
        share with the leading one's buffers, and all have the figures of the whole; InterruptedRunError in all of them
        after a signal to one.
        """
        from accelerate.utils import gather_object

        if self._several:
            lead(system.buffers())
        share = (self.accelerator.process_index, self.accelerator.num_processes)
        pairs = self._answers(system, split, share, warp=warp, inject=inject, ablation=ablation)
        pairs = self._until_stopped(pairs, -(-len(self.dataset(split)) // (self.recipe.evaluate.batch_size * share[1])))
        metrics = self.metrics
        if exports:
            pairs = exported(pairs, exports, Stopwatch(system, self.device))
            metrics = metrics if self.brings(split, [system.target]) else []
        seen = NotFinite()
        evaluation = evaluate(seen.passing(pairs), metrics, gather_object)
        if not evaluation.ids:
            raise self._datasets[split].unreadable()
        told = warning(str(self._datasets[split]), gather_object(seen.counts()))
        if told is not None and told.text not in self._told:
            self.emit(told)
            self._told.add(told.text)
        return evaluation

    def _until_stopped(
        self, pairs: Iterator[tuple[Batch, Prediction]], rounds: int
    ) -> Iterator[tuple[Batch, Prediction]]:
        """The same pairs; after each, and as often in every process, a look at whether one of them is to stop."""
        agreement = Agreement(self.stop, host_group() if self._several else None)
        done = 0
        for pair in pairs:
            yield pair
            done += 1
            self._leave(agreement)
        for _ in range(done, rounds):
            self._leave(agreement)

    def _leave(self, agreement: Agreement) -> None:
        if agreement.to_stop():
            raise InterruptedRunError(f"stopped by {self.stop.cause} while it was measured")

    def brings(self, split: str, fields: Sequence[str]) -> bool:
        """Whether the samples of a data set have all of `fields`, as its first one tells."""
        first = next(evaluation_batches(Fixed(self.dataset(split)), 1, workers=0, pin=False))
        return all(name in first for name in fields)


def open_session(recipe: Recipe) -> Session:
    """A session of a loaded recipe, whose events its own plugins hear."""
    # A launcher of several processes numbers them in RANK; the first alone tells what happens.
    leads = os.environ.get("RANK", "0") == "0"
    return Session(recipe, recipe.registry, recipe.registry.emit if leads else lambda event: None)


class _Undrawn(TorchFunctionMode):
    """Leaves normal numbers undrawn: on the meta device torch imports its compiler, which takes a second, for them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func is torch.Tensor.normal_ else func(*args, **(kwargs or {}))


def stage_seed(seed: int, stage: str) -> int:
    """The seed of a stage's own random numbers (dropout)."""
    return zlib.crc32(f"{seed}/{stage}".encode())
