"""A mistake in a plugin ends in words that name the plugin's part, never in a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Command, WriteRecipe
from test_bad_endings import errors
from toy_world import STAGE_A, STAGE_B, toml

MISTAKES = """
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
        if self.options.how == "odd":
            sample["odd"] = object()
        return sample


def wrong(parent, error):
    class Wrong(parent):
        def forward(self, *inputs):
            if error:
                raise error
            return super().forward(*inputs).value

    return Wrong


def loss(options):
    def called(prediction, batch):
        return batch["targt"].mean()
    return called


def metric(options):
    def odd_metric(prediction, batch):
        return {"odd": 3}
    return odd_metric


@hookimpl
def engine_datasets(register):
    register("wrong", Wrong, WrongData)


@hookimpl
def engine_models(register):
    register("raises", BaseOptions, wrong(ToyBase, IndexError("out of range")), target="target")
    register("tensor", BaseOptions, wrong(ToyBase, None), target="target")


@hookimpl
def engine_injections(register):
    register("raises", BoundOptions, wrong(ToyInjection, KeyError("own")))


@hookimpl
def engine_losses(register):
    register("misreads", Options, loss)


@hookimpl
def engine_metrics(register):
    register("odd", Options, metric, produces=lambda options: ["odd"])


def gate(options):
    def called(context):
        raise RuntimeError("no verdict")
    return called


@hookimpl
def engine_gates(register):
    register("raises", Options, gate)
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
        {"evaluate": {"metrics": [{"name": "odd"}], "key": ["odd"], "best": "odd"}},
        1,
        "the metric odd_metric failed: TypeError: cannot unpack",
    ),
]


@pytest.mark.parametrize(("changes", "code", "words"), PARTS)
def test_a_part_that_fails_is_named(
    engine: Command, mistaken: WriteRecipe, changes: dict[str, object], code: int, words: str
) -> None:
    done = engine("run", mistaken(stage=[STAGE_A, STAGE_B], **changes))
    assert any(words in line for line in errors(done)), done.err
    assert done.code == code


def test_a_gate_that_fails_is_named(engine: Command, mistaken: WriteRecipe) -> None:
    done = engine("run", mistaken(stage=[{**STAGE_A, "gate": [{"check": "raises"}]}]))
    assert done.code == 1
    assert "the gate raises failed: RuntimeError: no verdict" in done.err


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
