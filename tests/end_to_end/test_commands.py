from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, Outcome, WriteRecipe, only_run
from toy_world import PLUGIN, STAGE_A, STAGE_B, STAGE_C, threshold

from engine.cli.opening import weights_file
from engine.errors import WorldError


def strictly(outcome: Outcome) -> Any:
    """Standard output as JSON, without the words that Python alone would read (NaN, Infinity)."""
    assert outcome.code == 0, outcome.err

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(outcome.out, parse_constant=refuse)


def test_help_names_every_command_and_the_exit_codes(engine: Command) -> None:
    done = engine("--help")
    assert done.code == 0
    for command in ("run", "plan", "check", "check-feasibility", "eval", "plugins"):
        assert command in done.out
    assert "Exit codes" in done.out
    assert engine().out == done.out or "Usage" in engine().out


@pytest.mark.parametrize("command", ["run", "plan", "check", "check-feasibility", "eval", "plugins"])
def test_every_command_shows_an_example(engine: Command, command: str) -> None:
    done = engine(command, "--help")
    assert done.code == 0
    assert f"engine {command}" in done.out.partition("Usage")[2].partition("\n")[2]


def test_a_broken_installed_plugin_is_named_and_breaks_nothing(process: Command, tmp_path: Path) -> None:
    site = tmp_path / "site"
    about = site / "broken_thing-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-thing\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[engine]\nbroken = broken_thing\n")
    (site / "broken_thing.py").write_text("raise RuntimeError('no luck')\n")
    assert process("--help", PYTHONPATH=str(site)).code == 0
    listed = process("plugins", PYTHONPATH=str(site))
    assert listed.code == 0
    (line,) = [line for line in listed.out.splitlines() if "broken" in line]
    assert "no luck" in line
    assert strictly(process("plugins", "--json", PYTHONPATH=str(site)))["broken"] == [line]


def test_plugins_are_listed_with_their_options(engine: Command) -> None:
    text = engine("plugins")
    assert "threshold" in text.out
    listed = strictly(engine("plugins", "--json"))
    assert {"gates"} <= {each["kind"] for each in listed["brought"]}


def test_plugins_are_listed_with_where_they_come_from_and_their_hooks(engine: Command) -> None:
    listed = {each["name"]: each for each in strictly(engine("plugins", PLUGIN, "--json"))["plugins"]}
    assert listed["sgbm"] == {
        "name": "sgbm",
        "distribution": "experiment-engine",
        "version": version("experiment-engine"),
        "hooks": ["engine_models"],
    }
    file = listed[str(PLUGIN)]
    assert (file["distribution"], file["version"]) == (None, None)
    kinds = ("datasets", "injections", "losses", "metrics", "models", "pictures")
    assert file["hooks"] == [f"engine_{kind}" for kind in kinds]


