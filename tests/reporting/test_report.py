"""`report.html`: written however a run ends, complete, harmless, and made again by `engine report`."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, WriteRecipe, events_of, only_run
from toy_world import STAGE_A, STAGE_B, STAGE_C, threshold

from engine.reporting.report import write_report
from engine.reporting.timeline import stages_of


def embedded(run: Path, name: str = "data") -> Any:
    """What a report carries for its scripts."""
    html = (run / "report.html").read_text()
    return json.loads(re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', html, re.DOTALL)[1])


def test_a_run_ends_with_the_path_of_its_report_and_every_curve_holds_its_events(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    done = engine("run", toy_recipe(train={"log_every": 3, "evaluate_every": 6}))

    run = only_run(tmp_path)
    assert done.out.splitlines()[-1] == f"report: {run.relative_to(tmp_path)}/report.html"
    steps = events_of(run, "step")
    data = embedded(run)
    curves = {curve["id"]: {each["name"]: each["points"] for each in curve["series"]} for curve in data["curves"]}
    assert curves["loss"]["loss"] == [
        [12 * "ABC".index(step["stage"]) + step["step"], pytest.approx(step["loss"], rel=1e-4)] for step in steps
    ]
    assert {len(points) for name in ("rate", "gradient", "time") for points in curves[name].values()} == {len(steps)}
    metric = curves["metric error"]
    assert [at for at, _ in metric["corrected, aligned by ground truth"]] == [18, 24]
    # the base alone: all of A, and beside what corrects it in B and C; the same step in two stages is two points' end
    assert [at for at, _ in metric["base alone"]] == [0, 6, 12, 18, 24, 30, 36]


def test_the_pictures_of_the_same_samples_are_kept_before_and_after_and_each_file_is_embedded_once(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    assert engine("run", toy_recipe()).code == 0

    shown = embedded(only_run(tmp_path), "images")
    assert shown["moments"] == ["before A", "after A", "after B", "after C"]
    assert [sample["id"] for sample in shown["samples"]] == ["val-0", "val-2", "val-5", "val-7"]
    names = {moment: [each["name"] for each in pictures] for moment, pictures in shown["samples"][0]["of"].items()}
    assert names["after A"] == ["image", "target", "answer"]
    assert names["after B"] == ["image", "target", "answer", "correction"]
    images = {each["image"] for pictures in shown["samples"][0]["of"].values() for each in pictures[:1]}
    assert len(images) == 1, "what goes in is the same at every moment"
    assert all(uri.startswith("data:image/png;base64,") for uri in shown["data"].values())


@pytest.mark.parametrize(
    ("changes", "code", "status"),
    [
        ({"stage": [STAGE_A | {"gate": [threshold(at="entry", max=0.0)]}]}, 4, "refused"),
        ({"stage": [STAGE_A], "data": {"train": {"spoil": 1}}}, 3, "diverged"),
    ],
)
def test_a_run_that_ends_badly_has_its_report_too(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, changes: dict[str, Any], code: int, status: str
) -> None:
    assert engine("run", toy_recipe(**changes)).code == code

    html = (only_run(tmp_path) / "report.html").read_text()
    assert f'class="badge {status}"' in html
    assert 'class="message"' in html


def test_a_killed_run_is_reported_from_what_it_left(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    engine("run", toy_recipe())
    run = only_run(tmp_path)
    whole = (run / "report.html").read_text()
    assert engine("report", run).out == f"report: {run}/report.html\n"
    assert (run / "report.html").read_text() == whole.replace(f"runs/toy/{run.name}", str(run)), "made again, the same"
    lines = (run / "events.jsonl").read_text().splitlines(keepends=True)
    until = next(number for number, line in enumerate(lines) if '"event": "step", ' in line and '"stage": "B"' in line)
    (run / "events.jsonl").write_text("".join(lines[: until + 1]) + lines[until + 1][:20])
    (run / "status.json").unlink()
    (run / "stage-A" / "record.json").write_text("{")
    (run / "stage-B" / "record.json").unlink()

    assert engine("report", run).code == 0

    html = (run / "report.html").read_text()
    assert "is damaged" in html
    assert re.findall(r'class="badge ([a-z-]+)"', html)[:4] == ["killed", "done", "killed", "done"]


def test_what_a_killed_stage_did_lasts_until_the_last_that_was_told() -> None:
    events = [
        {"event": "run_started", "time": 100.0, "stages": [("A", "", 12)]},
        {"event": "stage_started", "time": 101.0, "name": "A", "title": "", "source": "fresh weights", "steps": 12},
        {"event": "note", "time": 109.0, "text": "rendering 30 of 60"},
    ]
    (stage,) = stages_of(events, {}, {}, going=False)
    assert (stage["state"], stage["spans"]) == ("killed", [["prepared", 1.0, 9.0]])


def test_any_damage_to_a_run_leaves_a_report_of_the_rest(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    gates = [{"check": "feasibility", "at": "entry", "on_fail": "warn"}]
    recipe = toy_recipe(stage=[STAGE_A, STAGE_B | {"gate": gates}], data={"val": {"size": 24}})
    assert engine("run", recipe).code == 0
    run = only_run(tmp_path)
    rng = random.Random(0)
    files = [path for path in sorted(run.rglob("*.json*")) if "checkpoints" not in path.parts]
    assert {path.name for path in files} >= {"events.jsonl", "record.json", "index.json", "feasibility.json"}
    for path in [each for each in files for _ in range(2)]:
        whole = path.read_bytes()
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 20])):
            place = rng.randrange(len(damaged))
            damaged[place : place + rng.choice([0, 1, 1, 40])] = rng.choice(
                [b"", b"0", b"null", b"[]", b"{}", b'"', b"x"]
            )
        path.write_bytes(damaged)
        assert write_report(run).stat().st_size > 20_000
        path.write_bytes(whole)


def test_a_disk_that_takes_no_report_leaves_the_run_done_and_says_how_to_get_one(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text

    def full(path: Path, *arguments: Any, **more: Any) -> int:
        if "report.html" in path.name:
            raise OSError(28, "No space left on device", str(path))
        return write(path, *arguments, **more)

    monkeypatch.setattr(Path, "write_text", full)
    done = engine("run", toy_recipe(stage=[STAGE_A]), "--quiet")

    run = f"runs/toy/{only_run(tmp_path).name}"
    assert done.code == 0
    why = f"no report: {run}/report.html could not be written: No space left on device"
    assert done.out.splitlines()[-1] == f"{why}; `engine report {run}` makes it"


STOPS = """
import os
import signal
from pathlib import Path
from engine.hookspecs import hookimpl

