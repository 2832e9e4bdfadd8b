"""`engine eval` on other data, its table by sample and its exports; retention data beside a stage."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
import torch
from conftest import Command, WriteRecipe, events_of, only_run, weights_of
from safetensors.torch import save_file

PLUGIN = '''
import json

import toy_plugin

from engine.hookspecs import hookimpl


class Bare(toy_plugin.ToyData):
    """Toy data without the fields that `lacks` says."""

    def sample(self, index, rng):
        sample = super().sample(index, rng)
        return {name: value for name, value in sample.items() if name not in self.options.lacks}


class BareOptions(toy_plugin.DataOptions):
    lacks: list[str] = []


class NoteOptions(toy_plugin.Options):
    suffix: str = "json"


class Notes:
    def __init__(self, options):
        self.suffix = options.suffix

    def __call__(self, prediction, batch, folder, seconds):
        for name, value in zip(batch["id"], prediction.value):
            (folder / f"{name}.{self.suffix}").write_text(json.dumps([value.shape[-1], seconds > 0]))


@hookimpl
def engine_datasets(register):
    register("bare", BareOptions, Bare)


@hookimpl
def engine_exports(register):
    register("notes", NoteOptions, Notes)
'''


@pytest.fixture
def recipe(toy_recipe: WriteRecipe, tmp_path: Path) -> Path:
    (tmp_path / "bare.py").write_text(PLUGIN)
    from toy_world import PLUGIN as TOY

    return toy_recipe(plugins=[str(TOY), str(tmp_path / "bare.py")])


def test_data_replaces_the_whole_table_of_the_recipe_and_set_goes_over_it(engine: Command, recipe: Path) -> None:
    done = engine("eval", recipe, "--data", "toy:count=3,split=other", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["ids"] == ["other-0", "other-1", "other-2"]
    done = engine("eval", recipe, "--data", "toy", "--set", "data.val.count=2", "--json")
    assert json.loads(done.out)["ids"] == ["train-0", "train-1"], "the recipe's split = 'val' is gone"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("toi", "did you mean 'toy'"),
        ("toy:cuont=3", "did you mean 'count'"),
        ("toy:count=many", "a whole number"),
        ("toy:count", "NAME:KEY=VALUE"),
        (":count=3", "names nothing"),
    ],
)
def test_a_mistake_in_data_is_told_with_the_option(engine: Command, recipe: Path, asked: str, told: str) -> None:
    done = engine("eval", recipe, "--data", asked)
    assert done.code == 2
    assert f"--data {asked}" in done.err
    assert told.lower() in done.err.lower()


def test_the_table_by_sample_has_the_figures_whose_mean_is_told(engine: Command, recipe: Path, tmp_path: Path) -> None:
    assert engine("run", recipe).code == 0
    run = only_run(tmp_path)
    done = engine("eval", recipe, "--weights", run, "--per-image", "made/rows.csv", "--json")
    told = json.loads(done.out)
    with (tmp_path / "made/rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "scene", "error", "base error"]
    assert [row["id"] for row in rows] == told["ids"]
    for column, mean in (("error", told["mean"]), ("base error", told["base_mean"])):
        assert sum(float(row[column]) for row in rows) / len(rows) == pytest.approx(mean["error"], rel=1e-5)
    assert rows[0]["error"] != rows[0]["base error"]


def test_a_figure_that_is_not_defined_leaves_its_cell_empty(tmp_path: Path) -> None:
    from engine.contracts import Evaluation
    from engine.reporting.per_sample import write_per_sample

    evaluation = Evaluation({}, {}, {}, {"epe/glass": [math.nan, 1.5]}, {}, ["a,b", "c"], ["s", "s"])
    write_per_sample(tmp_path / "rows.csv", evaluation)
    assert (tmp_path / "rows.csv").read_text() == 'id,scene,epe/glass\n"a,b",s,\nc,s,1.5\n'


def test_predictions_that_are_not_finite_are_told_once_and_no_figure_leaves_them_out(
    engine: Command, recipe: Path, tmp_path: Path
) -> None:
    assert engine("run", recipe).code == 0
    trained = weights_of(only_run(tmp_path), "C")
    save_file(trained | {"base.head.bias": torch.full((1,), torch.nan)}, "nan.safetensors")

    done = engine("eval", recipe, "--weights", "nan.safetensors", "--json")
    assert done.code == 0, done.err
    told = [line for line in done.err.splitlines() if "not finite" in line]
    assert told == [
        "  data.val (toy): the predictions for 10 of 10 samples are not finite, 640 of 640 values: "
        "val-0, val-1, val-2, val-3, val-4, val-5, ..."
    ]
    figures = json.loads(done.out)
    assert figures["mean"] == {"error": None}
    assert figures["skipped"] == {"error": 0}
    assert "nan [nan]" in engine("eval", recipe, "--weights", "nan.safetensors").out
    assert "not finite" not in engine("eval", recipe).out


def test_predictions_are_exported_into_a_folder_each_with_the_time_they_took(
    engine: Command, recipe: Path, tmp_path: Path
) -> None:
    done = engine("eval", recipe, "--export", "notes:suffix=txt", "--out", "made")
    assert done.code == 0, done.err
    assert len(list((tmp_path / "made/notes").glob("val-*.txt"))) == 10
    assert json.loads((tmp_path / "made/notes/val-0.txt").read_text()) == [8, True]


def test_an_export_that_nothing_brings_is_told_with_the_nearest(engine: Command, recipe: Path) -> None:
    done = engine("eval", recipe, "--export", "note")
    assert done.code == 2
    assert "no plugin brings the export 'note'" in done.err
    assert "'notes'" in done.err


def test_data_without_a_signal_measure_the_base_alone_and_say_so(engine: Command, recipe: Path) -> None:
    done = engine("eval", recipe, "--data", 'bare:lacks=["signal"]', "--json")
    assert done.code == 0, done.err
    assert "base is measured alone" in done.err
    assert json.loads(done.out)["base_mean"] == {}


def test_data_without_truth_are_exported_and_not_measured(engine: Command, recipe: Path, tmp_path: Path) -> None:
    data = ("--data", 'bare:count=2,lacks=["target"]')
    done = engine("eval", recipe, *data, "--export", "notes", "--out", "made", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["mean"] == {}
    assert len(list((tmp_path / "made/notes").iterdir())) == 2
    assert engine("eval", recipe, *data).code == 2, "without an export there is nothing that could be done with them"


def test_retention_data_are_measured_before_and_after_each_stage(
    engine: Command, recipe: Path, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    source = {"plugin": "toy", "split": "source", "offset": 0.1, "count": 4}
    bare = {"plugin": "bare", "split": "source", "count": 2, "lacks": ["signal"]}
    from toy_world import PLUGIN as TOY

    kept = toy_recipe(
        plugins=[str(TOY), str(tmp_path / "bare.py")], data={"retention": {"source": source, "bare": bare}}
    )
    done = engine("run", kept, "--json")
    assert done.code == 0, done.err
    rows = json.loads(done.out)["rows"]
    seen = [(row["stage"], row["moment"], row["data"], row["warp"]) for row in rows if row["data"] != "val"]
    assert seen[:4] == [
        (name, moment, data, "off") for name, moment in [("A", "before"), ("A", "after")] for data in ("source", "bare")
    ]
    assert ("C", "after", "source", "pred") in seen
    assert ("C", "after", "bare", "off") in seen, "data without the signal cannot be corrected"
    before, after = (row["mean"]["error"] for row in rows if row["stage"] == "A" and row["data"] == "source")
    assert before != after
    run = only_run(tmp_path)
    assert {event["data"] for event in events_of(run, "evaluated")} == {"val", "source", "bare"}
    assert json.loads((run / "stage-A/evaluation-after-retention.source.json").read_text())["ids"][0] == "source-0"


def test_mistakes_in_retention_data_are_told_where_they_stand(engine: Command, toy_recipe: WriteRecipe) -> None:
    wrong = toy_recipe(data={"retention": {"source": {"plugin": "toy", "cuont": 3}}})
    done = engine("check", wrong)
    assert done.code == 2
    assert "'cuont'" in done.err
    assert "'count'" in done.err
