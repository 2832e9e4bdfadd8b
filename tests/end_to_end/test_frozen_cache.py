"""A stage with `cache = "on"` reads what the frozen base answers, and learns what it learns without."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Command, WriteRecipe, events_of, only_run, weights_of
from forked import Forks
from toy_world import PLUGIN, STAGE_A, STAGE_B, STAGE_C, merged, system

from engine.plugins import module_name
from engine.stages import cache_choice
from engine.stages.cache_choice import Costs

WATCHER = '''
"""Stops or kills the run where the environment says, or lets two runs meet before either has computed anything."""
import os, signal, time
from pathlib import Path
from engine.hookspecs import hookimpl

@hookimpl
def engine_stage_started(event):
    if event.name == "B" and "MEET" in os.environ:
        Path(os.environ["MEET"], str(os.getpid())).touch()

@hookimpl
def engine_note(event):
    if "frozen outputs" not in event.text:
        return
    if str(event.details.get("done")) == os.environ.get("END_AT"):
        os.kill(os.getpid(), getattr(signal, os.environ["BY"]))
    patience = time.monotonic() + 60
    while "MEET" in os.environ and len(os.listdir(os.environ["MEET"])) < 2 and time.monotonic() < patience:
        time.sleep(0.01)

@hookimpl
def engine_step(event):
    if os.environ.get("STOP_AT") == f"{event.stage} {event.step}":
        os.kill(os.getpid(), signal.SIGTERM)
'''

QUIET: dict[str, Any] = {"data": {"train": {"noise": False}}}
CACHED: dict[str, Any] = {**QUIET, "stage": [STAGE_A, {**STAGE_B, "cache": "on"}, STAGE_C]}

# A base that would draw and learn if it ran in training mode, and all that a step can do with what it answers.
DEMANDING: dict[str, Any] = {
    **QUIET,
    "model": {"dropout": 0.3, "norm": True},
    "train": {"batch_size": 2, "accumulate": 2, "ema": 0.8, "log_every": 1, "checkpoint_every": 4},
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's outputs are kept."""
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "frozen"


@pytest.fixture
def watched(toy_recipe: WriteRecipe, tmp_path: Path) -> Path:
    (tmp_path / "watcher.py").write_text(WATCHER)
    path = toy_recipe(**merged(DEMANDING, {"stage": CACHED["stage"]}))
    path.write_text(path.read_text().replace('toy_plugin.py"', 'toy_plugin.py", "watcher.py"'))
    return path


CUT = '''
"""The toy data as sets that can be cut after the base, and toys that declare what they read."""
import numpy as np
from engine.errors import InputError
from engine.hookspecs import hookimpl
from toy_plugin import BoundOptions, DataOptions, Options, ToyData, ToyInjection, ToyLoss

class Cut(ToyData):
    def augment(self, sample, rng):
        columns = slice(0, 4) if rng.random() < 0.5 else slice(4, 8)
        return {k: np.ascontiguousarray(v[..., columns]) if np.ndim(v) == 3 else v for k, v in sample.items()}

class Coloured(Cut):
    def augment(self, sample, rng):
        raise InputError("the base's answer does not follow colour", "leave it out")

class Declares(ToyInjection):
    reads = ("signal", "target")

class Square(ToyLoss):
    reads = ("target",)

class Looks(Square):
    def __call__(self, prediction, batch):
        return super().__call__(prediction, batch) * (1 if "image" in batch else 2)

@hookimpl
def engine_datasets(register):
    register("cut", DataOptions, Cut)
    register("coloured", DataOptions, Coloured)

@hookimpl
def engine_injections(register):
    register("declares", BoundOptions, Declares)

@hookimpl
def engine_losses(register):
    register("declared_square", Options, Square)
    register("looks", Options, Looks)
'''

AFTER: dict[str, Any] = {
    "injection": {"plugin": "declares"},
    "data": {"train": {"plugin": "cut"}},
    "stage": [STAGE_A, {**STAGE_B, "augment": "after-cache", "losses": [{"name": "declared_square"}]}, STAGE_C],
}


