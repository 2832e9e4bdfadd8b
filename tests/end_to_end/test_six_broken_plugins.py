"""Six ways to break a plugin, installed and as a file: each is named in one sentence, and the rest goes on.

What breaks while a plugin is loaded leaves an installed plugin out, with a line in `engine plugins`; of a file that the
recipe names it is a mistake of the recipe (2). What breaks in a run ends it (1), wherever the plugin came from. What
its own code raises is told with its own line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Command, WriteRecipe, events_of, only_run
from test_bad_endings import errors
from toy_world import PLUGIN, STAGE_A, STAGE_B

HERE = "  # here"
"""Marks the line that a message names."""
HEAD = """
from pydantic import BaseModel
from toy_plugin import BaseOptions, ToyBase

from engine.hookspecs import hookimpl


"""
BRINGS = """
@hookimpl
def engine_models(register):
    register("broken", BaseOptions, ToyBase, target="target")


"""
RAISES = f"raise RuntimeError('no licence'){HERE}\n"

AT_LOADING = {
    "raises_at_import": (
        RAISES,
        "it could not be imported: RuntimeError: no licence",
    ),
    "raises_in_a_hook": (
        BRINGS.rstrip() + "\n    " + RAISES,
        "engine_models failed: RuntimeError: no licence",
    ),
    "misspelt_hook": (
        BRINGS.replace("engine_models", "engine_modles"),
        "there is no hook 'engine_modles'; did you mean 'engine_models'?",
    ),
    "wrong_signature": (
        BRINGS.replace("register", "registry"),
        "'engine_models' takes 'registry'; the engine calls it with 'register', by that name",
    ),
    "options_of_a_wrong_type": (
        BRINGS.replace("BaseOptions", "ToyBase"),
        "register('broken', ...): options must be a class derived from pydantic.BaseModel, not the class 'ToyBase'",
    ),
}
IN_A_RUN = {
    "raises_in_the_middle": (
        BRINGS + "@hookimpl\ndef engine_step(event):\n    if event.step == 4:\n        " + RAISES,
        "plugin {plugin!r} failed in engine_step: RuntimeError: no licence",
    ),
    "default_of_a_wrong_type": (
        "class Wrong(BaseOptions):\n    width: int = 'four'\n\n\n" + BRINGS.replace("BaseOptions", "Wrong"),
        "{thing} refuses its own options: its defaults: 'width' is the text 'four'; expected a whole number",
    ),
    "option_that_cannot_be_told": (
        "class Wrong(BaseOptions):\n    made: object = object()\n\n\n" + BRINGS.replace("BaseOptions", "Wrong"),
        "the options of {thing} cannot be written down, so no run could be resumed: PydanticSerializationError: Unable"
        " to serialize unknown type: <class 'object'>",
    ),
    "traits_that_are_no_table": (
        "class Listing(ToyBase):\n    traits = ('axis',)\n\n\n" + BRINGS.replace("ToyBase", "Listing"),
        "the traits of the model broken are no table of texts: AttributeError: 'tuple' object has no attribute 'items'",
    ),
    "measures_a_wrong_thing": (
        "def mean(prediction, batch):\n    return prediction.value.sum(), 1\n\n\n" + BRINGS + "@hookimpl\n"
        "def engine_metrics(register):\n"
        "    register('wrong', BaseOptions, lambda options: mean, produces=lambda options: ['wrong'])\n",
        "the metric wrong returned (a tensor of shape (), 1); expected {{name: (sum, count)}}, two tensors of shape"
        " (8,) with a number for each sample",
    ),
    "returns_a_wrong_shape": (
        "class Flat(ToyBase):\n    def forward(self, batch):\n        made = super().forward(batch)\n"
        "        return type(made)(made.value[:, 0])\n\n\n" + BRINGS.replace("ToyBase", "Flat"),
        "the model broken answered with a value of shape (8, 8, 8); expected the shape of 'target' in data.val (toy), "
        "(8, 1, 8, 8)",
    ),
}
AT_WORK = """
import torch
from engine_stereo.losses import mean_over
from toy_plugin import BoundOptions, DataOptions, Options, ToyData, ToyInjection


class Base(ToyBase):
    def forward(self, batch):
        return self.head(batch["image"])  # here: model


