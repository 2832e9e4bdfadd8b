"""`engine predict`: files in, files out, with a model and files that know no pictures from cameras."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Command, WriteRecipe, only_run, weights_of
from toy_world import PLUGIN as TOY

PLUGIN = """
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from engine.hookspecs import hookimpl


class Files(BaseModel):
    model_config = ConfigDict(extra="forbid")

    image: Path
    signal: Path | None = None
    times: tuple[float, float] | float = 1.0


class Arrays:
    def __init__(self, options):
        self.options = options

    def __len__(self):
        return len(sorted(self.options.image.glob("*.npy")))

    def sample(self, index, rng):
        file = sorted(self.options.image.glob("*.npy"))[index]
        sample = {"image": np.load(file), "id": file.stem}
        if self.options.signal is not None:
            sample["signal"] = np.load(self.options.signal / file.name)
        return sample


class Values:
    def __init__(self, options):
        self.options = options

    def __call__(self, prediction, batch, folder, seconds):
        for name, value in zip(batch["id"], prediction.value):
            np.save(folder / f"{name}.npy", value.cpu().numpy())


class ValueOptions(BaseModel):
    pass


@hookimpl
def engine_inputs(register):
    register("target", Files, Arrays, exports=("values",))


@hookimpl
def engine_exports(register):
    register("values", ValueOptions, Values)
"""


@pytest.fixture
def recipe(toy_recipe: WriteRecipe, tmp_path: Path) -> Path:
    (tmp_path / "files.py").write_text(PLUGIN)
    for folder in ("images", "signals"):
        (tmp_path / folder).mkdir()
    numbers = np.random.default_rng(0)
    for name, height in (("low", 8), ("high", 31)):
        np.save(tmp_path / "images" / f"{name}.npy", numbers.normal(size=(1, height, 8)).astype(np.float32))
        np.save(tmp_path / "signals" / f"{name}.npy", np.ones((1, height, 8), np.float32))
    return toy_recipe(plugins=[str(TOY), str(tmp_path / "files.py")])


def base_answer(weights: dict[str, torch.Tensor], image: Path) -> torch.Tensor:
    """What the toy base answers with these weights."""
    seen = torch.conv2d(
        torch.from_numpy(np.load(image))[None],
        weights["base.encoder.0.weight"],
        weights["base.encoder.0.bias"],
        padding=1,
    ).relu()
    return torch.conv2d(seen, weights["base.head.weight"], weights["base.head.bias"])[0]


def test_a_run_answers_with_the_weights_of_its_last_stage(engine: Command, recipe: Path, tmp_path: Path) -> None:
    assert engine("run", recipe).code == 0
    run = only_run(tmp_path)
    weights = weights_of(run, "C")

    done = engine("predict", run, "images", "--signal", "signals", "--out", "made", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert [(each["id"], each["height"], each["corrected"]) for each in told["predictions"]] == [
        ("high", 31, True),
        ("low", 8, True),
    ]
    both = torch.cat([torch.ones(1, 1, 31, 8), torch.zeros(1, 1, 31, 8)], 1)
    correction = torch.conv2d(both, weights["injection.head.weight"], weights["injection.head.bias"]).tanh()[0]
    expected = base_answer(weights, tmp_path / "images/high.npy") + correction
    np.testing.assert_allclose(np.load(tmp_path / "made/high.npy"), expected, atol=1e-5)

    alone = engine("predict", run, "images", "--out", "alone", "--tile", "16")
    assert alone.out.count("the base alone, without an auxiliary signal") == 2
    assert "written: alone" in alone.out
    assert "high: 8 x 31 px" in alone.out
    assert alone.out.count("bands differ by 0.0") == 1
    expected = base_answer(weights, tmp_path / "images/high.npy")
    in_bands = np.load(tmp_path / "alone/high.npy")
    np.testing.assert_allclose(in_bands[:, :7], expected[:, :7], atol=1e-5)  # the second of three bands begins here
    assert np.abs(in_bands - expected.numpy()).max() > 1e-4, "the bands do not see each other"


def test_an_answer_that_is_not_finite_is_told_at_the_end(engine: Command, recipe: Path, tmp_path: Path) -> None:
    image = np.load(tmp_path / "images/low.npy")
    image[0, 2, 3] = np.nan
    np.save(tmp_path / "images/low.npy", image)

    done = engine("predict", recipe, "images", "--out", "made")
    assert done.code == 0, done.err
    (told,) = [line for line in done.out.splitlines() if "not finite" in line]
    assert told == (
        "  the inputs: the predictions for 1 of 2 samples are not finite, "
        f"{np.isnan(np.load(tmp_path / 'made/low.npy')).sum()} of {8 * (8 + 31)} values: low"
    )


def test_a_recipe_answers_with_its_starting_weights(engine: Command, recipe: Path, tmp_path: Path) -> None:
    done = engine("predict", recipe, "images", "--export", "values", "--out", "made")
    assert done.code == 0, done.err
    first = np.load(tmp_path / "made/values/low.npy")
    assert engine("predict", recipe, "images", "--set", "seed=1", "--out", "made").code == 0
    assert np.abs(np.load(tmp_path / "made/low.npy") - first).max() > 1e-3, "other weights were drawn"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "inputs of 'target': nothing was given; expected 1, IMAGE, and flags after them"),
        (["a", "b"], "inputs of 'target': 2 arguments: a, b; expected 1, IMAGE"),
        (["images", "--signl", "x"], "--signl: inputs of 'target' have no such flag. Did you mean '--signal'"),
        (["images", "--ot", "made"], "--ot: inputs of 'target' have no such flag. Did you mean '--out'"),
        (["images", "--signal"], "--signal: this flag has no value"),
        (["images", "--signal", "x", "--signal=y"], "--signal=y: this flag is said twice"),
        (["images", "--times", "many"], "--times: 'times' is the text 'many'; expected a"),
        (["images", "--times", "1", "2", "3"], "--times: 'times' is an array of 3 items"),
        (["images", "--overlap", "3"], "--overlap: without --tile there are no bands that overlap"),
        (["images", "--tile", "8", "--overlap", "8"], "--overlap: bands of 8 rows cannot share 8"),
        (["images", "--export", "valeus"], "Did you mean 'values'?"),
    ],
)
def test_a_mistake_is_told_where_it_stands(engine: Command, recipe: Path, words: list[str], told: str) -> None:
    done = engine("predict", recipe, *words)
    assert done.code == 2
    assert told in done.err


def test_a_flag_has_one_value_or_several(engine: Command, recipe: Path) -> None:
    for times in (["2"], ["1", "2.5"]):
        assert engine("predict", recipe, "images", "--times", *times).code == 0


def test_a_model_whose_inputs_nobody_reads_is_told(engine: Command, toy_recipe: WriteRecipe) -> None:
    done = engine("predict", toy_recipe(), "images")
    assert done.code == 2
    assert "no plugin reads inputs of models that learn 'target'" in done.err
