"""What the page on sweeps tells people to type does what it says, on a few small scenes."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import Command
from pages import ROOT, blocks, commands
from test_documents import shrunk

PAGE = "sweeps.md"
SMALL_STUDY = [
    *("--set", "data.train.of.count=2", "--set", "data.val.count=2", "--set", "stage.adapt.steps=2"),
    *(part for side in ("train.of", "val") for part in ("--set", f"data.{side}.height=64")),
    *(part for side in ("train.of", "val") for part in ("--set", f"data.{side}.width=96")),
]


def test_every_command_of_the_page_on_sweeps_runs(engine: Command, tmp_path: Path) -> None:
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    (study,) = [block.text for block in blocks(ROOT / "docs" / PAGE) if block.language == "toml"]
    (tmp_path / "study.toml").write_text(study)
    found = commands(f"docs/{PAGE}")
    for words in found:
        small = SMALL_STUDY if "study.toml" in words else shrunk()
        outcome = engine(*words, *small, "--trials", 1)
        assert outcome.code == 0, f"{words}: {outcome.err}"
    assert len(found) == 3

    swept = [json.loads(path.read_text())["swept"] for path in tmp_path.glob("runs/*-sweep-*/sweep.json")]
    assert max(map(len, swept)) == 3, "the study searches three keys"
