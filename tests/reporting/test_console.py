"""What people see of a run: lines in a pipe, a timeline below them on a terminal, and little with --quiet."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from conftest import Command, WriteRecipe, events_of, only_run
from rich.console import Console
from toy_world import PLUGIN, RECIPE, STAGE_A, STAGE_B, STAGE_C, threshold

from engine import events
from engine.contracts import Evaluation, Verdict
from engine.reporting.console import ConsoleReport

BREAKS = """
import os
from engine.hookspecs import hookimpl

@hookimpl
def engine_step(event):
    if os.environ.get("BREAK_AT") == f"{event.stage} {event.step}":
        raise RuntimeError("as the test asked")
"""
GATED = [
    {**STAGE_A, "gate": [threshold(max=9.0, at="entry"), threshold(on_fail="warn", max=0.0)]},
    {**STAGE_B, "gate": [threshold(max=8.0, at="entry")]},
    STAGE_C,
]


def words(text: str) -> str:
    """The text on one line, as it is whatever the width of its tables."""
    return " ".join(text.split())


def tables(out: str) -> dict[str, str]:
    """Title -> the table, of what a run prints at its end."""
    titles = ("stages", "held-out data", "gates")
    places = [out.rindex(f"\n{title}") for title in titles] + [len(out)]
    return {title: out[begin:end] for title, begin, end in zip(titles, places, places[1:], strict=False)}


def test_in_a_pipe_every_line_tells_loss_rate_data_and_what_gates_decided(
    engine: Command, toy_recipe: WriteRecipe
) -> None:
    weighted = [{"name": "square"}, {"name": "square", "weight": 0.5}]
    done = engine("run", toy_recipe(stage=[{**GATED[0], "losses": weighted[:1]}, *GATED[1:]]))
    assert done.code == 0, done.err
    assert re.search(
        r"^  stage A 4/12  \d+(\.\d)? steps/s  [\d.]+ m?s left  \d+% waiting for data  loss \d+\.\d{3}  "
        r"before: error \d\.\d{3}$",
        done.out,
        re.MULTILINE,
    )
    assert re.search(r"^  stage A 12/12  [\d.]+ steps/s  \d+% waiting for data  loss", done.out, re.MULTILINE)
    told = re.search(r"^  gate threshold at exit of A: FAIL, (.*)\n    what to do: (.*)$", done.out, re.MULTILINE)
    assert told
    assert re.fullmatch(r"error 0\.\d+ > 0; the recipe lets the run go on", told[1])
    assert told[2] == "train longer, or give the gate a limit that the task can reach"
    found = tables(done.out)
    assert re.search(r"^ A base only +done +12 +.* m?s +entry threshold PASS; exit threshold FAIL, overridden *$",
                     found["stages"], re.MULTILINE)  # fmt: skip
    assert re.search(r"^ C +done +12 ", found["stages"], re.MULTILINE)
    assert f"what to do: {told[2]}" in words(found["gates"])


def test_a_resumed_run_lists_what_gates_said_before(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "breaks.py").write_text(BREAKS)
    path = toy_recipe(plugins=[str(PLUGIN), str(tmp_path / "breaks.py")], stage=GATED, train={"checkpoint_every": 2})
    monkeypatch.setenv("BREAK_AT", "B 8")
    first = engine("run", path)
    assert first.code == 1
    assert re.search(r"^ B +failed +8 of 12 .*entry threshold PASS *$", first.out, re.MULTILINE)
    assert re.search(r"^ C +waiting +12 +$", first.out, re.MULTILINE)
    monkeypatch.delenv("BREAK_AT")
    again = engine("run", path, "--resume")
    assert again.code == 0, again.err
    assert "stage B goes on after step 6" in again.out
    found = tables(again.out)
    assert len(re.findall("entry of [AB]|exit of A", found["gates"])) == 3
    assert re.search(r"^ A base only +done +12 .*exit threshold FAIL, overridden *$", found["stages"], re.MULTILINE)
    assert re.search(r"^ B +done +12 .*entry threshold PASS *$", found["stages"], re.MULTILINE)
    notes = [note["details"] for note in events_of(only_run(tmp_path), "note") if "gates" in note["details"]]
    assert [(note["stage"], note.get("taken"), len(note["gates"])) for note in notes] == [
        ("A", "here", 2),
        ("B", None, 1),
    ]
    reused = tables(engine("run", path).out)["stages"]
    assert len(re.findall(r"^ [ABC] .*reused", reused, re.MULTILINE)) == 3


@pytest.mark.parametrize("how", [(), ("--json",), ("--quiet",)])
def test_what_a_gate_that_stops_the_run_advises_is_said_once_and_last(
    engine: Command, toy_recipe: WriteRecipe, how: tuple[str, ...]
) -> None:
    done = engine("run", toy_recipe(stage=[{**STAGE_A, "gate": [threshold(max=0.001)]}]), *how)
    assert done.code == 4
    told = words(done.out + done.err)
    assert re.search(r"gate threshold at exit of A: FAIL, error 0\.\d+ > 0\.001; the run stops here", told)
    advice = "train longer, or give the gate a limit that the task can reach"
    assert re.search(r"error gate 'threshold' at the exit of stage A says fail: error 0\.\d+ > 0\.001 " + advice, told)
    assert told.count("train longer") == 1


def test_nothing_is_said_of_a_digest_where_nothing_is_frozen(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    done = engine("run", toy_recipe(stage=[STAGE_A, {**STAGE_C, "init": "A"}]))
    assert done.code == 0, done.err
    assert re.search(r"^  trains 45 parameters, 3 frozen \(digest [0-9a-f]{12}\)$", done.out, re.MULTILINE)
    assert re.search(r"^  stage A done in \d+ s; frozen unchanged \(digest [0-9a-f]{12}\)$", done.out, re.MULTILINE)
    assert re.search(r"^  trains 48 parameters, 0 frozen$", done.out, re.MULTILINE)
    assert re.search(r"^  stage C done in \d+ s$", done.out, re.MULTILINE)
    page = words((only_run(tmp_path) / "report.html").read_text())
    assert '<th scope="row">C</th><td class="number">48</td><td class="number">0</td> <td>–</td><td>–</td>' in page
    assert "✓ the same bits" in page
    assert "✕ changed" not in page


def test_quiet_tells_only_what_somebody_must_know(engine: Command, toy_recipe: WriteRecipe) -> None:
    done = engine("run", toy_recipe(stage=GATED), "--quiet")
    assert done.code == 0, done.err
    gate, advice, last = done.out.splitlines()
    assert gate.startswith("gate threshold at exit of A: FAIL, error 0.")
    assert advice.startswith("  what to do: train longer")
    assert last.startswith("done after ")
    quiet = engine("run", toy_recipe(stage=[STAGE_A]), "--quiet", "--json", "--fresh")
    assert quiet.err.startswith("done after ")
    assert json.loads(quiet.out)["rows"]


@pytest.fixture
def terminal() -> Console:
    """A terminal of 110 columns whose text is kept."""
    return Console(file=io.StringIO(), force_terminal=True, width=110, highlight=False, _environ={})


def shown(terminal: Console) -> str:
    """What the terminal showed last, below its lines."""
    assert isinstance(terminal.file, io.StringIO)
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", terminal.file.getvalue()).replace("\r", "")
    return plain[plain.rindex("\nstage ") :]


def test_a_terminal_shows_what_is_done_running_and_waiting(terminal: Console, tmp_path: Path) -> None:
    report = ConsoleReport(terminal, ["error"])
    stages = [("A", "base only", 40), ("B", "", 100), ("C", "", 7)]
    gates = [("A", "exit", "threshold"), ("B", "entry", "feasible"), ("B", "exit", "threshold"), ("C", "exit", "used")]
    report.engine_run_started(events.RunStarted("toy", tmp_path, stages, True, "cpu", gates))
    passed = {"at": "exit", "check": "threshold", "status": "pass", "action": "go on", "reason": "good"}
    details = {"stage": "A", "taken": "reused", "gates": [passed]}
    report.engine_note(events.Note("info", "stage A is taken from elsewhere", details))
    report.engine_stage_started(events.StageStarted("B", "", 1, 3, 100, "stage-A"))
    warned = Verdict("warn", "E0 4.6 px, 66 % in reach", {}, "raise the bound to 7")
    report.engine_gate_decided(events.GateDecided("B", "entry", "feasible", warned, "go on, overridden"))
    measured = Evaluation({"error": 0.25}, {}, {"error": 0}, {"error": [0.25]}, {"error": 0.5}, ["1"], ["1"])
    report.engine_evaluated(events.Evaluated("B", "step 40", "pred", "none", measured))
    terms = {"square": 0.5, "edge": 0.25}
    report.engine_step(events.Step("B", 50, 100, 0.75, terms, 1.0, 0.1, 2.0, 0.03, 0))
    report.say("one more line, which draws anew what stands below")
    lines = shown(terminal).splitlines()
    report.engine_run_finished(events.RunFinished("interrupted", 9.0, tmp_path, [], "", [passed | {"stage": "A"}]))

    assert [words(line) for line in lines if re.match("[ABC] ", line)] == [
        "A base only reused 40 exit threshold PASS",
        "B running 50 of 100 entry feasible WARN, overridden; exit threshold",
        "C waiting 7 exit used",
    ]
    below = words(" ".join(lines[-3:]))
    assert re.match(r"stage B \S+ 50/100 2\.0 s/step 1 min 40 s left 3% waiting for data ", below)
    assert below.endswith("loss 0.750 = square 0.500 + edge 0.250 step 40: error 0.250 [0.500]")
    at_the_end = shown(terminal).splitlines()
    assert "B interrupted 50 of 100 entry feasible WARN, overridden; exit threshold" in map(words, at_the_end)
    assert at_the_end[-1] == f"interrupted after 9 s  {tmp_path}"


def test_what_is_prepared_before_a_run_has_a_bar_that_goes_when_it_is_done(terminal: Console) -> None:
    report = ConsoleReport(terminal, [])
    for done in (1, 2):
        report.engine_note(events.Note("info", "rendering", {"done": done, "total": 2}))
    assert isinstance(terminal.file, io.StringIO)
    text = terminal.file.getvalue()
    assert "rendering" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1, "the cursor is hidden once, and comes back"


def test_eval_looks_like_the_table_of_the_run(engine: Command, toy_recipe: WriteRecipe, tmp_path: Path) -> None:
    path = toy_recipe(stage=[{**STAGE_A, "steps": 2}, {**STAGE_B, "steps": 2}])
    ran = engine("run", path)
    done = engine("eval", path, "--weights", only_run(tmp_path))
    assert "\n10 samples, mean over samples [base alone]" in done.out
    row = re.search(r"after B +prediction +(\S+ \[\S+\])", ran.out)
    assert row
    assert re.search(rf"^ error +{re.escape(row[1])} +\d\.\d{{3}} +0 *$", done.out, re.MULTILINE)


def test_check_tells_programs_which_recipes_are_good(engine: Command, toy_recipe: WriteRecipe) -> None:
    good, bad = toy_recipe("good.toml"), toy_recipe("bad.toml", sed=1)
    done = engine("check", good, bad, "--json")
    assert done.code == 2
    found = json.loads(done.out)["recipes"]
    assert [each["good"] for each in found] == [True, False]
    assert found[0]["stages"] == [stage["name"] for stage in RECIPE["stage"]]
    assert found[1]["problems"][0]["where"].startswith(f"{bad}:")
