"""Every mistake is reported once, where it stands, with what was expected and the nearest name.

Each case changes one piece of the recipe in conftest.py; `¦` marks the place that the message must point at.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from engine.errors import InputError
from engine.recipe import load_recipe
from recipe.toy import RECIPE


class Case(NamedTuple):
    title: str
    old: str
    new: str
    says: str
    near: str = ""


NAME = 'name = "toy"'
MODEL = '[model]\nplugin = "toy-model"\nsize = "S"'
METRICS = 'metrics = [{ name = "toy-metric" }]'
LOSSES = 'losses = [{ name = "toy-loss", weight = 0.5 }]'
STAGE_A = '[[stage]]\nname = "A"\ntrainable = ["base.**"]'
STAGE_B = 'name = "B"\ninit = "A"'
WARP = 'warp = "gt"'
GATE = 'check = "toy-gate"\nbelow = 2.0'

STRUCTURE = [
    Case("unknown key", NAME, NAME + "\n¦sed = 1", "unknown key 'sed' in the recipe", "seed"),
    Case("unknown table", "[evaluate]", "¦[trian]\n[evaluate]", "unknown key 'trian'", "train"),
    Case("needed key misspelt", NAME, '¦nmae = "toy"', "unknown key 'nmae' in the recipe", "name"),
    Case("needed table misspelt", MODEL, MODEL.replace("[model]", "¦[modle]"), "unknown key 'modle'", "model"),
    Case(
        "needed key of a stage misspelt",
        STAGE_A,
        STAGE_A.replace("trainable", "¦trainabel"),
        "'trainabel'",
        "trainable",
    ),
    Case("missing name", NAME, "¦", "the key 'name' is missing in the recipe"),
    Case("name that is no folder", NAME, '¦name = "to/y"', "is the text 'to/y'; expected letters, digits, '-' and '_'"),
    Case("text for a number", NAME, NAME + '\n¦seed = "0"', "'seed' is the text '0'; expected a whole number"),
    Case("truth value for a number", NAME, NAME + "\n¦seed = true", "'seed' is true; expected a whole number"),
    Case("negative seed", NAME, NAME + "\n¦seed = -1", "'seed' is -1; expected a number of at least 0"),
    Case(
        "seed that no generator takes",
        NAME,
        NAME + f"\n¦seed = {2**32}",
        "'seed' is 4294967296; expected a number below",
    ),
    Case("number for a text", NAME, NAME + "\n¦description = 7", "'description' is 7; expected a text in quotes"),
    Case("array of models", MODEL, '¦[[model]]\nplugin = "toy-model"', "an array of 1 item; expected a table"),
    Case("fraction of a step", "steps = 10", "¦steps = 10.5", "'steps' is 10.5; expected a whole number"),
    Case("no steps", "steps = 10", "¦steps = 0", "'steps' is 0; expected a number of at least 1"),
    Case(
        "missing steps",
        STAGE_A + "\ninjection = false\nsteps = 10",
        "¦" + STAGE_A + "\ninjection = false",
        "the key 'steps' is missing in [stage]",
    ),
    Case(
        "nothing trains",
        'trainable = ["base.**"]',
        "¦trainable = []",
        "'trainable' is an array of 0 items; expected at least 1 item",
    ),
    Case(
        "pattern that is no text",
        'trainable = ["base.**"]',
        'trainable = ["base.**", ¦1]',
        "'trainable[1]' is 1; expected a text in quotes",
    ),
    Case("unknown key of a stage", STAGE_B, STAGE_B + "\n¦batchsize = 1", "unknown key 'batchsize'", "batch_size"),
    Case(
        "train table in a stage",
        STAGE_B,
        STAGE_B + "\n¦train = { batch_size = 1 }",
        "expected the keys of [train] in the stage itself",
    ),
    Case("stage name with a dot", STAGE_B, '¦name = "B.1"\ninit = "A"', "expected letters, digits, '-' and '_'"),
    Case(
        "unknown precision", "batch_size = 2", 'batch_size = 2\n¦precision = "fp61"', "expected 'fp32', 'bf16'", "fp16"
    ),
    Case("unknown optimizer", "{ lr = 1e-3 }", '{ ¦name = "adam" }', "'name' is the text 'adam'", "adamw"),
    Case("rate below zero", "{ lr = 1e-3 }", "{ ¦lr = -1e-3 }", "'lr' is -0.001; expected a number above 0"),
    Case("endless rate", "{ lr = 1e-3 }", "{ ¦lr = inf }", "expected a finite number"),
    Case("three betas", "{ lr = 1e-3 }", "{ ¦betas = [0.9, 0.99, 0.999] }", "expected at most 2 items"),
    Case("group without a rate", "{ lr = 1e-3 }", '{ groups = [¦{ match = "base.**" }] }', "the key 'lr' is missing"),
    Case("warmup beyond the steps", "batch_size = 2", "schedule = { ¦warmup = 1.5 }", "expected a number of at most 1"),
    Case("override of a stage", STAGE_B, STAGE_B + "\nschedule.¦nam = 1", "unknown key 'nam'", "name"),
    Case(
        "unknown policy",
        "batch_size = 2",
        'nonfinite = { ¦policy = "skp" }',
        "expected 'stop', 'skip' or 'off'",
        "skip",
    ),
    Case(
        "overflows unseen",
        STAGE_B,
        STAGE_B + '\nprecision = "fp16"\nnonfinite = { ¦policy = "off" }',
        "fp16 overflows while it seeks its scale, and nobody would look; expected the policy 'stop' or 'skip'",
    ),
    Case("unknown split", "[data.val]", "¦[data.test]\n[data.val]", "unknown key 'test'"),
    Case("unknown warp source", WARP, '¦warp = "gtt"', "the warp source 'gtt' is unknown", "gt"),
    Case("warp that is a number", WARP, "¦warp = 1", "'warp' is 1; expected 'gt', 'pred', { from"),
    Case("shares of the warp", WARP, "¦warp = { gt = 0.5, pred = 0.6 }", "sum to 1.1; expected a sum of 1"),
    Case("warp without an end", WARP, '¦warp = { from = "gt", over = 0.5 }', "the key 'to' is missing in [stage.warp]"),
    Case("unknown key of the warp", WARP, 'warp = { from = "gt", to = "pred", over = 1, ¦form = 1 }', "'form'", "from"),
    Case("unknown moment of a gate", GATE, GATE + '\n¦at = "entri"', "expected 'entry' or 'exit'", "entry"),
    Case("unknown verdict", GATE, GATE + '\naccept = [¦"undeterminate"]', "'accept[0]'", "undetermined"),
]

PLUGINS = [
    Case("unknown model", MODEL, '[model]\n¦plugin = "toy-modle"', "the model 'toy-modle'", "toy-model"),
    Case("unknown injection", 'plugin = "toy-injection"', '¦plugin = "toy-inject"', "the injection", "toy-injection"),
    Case("unknown data set", 'plugin = "toy-data"', '¦plugin = "toydata"', "the data set 'toydata'", "toy-data"),
    Case("unknown loss", LOSSES, 'losses = [{ ¦name = "toy-los" }]', "the loss 'toy-los'", "toy-loss"),
    Case("unknown metric", METRICS, 'metrics = [{ ¦name = "toy-metrics" }]', "the metric", "toy-metric"),
    Case("unknown gate", 'check = "toy-gate"\nbelow = 2.0', '¦check = "toy-gat"', "the gate 'toy-gat'", "toy-gate"),
    Case("table without a plugin", MODEL, "¦[model]", "the key 'plugin' is missing in [model]"),
    Case("unknown option", MODEL, MODEL + "\n¦dept = 4", "unknown key 'dept' in [model]", "depth"),
    Case("key meant for the engine", MODEL, MODEL + '\n¦weight = "x"', "unknown key 'weight' in [model]", "weights"),
    Case(
        "option of the wrong type", MODEL, MODEL + '\n¦depth = "4"', "'depth' is the text '4'; expected a whole number"
    ),
    Case("option out of range", MODEL, MODEL + "\n¦depth = 0", "'depth' is 0; expected a number of at least 1"),
    Case("option that the plugin refuses", MODEL, MODEL + "\n¦depth = 3", "'depth': 3 is odd"),
    Case("choice of an option", 'size = "S"', '¦size = "nana"', "expected 'nano', 'S' or 'M'", "nano"),
    Case("item of an option", MODEL, MODEL + '\nrates = [0.5, ¦"x"]', "'rates[1]' is the text 'x'; expected a number"),
    Case("too few items", MODEL, MODEL + "\n¦crop = [64]", "item 2 of 'crop' is missing"),
    Case("option with two readings", MODEL, MODEL + "\n¦threshold = []", "expected a whole number or 'auto'"),
    Case(
        "option of a nested table",
        'plugin = "toy-data"',
        'plugin = "toy-data"\ncrop.¦heigth = 4',
        "[data.train.crop]",
        "height",
    ),
    Case("option of a loss", LOSSES, 'losses = [{ name = "toy-loss", ¦wieght = 2 }]', "'wieght'", "weight"),
    Case("option of a gate", GATE, 'check = "toy-gate"\n¦belwo = 2.0', "unknown key 'belwo' in [stage.gate]", "below"),
    Case(
        "unknown built-in weights", MODEL, MODEL + '\n¦weights = "builtin:opaqe"', "ships no weights", "builtin:opaque"
    ),
    Case("missing plugin file", '"toy_plugin.py"', '"toy_plugin.py", ¦"other.py"', "there is no plugin file"),
    Case("plugin that is no Python", '"toy_plugin.py"', '"toy_plugin.py", ¦"recipe.toml"', "a plugin file ends in .py"),
]

MEANING = [
    Case("two stages of one name", STAGE_B, '¦name = "A"\ninit = "A"', "two stages are named 'A'"),
    Case("init that does not exist", STAGE_B, 'name = "B"\n¦init = "a"', "there is no stage 'a'; expected an earlier"),
    Case(
        "init of a later stage", STAGE_A, STAGE_A + '\n¦init = "B"', "stages run in order; expected the name of an earl"
    ),
    Case("init of itself", STAGE_B, 'name = "B"\n¦init = "B"', "'init' names itself"),
    Case(
        "warp without the injection",
        STAGE_A,
        STAGE_A + '\n¦warp = "gt"',
        "'warp' has no effect in a stage without the inj",
    ),
    Case(
        "stages without losses",
        LOSSES,
        "¦losses = []",
        "there are no losses to train with; expected 'losses' in [train] or in the stage",
    ),
    Case(
        "stages without training data",
        '[data.train]\nplugin = "toy-data"\n\n[data.val]',
        "¦[data.val]",
        "the key 'train' is missing in [data]; expected [data.train], because there are stages",
    ),
    Case("key that nothing yields", 'key = ["toy-error"]', 'key = [¦"toy-eror"]', "yields 'toy-eror'", "toy-error"),
    Case("best that nothing yields", 'best = "toy-error"', '¦best = "toy-err"', "yields 'toy-err'", "toy-error"),
    Case(
        "metric yielded twice",
        METRICS,
        'metrics = [{ name = "toy-metric" }, ¦{ name = "toy-metric", names = ["toy-error"] }]',
        "two entries of evaluate.metrics yield 'toy-error'",
    ),
    Case("gate on no metric", GATE, GATE + '\n¦metric = "toy-outlier"', "yields 'toy-outlier'", "toy-outliers"),
    Case(
        "extend that does not say how far", GATE, GATE + '\n¦on_fail = "extend"', "expected extend = { steps = , times"
    ),
    Case(
        "extend at the exit",
        GATE,
        GATE + '\nat = "exit"\n¦on_fail = "extend"\nextend = { steps = 1, times = 1 }',
        'expected at = "entry"',
    ),
    Case(
        "extend that nothing uses", GATE, GATE + "\n¦extend = { steps = 1, times = 1 }", "'extend' has no effect here"
    ),
]

SYNTAX = [
    Case("value missing", NAME, "name = ¦\n", "this is not TOML: Invalid value"),
    Case("key written twice", NAME, NAME + "\nname = 1¦", "this is not TOML"),
    Case("extends that is no text", NAME, NAME + "\n¦extends = 1", "'extends' is not a text"),
    Case("extends of a missing file", NAME, NAME + '\n¦extends = "recipe.tom"', "there is no recipe", "recipe.toml"),
    Case("extends of itself", NAME, NAME + '\n¦extends = "recipe.toml"', "extend each other in a circle: recipe.toml"),
]


@pytest.mark.parametrize("case", STRUCTURE + PLUGINS + MEANING + SYNTAX, ids=lambda case: case.title)
def test_a_mistake_is_reported_once_where_it_stands(case: Case, load) -> None:
    place = _marked(case)

    with pytest.raises(InputError) as caught:
        load(case.old, case.new.replace("¦", ""))

    messages = str(caught.value)
    assert len(caught.value.problems) == 1, messages
    problem = caught.value.problems[0]
    assert problem.where == f"recipe.toml:{place[0]}:{place[1]}", messages
    assert case.says in messages
    assert not case.near or case.near in [Path(name).name for name in problem.near], messages


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file(load) -> None:
    with pytest.raises(InputError) as caught:
        load(
            NAME, 'name = "to/y"', MODEL, '[model]\nplugin = "toy-modle"', "steps = 10", "steps = -1", WARP, "warp = 3"
        )

    lines = [int(problem.where.split(":")[1]) for problem in caught.value.problems]
    assert len(lines) == 4
    assert lines == sorted(lines)


def test_a_wrong_value_in_train_is_reported_once_and_not_in_every_stage(load) -> None:
    with pytest.raises(InputError) as caught:
        load("batch_size = 2", "batch_size = 0")

    assert [problem.where for problem in caught.value.problems] == ["recipe.toml:18:1"]


def test_a_stage_that_asks_for_an_injection_needs_one_in_the_recipe(load) -> None:
    with pytest.raises(InputError, match="this stage asks for the injection, and the recipe has none") as caught:
        load('[injection]\nplugin = "toy-injection"\n', "", WARP, 'warp = "gt"\ninjection = true')

    assert [problem.where for problem in caught.value.problems] == ["recipe.toml:37:1"]


def test_extend_needs_a_parent_stage(load) -> None:
    gate = GATE + '\non_fail = "extend"\nextend = { steps = 1, times = 1 }'
    with pytest.raises(InputError, match="no stage to train further; expected 'init' with a stage's name"):
        load(STAGE_B, 'name = "B"', GATE, gate)


def test_a_missing_recipe_names_files_like_it(folder: Path) -> None:
    with pytest.raises(InputError, match=r"the recipe cannot be read: No such file.*Did you mean 'recipe\.toml'"):
        load_recipe("recip.toml")


def test_only_recipes_and_runs_are_named_for_a_missing_one(folder: Path) -> None:
    (folder / "recipes.toml").write_text('[project]\nname = "pyproject"\n')
    (folder / "recipe.tom").write_text("model = 1")
    (folder / "recipse.toml").write_text("model")
    (folder / "reciped").mkdir()
    (folder / "recip").mkdir()
    (folder / "recip" / "recipe.json").write_text("{}")
    with pytest.raises(InputError) as caught:
        load_recipe("recipe.tml")
    assert sorted(caught.value.problems[0].near) == ["recip", "recipe.toml"]


def test_of_two_keys_that_may_mean_a_missing_one_the_first_does(load) -> None:
    with pytest.raises(InputError) as caught:
        load(NAME, 'nmae = "toy"\nnaem = "toy"')
    assert [str(problem).partition(": ")[2] for problem in caught.value.problems] == [
        "unknown key 'nmae' in the recipe. Did you mean 'name'?",
        "unknown key 'naem' in the recipe. Did you mean 'name'?",
    ]


def test_a_missing_option_is_reported_whatever_its_name(folder: Path, load) -> None:
    (folder / "zoned.py").write_text(
        "from engine.hookspecs import hookimpl\nfrom pydantic import BaseModel\n\n\n"
        "class Options(BaseModel):\n    zone: int\n\n\n"
        "@hookimpl\ndef engine_losses(register):\n    register('zoned', Options, print)\n"
    )
    with pytest.raises(InputError, match="'zone' is missing"):
        load('"toy_plugin.py"', '"toy_plugin.py", "zoned.py"', 'name = "toy-loss"', 'name = "zoned"')


def test_a_recipe_that_is_not_utf_8_names_the_line(folder: Path) -> None:
    (folder / "recipe.toml").write_bytes(b'name = "toy"\ndescription = "\xff"\n')
    with pytest.raises(InputError, match=r"recipe\.toml:2:1: this line is not UTF-8 text"):
        load_recipe("recipe.toml")


def test_a_plugin_file_that_raises_is_reported_with_its_line_and_no_names_are_called_unknown(folder, load) -> None:
    (folder / "broken.py").write_text("x = 1\nraise RuntimeError('no licence')\n")
    with pytest.raises(InputError, match=r"RuntimeError: no licence \(.*broken\.py:2\)") as caught:
        load('"toy_plugin.py"', '"broken.py"')

    assert [problem.where for problem in caught.value.problems] == ["recipe.toml:2:12"]


def test_a_misspelt_hook_in_a_plugin_file_names_the_hook_meant(folder, load) -> None:
    (folder / "broken.py").write_text(
        "from engine.hookspecs import hookimpl\n@hookimpl\ndef engine_model(register):\n    pass\n"
    )
    with pytest.raises(InputError, match=r"there is no hook 'engine_model'; did you mean 'engine_models'\?"):
        load('"toy_plugin.py"', '"toy_plugin.py", "broken.py"')


def _marked(case: Case) -> tuple[int, int]:
    """Line and column of the mark in the whole text, from 1."""
    before = RECIPE.replace(case.old, case.new, 1).partition("¦")[0]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