def test_every_call_of_a_hook_is_told_where_that_is_asked_for(
    engine: Command, toy_recipe: WriteRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_PLUGIN_TRACE", "1")
    done = engine("run", toy_recipe(stage=[STAGE_A]))
    told = done.err.splitlines()
    assert f"engine_metrics of plugin {str(PLUGIN)!r} -> error" in told
    assert [line for line in told if "'event log'" in line and "engine_step" in line] == [
        "engine_step of plugin 'event log'"
    ] * 3
    assert told.index("engine_run_started of plugin 'console'") < told.index("engine_stage_started of plugin 'console'")
    monkeypatch.setenv("ENGINE_PLUGIN_TRACE", "0")
    assert engine("plugins").err == ""


def rows_of(done: Outcome) -> dict[str, str]:
    """The tree of a plan: module and parameters -> what each stage says of it."""
    rows = [" ".join(line.split()) for line in done.out.partition(" module ")[2].splitlines()]
    words = [row.split() for row in ["module " + rows[0], *rows[1:]] if row and "─" not in row]
    return {" ".join(each[:2]): " ".join(each[2:]) for each in words}


def test_plan_shows_stages_gates_and_the_tree(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    gate = threshold("warn", max=0.5, accept=["undetermined"])
    schedule = {"from": "gt", "to": "pred", "over": 0.5}
    stages = [STAGE_A, {**STAGE_B, "warp": schedule, "gate": [gate]}, {**STAGE_C, "warp": {"gt": 0.25, "pred": 0.75}}]
    done = engine("plan", toy_recipe(stage=stages))
    assert done.code == 0
    assert "toy, starting from fresh weights, 48 parameters" in done.out
    assert "stage A base only: 12 steps of 4 samples, fp32, from the starting weights, injection off" in done.out
    assert "ground truth in 100% of the steps at first, 0% at the end" in done.out
    assert "ground truth in 25% of the steps" in done.out
    assert "gate threshold at exit, on fail: warn, accepts undetermined" in done.out
    assert rows_of(done)["module parameters"] == "A B C"
    assert rows_of(done)["system 48"] == "45 3 trains"
    assert rows_of(done)["base 45"] == "trains frozen trains"
    assert rows_of(done)["injection 3"] == "frozen trains trains"
    assert "\x1b" not in done.out
    assert not (tmp_path / "runs").exists()


def test_plan_opens_the_tree_where_a_module_is_mixed(engine: Command, toy_recipe: WriteRecipe) -> None:
    mixed, whole = toy_recipe("mixed.toml", stage=[{**STAGE_A, "frozen": ["base.head.bias"]}, STAGE_B]), toy_recipe()
    rows = rows_of(engine("plan", mixed))
    assert rows["base 45"] == "44 frozen"
    assert rows["head 5"] == "4 frozen"
    assert rows["bias 1"] == "frozen frozen"
    assert "bias 1" not in rows_of(engine("plan", whole))


def test_plan_as_json(engine: Command, toy_recipe: WriteRecipe) -> None:
    data = strictly(engine("plan", toy_recipe(), "--json"))
    assert [stage["name"] for stage in data["stages"]] == ["A", "B", "C"]
    assert data["stages"][1]["trainable"] == ["injection.head.bias", "injection.head.weight"]
    assert [stage["trainable_parameters"] for stage in data["stages"]] == [45, 3, 48]
    assert [stage["warp"] for stage in data["stages"]] == [None, [1.0, 1.0], [0.0, 0.0]]


def test_check_tells_which_recipes_are_good(engine: Command, toy_recipe: WriteRecipe) -> None:
    good, empty = toy_recipe("good.toml"), toy_recipe("empty.toml", stage=[])
    done = engine("check", good, empty)
    assert done.code == 0
    assert f"{good}: good (A -> B -> C)" in done.out
    assert f"{empty}: good (no stages, evaluation only)" in done.out


def test_check_goes_on_after_a_bad_recipe(engine: Command, toy_recipe: WriteRecipe) -> None:
    bad = toy_recipe("bad.toml", sed=1)
    worse = toy_recipe("worse.toml", stage=[{**STAGE_A, "trainable": ["bse.**"]}])
    good = toy_recipe("good.toml")
    done = engine("check", bad, good, worse)
    assert done.code == 2
    assert f"{good}: good" in done.out
    assert f"{bad}:" in done.err
    assert f"{worse}:" in done.err


def test_check_holds_optimizer_groups_against_what_the_stage_trains(engine: Command, toy_recipe: WriteRecipe) -> None:
    bad = [{"match": "injection.haed", "lr": 0.1}]
    path = toy_recipe(stage=[STAGE_A, {**STAGE_B, "optimizer": {"groups": bad}}])
    done = engine("check", path)
    assert done.code == 2
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "haed" in text)
    assert f"{path.name}:{line}:" in done.err
    assert "optimizer group 'injection.haed' matches no trainable parameter of stage B" in " ".join(done.err.split())
    assert "'injection.head'" in done.err


def test_eval_prints_the_base_beside_the_whole(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    path = toy_recipe()
    assert engine("run", path).code == 0
    done = engine("eval", path, "--weights", only_run(tmp_path))
    assert done.code == 0
    assert "10 samples" in done.out
    assert "base alone" in done.out
    assert "\x1b" not in done.out


def test_eval_measures_what_the_run_measured(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    path = toy_recipe()
    rows = strictly(engine("run", path, "--json"))["rows"]
    run = only_run(tmp_path)
    final = strictly(engine("eval", path, "--weights", run, "--json"))
    assert final["mean"] == rows[-1]["mean"]
    assert final["base_mean"] == rows[-1]["base"]
    first = strictly(engine("eval", run, "--weights", run / "stage-A", "--json"))
    assert first["mean"] == rows[1]["mean"], "an untrained injection changes nothing"
    blank = strictly(engine("eval", path, "--weights", run, "--ablation", "zero", "--json"))
    assert blank["mean"] != final["mean"]
    file = strictly(engine("eval", path, "--weights", run / "stage-C" / "weights.safetensors", "--json"))
    assert file["mean"] == final["mean"]
    assert strictly(engine("eval", run, "--json"))["mean"] == final["mean"], "a run means its last stage"


def test_weights_may_be_a_stage_or_a_checkpoint(tmp_path: Path) -> None:
    stage = tmp_path / "stage-A"
    plain, averaged = stage / "checkpoints" / "step-0000001", stage / "checkpoints" / "step-0000002"
    for file in (
        stage / "weights.safetensors",
        plain / "weights.safetensors",
        averaged / "weights.safetensors",
        averaged / "average.safetensors",
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    (stage / "checkpoints" / "best").write_text("step-0000001\n")
    (stage / "checkpoints" / "latest").write_text("step-0000002\n")
    assert weights_file(stage) == stage / "weights.safetensors"
    assert weights_file(plain) == weights_file(stage / "checkpoints" / "best") == plain / "weights.safetensors"
    for named in (averaged, stage / "checkpoints" / "latest"):
        assert weights_file(named) == averaged / "average.safetensors", "what was measured"
    (stage / "checkpoints" / "best").write_text("step-0000009\n")
    for named in (stage / "checkpoints" / "best", stage / "checkpoints"):
        with pytest.raises(WorldError, match="no weights file at"):
            weights_file(named)


def test_a_metric_that_is_not_defined_on_a_sample_is_valid_json(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    (tmp_path / "sparse.py").write_text(
        "import torch\n"
        "from pydantic import BaseModel\n"
        "from engine.hookspecs import hookimpl\n"
        "class Nothing(BaseModel):\n    pass\n"
        "class Sparse:\n"
        "    def __init__(self, options):\n        pass\n"
        "    def __call__(self, prediction, batch):\n"
        "        count = torch.tensor([float(name != 'val-0') for name in batch['id']])\n"
        "        return {'sparse': (2 * count, count)}\n"
        "@hookimpl\ndef engine_metrics(register):\n"
        "    register('sparse', Nothing, Sparse, produces=lambda options: ['sparse'])\n"
    )
    path = toy_recipe(evaluate={"metrics": [{"name": "error"}, {"name": "sparse"}]})
    path.write_text(path.read_text().replace('toy_plugin.py"', 'toy_plugin.py", "sparse.py"'))
    data = strictly(engine("eval", path, "--json"))
    assert data["mean"]["sparse"] == 2
    assert data["skipped"]["sparse"] == 1
    assert data["per_sample"]["sparse"] == [None] + [2.0] * 9
    assert "sparse" in engine("eval", path).out


def test_eval_of_a_run_that_finished_no_stage_says_so(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    path = toy_recipe(stage=[{**STAGE_A, "gate": [threshold(max=0.01)]}])
    assert engine("run", path).code == 4
    done = engine("eval", path, "--weights", only_run(tmp_path))
    assert done.code == 2
    assert "no stage of" in done.err


@pytest.mark.parametrize(("bound", "code"), [(0.01, 4), (5.0, 0)])
def test_feasibility_compares_the_error_with_the_bound(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, bound: float, code: int
) -> None:
    path = toy_recipe(injection={"bound": bound}, data={"val": {"count": 40, "size": 32}})
    done = engine("check-feasibility", path, "--stage", "A", "--json")
    assert done.code == code, done.out + done.err
    assert json.loads(done.out)
    text = engine("check-feasibility", path)
    assert text.code == code
    assert "weights: fresh" in text.out
    assert (tmp_path / "runs" / "feasibility" / "feasibility.json").exists()


def test_feasibility_needs_the_weights_of_a_run_for_a_later_stage(engine: Command, toy_recipe: WriteRecipe) -> None:
    done = engine("check-feasibility", toy_recipe(), "--stage", "B")
    assert done.code == 2
    assert "starts from what stage A will have learnt" in done.err
    assert "--weights runs/toy/RUN/stage-A" in done.err


def test_feasibility_of_an_unknown_stage_lists_near_names(engine: Command, toy_recipe: WriteRecipe) -> None:
    done = engine("check-feasibility", toy_recipe(stage=[{**STAGE_A, "name": "adapt"}]), "--stage", "adept")
    assert done.code == 2
    assert "'adapt'" in done.err


def test_feasibility_measures_by_the_gate_of_the_stage_it_is_asked_for(
    engine: Command, toy_recipe: WriteRecipe
) -> None:
    few, many = ({"check": "feasibility", "on_fail": "warn", "minimum_images": images} for images in (3, 77))
    fresh = {key: value for key, value in STAGE_B.items() if key != "init"}
    stages = [{**STAGE_A, "gate": [few]}, {**fresh, "gate": [many]}, {**fresh, "name": "bare"}]
    path = toy_recipe(stage=stages, data={"val": {"count": 2}})
    for stage, images in (("A", 3), ("B", 77), ("bare", 3)):
        assert f"at least {images} images" in engine("check-feasibility", path, "--stage", stage).out
