"""What a recipe becomes: defaults, stages over [train], files over files, and the form that a run keeps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from engine.errors import InputError
from engine.recipe import load_recipe
from recipe.toy import RECIPE


def test_options_are_instances_of_the_plugins_models(load) -> None:
    recipe = load()

    assert recipe.model.options.size == "S"
    assert recipe.model.options.depth == 2
    assert recipe.injection.options.max_correction == 4.0
    assert recipe.data["train"].options.crop.height == 8
    assert recipe.evaluate.metrics[0].options.names == ["toy-error", "toy-outliers"]
    assert recipe.stages[1].gates[0].options.below == 2.0
    assert type(recipe.stages[0].train.losses[0].options).__name__ == "Nothing"


def test_the_registry_builds_what_the_recipe_asks_for(load) -> None:
    recipe = load()

    assert recipe.registry.get("models", recipe.model.plugin).build(recipe.model.options) is recipe.model.options


def test_toml_types_become_the_types_that_a_plugin_asks_for(load) -> None:
    recipe = load('size = "S"', "rates = [1, 0.5]\nthreshold = 3")

    assert recipe.model.options.rates == (1.0, 0.5)
    assert recipe.model.options.threshold == 3


def test_a_stage_overrides_train_key_by_key(load) -> None:
    recipe = load('name = "B"', 'name = "B"\nbatch_size = 1\noptimizer.weight_decay = 0')

    first, second = (stage.train for stage in recipe.stages)
    assert (first.batch_size, second.batch_size) == (2, 1)
    assert (first.optimizer.lr, second.optimizer.lr) == (1e-3, 1e-3)
    assert (first.optimizer.weight_decay, second.optimizer.weight_decay) == (1e-5, 0)


@pytest.mark.parametrize("key", ["clip_norm", "ema", "evaluate_every", "checkpoint_every"])
def test_zero_turns_off(load, key: str) -> None:
    assert getattr(load("batch_size = 2", f"{key} = 0").train, key) is None


def test_a_stage_uses_the_injection_when_the_recipe_has_one(load) -> None:
    recipe = load("injection = false\n", "", 'warp = "gt"\n', "")

    assert [stage.injection for stage in recipe.stages] == [True, True]
    assert [stage.warp.gt_share(0) for stage in recipe.stages] == [0, 0]


def test_a_stage_without_the_injection_has_no_warp(load) -> None:
    assert load().stages[0].warp is None


def test_a_recipe_without_stages_needs_no_training_data(load) -> None:
    recipe = load('[data.train]\nplugin = "toy-data"\n', "", RECIPE[RECIPE.index("[[stage]]") :], "")

    assert recipe.stages == []
    with pytest.raises(KeyError):
        recipe.data["train"]


def test_paths_are_relative_to_the_recipe_that_writes_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "weights.pt").touch()
    (folder / "elsewhere").mkdir()
    text = RECIPE.replace('size = "S"', 'weights = "weights.pt"').replace(
        "[data.val]",
        'root = "scenes"\ncache = "off"\ncrop = { mask = "../mask.png" }\nextra = ["a", "/b"]\n\n[data.val]',
    )
    (folder / "recipe.toml").write_text(text)
    monkeypatch.chdir(folder / "elsewhere")

    recipe = load_recipe("../recipe.toml")

    options = recipe.data["train"].options
    assert recipe.plugins == [str(folder / "toy_plugin.py")]
    assert recipe.model.weights == str(folder / "weights.pt")
    assert options.root == folder / "scenes"
    assert options.cache == "off"
    assert options.crop.mask == folder.parent / "mask.png"
    assert options.extra == [folder / "a", Path("/b")]


def test_a_path_in_an_override_is_relative_to_the_working_directory(load, folder: Path) -> None:
    recipe = load(overrides=("data.val.root=here",))

    assert recipe.data["val"].options.root == folder / "here"


def test_another_plugin_replaces_the_options_of_the_one_it_extends(folder: Path) -> None:
    (folder / "recipe.toml").write_text(RECIPE.replace("[data.val]", '[data.val]\nroot = "scenes"', 1))
    (folder / "other.py").write_text((folder / "toy_plugin.py").read_text().replace('"toy-', '"other-'))
    text = 'extends = "recipe.toml"\nplugins = ["toy_plugin.py", "other.py"]\n[data.val]\nplugin = "other-data"\n'
    (folder / "child.toml").write_text(text)

    recipe = load_recipe(folder / "child.toml")

    assert recipe.data["val"].plugin == "other-data"
    assert recipe.data["val"].options.root != folder / "scenes"


def test_what_extends_changes_only_what_it_says(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "child.toml").write_text("""\
extends = "../recipe.toml"
name = "child"