class Injection(ToyInjection):
    def forward(self, batch, base, alignment):
        return super().forward(batch, base, self.missing)  # here: injection


class Data(ToyData):
    def sample(self, index, rng):
        return numbered(super().sample(index, rng)) if index == 3 else super().sample(index, rng)


def numbered(sample):
    return sample | {"id": str(int(sample["scene"]))}  # here: data


def loss(prediction, batch):
    one, other = torch.broadcast_tensors(prediction.value, batch["target"][..., 1:])  # here: loss
    return (one - other).square().mean()


def metric(prediction, batch):
    return {"broken": mean_over(None, prediction.value)}  # here: metric


def gate(context):
    return context.evaluate().mean["eror"]  # here: gate


@hookimpl
def engine_models(register):
    register("broken", BaseOptions, Base, target="target")


@hookimpl
def engine_injections(register):
    register("broken", BoundOptions, Injection)


@hookimpl
def engine_datasets(register):
    register("broken", DataOptions, Data)


@hookimpl
def engine_losses(register):
    register("broken", Options, lambda options: loss)


@hookimpl
def engine_metrics(register):
    register("broken", Options, lambda options: metric, produces=lambda options: ["broken"])


@hookimpl
def engine_gates(register):
    register("broken", Options, lambda options: gate)
