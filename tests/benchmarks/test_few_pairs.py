"""The measurement of few labelled pairs runs the documented recipe, and its table tells means and single seeds."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import Imported


@pytest.fixture
def script(imported: Imported) -> SimpleNamespace:
    return imported(".", "few_pairs")


def test_what_is_there_is_read_and_told_with_the_mean_and_the_curve(
    script: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for pairs, seed, epe in ((1, 0, 1.0), (1, 1, 1.2), (4, 0, 0.5), (4, 1, 0.7)):
        rows = [{"mean": {"epe/all": each, "epe/noc": each, "bad2/all": each}} for each in (2.0, epe)]
        (tmp_path / f"k{pairs}-s{seed}.json").write_text(json.dumps({"rows": rows}))
    page, picture = tmp_path / "page.md", tmp_path / "curve.png"
    page.write_text("before\n<!-- few-pairs: begin -->\nold\n<!-- few-pairs: end -->\nafter\n")
    words = ["few_pairs.py", "--results", str(tmp_path), "--counts", "1", "4", "--write", str(page)]
    monkeypatch.setattr("sys.argv", [*words, "--draw", str(picture)])
    script.few_pairs.main()
    lines = page.read_text().splitlines()
    assert "| 0 | 2.000 | 2.000 | 2.000 | 2.000 |" in lines
    assert "| 1 | 1.100 | 1.100 | 1.100 | 1.000, 1.200 |" in lines
    assert "| 4 | 0.600 | 0.600 | 0.600 | 0.500, 0.700 |" in lines
    assert "old" not in lines
    assert picture.stat().st_size > 1000
    assert "| labelled pairs |" in capsys.readouterr().out


def test_a_run_has_the_pairs_and_the_seed_that_the_page_says(
    script: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(words: list[str], **how: object) -> SimpleNamespace:
        asked.append(words)
        return SimpleNamespace(returncode=0, stdout='{"rows": []}', stderr="")

    monkeypatch.setattr(script.few_pairs.subprocess, "run", run)
    assert script.few_pairs.measured(tmp_path, 4, 1, ["stage.tune.steps=2"]) == []
    (words,) = asked
    assert {"data.train.of.count=4", "data.train.of.seed=1", "seed=1", "stage.tune.steps=2"} <= set(words)
    for more in (["stage.tune.steps=2"], [], ["stage.tune.steps=3"], []):
        script.few_pairs.measured(tmp_path, 4, 1, more)
    assert len(asked) == 3, "once for each --set"
