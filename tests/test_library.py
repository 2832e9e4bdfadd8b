"""The engine as a library: typed results, events on request, and nothing left behind."""

from __future__ import annotations

import json
import random
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Command, WriteRecipe, weights_of
from toy_world import STAGE_A, STAGE_B, threshold

import engine
from engine import events
from engine.errors import GateRefusedError, InputError, PluginError
from engine.recipe import Recipe

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "library.py"
SHORT = [{**STAGE_A, "steps": 4}, {**STAGE_B, "steps": 4}]


@pytest.fixture
def recipe(toy_recipe: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.chdir(tmp_path)
    return engine.load_recipe(toy_recipe(stage=SHORT))


def test_importing_the_engine_imports_nothing_heavy() -> None:
    script = "import engine, sys; print({'torch', 'pydantic', 'numpy'} & {*sys.modules}, dir(engine))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("set()")
    assert all(repr(name) in done.stdout for name in engine.__all__)


def test_a_name_that_the_engine_does_not_have_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'engine' has no attribute 'trian'"):
        engine.trian  # noqa: B018  # the access is what is tested


def test_a_recipe_runs_twice_in_one_process_with_the_same_bits_and_without_a_word(
    recipe: Recipe, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second = (engine.run(recipe, fresh=True) for _ in range(2))

    assert first.path != second.path
    assert [first.state, second.state] == ["done", "done"]
    assert [stage.state for stage in first.stages] == ["done", "done"]
    assert first.rows == second.rows
    assert first.rows
    ours, theirs = weights_of(first.path, "B"), weights_of(second.path, "B")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_a_listener_hears_the_run_in_order_and_no_longer_than_it_lasts(recipe: Recipe) -> None:
    heard: list[object] = []
    engine.run(recipe, listener=heard.append)
    told = list(heard)
    engine.run(recipe, fresh=True)

    assert heard == told
    assert isinstance(heard[0], events.RunStarted)
    assert isinstance(heard[-1], events.RunFinished)
    assert [event.name for event in heard if isinstance(event, events.StageFinished)] == ["A", "B"]
    assert [event.step for event in heard if isinstance(event, events.Step)] == [4, 4]


def test_a_listener_that_raises_ends_the_run_with_an_error_of_the_engine(recipe: Recipe) -> None:
    def refuse(event: object) -> None:
        if isinstance(event, events.Step):
            raise LookupError("no such figure")

    with pytest.raises(PluginError, match="'listener' failed in engine_step: LookupError: no such figure"):
        engine.run(recipe, listener=refuse)


def test_random_numbers_of_the_program_are_its_own(recipe: Recipe) -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    random.seed(7), np.random.seed(7), torch.manual_seed(7)
    undisturbed = [draw(), draw()]
    random.seed(7), np.random.seed(7), torch.manual_seed(7)
    first = draw()
    engine.run(recipe)

    assert [first, draw()] == undisturbed


def test_an_interrupted_run_goes_on(recipe: Recipe) -> None:
    done = engine.run(recipe)
    (done.path / "status.json").unlink()
    (done.path / "stage-B" / "record.json").unlink()

    again = engine.run(recipe, resume=True)

    assert again.path == done.path
    assert again.rows == done.rows
    with pytest.raises(InputError, match="no unfinished run of 'toy'"):
        engine.run(recipe, resume=True)
    with pytest.raises(InputError, match="`fresh` begins one"):
        engine.run(recipe, resume=done.path, fresh=True)


def test_a_plan_tells_what_the_command_tells(recipe: Recipe, engine: Command, tmp_path: Path) -> None:
    import engine as library

    library.run(recipe)
    planned = library.plan(recipe)

    assert [stage.reused_from is not None for stage in planned.stages] == [True, True]
    assert planned.stages[1].trainable == ["injection.head.bias", "injection.head.weight"]
    assert planned.stages[1].trainable_parameters == 3
    assert planned.stages[1].warp == (1.0, 1.0)
    told = json.loads(engine("plan", tmp_path / "toy.toml", "--json").out)
    assert told == {"name": planned.name, "weights": "fresh weights", "missing": [], "stages": told["stages"]}
    assert json.dumps([vars(stage) for stage in planned.stages], default=str) == json.dumps(told["stages"])
    (cost, _) = library.plan(recipe, measure=True).costs
    assert cost.steps == 4
    assert cost.seconds > 0


def test_weights_are_measured_and_judged_as_the_commands_do(recipe: Recipe, engine: Command, tmp_path: Path) -> None:
    import engine as library

    done = library.run(recipe)
    measured = library.evaluate(recipe, weights=done.path, ablation="zero")
    report = library.check_feasibility(recipe, stage="B", weights=done.path / "stage-A", folder=tmp_path / "judged")

    shown = json.loads(engine("eval", done.path, "--ablation", "zero", "--json").out)
    assert shown["mean"] == measured.mean
    assert shown["per_sample"]["error"] == measured.per_sample["error"]
    judged = engine(
        "check-feasibility", tmp_path / "toy.toml", "--stage", "B", "--weights", done.path / "stage-A", "--json"
    )
    assert json.loads(judged.out)["decision"]["status"] == report.decision.status
    assert (tmp_path / "judged" / "feasibility.json").is_file()
    with pytest.raises(InputError, match="has no stage 'Z'"):
        library.check_feasibility(recipe, stage="Z")
    with pytest.raises(InputError, match="starts from what stage A will have learnt"):
        library.check_feasibility(recipe, stage="B")


def test_a_system_and_samples_are_at_hand_and_a_changed_system_is_measured(recipe: Recipe) -> None:
    done = engine.run(recipe)
    system = engine.load_system(recipe, weights=done.path)
    trained, _ = engine.read_weights(done.path / "stage-B" / "weights.safetensors")
    assert not system.training
    assert all(torch.equal(tensor, trained[name]) for name, tensor in system.state_dict().items())
    first, second = engine.samples(recipe, 2)
    assert [first["id"], second["id"]] == [["val-0"], ["val-1"]]
    with torch.no_grad():
        assert system(first).value.shape == first["target"].shape

    whole = engine.evaluate(recipe, weights=done.path).mean
    assert engine.evaluate(recipe, system=system).mean == whole
    with torch.no_grad():
        system.base.head.bias.add_(5)
    assert engine.evaluate(recipe, system=system).mean["error"] > whole["error"]
    with pytest.raises(InputError, match="`system` has its weights"):
        engine.evaluate(recipe, system=system, weights=done.path)


def test_mistakes_and_refusals_are_the_engines_exceptions(toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    with pytest.raises(InputError) as wrong:
        engine.load_recipe(toy_recipe(seed="no", trian={}))
    assert len(wrong.value.problems) == 2
    refusing = engine.load_recipe(toy_recipe(stage=[{**STAGE_A, "steps": 1, "gate": [threshold(max=0.0)]}]))
    with pytest.raises(GateRefusedError):
        engine.run(refusing, runs=tmp_path / "runs")


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLE), run_name="__main__")

    told = capsys.readouterr().out
    assert "is done, its stages are ['done', 'done', 'done']" in told
    assert "signal shuffle:" in told


def test_the_first_lines_of_the_page_do_what_they_say(
    toy_recipe: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (EXAMPLE.parents[1] / "library.md").read_text()
    lines = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    toy = {"recipes/s2m2_pol.toml": str(toy_recipe(stage=SHORT)), "stage.C": "stage.B", "epe/transparent": "error"}
    for ours, theirs in toy.items():
        assert ours in lines
        lines = lines.replace(ours, theirs)
    exec(lines, {})
    assert float(capsys.readouterr().out.splitlines()[-1]) > 0
