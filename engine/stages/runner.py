"""One stage from its entry gates to the weights it hands on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any

from torch import Tensor

from engine import events
from engine.checkpoints.record import ENTRY, RECORD, read_record
from engine.checkpoints.store import Checkpoint, CheckpointStore
from engine.checkpoints.weights import holds_injection, read_weights, write_weights
from engine.contracts import Dataset, Evaluation, Verdict
from engine.data.frozen import WholeFrames
from engine.data.loader import Order, as_source, to_device, training_batches
from engine.errors import GateRefusedError, WorldError
from engine.files import file_digest, read_json, write_whole
from engine.globs import Selection
from engine.prediction import Batch
from engine.recipe.schema import GateTable, Stage
from engine.stages import freeze
from engine.stages.caching import training_samples
from engine.stages.gating import Measured, action, ask, decided
from engine.stages.key import KEY, data_identity, key_of
from engine.stages.patterns import select_stage
from engine.stages.pictures import keep_pictures
from engine.stages.proof import prove_gradients, prove_identity
from engine.stages.session import Session, stage_seed
from engine.system import System
from engine.training.compiling import CompiledBackwardError, backward_of, compile_parts, go_uncompiled
from engine.training.evaluate import named_ablations
from engine.training.forward import autocast, draw_warp
from engine.training.loop import Task, train
from engine.training.losses import NO_GRADIENT, WeightedLosses
from engine.training.state import seed_everything

WEIGHTS = "weights.safetensors"
FROZEN = "frozen.json"
CHECKPOINTS = "checkpoints"
PICTURES = "pictures"


@dataclass
class StageRun:
    """A stage at work in its folder.

    source: the weights file it starts from, None for the pretrained base. rows: the final table, which grows as the
    stage is measured, so that a stage that ends badly is in it too. extends: the stage trains on from its own weights.
    key: what it follows from, None for an extension, which is taken only with the stage that asked for it.
    stores: where frozen outputs are kept, in place of the cache.
    """

    session: Session
    stage: Stage
    index: int
    folder: Path
    source: Path | None
    rows: list[dict[str, Any]]
    extends: bool = False
    key: Mapping[str, Any] | None = None
    stores: Path | None = None
    gates: list[dict[str, Any]] = field(default_factory=list)
    first_row: int = field(init=False)
    samples: Dataset = field(init=False)

    def __post_init__(self) -> None:
        self.first_row = len(self.rows)

    def run(self, parent: Stage | None, measure_first: bool) -> Path:
        """Pass the entry gates, train, measure, pass the exit gates, prove the frozen part unchanged; the weights file.

        `parent` is the stage that `init` names (trained further where a gate says "extend"); `measure_first` when
        nothing has been measured for the weights the stage starts from. Raises GateRefusedError, DivergedError,
        InterruptedRunError, PluginError (a broken promise).
        """
        began = time.perf_counter()
        self.session.check_stop(f"before stage {self.stage.name}")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.session.emit(self._started())
        store = CheckpointStore(self.folder / CHECKPOINTS, self.stage.train.keep)
        if self.session.leads:
            store.recover()
        self.session.accelerator.wait_for_everyone()
        resume = store.latest(self._warn, self._changed)
        self._note_key(resumed=resume is not None)
        if resume:
            self._recall_entry(resume.step)
        system = self.session.system(self.source)
        if not resume:
            system = self._enter(system, parent)
            if measure_first:
                self._measure(
                    Measured(self.session, system, self.stage.name, self.folder, self.stage.injection), "before"
                )
            self._write(ENTRY, {})
        frozen = self.train(system, store, resume)
        measured = Measured(self.session, system, self.stage.name, self.folder, self.stage.injection, "after")
        self._measure(measured, "after")
        names = self.session.recipe.evaluate.ablations if self.stage.injection else ()
        for ablation in named_ablations(names, system):
            measured.evaluate(ablation=ablation)
        for gate in self._gates("exit"):
            self._judge(gate, measured, extensions_left=0)
        return self._hand_on(system, frozen, time.perf_counter() - began)

    def _note_key(self, resumed: bool) -> None:
        """Note what the stage follows from; one that goes on otherwise than it began follows from neither."""
        path = self.folder / KEY
        if not self.session.leads or self.key is None:
            return
        if not resumed:
            self.session.write(path, {"key": key_of(self.key), "of": self.key})
        elif path.exists():
            try:
                same = read_json(path, of=dict)["of"] == self.key
            except WorldError as damage:
                self._warn(f"{damage}; no other run will reuse the stage")
                same = False
            if not same:
                path.unlink()

    def _changed(self, checkpoint: Checkpoint) -> str:
        """What is wrong with a checkpoint whose frozen tensors are not those that the stage began with."""
        changed = freeze.Fingerprint(read_json(self.folder / FROZEN)).changed(checkpoint.weights)
        return f"frozen tensors had changed when it was saved: {', '.join(changed[:8])}" if changed else ""

    def _warn(self, text: str) -> None:
        self.session.emit(events.Note("warning", text, {"stage": self.stage.name}))

    def _started(self) -> events.StageStarted:
        recipe = self.session.recipe
        pretrained = self.session.pretrained()
        source = self.source.parent.name if self.source else (pretrained.name if pretrained else "fresh weights")
        total = len(recipe.stages)
        return events.StageStarted(self.stage.name, self.stage.title, self.index, total, self.stage.steps, source)

    def _gates(self, at: str) -> Iterator[GateTable]:
        return (gate for gate in self.stage.gates if gate.at == at)

    def _enter(self, system: System, parent: Stage | None) -> System:
        """Ask the entry gates; where one says extend, train the parent stage further and ask again."""
        for gate in self._gates("entry"):
            times = gate.extend.times if gate.extend else 0
            for extension in range(times + 1):
                measured = Measured(self.session, system, self.stage.name, self.folder, self.stage.injection)
                if self._judge(gate, measured, times - extension) != "extend":
                    break
                assert parent is not None, "the recipe allows extend only with a parent stage"
                assert gate.extend is not None, "the recipe allows extend only with its steps"
                system = self._extend(parent, gate.extend.steps)
        return system

    def _judge(self, gate: GateTable, measured: Measured, extensions_left: int) -> str:
        verdict: Verdict = self.session.agree(ask(gate, measured))
        what = action(gate, verdict, extensions_left)
        event = decided(self.stage.name, gate, verdict, what)
        self.session.emit(event)
        self.gates.append(
            {
                "check": gate.check,
                "at": gate.at,
                "status": verdict.status,
                "action": what,
                "reason": verdict.reason,
                "advice": verdict.advice,
                "figures": dict(verdict.figures),
            }
        )
        if what == "stop":
            self._write(RECORD, {"status": "refused"})
            where = f"gate '{gate.check}' at the {gate.at} of stage {self.stage.name}"
            advice = f"\n  {verdict.advice}" if verdict.advice else ""
            raise GateRefusedError(f"{where} says {verdict.status}: {verdict.reason}{advice}")
        return what

    def _extend(self, parent: Stage, steps: int) -> System:
        """Train the parent for `steps` more from this stage's source, which the result replaces."""
        number = sum(gate["action"] == "extend" for gate in self.gates)
        # Under a name of its own the extension sees other draws than the parent did, and stands apart in every record:
        # another stage that extends the same parent may ask for other steps.
        name = self.stage.extension(number)
        longer = parent.model_copy(update={"name": name, "steps": steps, "gates": []})
        folder = self.folder.parent / f"stage-{name}"
        parent_index = next(i for i, each in enumerate(self.session.recipe.stages) if each.name == parent.name)
        further = StageRun(self.session, longer, parent_index, folder, self.source, self.rows, extends=True)
        self.session.emit(
            events.Note("info", f"stage {parent.name} trains {steps} steps further", {"folder": folder.name})
        )
        record = finished(folder, self._warn)
        if record is None:
            self.source = further.run(None, measure_first=False)
        else:
            self.source = folder / WEIGHTS
            self.rows += record["rows"]
        return self.session.system(self.source)

    def train(
        self, system: System, store: CheckpointStore, resume: Checkpoint | None
    ) -> tuple[Selection, freeze.Fingerprint]:
        """Freeze, prove, train; what was selected and the fingerprint of the frozen part before the first step."""
        session, stage = self.session, self.stage
        selection = self.selection(system)
        losses = self._losses()
        freeze.apply(system, selection)
        store.about = self._about(system)
        before = self._fingerprint(system, selection, resumed=resume is not None)
        self.samples = training_samples(session, stage, self.index, system, selection, losses, self.folder, self.stores)
        try:
            self._learn(system, selection, losses, before, store, resume)
        finally:
            as_source(self.samples).close()
            store.close()
        system.eval()
        return selection, before

    def _learn(
        self,
        system: System,
        selection: Selection,
        losses: WeightedLosses,
        before: freeze.Fingerprint,
        store: CheckpointStore,
        resume: Checkpoint | None,
    ) -> None:
        """Prove on one batch what is about to train, and train it."""
        session, stage = self.session, self.stage
        if stage.train.compile:
            compile_parts(system, self._warn)  # after the cache, whose entries serve uncompiled stages too
        # After the data are prepared and cached, which may draw numbers and is done once for many runs.
        seed_everything(stage_seed(session.recipe.seed, stage.name))
        if not resume or stage.train.compile:  # which may fail now where it did not
            self._prove(system, selection, losses, before)
        task = Task(
            stage=stage,
            seed=session.recipe.seed,
            system=system,
            selection=selection,
            losses=losses,
            batches=session.trace(self._batches, stage, self.folder) if session.trace else self._batches,
            accelerator=session.accelerator,
            store=store,
            emit=session.emit,
            measure=self._measure_during,
            best_of=self._best_of,
            stop=session.stop,
            folder=self.folder,
        )
        train(task, resume)

    def _about(self, system: System) -> dict[str, str]:
        """What the weight files of the stage say beside their tensors."""
        return {**system.traits, "stage": self.stage.name, "recipe": self.session.recipe.name}

    def selection(self, system: System) -> Selection:
        """What this stage trains; InputError for patterns that select nothing."""
        return select_stage(self.session.recipe, self.stage, self.index, system)

    def _losses(self) -> WeightedLosses:
        get = self.session.plugins.get
        return WeightedLosses(
            [(e.name, e.weight, get("losses", e.name).build(e.options)) for e in self.stage.train.losses]
        )

    def _batches(self, first: int, last: int) -> Iterator[Batch]:
        accelerator = self.session.accelerator
        share = (accelerator.process_index, accelerator.num_processes)
        order = Order(len(self.samples), self.stage.train.batch_size, self.session.recipe.seed, self.stage.name, share)
        workers, pin = self.stage.train.workers, self.session.device.type == "cuda"
        if isinstance(self.samples, WholeFrames):
            return self.samples.batches(order, first, last, workers)
        return training_batches(self.samples, order, first, last, workers=workers, pin=pin)

    def _fingerprint(self, system: System, selection: Selection, resumed: bool) -> freeze.Fingerprint:
        """Digest the frozen part; a resumed stage must still hold what it held when it began."""
        path = self.folder / FROZEN
        if not resumed:
            before = freeze.fingerprint(system, selection)
            self.session.write(path, before.tensors)
            return before
        return freeze.Fingerprint(
            read_json(path, **dict.fromkeys(selection.frozen_parameters | selection.frozen_buffers, str))
        )

    def _prove(self, system: System, selection: Selection, losses: WeightedLosses, before: freeze.Fingerprint) -> None:
        stage, session = self.stage, self.session
        batch = to_device(next(self._batches(0, 1)), session.device)
        warp = draw_warp(session.recipe.seed, stage, 0)
        corrector = system.corrector
        if stage.injection and corrector is not None and corrector.zero_init and not self._trained_injection():
            prove_identity(system, batch, warp)

        constant: list[str] = []

        def loss() -> Tensor:
            with autocast(session.device, stage.train.precision):
                total, terms = losses(system(batch, warp=warp, inject=stage.injection), batch)
            constant.extend(losses.without_gradient(terms))
            return total

        where, backward = session.recipe.where("stage", self.index, "trainable"), backward_of(stage.train.compile)
        try:
            proof = prove_gradients(system, selection, loss, where, backward)
        except CompiledBackwardError as failure:
            go_uncompiled(system, failure, self._warn)
            proof = prove_gradients(system, selection, loss, where)
        for name in constant:
            session.emit(
                events.Note("warning", f"loss '{name}' has no gradient in stage {stage.name}: {NO_GRADIENT}", {})
            )
        count = {name: parameter.numel() for name, parameter in system.named_parameters()}
        session.emit(
            events.StageFrozen(
                name=stage.name,
                trainable=sum(count[name] for name in selection.parameters),
                frozen=sum(count[name] for name in selection.frozen_parameters),
                digest=before.digest,
                zero_gradient=proof.zero,
            )
        )

    def _trained_injection(self) -> bool:
        """Whether the injection has been trained in what the stage starts from."""
        if self.extends:
            return self.stage.injection
        stages = {stage.name: stage for stage in self.session.recipe.stages}
        name = self.stage.init
        while name in stages:
            if stages[name].injection:
                return True
            name = stages[name].init
        return name is not None and holds_injection(read_weights(Path(name))[0])

    def _measure_during(self, system: System, moment: str) -> Evaluation:
        measured = Measured(self.session, system, self.stage.name, self.folder, self.stage.injection)
        return self._measure(measured, moment)

    def _measure(self, measured: Measured, moment: str) -> Evaluation:
        """Evaluate with every warp that matters to the stage; the predicted one, as at inference, is the result."""
        for warp in self.warps():
            evaluation = measured.evaluate("gt" if warp == "gt" else "pred")
            self.session.emit(events.Evaluated(self.stage.name, moment, warp, "none", evaluation))
            name = f"evaluation-{moment.replace(' ', '-')}-{warp}.json"
            self.session.write(self.folder / name, vars(evaluation))
            if moment in ("before", "after"):
                self.rows.append(self._row(moment, warp, "val", evaluation))
        if moment in ("before", "after"):
            self._measure_retention(measured.system, moment)
            keep_pictures(self.session, measured.system, self.stage.injection, self.folder / PICTURES / moment)
        return evaluation

    def _measure_retention(self, system: System, moment: str) -> None:
        """Evaluate on the retention data, with the injection where they bring its signal, and else the base alone."""
        for split in self.session.recipe.data.kept():
            signal = system.corrector.signal if self.stage.injection and system.corrector is not None else None
            inject = signal is not None and self.session.brings(split, signal)
            evaluation = self.session.evaluate(system, split, inject=inject)
            name, warp = split.removeprefix("retention."), "pred" if inject else "off"
            self.session.emit(events.Evaluated(self.stage.name, moment, warp, "none", evaluation, name))
            self.session.write(self.folder / f"evaluation-{moment}-{split}.json", vars(evaluation))
            self.rows.append(self._row(moment, warp, name, evaluation))

    def _row(self, moment: str, warp: str, data: str, evaluation: Evaluation) -> dict[str, Any]:
        return {
            "stage": self.stage.name,
            "moment": moment,
            "warp": warp,
            "data": data,
            "mean": dict(evaluation.mean),
            "base": dict(evaluation.base_mean),
        }

    def warps(self) -> list[str]:
        """What aligns the signal in each evaluation of the stage, the last one as at inference."""
        if self.stage.warp is None:
            return ["off"]
        aligned_by_truth = max(self.stage.warp.gt_share(0.0), self.stage.warp.gt_share(1.0)) > 0
        return ["gt", "pred"] if aligned_by_truth else ["pred"]

    def _best_of(self, evaluation: Evaluation) -> float | None:
        best = self.session.recipe.evaluate.best
        return None if best is None else evaluation.mean.get(best)

    def _hand_on(self, system: System, frozen: tuple[Selection, freeze.Fingerprint], seconds: float) -> Path:
        """Prove the frozen part unchanged, last of all, and write the weights that were proved."""
        selection, before = frozen
        hooks = self.session.plugins.spent()
        digest = freeze.prove_unchanged(before, system, selection, self.stage.name, hooks)
        path = self.folder / WEIGHTS
        if self.session.leads:
            write_whole(path, lambda partial: write_weights(partial, system.state_dict(), self._about(system)))
            figures = {"frozen_digest": digest, "weights_digest": file_digest(path), "seconds": seconds}
            self._write(RECORD, {"status": "done", **figures, "data": data_identity(self.session)})
        self.session.accelerator.wait_for_everyone()
        self.session.damaged.count()
        self.session.emit(events.StageFinished(self.stage.name, seconds, path, digest))
        return path

    def _recall_entry(self, step: int) -> None:
        """What the stage measured and decided before its first step, and the weights it then started from."""
        entry = read_record(self.folder / ENTRY, source=(str, NoneType))
        self.source = self.folder.parent / entry["source"] if entry["source"] else None
        self.rows += entry["rows"]
        self.gates += entry["gates"]
        text = f"stage {self.stage.name} goes on after step {step}"
        self.session.emit(events.Note("info", text, {"stage": self.stage.name, "gates": list(self.gates)}))

    def _write(self, name: str, more: dict[str, Any]) -> None:
        run, source = self.folder.parent, self.source
        if source is not None and source.is_relative_to(run):
            source = source.relative_to(run)  # so that a run can be moved, or resumed from another folder
        rows = self.rows[self.first_row :]
        place = None if source is None else str(source)
        record = {"stage": self.stage.name, "source": place, "rows": rows, "gates": self.gates, **more}
        self.session.write(self.folder / name, record)


FINISHED_AGAIN = "the stage is finished again from its newest checkpoint"


def finished(folder: Path, warn: Callable[[str], None], instead: str = FINISHED_AGAIN) -> dict[str, Any] | None:
    """The record of a stage whose weights can be taken from `folder`; None when it has to run, or to end, again.

    `warn` hears what is damaged, and what follows `instead`.
    """
    if not (folder / RECORD).exists():
        return None
    try:
        if read_json(folder / RECORD, status=str)["status"] != "done":
            return None
        record = read_record(folder / RECORD, weights_digest=str)
    except WorldError as damage:
        warn(f"{damage}; {instead}")
        return None
    weights = folder / WEIGHTS
    if not weights.is_file() or file_digest(weights) != record["weights_digest"]:
        warn(f"{weights} is {'damaged: it differs from its digest' if weights.is_file() else 'missing'}; {instead}")
        return None
    return record