@pytest.fixture
def cut_recipe(toy_recipe: WriteRecipe, tmp_path: Path) -> WriteRecipe:
    """The toy recipe with data that can be cut after the base saw them, and toys that declare what they read."""
    (tmp_path / "cut.py").write_text(CUT)

    def write(**changes: Any) -> Path:
        path = toy_recipe(**merged(merged(DEMANDING, AFTER), changes))
        path.write_text(path.read_text().replace('toy_plugin.py"', 'toy_plugin.py", "cut.py"'))
        return path

    return write


def run_of(folder: Path) -> Path:
    (run,) = (folder / "toy").iterdir()
    return run


def assert_identical(one: Path, other: Path) -> None:
    for stage in "ABC":
        first, second = weights_of(one, stage), weights_of(other, stage)
        assert first.keys() == second.keys()
        for name in first:
            assert torch.equal(first[name], second[name]), f"{name} of stage {stage}"


def told(run: Path) -> list[str]:
    """What the run said of its frozen outputs, without its progress."""
    notes = [event for event in events_of(run, "note") if "frozen outputs of" in event["text"]]
    return ["computed" if "computed in" in note["text"] else "read" for note in notes]


def choices(run: Path) -> list[str]:
    """What a run said of `cache = "auto"`."""
    return [event["text"] for event in events_of(run, "note") if 'cache = "auto" is' in event["text"]]


@pytest.mark.parametrize("workers", [0, 2])
def test_cached_and_uncached_training_end_with_the_same_weights(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, workers: int
) -> None:
    changes = merged(
        DEMANDING, {"train": {"workers": workers}, "stage": [STAGE_A, {**STAGE_B, "warp": "pred"}, STAGE_C]}
    )
    assert engine("run", toy_recipe(**changes), "--runs", "live").code == 0
    recipe = toy_recipe(**changes)
    for runs in ("first", "second"):
        done = engine("run", recipe, "--set", "stage.B.cache=on", "--runs", runs)
        assert done.code == 0, done.err
        # Bit for bit: on a CPU the toy base gives a sample the same numbers alone and in any batch.
        assert_identical(run_of(tmp_path / runs), run_of(tmp_path / "live"))
    assert told(run_of(tmp_path / "live")) == []
    assert told(run_of(tmp_path / "first")) == ["computed"]
    assert told(run_of(tmp_path / "second")) == ["read"]


def test_what_is_cut_after_the_base_trains_alike_with_and_without_a_cache(
    engine: Command, cut_recipe: WriteRecipe, tmp_path: Path, cache: Path
) -> None:
    recipe = cut_recipe()
    for runs, *more in (("live", ""), ("filled", "on"), ("read", "on"), ("chosen", "auto")):
        done = engine("run", recipe, "--runs", runs, *(f"--set=stage.B.cache={each}" for each in more if each))
        assert done.code == 0, done.err
        assert_identical(run_of(tmp_path / runs), run_of(tmp_path / "live"))
    (store,) = cache.glob("*.zarr")
    kept = sorted(path.name for path in (store / "group-0").glob("*/"))
    assert kept == ["base.value", "signal", "target", "valid"], "what is declared, and no image"
    (choice,) = choices(run_of(tmp_path / "chosen"))
    assert choice == f'stage B: cache = "auto" is on: {store} is there already'


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"data": {"train": {"plugin": "toy"}}}, 2, "data.train (toy) cannot be augmented after the base has seen it"),
        ({"data": {"train": {"plugin": "coloured"}}}, 2, "after-cache\": the base's answer does not follow colour"),
        (
            {"stage": [{**STAGE_A, "augment": "after-cache"}, STAGE_B]},
            2,
            "to see whole frames in stage A, which trains",
        ),
    ],
    ids=["no method", "colour", "base trains"],
)
def test_what_cannot_be_cut_after_the_base_is_refused_with_its_place(
    engine: Command, cut_recipe: WriteRecipe, tmp_path: Path, changes: dict[str, Any], code: int, says: str
) -> None:
    recipe = cut_recipe(**changes)
    refused = engine("run", recipe)
    assert refused.code == code
    assert says in refused.err
    lines = recipe.read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "after-cache" in text)
    assert f"toy.toml:{line}:{lines[line - 1].index('augment') + 1}: " in refused.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("cache", "profiled"), [("on", []), ("off", []), ("on", ["--profile-plugins"])])