@hookimpl
def engine_step(event):
    if (event.stage, event.step) == ("B", 8) and not Path("stopped").exists():
        Path("stopped").touch()
        os.kill(os.getpid(), signal.SIGTERM)
"""


def test_an_interrupted_run_is_reported_and_once_resumed_its_curves_are_whole(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    (tmp_path / "stops.py").write_text(STOPS)
    path = toy_recipe()
    path.write_text(path.read_text().replace("toy_plugin.py", 'toy_plugin.py", "stops.py'))
    assert engine("run", path).code == 5
    run = only_run(tmp_path)
    html = (run / "report.html").read_text()
    assert re.findall(r'class="badge ([a-z-]+)"', html)[:4] == ["interrupted", "done", "interrupted", "not-reached"]
    assert f"engine run runs/toy/{run.name} --resume" in html

    assert engine("run", path, "--resume").code == 0

    html = (run / "report.html").read_text()
    assert "resumed 1 time" in html
    assert len(embedded(run)["curves"][0]["series"][0]["points"]) == 9


def test_what_a_run_says_cannot_become_a_part_of_the_page(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    wicked = "</script><script>alert(1)</script>"
    engine("run", toy_recipe(description=wicked, stage=[STAGE_A | {"title": wicked}]))

    html = (only_run(tmp_path) / "report.html").read_text()
    assert "alert(1)" in html
    assert "<script>alert" not in html
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", html), "nothing is fetched"


def test_ablations_are_measured_at_the_end_of_what_corrects_and_stand_beside_the_base(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    assert engine("run", toy_recipe(evaluate={"ablations": ["zero", "shuffle"]})).code == 0

    run = only_run(tmp_path)
    rows = embedded(run)["samples"]
    assert [row["stage"] for row in rows] == ["B", "C"]
    for row in rows:
        kept = json.loads((run / f"stage-{row['stage']}" / "evaluation-after-pred-zero.json").read_text())
        assert row["taken"]["zero"] == kept["mean"]["error"]
        assert row["corrected"] < min(row["base"], row["taken"]["shuffle"], row["taken"]["zero"])
        assert len(row["samples"]) == 10
    assert not list(run.glob("stage-A/evaluation-*-zero.json"))


def test_an_ablation_that_nobody_brings_is_told_before_the_run(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    done = engine("run", toy_recipe(evaluate={"ablations": ["zeros"]}))

    assert done.code == 2
    assert re.search(r"toy\.toml:\d+:\d+: there is no ablation 'zeros'; .*Did you mean 'zero'", done.err)
    assert not (tmp_path / "runs").exists()


def test_a_stage_that_is_taken_over_keeps_its_curves_and_pictures(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    engine("run", toy_recipe())
    first = only_run(tmp_path)
    engine("run", toy_recipe(stage=[STAGE_A, STAGE_B, STAGE_C | {"steps": 8}]))
    second = next(run for run in first.parent.iterdir() if run != first)

    data, before = embedded(second), embedded(first)
    loss, loss_before = (each["curves"][0]["series"][0]["points"] for each in (data, before))
    assert loss[:6] == loss_before[:6]
    assert len(loss) == 8
    assert embedded(second, "images")["moments"] == ["before A", "after A", "after B", "after C"]
    assert (second / "report.html").read_text().count('class="badge reused"') == 2


def test_a_run_is_named_by_a_part_of_its_name_and_an_unknown_one_is_told(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    engine("run", toy_recipe(stage=[STAGE_A]))
    run = only_run(tmp_path)

    assert engine("report", run.name[-6:]).out == f"report: runs/toy/{run.name}/report.html\n"
    done = engine("report", "elsewhere")
    assert done.code == 2
    assert "there is no run 'elsewhere' under runs" in done.err


def test_a_link_that_leads_out_of_the_run_is_not_read(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    engine("run", toy_recipe(stage=[STAGE_A]))
    run = only_run(tmp_path)
    (tmp_path / "secret.json").write_text('{"seed": "secret of the host"}')
    (run / "provenance.json").unlink()
    (run / "provenance.json").symlink_to(tmp_path / "secret.json")

    assert engine("report", run).code == 0
    assert "secret of the host" not in (run / "report.html").read_text()


def test_a_picture_that_cannot_be_drawn_is_a_warning_and_the_run_goes_on(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("""
from pydantic import BaseModel
from engine.hookspecs import hookimpl

class Options(BaseModel):
    pass

@hookimpl
def engine_pictures(register):
    register("broken", Options, lambda options: lambda batch, prediction, bound: 1 / 0)
""")
    path = toy_recipe(stage=[STAGE_A])
    path.write_text(path.read_text().replace("toy_plugin.py", 'toy_plugin.py", "broken.py'))

    assert engine("run", path).code == 0
    run = only_run(tmp_path)
    warnings = [note["text"] for note in events_of(run, "note") if note["level"] == "warning"]
    assert any("picture 'broken'" in text and "ZeroDivisionError" in text for text in warnings)
    assert "No pictures" not in embedded(run, "images")["note"]
