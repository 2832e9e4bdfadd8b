"""`engine runs compare`: differences sample by sample, with intervals that can be recomputed."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Command, WriteRecipe
from scipy import stats
from toy_world import STAGE_A, STAGE_B, threshold

from engine.runs.comparison import differences
from engine.runs.pairing import paired


@pytest.fixture
def seeds(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> tuple[Path, Path]:
    """Two seeds of one recipe, with 40 held-out samples."""
    stages = [{**STAGE_A, "steps": 6}, {**STAGE_B, "steps": 6, "gate": [threshold(on_fail="warn", max=0.45)]}]
    path = toy_recipe(stage=stages, data={"val": {"count": 40}})
    for seed in ("0", "1"):
        assert engine("run", path, "--runs", f"runs{seed}", "--set", f"seed={seed}").code == 0
    found = [next((tmp_path / f"runs{seed}" / "toy").iterdir()) for seed in (0, 1)]
    return found[0], found[1]


def kept(run: Path, stage: str, name: str) -> dict[str, float]:
    """Sample -> its error, as the run keeps it."""
    evaluation = json.loads((run / f"stage-{stage}" / f"evaluation-{name}.json").read_text())
    return dict(zip(evaluation["ids"], evaluation["per_sample"]["error"], strict=True))


def test_two_seeds_differ_by_what_the_samples_say(engine: Command, seeds: tuple[Path, Path], tmp_path: Path) -> None:
    done = engine("runs", "compare", *seeds, "--html", "page.html", "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["recipe"] == [{"key": "seed", "values": ["0", "1"]}]
    assert [(row["stage"], row["moment"], row["warp"]) for row in document["metrics"]] == [
        ("A", "before", "off"), ("A", "after", "off"), ("B", "after", "gt"), ("B", "after", "pred"),
    ]  # fmt: skip
    for row in document["metrics"]:
        one, two = (kept(run, row["stage"], f"{row['moment']}-{row['warp']}") for run in seeds)
        difference = np.array([two[sample] - one[sample] for sample in one])
        assert row["differences"] == dict(zip(one, difference.tolist(), strict=True))
        assert row["difference"] == pytest.approx(difference.mean(), rel=1e-12)
        assert (row["first"], row["other"]) == pytest.approx((np.mean([*one.values()]), np.mean([*two.values()])))
        assert row["lower"] == sum(difference < 0)
        theirs = stats.bootstrap(
            (difference,), np.mean, method="BCa", n_resamples=20_000, rng=np.random.default_rng(7)
        ).confidence_interval
        width = theirs.high - theirs.low
        assert row["low"] == pytest.approx(theirs.low, abs=0.04 * width)
        assert row["high"] == pytest.approx(theirs.high, abs=0.04 * width)
    (gate,) = document["gates"]
    assert (gate["stage"], gate["at"], gate["check"]) == ("B", "exit", "threshold")
    assert [len(verdicts) for verdicts in gate["verdicts"]] == [1, 1]

    table = engine("runs", "compare", *seeds).out
    row = document["metrics"][-1]
    figures = [f"{row['first']:.3f}", f"{row['other']:.3f}", f"{row['difference']:+.3f}"]
    interval = f"{row['low']:+.3f} .. {row['high']:+.3f}"
    assert " ".join(["after B prediction error", *figures, interval, f"{row['lower']} of 40"]) in " ".join(
        table.split()
    )
    assert re.search(r"^ exit of B +threshold +(PASS|FAIL)", table, re.MULTILINE)
    page = (tmp_path / "page.html").read_text()
    assert not re.search(r"(src|href)=|https?://|<script|@import|url\(", page), "one file, without network or script"
    assert page.count('class="dot"') == 4 * 40
    assert f"<title>val-7: {row['differences']['val-7']:+.3f}</title>" in page
    assert all(figure in page for figure in figures)


def test_a_run_without_a_stage_is_compared_in_what_it_has(
    engine: Command, seeds: tuple[Path, Path], toy_recipe: WriteRecipe
) -> None:
    for run in seeds:
        (run / "stage-B" / "evaluation-after-pred-zero.json").write_bytes(
            (run / "stage-B" / "evaluation-after-gt.json").read_bytes()
        )
    short = toy_recipe("short.toml", stage=[{**STAGE_A, "steps": 4}], data={"val": {"count": 3}})
    assert engine("run", short, "--runs", "short").code == 0
    (third,) = Path("short/toy").iterdir()
    (seeds[1] / "status.json").unlink()
    done = engine("runs", "compare", *seeds, third, "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert [(row["stage"], len(row["differences"])) for row in document["metrics"] if row["run"] == 3] == [("A", 3)] * 2
    ablated = [(row["stage"], row["warp"]) for row in document["metrics"] if row["ablation"] == "zero"]
    assert ablated == [("B", "pred")]
    rows = {row["key"]: row["values"] for row in document["recipe"]}
    assert rows["stage.A.steps"] == ["6", "6", "4"]
    assert rows["stage.B"][2] == "-"
    assert len([verdicts for verdicts in document["gates"][0]["verdicts"] if verdicts]) == 2
    assert document["notes"] == [
        "run 2 is killed",
        "data.val of run 3 is not that of run 1; samples are paired by their names all the same",
    ]
    assert all(note in " ".join(done.err.split()) for note in document["notes"])
    table = engine("runs", "compare", *seeds, third, "--html", "page.html").out
    assert "run 3" in table
    assert "zero" not in table
    assert "aligned by prediction, ablation zero" in Path("page.html").read_text()
    assert engine("runs", "compare", third).code == 2
    damaged = third / "stage-A" / "evaluation-after-off.json"
    whole = json.loads(damaged.read_text())
    for harm in (
        {"per_sample": {"error": [1.0]}},
        {"per_sample": {"error": ["low", 1.0, 1.0]}},
        {"ids": [[], "b", "c"]},
    ):
        damaged.write_text(json.dumps({**whole, **harm}))
        done = engine("runs", "compare", seeds[0], third)
        assert done.code == 1
        assert "evaluation-after-off.json is damaged" in done.err


def evaluation(ids: list[str], scenes: list[str] | None = None, **per_sample: list[float | None]) -> dict[str, Any]:
    return {"ids": ids, "scenes": scenes or ids, "per_sample": per_sample}


def test_samples_are_paired_by_name_whatever_their_order() -> None:
    first = evaluation(["a", "b", "c", "d", "a"], epe=[1.0, 2.0, None, 4.0, 9.0], only=[1.0] * 5)
    other = evaluation(["d", "b", "a", "c", "e", "a"], epe=[5.0, 2.0, 0.5, 1.0, 7.0, 9.5])
    (pair,) = paired(first, other)
    assert pair.differences == {"a": -0.5, "b": 0.0, "d": 1.0, "a (2)": 0.5}
    assert (pair.first, pair.other, pair.difference) == (4.0, 4.25, 0.25)
    assert (pair.lower, pair.higher) == (1, 2)
    assert paired(first, evaluation(["z"], epe=[1.0])) == []


def test_samples_of_one_scene_are_resampled_together() -> None:
    rng = np.random.default_rng(0)
    ids = [str(number) for number in range(60)]
    apart = (np.repeat(rng.normal(size=10), 6) + rng.normal(0, 0.01, 60)).tolist()
    zeros = [0.0] * 60
    alone = paired(evaluation(ids, e=zeros), evaluation(ids, e=apart))[0]
    scenes = [f"scene {number // 6}" for number in range(60)]
    together = paired(evaluation(ids, scenes, e=zeros), evaluation(ids, e=apart))[0]
    assert together.difference == alone.difference
    assert together.high - together.low > 1.8 * (alone.high - alone.low)
    assert math.isnan(paired(evaluation(ids, ["one"] * 60, e=zeros), evaluation(ids, e=apart))[0].low)


def test_too_few_scenes_for_an_interval_have_none() -> None:
    def low(scenes: int) -> float:
        ids = [str(number) for number in range(scenes)]
        return paired(evaluation(ids, e=[0.0] * scenes), evaluation(ids, e=[1.0 + n for n in range(scenes)]))[0].low

    assert math.isnan(low(9)), "all samples are higher, and that is not enough"
    assert low(10) > 1


def test_recipes_differ_by_the_keys_that_set_would_name() -> None:
    one = {
        "seed": 0,
        "stage": [{"name": "A", "trainable": ["a"], "gate": []}, {"name": "B", "gate": [{"check": "x", "max": 1}]}],
    }
    two = {
        "stage": [{"name": "A", "trainable": ["a", "b"], "gate": []}, {"name": "B", "gate": [{"check": "x", "max": 2}]}]
    }
    assert list(differences([one, two])) == [
        ("seed", ["0", "-"]),
        ("stage.A.trainable", ['["a"]', '["a", "b"]']),
        ("stage.B.gate.x.max", ["1", "2"]),
    ]
    assert list(differences([one, one])) == []