def test_a_field_that_is_only_asked_for_and_not_declared_is_named(
    engine: Command, cut_recipe: WriteRecipe, cache: str, profiled: list[str]
) -> None:
    stage = {**STAGE_B, "augment": "after-cache", "cache": cache, "losses": [{"name": "looks"}]}
    ended = engine("run", cut_recipe(stage=[STAGE_A, stage]), *profiled)
    assert ended.code == 1
    assert "the loss looks reads 'image', which is not among the fields that it declares (`reads`)" in ended.err


QUICK = Costs(recompute=1e-3, write=1e-3, read=1e-6, size=1000)
SLOW = Costs(recompute=1e-3, write=1e-3, read=1e-2, size=1000)


@pytest.mark.parametrize(("costs", "word"), [(QUICK, "on"), (SLOW, "off")], ids=["quick", "slow"])
def test_auto_does_what_it_measures_and_a_resumed_stage_goes_on_with_it(
    engine: Command, watched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, costs: Costs, word: str
) -> None:
    asked: list[int] = []

    def measured(shown: Any, answer: Any, batch: int, folder: Path) -> Costs:
        asked.append(batch)
        return costs if len(asked) == 1 else {QUICK: SLOW, SLOW: QUICK}[costs]

    monkeypatch.setattr(cache_choice, "measured", measured)
    auto = ("--set", "stage.B.cache=auto", "--set", "stage.B.steps=24")
    monkeypatch.setenv("STOP_AT", "B 6")
    assert engine("run", watched, *auto).code == 5
    monkeypatch.delenv("STOP_AT")
    assert engine("run", watched, *auto, "--resume").code == 0
    assert asked == [2], "asked once, and not again by the resumed run"
    notes = choices(only_run(tmp_path))
    assert len(notes) == 2
    assert notes[0] == notes[1]
    assert f'cache = "auto" is {word}: the base answers in 1.00 ms a sample' in notes[0]
    assert told(only_run(tmp_path)) == {"on": ["computed", "read"], "off": []}[word]


