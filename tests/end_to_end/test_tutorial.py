"""docs/tutorial.md, typed from its first line to its last."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Command, events_of
from pages import ROOT, Block, blocks

PAGE = ROOT / "docs" / "tutorial.md"
PIP = ["pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", "site"]


def write(block: Block) -> None:
    """The file that the first line names: a new one, or more of one that is there."""
    path = Path(block.text.splitlines()[0].removeprefix("# "))
    before = path.read_text() + "\n\n" if path.exists() else ""
    path.write_text(before + block.text)


def python(*words: str) -> None:
    """A Python process of its own, which finds what was installed into `site`."""
    environment = {**os.environ, "PYTHONPATH": "site", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def named(words: list[str], runs: Path) -> list[str]:
    """RUN is the newest run of its recipe, OTHER the one before it."""
    found = []
    for word in words:
        path = Path(word)
        if path.name in ("RUN", "OTHER"):
            *_, other, run = ["", *sorted(str(each) for each in (runs / path.parent.name).iterdir())]
            word = run if path.name == "RUN" else other
        found.append(word)
    return found


@pytest.fixture
def no_pane_is_left() -> Iterator[None]:
    """The plugin of the page is imported into this process, and no other test shall find it."""
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "pane"]:
        del sys.modules[name]


@pytest.mark.usefixtures("no_pane_is_left")
def test_the_tutorial_works_as_it_is_written(engine: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    typed = []
    for block in blocks(PAGE):
        if block.language == "diff":
            subprocess.run(["git", "apply", "-p0"], input=block.text, text=True, check=True)
        elif block.language != "sh":
            write(block)
        elif ". .venv/bin/activate" not in block.lines:  # the clone's own environment: that of this test
            for line, whole in zip(block.lines, block.text.splitlines(), strict=True):
                command, *words = shlex.split(line)
                wanted = re.search(r"# exit code (\d)$", whole)
                typed.append(line)
                if command == "engine":
                    done = engine(*named(words, tmp_path / "runs"))
                    assert done.code == (int(wanted[1]) if wanted else 0), f"{line}: {done.out}{done.err}"
                    assert words != ["plugins"] or "pane 0.1.0" in done.out
                elif command == "pip":
                    assert words == ["install", "-e", "pane"]
                    python("-m", *PIP, "./pane")
                    monkeypatch.syspath_prepend(str(tmp_path / "site"))
                elif command == "pytest":
                    python("-m", "pytest", "-q", "-p", "no:cacheprovider", *words)
                else:
                    assert command == "python", line
                    python(*words)

    assert len(typed) == 19
    trained, refused = sorted((tmp_path / "runs" / "pane").iterdir())
    errors = {
        event["stage"]: event["evaluation"]["mean"]["epe/glass"]
        for event in events_of(trained, "evaluated")
        if event["moment"] == "after"
    }
    assert errors["A"] == pytest.approx(3.7, abs=0.1)  # as the page says
    assert errors["B"] == pytest.approx(0.53, abs=0.1)
    assert errors["C"] == pytest.approx(0.52, abs=0.1)
    feasibility, use = (event["verdict"] for event in events_of(trained, "gate_decided"))
    assert (feasibility["status"], use["status"]) == ("pass", "pass")
    assert int(re.match(r"(\d+)%", use["reason"])[1]) == pytest.approx(93, abs=4)
    assert [event["verdict"]["status"] for event in events_of(refused, "gate_decided")] == ["fail"]
