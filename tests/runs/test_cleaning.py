"""`engine runs gc` shows what nobody needs any more, and removes it when it is told to."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, WriteRecipe, events_of, only_run
from toy_world import STAGE_A, STAGE_B

from engine.data.cache import Lock
from engine.files import file_digest
from engine.runs import directory

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """make_run(name, status): a run with a finished stage whose checkpoint has 1,000 bytes."""

    def make(name: str, status: str | None = "done", recipe: str = "toy") -> Path:
        run = tmp_path / "runs" / recipe / name
        stage = run / "stage-A"
        (stage / "checkpoints" / "step-0000001").mkdir(parents=True)
        (stage / "checkpoints" / "step-0000001" / "state.pt").write_bytes(bytes(1000))
        (stage / "weights.safetensors").write_text(name)
        digest = file_digest(stage / "weights.safetensors")
        (stage / "record.json").write_text(json.dumps({"status": "done", "weights_digest": digest}))
        (run / "recipe.json").write_text("{}")
        if status:
            (run / "status.json").write_text(json.dumps({"status": status}))
        return run

    return make


def listed(engine: Command, *arguments: str) -> dict[str, str]:
    """What would go, and why."""
    done = engine("runs", "gc", "--json", *arguments)
    assert done.code == 0, done.err
    return {row["path"].removeprefix("runs/"): row["why"] for row in json.loads(done.out)["found"]}


def test_without_yes_it_is_only_shown(engine: Command, make_run: MakeRun) -> None:
    run = make_run("1")
    done = engine("runs", "gc", "--keep", "1")
    assert done.code == 0
    assert done.out.splitlines() == [
        "    1.0 kB  runs/toy/1/stage-A/checkpoints  checkpoints of a finished stage",
        "1.0 kB would be freed; --yes removes what is listed",
    ]
    assert (run / "stage-A" / "checkpoints" / "step-0000001" / "state.pt").exists()


def test_a_cleaned_run_is_still_measured_and_reused(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    path = toy_recipe(stage=[{**STAGE_A, "steps": 2}, {**STAGE_B, "steps": 2}])
    assert engine("run", path).code == 0
    run = only_run(tmp_path)
    assert len(list(run.glob("stage-*/checkpoints"))) == 2
    done = engine("runs", "gc", "--yes")
    assert done.code == 0, done.err
    assert done.out.rstrip().endswith("kB freed")
    assert not list(run.glob("stage-*/checkpoints"))
    assert engine("eval", run).code == 0
    assert engine("run", path).code == 0
    second = max(run.parent.iterdir(), key=lambda each: (each / "recipe.json").stat().st_mtime_ns)
    assert second != run
    assert events_of(second, "step") == []
    assert engine("runs", "gc", "--yes").out == "nothing to remove\n"


def test_the_newest_finished_runs_of_each_recipe_are_kept(engine: Command, make_run: MakeRun) -> None:
    for name in ("1", "2", "3"):
        make_run(name)
    make_run("4", "refused")
    make_run("1", recipe="other")
    assert listed(engine, "--keep", "2") == {
        "other/1/stage-A/checkpoints": "checkpoints of a finished stage",
        "toy/3/stage-A/checkpoints": "checkpoints of a finished stage",
        "toy/2/stage-A/checkpoints": "checkpoints of a finished stage",
        "toy/1": "finished, older than the newest 2",
    }


def test_runs_that_ended_badly_go_where_that_is_asked(engine: Command, make_run: MakeRun, tmp_path: Path) -> None:
    make_run("0")
    ended = {"1": "refused", "2": "diverged", "3": "interrupted", "4": "failed", "5": None}
    for name, status in ended.items():
        make_run(name, status)
    assert list(listed(engine)) == ["toy/0/stage-A/checkpoints"], "what may be resumed keeps its checkpoints"
    found = listed(engine, "--unfinished", "--yes")
    assert {path: why for path, why in found.items() if "checkpoints" not in path} == {
        f"toy/{name}": f"ended badly ({status or 'killed'})" for name, status in ended.items()
    }
    assert [path.name for path in (tmp_path / "runs" / "toy").iterdir()] == ["0"]


def test_a_run_that_is_being_written_is_left_alone(engine: Command, make_run: MakeRun) -> None:
    run = make_run("1", None)
    finished = make_run("2")
    with directory.alone(run), directory.alone(finished):
        done = engine("runs", "gc", "--unfinished", "--yes")
    assert done.code == 0, done.err
    assert done.out.count("left alone: the run runs/toy/") == 2
    assert "still going on" in done.out
    assert (run / "stage-A" / "checkpoints").is_dir()
    assert (finished / "stage-A" / "checkpoints").is_dir()
    assert engine("runs", "gc", "--unfinished", "--yes").code == 0
    assert not run.exists()


def test_no_link_is_followed_and_no_other_folder_touched(engine: Command, make_run: MakeRun, tmp_path: Path) -> None:
    outside = make_run("1", recipe="../outside")
    linked = make_run("2", None)
    (linked / "stage-B").symlink_to(outside / "stage-A")
    runs = tmp_path / "runs"
    (runs / "toy" / "3").symlink_to(outside)
    (runs / "link").symlink_to(outside.parent)
    notes = runs / "toy" / "notes"
    (notes / "stage-A" / "checkpoints").mkdir(parents=True)
    done = engine("runs", "gc", "--unfinished", "--keep", "1", "--yes")
    assert done.code == 1
    assert "stage-B is a link that leads out of the run directory" in done.out
    assert (outside / "stage-A" / "checkpoints" / "step-0000001" / "state.pt").exists()
    assert (notes / "stage-A" / "checkpoints").is_dir()
    assert linked.exists()


def test_checkpoints_stay_beside_weights_that_are_made_again_from_them(engine: Command, make_run: MakeRun) -> None:
    run = make_run("1")
    (run / "stage-A" / "weights.safetensors").write_text("damaged")
    done = engine("runs", "gc", "--yes")
    assert done.code == 1
    assert "runs/toy/1/stage-A/checkpoints is left: the weights beside it are damaged" in done.out
    assert "1 of 1 could not be removed" in done.err
    assert (run / "stage-A" / "checkpoints").is_dir()


@pytest.mark.parametrize(("keep", "size"), [("2", 0), ("1", 1000)])
def test_a_file_that_another_run_links_to_frees_nothing(
    engine: Command, make_run: MakeRun, keep: str, size: int
) -> None:
    first, second = make_run("1"), make_run("2")
    for run in (first, second):
        (run / "stage-A" / "checkpoints" / "step-0000001" / "state.pt").unlink()
    big = first / "stage-A" / "weights.safetensors"
    big.write_bytes(bytes(5000))
    (second / "stage-A" / "weights.safetensors").unlink()
    os.link(big, second / "stage-A" / "weights.safetensors")
    (first / "stage-A" / "more").write_bytes(bytes(1000))
    data: dict[str, Any] = json.loads(engine("runs", "gc", "--keep", keep, "--json").out)
    assert size <= data["bytes"] < size + 1000


def test_a_folder_that_is_not_there_is_the_users_mistake(engine: Command) -> None:
    done = engine("runs", "gc", "--runs", "elsewhere")
    assert done.code == 2
    assert "there is no folder elsewhere" in done.err


def test_frozen_outputs_go_only_where_asked_and_stay_while_a_process_reads_them(
    engine: Command, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("1")
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    stores = [tmp_path / "cache" / "frozen" / f"toy-{name}.zarr" for name in ("open", "unused")]
    for store in stores:
        store.mkdir(parents=True)
        (store / "chunk").write_bytes(bytes(500))
    assert not any("zarr" in path for path in listed(engine))
    assert sum("toy-" in path for path in listed(engine, "--cache")) == 2
    with Lock.taken(stores[0], shared=True) or pytest.fail("nobody holds it"):
        done = engine("runs", "gc", "--cache", "--yes")
    assert done.code == 1
    assert "toy-open.zarr is open in a process that goes on" in done.out
    assert [store.exists() for store in stores] == [True, False]
