"""A mistake in a plugin ends in words that name the plugin's part, never in a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Command, WriteRecipe, events_of, only_run
from test_bad_endings import errors, status
from toy_world import STAGE_A, STAGE_B, threshold, toml

from engine.plugins import HOOK_OF_EVENT

MISTAKES = """
from dataclasses import replace

from engine.contracts import Verdict
from toy_plugin import BaseOptions, DataOptions, Options, ToyBase, ToyData, ToyInjection, BoundOptions, ToyMetric

from engine.hookspecs import hookimpl


class Wrong(DataOptions):
    how: str = "none"


class WrongData(ToyData):
    def __len__(self):
        if self.options.how == "len":
            raise TypeError("no length")
        return super().__len__()

    def prepare(self, progress):
        if self.options.how == "prepare":
            raise RuntimeError("not prepared")

    def sample(self, index, rng):
        sample = super().sample(index, rng)
        if self.options.how == "sample" and index == 3:
            raise ZeroDivisionError("by zero")
        if self.options.how == "world" and index == 3:
            raise FileNotFoundError(2, "No such file or directory", "three.png")
        if self.options.how == "field":
            del sample["image"]
        if self.options.how == "ragged" and index % 2:
            del sample["image"]
        if self.options.how == "signal":
            del sample["signal"]
        if self.options.how == "target":
            del sample["target"]
        if self.options.how == "none at all":
            return None
        if self.options.how == "id":
            sample["id"] = 7
        if self.options.how == "mask":
            sample["valid"] = sample["valid"].astype("uint8")
        if self.options.how == "odd":
            sample["odd"] = object()
        return sample


def wrong(parent, change):
    class Wrong(parent):
        def forward(self, *inputs):
            return change(super().forward(*inputs))

    return Wrong


def fail(error):
    raise error


def loss(called):
    return lambda options: called


def metric(options):
    def odd_metric(prediction, batch):
        return {"odd": 3}
    return odd_metric


@hookimpl
def engine_datasets(register):
    register("wrong", Wrong, WrongData)


@hookimpl
def engine_models(register):
    def add(name, change):
        register(name, BaseOptions, wrong(ToyBase, change), target="target")

    add("raises", lambda made: fail(IndexError("out of range")))
    add("tensor", lambda made: made.value)
    add("flat", lambda made: replace(made, value=made.value[:, 0]))
    add("many", lambda made: replace(made, value=made.value.expand(-1, 3, -1, -1)))
    add("empty", lambda made: replace(made, value=None))
    add("sure", lambda made: replace(made, confidence=made.value[:, 0]))


class Elsewhere(ToyInjection):
    signal = ("siganl",)


@hookimpl
def engine_injections(register):
    register("elsewhere", BoundOptions, Elsewhere)
    register("raises", BoundOptions, wrong(ToyInjection, lambda made: fail(KeyError("own"))))
    register("wide", BoundOptions, wrong(ToyInjection, lambda made: made.base.corrected(made.raw[..., :1], made.raw)))
    register("one", BoundOptions, wrong(ToyInjection, lambda made: made.base.corrected(0 * made.raw.mean(), made.raw)))
    register("short", BoundOptions, wrong(ToyInjection, lambda made: replace(made, value=made.value[..., 1:])))


@hookimpl
def engine_losses(register):
    register("misreads", Options, loss(lambda prediction, batch: batch["targt"].mean()))
    register("number", Options, loss(lambda prediction, batch: prediction.value.mean().item()))
    register("map", Options, loss(lambda prediction, batch: prediction.value - batch["target"]))
    register("detached", Options, loss(lambda prediction, batch: prediction.value.detach().square().mean()))


@hookimpl
def engine_metrics(register):
    register("odd", Options, metric, produces=lambda options: ["odd"])


@hookimpl
def engine_gates(register):
    register("raises", Options, loss(lambda context: fail(RuntimeError("no verdict"))))
    register("silent", Options, loss(lambda context: None))
    register("unsure", Options, loss(lambda context: Verdict("maybe", "who knows")))
    register("wordless", Options, loss(lambda context: Verdict("pass", None)))
    register("unnamed", Options, loss(lambda context: Verdict("pass", "all is well", {("a", 1): 2.0})))
    register("listed", Options, loss(lambda context: Verdict("pass", "all is well", [1.0])))
