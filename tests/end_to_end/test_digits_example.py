"""docs/examples/digits: a classifier of digits and a bounded correction, from start to end without any stereo."""

from __future__ import annotations

import ast
import json
import math
import re
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from conftest import Forks, Outcome, events_of, weights_of

import engine as library
from engine import testing
from engine.contracts import Verdict
from engine.errors import WorldError
from engine.prediction import Prediction

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "examples" / "digits"
PAGE, PLUGIN, MEASURE = FOLDER.with_suffix(".md"), FOLDER / "digits_plugin.py", FOLDER / "measure.py"
RECIPE, PRETRAIN = "docs/examples/digits/digits.toml", "docs/examples/digits/pretrain.toml"
OF_STEREO = re.compile(r"\bpx\b|pixel|disparit|stereo|\bEPE\b", re.IGNORECASE)


@pytest.fixture(scope="module")
def plugin() -> ModuleType:
    """The plugin file as the engine has loaded it."""
    recipe = library.load_recipe(ROOT / RECIPE)
    return sys.modules[recipe.registry.get("gates", "margin").factory.__module__]


# ---------------------------------------------------------------------------------------------------------------------
# From the command line, from start to end
# ---------------------------------------------------------------------------------------------------------------------


class World:
    """A folder in which all commands of the page have run, with fewer steps, and further ones may.

    said: what each of them did, by its words as the page has them.
    """

    def __init__(self, forks: Forks, folder: Path) -> None:
        self.forks, self.folder = forks, folder
        (folder / "docs").symlink_to(ROOT / "docs")
        self.said: dict[str, Outcome] = {}
        self.codes: dict[str, int] = {}
        for line in re.findall(r"^engine .*$", PAGE.read_text(), re.MULTILINE):
            words, _, comment = (part.strip() for part in line.partition("#"))
            code = re.match(r"exit code (\d)", comment)
            self.codes[words] = int(code[1]) if code else 0
            self.said[words] = self(*words.split()[1:], *(shorter(words) if " run " in words else []))

    def __call__(self, *words: object) -> Outcome:
        named = [str(word).replace("runs/digits/RUN", f"runs/digits/{self.run.name}") for word in words]
        return self.forks.run(*named, folder=self.folder)

    @property
    def run(self) -> Path:
        """The run of the recipe as it stands."""
        runs = self.folder / "runs" / "digits"
        return min(runs.iterdir()) if runs.is_dir() else Path("RUN")

    @property
    def stopped(self) -> Path:
        """The run with too small a bound."""
        return max((self.folder / "runs" / "digits").iterdir())

    def wrong(self, moment: str, stage: str, warp: str, of: str = "mean") -> float:
        """Share of held-out digits that were read wrong."""
        return wrong(self.run, moment, stage, warp, of)


def shorter(words: str) -> list[str]:
    """Settings with which a run of the page takes few steps; still enough to learn by where it is measured."""
    if "pretrain" in words:
        return ["--set", "stage.pretrain.steps=5"]
    steps = {"A": 240, "B": 160, "C": 120} if "bound" not in words else {"A": 60}
    return [part for stage, count in steps.items() for part in ("--set", f"stage.{stage}.steps={count}")]


def wrong(run: Path, moment: str, stage: str, warp: str, of: str = "mean") -> float:
    (share,) = (
        event["evaluation"][of]["wrong"]
        for event in events_of(run, "evaluated")
        if (event["moment"], event["stage"], event["warp"]) == (moment, stage, warp)
    )
    return float(share)