def test_auto_measures_a_real_base_and_its_store(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    assert engine("run", toy_recipe(**QUIET), "--set", "stage.B.cache=auto").code == 0
    (choice,) = [event for event in events_of(only_run(tmp_path), "note") if 'cache = "auto"' in event["text"]]
    for figure in ("recompute", "write", "read", "size", "samples", "draws", "saved", "fill"):
        assert choice["details"][figure] != 0, figure
    assert not list((only_run(tmp_path) / "stage-B").glob("cache-probe*"))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"data": {"train": {"noise": True}}}, "draws random numbers for sample 0"),
        ({"stage": [STAGE_A, {**STAGE_B, "trainable": ["**"], "frozen": []}, STAGE_C]}, "which trains base."),
    ],
    ids=["random data", "base trains"],
)
def test_auto_says_off_where_a_cache_is_impossible(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    done = engine("run", toy_recipe(**merged(QUIET, changes)), "--set", "stage.B.cache=auto")
    assert done.code == 0, done.err
    (choice,) = choices(only_run(tmp_path))
    assert choice.startswith('stage B: cache = "auto" is off: ')
    assert why in choice


def test_a_store_beyond_the_limit_is_refused_and_auto_goes_without(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_CACHE_GB", "1e-6")
    recipe = toy_recipe(**CACHED)
    refused = engine("run", recipe, "--runs", "on")
    assert refused.code == 2
    assert "the frozen outputs take up to 0.00 GB, and the cache may hold 0.00 GB (ENGINE_CACHE_GB)" in refused.err
    assert engine("run", recipe, "--set", "stage.B.cache=auto", "--runs", "auto").code == 0
    (choice,) = choices(run_of(tmp_path / "auto"))
    assert "is off: 0.00 GB would pass the 0.00 GB of ENGINE_CACHE_GB" in choice


def test_the_frozen_base_answers_each_training_sample_once_and_never_again(
    engine: Command, toy_recipe: WriteRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = toy_recipe(**CACHED)
    assert engine("check", recipe).code == 0
    base = sys.modules[module_name(PLUGIN)].ToyBase
    asked: list[list[str]] = []
    answer = base.forward

    def counted(self: Any, batch: Any) -> Any:
        if not self.training and batch["id"][0].startswith("train"):
            asked.append(batch["id"])
        return answer(self, batch)

    monkeypatch.setattr(base, "forward", counted)
    assert engine("run", recipe).code == 0
    assert sorted(name for ids in asked for name in ids if len(ids) > 1) == sorted(f"train-{n}" for n in range(24))
    assert [ids for ids in asked if len(ids) == 1] == [["train-0"]], "tells whether samples of a batch move each other"
    asked.clear()
    assert engine("run", recipe, "--fresh").code == 0
    assert asked == []


@pytest.mark.parametrize(
    ("changes", "stores"),
    [
        ({"injection": {"bound": 0.5}}, 1),
        ({"train": {"workers": 1}}, 1),
        ({"seed": 1}, 2),
        ({"model": {"dropout": 0.5}}, 2),
        ({"data": {"train": {"offset": 0.3}}}, 2),
        ({"data": {"train": {"count": 23}}}, 2),
        ({"stage": [STAGE_A, {**STAGE_B, "cache": "on", "precision": "bf16"}, STAGE_C]}, 2),
    ],
    ids=["injection", "workers", "weights", "model", "data", "samples", "precision"],
)
def test_what_the_answers_depend_on_and_nothing_else_makes_another_store(
    engine: Command, toy_recipe: WriteRecipe, cache: Path, changes: dict[str, Any], stores: int
) -> None:
    assert engine("run", toy_recipe(**CACHED)).code == 0
    done = engine("run", toy_recipe(**merged(CACHED, changes)), "--fresh")
    assert done.code == 0, done.err
    assert len(list(cache.glob("*.zarr"))) == stores


def test_options_of_the_data_make_another_store_even_where_weights_and_first_sample_stay(
    engine: Command, toy_recipe: WriteRecipe, cache: Path
) -> None:
    alone = {**STAGE_B, "cache": "on"}
    del alone["init"]
    assert engine("run", toy_recipe(**QUIET, stage=[alone])).code == 0
    assert engine("run", toy_recipe(data={"train": {"noise": False, "spoil": 20}}, stage=[alone])).code == 3
    assert len(list(cache.glob("*.zarr"))) == 2


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_stage_whose_base_trains_is_refused_with_its_place(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, command: str
) -> None:
    recipe = toy_recipe(**QUIET, stage=[{**STAGE_A, "cache": "on"}, STAGE_B, {**STAGE_C, "cache": "on"}])
    refused = engine(command, recipe)
    assert refused.code == 2
    lines = recipe.read_text().splitlines()
    for stage, name in (("A", "base.encoder.0.bias"), ("C", "base.encoder.0.bias")):
        line = next(number for number, text in enumerate(lines, 1) if f'name = "{stage}"' in text)
        column = lines[line - 1].index("cache") + 1
        assert f"toy.toml:{line}:{column}: the frozen base's outputs are to be cached in stage {stage}, " in refused.err
        assert f'in stage {stage}, which trains {name}; expected cache = "off" there' in refused.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("pattern", ["base.calls", "base"])
def test_a_base_in_training_mode_is_refused_even_where_no_parameter_trains(
    engine: Command, toy_recipe: WriteRecipe, pattern: str
) -> None:
    stage = {**STAGE_B, "trainable": ["injection.**", pattern], "frozen": [], "cache": "on"}
    refused = engine("check", toy_recipe(**QUIET, stage=[STAGE_A, stage]))
    assert refused.code == 2
    assert f"in stage B, which trains {pattern}; expected" in refused.err


def test_random_data_are_refused_before_the_run_begins(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    refused = engine("run", toy_recipe(stage=CACHED["stage"]))
    assert refused.code == 2
    assert "data.train (toy) draws random numbers for sample 0" in refused.err
    assert 'with cache = "off" the base runs in every step' in refused.err
    assert not (tmp_path / "runs").exists()


def test_plan_says_what_is_cached(engine: Command, toy_recipe: WriteRecipe) -> None:
    assert engine("plan", toy_recipe(**CACHED)).out.count("the frozen base's outputs cached") == 1


@pytest.mark.parametrize(
    ("does", "code", "says"),
    [
        ("self.calls += 1", 1, "the model toy changes its own weights or buffers as it answers"),
        ("torch.rand(1)", 2, "the model toy or data.train (toy) draws from torch's random numbers"),
    ],
)
def test_a_base_that_does_more_than_answer_is_named(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, cache: Path, does: str, code: int, says: str
) -> None:
    recipe = toy_recipe(**QUIET, stage=[{**STAGE_B, "init": "start.pt", "cache": "on"}])
    edited = tmp_path / "edited.py"
    recipe.write_text(recipe.read_text().replace(str(PLUGIN), str(edited)))
    edited.write_text(PLUGIN.read_text().replace("if self.writes:", f"{does}\n        if self.writes:"))
    torch.save(system().state_dict(), tmp_path / "start.pt")
    refused = engine("run", recipe)
    assert refused.code == code
    assert says in refused.err
    assert not list(cache.glob("*.zarr*"))


def test_a_damaged_chunk_ends_the_run_by_name_and_deleting_the_store_cures_it(
    engine: Command, watched: Path, tmp_path: Path, cache: Path
) -> None:
    assert engine("run", watched, "--runs", "whole").code == 0
    (store,) = cache.glob("*.zarr")
    chunks = store / "group-0" / "base.value" / "c.0.0.0.0"
    content = bytearray(chunks.read_bytes())
    content[-9] ^= 1
    chunks.write_bytes(content)
    failed = engine("run", watched)
    assert failed.code == 1
    assert f"{store} is damaged: sample 23: array 'base.value': " in failed.err
    assert "delete that folder and resume" in failed.err
    shutil.rmtree(store)
    resumed = engine("run", watched, "--resume")
    assert resumed.code == 0, resumed.err
    assert_identical(only_run(tmp_path), run_of(tmp_path / "whole"))


def test_a_stopped_stage_resumes_from_the_cache_bit_for_bit(
    engine: Command, watched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine("run", watched, "--runs", "whole").code == 0
    monkeypatch.setenv("STOP_AT", "B 6")
    assert engine("run", watched).code == 5
    monkeypatch.delenv("STOP_AT")
    assert engine("run", watched, "--resume").code == 0
    assert_identical(only_run(tmp_path), run_of(tmp_path / "whole"))


@pytest.mark.parametrize(("by", "code"), [("SIGKILL", -signal.SIGKILL), ("SIGTERM", 5)])
def test_a_run_that_ends_while_it_computes_leaves_nothing_to_read(
    forks: Forks, watched: Path, tmp_path: Path, cache: Path, by: str, code: int
) -> None:
    assert forks.run("run", watched, "--runs", "whole", folder=tmp_path).code == 0
    shutil.rmtree(cache)
    assert forks.run("run", watched, folder=tmp_path, END_AT="9", BY=by).code == code
    assert not list(cache.glob("*.zarr"))
    resumed = forks.run("run", watched, "--resume", folder=tmp_path)
    assert resumed.code == 0, resumed.err
    assert told(only_run(tmp_path))[-1] == "computed"
    assert [path.suffix for path in sorted(cache.iterdir())] == [".lock", ".zarr"]
    assert_identical(only_run(tmp_path), run_of(tmp_path / "whole"))


def test_of_two_runs_at_once_one_computes_and_the_other_reads(
    forks: Forks, watched: Path, tmp_path: Path, cache: Path
) -> None:
    (tmp_path / "met").mkdir()
    both = [
        forks.start("run", watched, "--runs", runs, folder=tmp_path, MEET=str(tmp_path / "met"))
        for runs in ("one", "two")
    ]
    for running in both:
        ended = running.wait()
        assert ended.code == 0, ended.err
    assert sorted(told(run_of(tmp_path / "one")) + told(run_of(tmp_path / "two"))) == ["computed", "read"]
    assert len(list(cache.glob("*.zarr"))) == 1
    assert_identical(run_of(tmp_path / "one"), run_of(tmp_path / "two"))