"""


@pytest.fixture
def mistaken(toy_recipe: WriteRecipe, tmp_path: Path) -> WriteRecipe:
    """The toy recipe with the plugin of mistakes beside it."""
    (tmp_path / "mistakes.py").write_text(MISTAKES)

    def write(**changes: object) -> Path:
        path = toy_recipe(**changes)
        path.write_text(path.read_text().replace("toy_plugin.py", 'toy_plugin.py", "mistakes.py'))
        return path

    return write


DATA = [
    ("len", 1, "data.train (wrong) failed to tell its length: TypeError: no length"),
    ("prepare", 1, "data.train (wrong) failed to prepare: RuntimeError: not prepared"),
    ("sample", 1, "data.train (wrong) failed at sample 3: ZeroDivisionError: by zero"),
    ("world", 1, "data.train (wrong) failed at sample 3: [Errno 2] No such file or directory: 'three.png'"),
    ("none at all", 1, "data.train (wrong) gave a NoneType for sample"),
    ("id", 1, "data.train (wrong) gave id 7 for sample"),
    ("mask", 1, "data.train (wrong) gave 'valid' as uint8 for sample"),
    ("odd", 1, "data.train (wrong): its samples cannot be stacked: TypeError: "),
    (
        "field",
        2,
        "the model toy reads field 'image', which data.train (wrong) does not bring; it brings signal, target, valid",
    ),
    ("ragged", 2, "reads field 'image', which data.train (wrong) does not bring"),
    ("target", 2, "the loss square reads field 'target', which data.train (wrong) does not bring"),
]


@pytest.mark.parametrize(("how", "code", "words"), DATA)
def test_a_data_set_that_fails_is_named(
    engine: Command, mistaken: WriteRecipe, how: str, code: int, words: str
) -> None:
    done = engine("run", mistaken(stage=[STAGE_A], data={"train": {"plugin": "wrong", "how": how}}))
    assert any(words in line for line in errors(done)), done.err
    assert done.code == code


PARTS = [
    ({"model": {"plugin": "raises"}}, 1, "the model raises failed: IndexError: out of range"),
    ({"model": {"plugin": "tensor"}}, 1, "the model tensor answered with a Tensor; expected a Prediction"),
    ({"injection": {"plugin": "raises"}}, 1, "the injection raises failed: KeyError: 'own'"),
    (
        {"train": {"losses": [{"name": "misreads"}]}},
        2,
        "the loss misreads reads field 'targt', which data.train (toy) does not bring; it brings image, signal, target,"
        " valid, id, scene. Did you mean 'target'?",
    ),
    (
        {"model": {"plugin": "flat"}},
        1,
        "the model flat answered with a value of shape (8, 8, 8); expected the shape of 'target' in data.val (toy),"
        " (8, 1, 8, 8)",
    ),
    ({"model": {"plugin": "many"}}, 1, "the model many answered with a value of shape (8, 3, 8, 8); expected"),
    ({"model": {"plugin": "empty"}}, 1, "the model empty answered with a value of type NoneType; expected"),
    (
        {"model": {"plugin": "sure"}},
        1,
        "the model sure answered with a confidence of shape (8, 8, 8); expected shape (8, 1, 8, 8)",
    ),
    (
        {"injection": {"plugin": "wide"}},
        1,
        "the injection wide answered with a correction of shape (4, 1, 8, 1); expected shape (4, 1, 8, 8)",
    ),
    (
        {"injection": {"plugin": "one"}},
        1,
        "the injection one answered with a correction of shape (); expected shape (4, 1, 8, 8)",
    ),
    ({"injection": {"plugin": "short"}}, 1, "the injection short answered with a value of shape (4, 1, 8, 7)"),
    ({"train": {"losses": [{"name": "number"}]}}, 1, "loss 'number' returned a float; a loss is a scalar tensor"),
    ({"train": {"losses": [{"name": "map"}]}}, 1, "loss 'map' returned shape (4, 1, 8, 8); a loss is a scalar tensor"),
    ({"train": {"losses": [{"name": "detached"}]}}, 1, "loss 'detached' has no gradient: it is computed without"),
    (
        {"evaluate": {"metrics": [{"name": "odd"}], "key": ["odd"], "best": "odd"}},
        1,
        "the metric odd returned 3 for 'odd'; expected {name: (sum, count)}, two tensors of shape (8,) with a number"
        " for each sample",
    ),
]


@pytest.mark.parametrize(("changes", "code", "words"), PARTS)
def test_a_part_that_fails_is_named(
    engine: Command, mistaken: WriteRecipe, changes: dict[str, object], code: int, words: str
) -> None:
    done = engine("run", mistaken(stage=[STAGE_A, STAGE_B], **changes))
    assert any(words in line for line in errors(done)), done.err
    assert done.code == code


def test_a_signal_that_the_data_do_not_bring_is_told_before_the_first_stage(
    engine: Command, mistaken: WriteRecipe
) -> None:
    done = engine("run", mistaken(stage=[STAGE_A, STAGE_B], injection={"plugin": "elsewhere"}))
    assert done.code == 2
    assert "the injection elsewhere reads field 'siganl', which data.train (toy) does not bring" in done.err
    assert "Did you mean 'signal'?" in done.err
    assert "stage A" not in done.out


GATES = [
    ("raises", "the gate raises failed: RuntimeError: no verdict"),
    ("silent", "the gate silent gave None; expected a Verdict with one of the statuses pass, warn, fail,"),
    ("unsure", "the gate unsure gave Verdict(status='maybe', reason='who knows'"),
    ("wordless", "the gate wordless gave Verdict(status='pass', reason=None"),
    ("unnamed", "expected texts as its reason and advice, and figures by name"),
    ("listed", "expected texts as its reason and advice, and figures by name"),
]


@pytest.mark.parametrize(("check", "words"), GATES)
def test_a_gate_that_fails_is_named(engine: Command, mistaken: WriteRecipe, check: str, words: str) -> None:
    done = engine("run", mistaken(stage=[{**STAGE_A, "gate": [{"check": check}]}]))
    assert any(words in line for line in errors(done)), done.err
    assert done.code == 1


def test_a_loss_without_gradient_beside_others_is_warned_of(
    engine: Command, mistaken: WriteRecipe, tmp_path: Path
) -> None:
    losses = [{"name": "square"}, {"name": "detached"}]
    assert engine("run", mistaken(stage=[STAGE_A], train={"losses": losses})).code == 0
    (note,) = [event for event in events_of(only_run(tmp_path), "note") if event["level"] == "warning"]
    assert note["text"].startswith("loss 'detached' has no gradient in stage A: it is computed without the prediction")


@pytest.fixture
def hooked(toy_recipe: WriteRecipe, tmp_path: Path) -> Callable[..., Path]:
    """hooked(text, ...): the toy recipe, with a plugin file of that text beside the toy's."""

    def write(text: str, **changes: object) -> Path:
        (tmp_path / "hooks.py").write_text("from engine.hookspecs import hookimpl\n" + text)
        path = toy_recipe(**changes)
        path.write_text(path.read_text().replace("toy_plugin.py", 'toy_plugin.py", "hooks.py'))
        return path

    return write