"""
LETTERS = "data.train (broken) failed at sample 3: ValueError: invalid literal for int() with base 10: 'train-3'"
OF_PARTS = [
    (
        "model",
        {"model": {"plugin": "broken"}},
        "the model broken failed: RuntimeError: Given groups=1, weight of size [1, 4, 1, 1], expected input[8, 1, 8, 8]"
        " to have 4 channels, but got 1 channels instead",
    ),
    (
        "injection",
        {"injection": {"plugin": "broken"}, "stage": [STAGE_A, STAGE_B]},
        "the injection broken failed: AttributeError: 'Injection' object has no attribute 'missing'",
    ),
    ("data", {"data": {"train": {"plugin": "broken"}}}, LETTERS),
    ("data", {"data": {"train": {"plugin": "broken"}}, "train": {"workers": 2}}, LETTERS),
    (
        "loss",
        {"train": {"losses": [{"name": "broken"}]}},
        "the loss broken failed: RuntimeError: The size of tensor a (8) must match the size of tensor b (7) at"
        " non-singleton dimension 3",
    ),
    (
        "metric",
        {"evaluate": {"metrics": [{"name": "broken"}], "key": ["broken"], "best": "broken"}},
        "the metric broken failed: AttributeError: 'NoneType' object has no attribute 'sum'",
    ),
    (
        "gate",
        {"stage": [{**STAGE_A, "gate": [{"check": "broken"}]}]},
        "the gate broken failed: KeyError: 'eror'",
    ),
]
FILES = [str(PLUGIN), "broken.py"]


def place(file: Path, mark: str = HERE) -> str:
    """How a message names the line of a plugin's file that is marked; empty where none is."""
    marked = [number for number, line in enumerate(file.read_text().splitlines(), 1) if line.endswith(mark)]
    return f" ({file}:{marked[0]})" if marked else ""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """install(name, text): a plugin as pip leaves it, with an entry point."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def add(name: str, text: str) -> None:
        (site / f"{name}.py").write_text(HEAD + text)
        about = site / f"{name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[engine]\n{name} = {name}\n")

    yield add
    for file in site.glob("*.py"):
        sys.modules.pop(file.stem, None)


@pytest.mark.parametrize("name", AT_LOADING)
def test_a_file_that_cannot_be_loaded_is_a_mistake_of_the_recipe(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, name: str
) -> None:
    text, words = AT_LOADING[name]
    (tmp_path / "broken.py").write_text(HEAD + text)
    recipe = toy_recipe(plugins=FILES, model={"plugin": "broken"}, stage=[STAGE_A])
    for command in ("check", "run"):
        done = engine(command, recipe)
        assert done.code == 2
        (told,) = errors(done)
        before, _, after = told.partition(words)
        assert before.startswith(f"error {recipe}:2:"), "not where the recipe names the file"
        assert before.endswith(": the plugin broken.py could not be loaded: ")
        assert after == place(tmp_path / "broken.py")
        assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_installed_ones_that_cannot_be_loaded_are_named_and_everything_else_works(
    engine: Command, toy_recipe: WriteRecipe, install: Command, tmp_path: Path
) -> None:
    before = engine("plugins").out.splitlines()
    for name, (text, _) in AT_LOADING.items():
        install(name, text)
    listed = engine("plugins")
    assert listed.code == 0
    told = [line for line in listed.out.splitlines() if "could not be loaded" in line]
    assert sorted(told) == sorted(
        f"plugin '{name}' ({name} 1.0) could not be loaded: {words}{place(tmp_path / 'site' / f'{name}.py')}"
        for name, (_, words) in AT_LOADING.items()
    )
    assert [line for line in listed.out.splitlines() if line not in told] == before

    done = engine("run", toy_recipe(stage=[{**STAGE_A, "steps": 4}]))
    assert done.code == 0, done.err
    assert "could not be loaded" not in done.out + done.err

    done = engine("check", toy_recipe(model={"plugin": "broken"}, stage=[STAGE_A]))
    assert done.code == 2
    (first, *advice) = done.err.splitlines()
    assert "no plugin brings the model 'broken'" in first
    assert sorted(line.strip() for line in advice) == sorted(told)


@pytest.mark.parametrize("installed", [False, True])
@pytest.mark.parametrize("name", IN_A_RUN)
def test_what_breaks_in_a_run_ends_it_in_one_sentence(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, install: Command, name: str, installed: bool
) -> None:
    text, words = IN_A_RUN[name]
    file = tmp_path / "site" / f"{name}.py" if installed else tmp_path / "broken.py"
    plugin = name if installed else str(file)
    if installed:
        install(name, text)
    else:
        file.write_text(HEAD + text)
    often = {"log_every": 1, "checkpoint_every": 2}
    metrics = [{"name": "wrong"}] if "engine_metrics" in text else []
    recipe = toy_recipe(
        plugins=FILES[: 1 if installed else 2],
        model={"plugin": "broken"},
        stage=[STAGE_A],
        train=often,
        evaluate={"metrics": [{"name": "error"}, *metrics]},
    )
    done = engine("run", recipe)
    assert done.code == 1
    thing = f"model 'broken' of plugin {plugin!r}" + (f" ({name} 1.0)" if installed else "")
    assert errors(done) == [f"error {words.format(plugin=plugin, thing=thing)}{place(file)}"]
    assert len(done.err.splitlines()) == 1
    if name == "raises_in_the_middle":
        assert engine("check", recipe).code == 0
        assert events_of(only_run(tmp_path))[-1]["status"] == "failed"
        mended = HEAD + text.replace(RAISES, "pass\n")
        file.write_text(mended)
        sys.modules.pop(name, None)
        done = engine("run", recipe, "--resume")
        assert done.code == 0, done.err
        assert only_run(tmp_path)


@pytest.mark.parametrize("installed", [False, True])
@pytest.mark.parametrize(("part", "changes", "words"), OF_PARTS)
def test_what_a_part_raises_at_work_is_told_with_the_plugins_own_line(
    engine: Command,
    toy_recipe: WriteRecipe,
    tmp_path: Path,
    install: Command,
    part: str,
    changes: dict[str, object],
    words: str,
    installed: bool,
) -> None:
    file = tmp_path / "site" / "at_work.py" if installed else tmp_path / "broken.py"
    if installed:
        install("at_work", AT_WORK)
    else:
        file.write_text(HEAD + AT_WORK)
    done = engine("run", toy_recipe(plugins=FILES[: 1 if installed else 2], **{"stage": [STAGE_A], **changes}))
    assert done.code == 1
    assert errors(done) == [f"error {words}{place(file, f'{HERE}: {part}')}"]
    assert len(done.err.splitlines()) == 1


def test_an_installed_one_that_answers_wrongly_keeps_no_other_recipe_from_its_run(
    engine: Command, toy_recipe: WriteRecipe, install: Command
) -> None:
    for name in ("default_of_a_wrong_type", "returns_a_wrong_shape"):
        install(name, IN_A_RUN[name][0].replace('"broken"', f'"{name}"'))
    assert "could not be loaded" not in engine("plugins").out
    done = engine("run", toy_recipe(stage=[{**STAGE_A, "steps": 4}]))
    assert done.code == 0, done.err