@pytest.fixture(scope="module")
def world(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(forks, tmp_path_factory.mktemp("digits"))


def test_every_command_of_the_page_does_what_the_page_says(world: World) -> None:
    assert {words: done.code for words, done in world.said.items()} == world.codes
    assert sorted(world.codes.values()) == [0, 0, 0, 0, 0, 0, 0, 4, 4]
    planned = world.said[f"engine plan {RECIPE}"].out
    assert "stage B the mat only: 400 steps of 64 samples" in planned
    assert "gate margin at entry, on fail: stop" in planned


def test_the_base_learns_the_domain_and_the_correction_reads_what_it_cannot(world: World) -> None:
    before, after = (world.wrong(moment, "A", "off") for moment in ("before", "after"))
    assert before > 0.8
    assert after < before - 0.2
    known, read = (world.wrong("after", "B", warp) for warp in ("gt", "pred"))
    assert world.wrong("after", "B", "pred", of="base_mean") == pytest.approx(after)
    assert known < after - 0.15
    assert read < after - 0.1
    assert known < read  # the mat is turned back by the true angle, and by the one that the base reads
    joint, alone = (world.wrong("after", "C", "pred", of) for of in ("mean", "base_mean"))
    assert joint < alone - 0.15
    assert joint < read


def test_the_correction_reads_the_mat_of_its_own_sheet(world: World) -> None:
    (table,) = (done.out for words, done in world.said.items() if "--ablation shuffle" in words)
    shuffled, alone = map(float, re.search(r"wrong +([\d.]+) \[([\d.]+)\]", table).groups())
    assert alone == pytest.approx(world.wrong("after", "C", "pred", "base_mean"), abs=1e-3)
    assert shuffled > alone


def test_a_stage_changes_what_it_trains_and_nothing_else(world: World) -> None:
    of_a, of_b = (weights_of(world.run, stage) for stage in "AB")
    changed = {name.partition(".")[0] for name in of_a if not torch.equal(of_a[name], of_b[name])}
    assert changed == {"injection"}


def test_the_gate_stops_a_run_whose_bound_is_too_small(world: World) -> None:
    (done,) = (done for words, done in world.said.items() if "bound=0.5" in words)
    sentence = (
        r"gate margin at entry of B: FAIL, a bound of 0\.5 can turn (\d+) of (\d+) wrong readings .*the run stops here"
    )
    said = re.search(sentence, done.out)
    assert said, done.out
    reached, of = map(int, said.groups())
    assert of == round(597 * wrong(world.stopped, "after", "A", "off"))
    assert 0 < reached < 0.9 * of
    assert (world.stopped / "stage-A" / "weights.safetensors").exists()
    assert not (world.stopped / "stage-B" / "weights.safetensors").exists()


def test_feasibility_is_asked_of_the_recipes_own_gate_and_its_advice_helps(world: World) -> None:
    assert "feasibility by the gate margin: FAIL" in world.said[f"engine check-feasibility {RECIPE}"].out
    later = ("check-feasibility", RECIPE, "--stage", "B", "--weights", "runs/digits/RUN/stage-A", "--json")
    small = world(*later, "--set", "injection.bound=0.5")
    assert small.code == 4
    told = json.loads(small.out)
    assert told == json.loads((world.folder / "runs" / "feasibility" / "feasibility.json").read_text())
    assert told["decision"]["status"] == "fail"
    advised = re.search(r"raise the injection's bound to ([\d.]+),", told["decision"]["advice"])[1]
    fitting = world(*later, "--set", f"injection.bound={advised}")
    assert fitting.code == 0
    assert json.loads(fitting.out)["decision"]["status"] == "pass"


def test_the_library_gives_the_verdict_of_the_recipes_own_gate(tmp_path: Path) -> None:
    verdict = library.check_feasibility(library.load_recipe(ROOT / RECIPE), folder=tmp_path)
    assert isinstance(verdict, Verdict)
    assert verdict.status == "fail"


def test_nothing_speaks_of_stereo(world: World) -> None:
    page = re.sub(r"<(style|script).*?</\1>", "", (world.run / "report.html").read_text(), flags=re.DOTALL)
    told = {words: done.out + done.err for words, done in world.said.items() if "data inspect" not in words}
    told["report"] = re.sub(r"<[^>]+>", " ", page)
    assert "can turn" in told["report"]
    assert {name: OF_STEREO.findall(text) for name, text in told.items()} == {name: [] for name in told}


def test_the_data_are_found_good(world: World) -> None:
    found = world.said[f"engine data inspect {RECIPE}"]
    assert "8 x 8" in found.out
    assert not re.search("^(error|warning|note)", found.out, re.MULTILINE), found.out


def test_the_shipped_weights_read_straight_sheets(world: World) -> None:
    shipped = world("eval", PRETRAIN, "--weights", FOLDER / "straight.safetensors", "--json")
    assert json.loads(shipped.out)["mean"]["wrong"] < 0.2


def test_the_table_of_the_page_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    steps = [f"stage.{stage}.steps=2" for stage in "ABC"]
    table = runpy.run_path(str(MEASURE))["measured"]([0], steps)
    assert all(len(right) == 1 and 0 <= right[0] <= 1 for right in table.values())
    rows = re.findall(r"^\| ((?:before|after) [^|]+) \| ([^|]+) \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(table)


def test_the_engine_imports_no_plugin() -> None:
    taken = set()
    for file in (ROOT / "engine").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                taken |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                taken.add(node.module.partition(".")[0])
    assert {"engine", "torch"} <= taken
    assert not {name for name in taken if name.startswith("engine_")}


# ---------------------------------------------------------------------------------------------------------------------
# What the plugin promises
# ---------------------------------------------------------------------------------------------------------------------


def batch() -> dict[str, Any]:
    """Three sheets: a 0, a 4 and a 9, turned by -0.5, 0 and 0.5."""
    numbers = torch.Generator().manual_seed(0)
    reading = torch.zeros(3, 11, 1, 1)
    reading[[0, 1, 2], [0, 4, 9]] = 1
    reading[:, 10, 0, 0] = torch.tensor([-0.5, 0.0, 0.5])
    camera, mat = (torch.rand(3, 1, 8, 8, generator=numbers) for _ in range(2))
    return {"camera": camera, "mat": mat, "reading": reading, "valid": torch.ones(3, 1, 1, 1, dtype=torch.bool)}


ALIKE = {"files": [PLUGIN], "batch": batch}
FIELDS = ("camera", "mat", "reading", "valid")


@pytest.mark.parametrize(
    "check",
    [
        *testing.model("digit_reader", **ALIKE),
        *testing.injection("pressure_mat", {"bound": 2.0}, target="reading", **ALIKE),
        *testing.dataset("askew_digits", {"split": "val"}, fields=FIELDS, files=[PLUGIN]),
        *testing.loss("digit", target="reading", **ALIKE),
        *testing.loss("angle", target="reading", **ALIKE),
        *testing.metric("mistakes", target="reading", **ALIKE),
    ],
    ids=str,
)
def test_it_keeps_its_promises(check: testing.Check) -> None:
    check()


def shown(leads: list[float], bound: float = 1.0) -> testing.Shown:
    """What the gate is shown of a base whose best wrong digit leads the true one by each of `leads`."""
    scores = torch.zeros(len(leads), 11, 1, 1)
    scores[:, 3, 0, 0], scores[:, 0, 0, 0] = torch.tensor(leads) / 2, -torch.tensor(leads) / 2
    scores[:, [1, 2, *range(4, 10)]] = -100
    reading = torch.zeros_like(scores)
    reading[:, 0] = 1
    system = type("System", (), {"injection": type("Injection", (), {"bound": bound})()})()
    return testing.Shown({}, system, pairs=lambda: iter([({"reading": reading}, Prediction(scores))]))


@pytest.mark.parametrize(
    "check",
    testing.gate("margin", files=[PLUGIN], system=shown([1.0]).system, predictions=shown([1.0] * 40).pairs),
    ids=str,
)
def test_the_gate_keeps_its_promises(check: testing.Check) -> None:
    check()


@pytest.mark.parametrize(
    ("leads", "status"),
    [
        ([1.7] * 40, "pass"),  # half of it is under rho * bound = 0.9
        ([1.9] * 40, "fail"),
        ([1.7] * 37 + [1.9] * 3, "warn"),  # 93 %, but of forty: the lower limit is 83 %, the upper 97 %
        ([1.7] * 10, "undetermined"),
        ([1.7] + [-1.0] * 99, "nothing-to-gain"),
    ],
)
def test_the_gate_compares_half_of_each_lead_with_the_usable_bound(
    plugin: ModuleType, leads: list[float], status: str
) -> None:
    verdict = plugin.MarginGate(plugin.MarginOptions())(shown(leads))
    assert verdict.status == status
    assert verdict.figures["wrong"] == sum(lead >= 0 for lead in leads)


@pytest.mark.parametrize("lead", [1.99, 2.01])
def test_no_correction_within_the_bound_turns_a_lead_of_more_than_twice_the_bound(
    plugin: ModuleType, lead: float
) -> None:
    figures = plugin.MarginGate(plugin.MarginOptions())(shown([lead] * 40)).figures
    _, answer = next(shown([lead]).pairs())
    found = torch.Generator().manual_seed(0)
    changes = torch.rand(20_000, 10, generator=found) * 2 - 1
    best = torch.full((1, 10), -1.0)
    best[0, 0] = 1.0  # the true digit is 0: up with it, and down with all others
    read = (answer.value[:, :10, 0, 0] + torch.cat([changes, best])).argmax(1)
    assert bool((read == 0).any()) == (lead < 2)
    assert figures["share wrong after the best correction"] == float(lead >= 2)


def test_a_quarter_turn_is_counter_clockwise_and_turned_back_is_as_before(plugin: ModuleType) -> None:
    sheets = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    quarter = torch.full((2,), math.pi / 2)
    there = plugin.turned(sheets, quarter)
    torch.testing.assert_close(there, torch.rot90(sheets, 1, (2, 3)), rtol=0, atol=1e-5)
    torch.testing.assert_close(plugin.turned(there, -quarter), sheets, rtol=0, atol=1e-5)


def test_the_mat_is_turned_upright_by_the_angle_that_the_sample_tells(plugin: ModuleType) -> None:
    sample = plugin.Sheets(plugin.SheetOptions(split="val", noise=0, askew=60)).sample(5, None)
    mat, angle = torch.from_numpy(sample["mat"])[None], torch.from_numpy(sample["reading"][10].reshape(1))
    ink = torch.from_numpy(plugin._digits()[0][1205])
    askew, upright = ((sheet - ink).square().mean() for sheet in (mat, plugin.turned(mat, -angle)))
    assert abs(float(angle)) > 0.3
    assert upright < 0.25 * askew


def test_without_scikit_learn_the_user_is_told_what_to_install(
    plugin: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    plugin._digits.cache_clear()
    with pytest.raises(WorldError, match=r"experiment-engine\[examples\]"):
        len(plugin.Sheets(plugin.SheetOptions(split="val")))


def test_the_truth_tells_the_correction_the_angle_and_not_the_digit(plugin: ModuleType) -> None:
    torch.manual_seed(0)
    module, seen = plugin.MatCorrection(plugin.MatOptions(bound=2.0)), batch()
    torch.nn.init.normal_(module.head.weight)
    base, other_digits, other_angles = (
        Prediction(seen["reading"].clone()),
        *(seen["reading"].clone() for _ in range(2)),
    )
    other_digits[:, :10] = other_digits[:, :10].roll(1, 1)
    other_angles[:, 10] += 0.3
    value = module(seen, base, seen["reading"]).value
    assert torch.equal(module(seen, base, other_digits).value, value)
    assert not torch.equal(module(seen, base, other_angles).value, value)
    assert torch.equal(value[:, 10], base.value[:, 10])  # the angle itself is not corrected