RAISES = """
@hookimpl
def {hook}(event):
    raise {error}
"""
SHORT = {"stage": [{**STAGE_A, "steps": 4, "gate": [threshold(max=9.0)]}, {**STAGE_B, "steps": 4}]}


@pytest.mark.parametrize("hook", HOOK_OF_EVENT.values())
def test_a_hook_that_raises_is_named_and_every_other_listener_still_hears_the_end(
    engine: Command, hooked: Callable[..., Path], tmp_path: Path, hook: str
) -> None:
    done = engine("run", hooked(RAISES.format(hook=hook, error="RuntimeError('no server')"), **SHORT))
    file = tmp_path / "hooks.py"
    assert errors(done) == [f"error plugin '{file}' failed in {hook}: RuntimeError: no server ({file}:5)"]
    assert done.code == 1
    ended = "done" if hook == "engine_run_finished" else "failed"
    assert status(tmp_path) == ended
    assert events_of(only_run(tmp_path))[-1]["status"] == ended
    assert f"{ended} after" in done.out


def test_a_hook_that_exits_does_not_end_the_run_as_if_it_were_done(
    engine: Command, hooked: Callable[..., Path], tmp_path: Path
) -> None:
    done = engine("run", hooked("import sys\n" + RAISES.format(hook="engine_step", error="sys.exit(0)"), **SHORT))
    assert done.code == 1
    file = tmp_path / "hooks.py"
    assert errors(done) == [f"error plugin '{file}' failed in engine_step: SystemExit: 0 ({file}:6)"]
    assert status(tmp_path) == "failed"