[train.optimizer]
weight_decay = 0

[evaluate]
key = []

[[stage]]
name = "B"
steps = 7

[[stage]]
name = "C"
init = "B"
trainable = ["**"]
steps = 3
""")
    recipe = load_recipe("sub/child.toml")

    assert recipe.name == "child"
    assert recipe.train.optimizer.lr == 1e-3
    assert recipe.train.optimizer.weight_decay == 0
    assert recipe.evaluate.key == []
    assert [(stage.name, stage.steps) for stage in recipe.stages] == [("A", 10), ("B", 7), ("C", 3)]
    assert recipe.stages[1].gates[0].check == "toy-gate"
    assert recipe.plugins == [str(folder / "toy_plugin.py")]
    assert recipe.where("stage", 1, "steps") == "sub/child.toml:12:1"
    assert recipe.where("stage", 1, "trainable", 0) == "recipe.toml:36:14"
    assert recipe.where("stage", 1, "title") == "sub/child.toml:10:1"


def test_a_mistake_in_an_extended_file_is_reported_there(folder: Path) -> None:
    (folder / "recipe.toml").write_text(RECIPE.replace("steps = 5", "steps = -5"))
    (folder / "child.toml").write_text('extends = "recipe.toml"\nname = "child"\nsed = 1\n')

    with pytest.raises(InputError) as caught:
        load_recipe("child.toml")

    assert [problem.where for problem in caught.value.problems] == ["child.toml:3:1", "recipe.toml:39:1"]


def test_extends_in_a_circle_names_the_way_round(folder: Path) -> None:
    (folder / "a.toml").write_text('extends = "b.toml"\n')
    (folder / "b.toml").write_text('extends = "a.toml"\n')

    with pytest.raises(InputError, match=r"b\.toml:1:1: recipes extend .* a\.toml -> b\.toml -> a\.toml"):
        load_recipe("a.toml")


def test_a_stage_written_twice_in_the_extending_file_is_still_a_duplicate(folder: Path) -> None:
    stage = '[[stage]]\nname = "B"\ninit = "A"\ntrainable = ["**"]\nsteps = 1\n'
    (folder / "child.toml").write_text(f'extends = "recipe.toml"\n{stage}{stage}')

    with pytest.raises(InputError, match=r"child\.toml:8:1: two stages are named 'B'"):
        load_recipe("child.toml")


def test_the_form_a_run_keeps_means_the_same_wherever_it_is_read(load, folder: Path) -> None:
    warp = '{ from = "gt", to = "pred", over = 0.5 }'
    recipe = load('warp = "gt"', f"warp = {warp}\nclip_norm = 0", overrides=("data.val.root=here",))
    kept = folder / "runs" / "1" / "recipe.json"
    kept.parent.mkdir(parents=True)
    kept.write_text(json.dumps(recipe.resolved()))

    again = load_recipe(kept)

    assert again.resolved() == recipe.resolved()
    assert again.stages[1].train.clip_norm is None
    assert again.stages[1].warp.gt_share(0.25) == 0.5
    assert again.data["val"].options.root == folder / "here"
    assert again.injection.options.limit == float("inf")


def test_the_form_a_run_keeps_can_be_read_after_its_weights_are_gone(load, folder: Path) -> None:
    (folder / "weights.pt").touch()
    data = load('size = "S"', 'weights = "weights.pt"').resolved()
    (folder / "weights.pt").unlink()
    (folder / "kept.json").write_text(json.dumps(data))

    assert load_recipe("kept.json").model.weights == str(folder / "weights.pt")


def test_a_mistake_in_the_form_a_run_keeps_is_named_by_its_key(load, folder: Path) -> None:
    data = load().resolved()
    data["stage"][1]["steps"] = 0
    (folder / "kept.json").write_text(json.dumps(data))

    with pytest.raises(InputError, match=r"kept\.json \(stage\[1\]\.steps\): 'steps' is 0"):
        load_recipe("kept.json")


def test_a_loaded_recipe_does_not_change(load) -> None:
    with pytest.raises(ValidationError):
        load().stages[0].steps = 3


def test_two_recipes_load_in_one_process_with_the_same_classes(load) -> None:
    assert type(load().model.options) is type(load().model.options)


def test_loading_a_sound_recipe_imports_neither_torch_nor_the_parser_of_positions(folder: Path) -> None:
    code = (
        "import sys; from engine.recipe import load_recipe; load_recipe('recipe.toml');"
        "sys.exit(str([name for name in ('torch', 'zarr', 'tree_sitter') if name in sys.modules] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.stderr.strip() == ""