def test_a_failure_at_the_very_end_hides_neither_the_figures_nor_how_the_run_ended(
    engine: Command, hooked: Callable[..., Path]
) -> None:
    raises = RAISES.format(hook="engine_run_finished", error="RuntimeError('no server')")
    done = engine("run", hooked(raises, **SHORT), "--json")
    assert done.code == 1
    assert [row["moment"] for row in json.loads(done.out)["rows"]] == ["before", "after", "after", "after"]
    refused = engine("run", hooked(raises, stage=[{**STAGE_A, "steps": 4, "gate": [threshold(max=0.01)]}]))
    assert refused.code == 4
    assert all("gate 'threshold'" in line for line in errors(refused))


def test_a_hook_that_writes_to_a_frozen_tensor_is_named_beside_the_modules(
    engine: Command, hooked: Callable[..., Path], tmp_path: Path
) -> None:
    text = """
from toy_plugin import BaseOptions, ToyBase

MADE = []

def build(options):
    MADE.append(ToyBase(options))
    return MADE[-1]

@hookimpl
def engine_models(register):
    register("kept", BaseOptions, build, target="target")

@hookimpl
def engine_step(event):
    if event.stage == "B":
        MADE[-1].head.bias.data += 1
"""
    done = engine("run", hooked(text, model={"plugin": "kept"}, **SHORT))
    assert done.code == 1
    assert errors(done) == [
        "error stage B: 1 frozen tensors changed while it trained: base.head.bias; a module writes to its own weights"
        f" or buffers in forward, or plugin '{tmp_path / 'hooks.py'}' in engine_step"
    ]
    assert not (only_run(tmp_path) / "stage-B" / "weights.safetensors").exists()


def test_a_slow_plugin_is_named_at_the_end_with_what_to_do(
    engine: Command, hooked: Callable[..., Path], tmp_path: Path
) -> None:
    text = """
import time

@hookimpl
def engine_stage_started(event):
    time.sleep(1.2)
"""
    done = engine("run", hooked(text, stage=[{**STAGE_A, "steps": 4}]))
    assert done.code == 0, done.err
    (note,) = [event for event in events_of(only_run(tmp_path), "note") if event["level"] == "warning"]
    assert note["text"].startswith(f"plugin '{tmp_path / 'hooks.py'}' took 1.")
    assert "most of it in engine_stage_started; `engine run RECIPE --profile-plugins` shows" in note["text"]
    assert note["text"] in done.out


def test_a_crop_that_the_network_cannot_train_on_stops_with_2(engine: Command, tmp_path: Path) -> None:
    scenes = {"plugin": "polarized_scenes", "count": 2, "height": 64, "width": 64}
    path = tmp_path / "crop.toml"
    path.write_text(
        toml(
            {
                "name": "crop",
                "model": {"plugin": "s2m2", "size": "nano"},
                "data": {"train": {**scenes, "crop": [48, 64]}, "val": {**scenes, "split": "val"}},
                "train": {"losses": [{"name": "disparity_l1"}], "batch_size": 2},
                "stage": [{**STAGE_A, "steps": 1}],
            }
        )
    )
    done = engine("run", path)
    assert done.code == 2, done.err
    assert errors(done) == [
        "error training images are 48 x 64 px, which S2M2 cannot train on; expected a crop whose height and width are"
        " multiples of 32"
    ]
