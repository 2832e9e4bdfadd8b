from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from rich.console import Console

from engine.contracts import Evaluation
from engine.errors import InputError, WorldError
from engine.gates import picture, plugin
from engine.gates.decision import judge
from engine.gates.feasibility import Settings
from engine.gates.feasibility_text import render
from engine.gates.gate import FeasibilityGate
from engine.gates.options import FeasibilityOptions, ThresholdOptions
from engine.gates.residuals import Residuals
from engine.gates.threshold import ThresholdGate

from .made import FakeContext, drawn, injection, laplace, one_sided, residuals, same


def run(context: FakeContext, **options: Any) -> Any:
    return FeasibilityGate(FeasibilityOptions(**options))(context)


def text_of(report: Any, width: int = 110) -> str:
    console = Console(width=width, file=None, record=True, color_system=None)
    with console.capture() as captured:
        console.print(render(report))
    return captured.get()


def test_a_feasible_bound_passes_and_leaves_its_figures(tmp_path) -> None:
    context = FakeContext(tmp_path / "stage", laplace(0.6), injection=injection(4.0, bound_option="max_correction"))
    verdict = run(context, region="glass", strata=["glass"], unit="px")
    assert verdict.status == "pass"
    assert "coverage is at least 0.99" in verdict.reason
    written = json.loads((tmp_path / "stage" / "feasibility.json").read_text())
    assert written == verdict.figures
    assert written["figures"]["bound"] == 4.0
    assert written["figures"]["scenes"] == 20
    assert written["figures"]["shrinkage"] == pytest.approx(1.0, abs=0.05)
    names = [row["name"] for row in written["figures"]["strata"]]
    assert {"glass", "image border", "confidence < 0.5"} <= set(names)
    assert (tmp_path / "stage" / written["picture"]).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_an_infeasible_bound_fails_with_advice_in_the_injections_own_words(tmp_path) -> None:
    context = FakeContext(tmp_path, one_sided(1.3, 0.4), injection=injection(1.5, bound_option="max_correction"))
    verdict = run(context, unit="px")
    assert verdict.status == "fail"
    assert "design rule: bound 1.5 px >= E0 (mean |r|) 1.7 px fails" in verdict.reason
    assert "(injection option max_correction)" in verdict.advice
    assert "train the parent stage until" in verdict.advice


def test_nobody_is_told_to_train_a_base_that_has_nothing_to_train(tmp_path) -> None:
    bare = FakeContext(tmp_path, one_sided(1.3, 0.4), injection=injection(1.5), base=torch.nn.Identity())
    verdict = run(bare)
    assert verdict.advice.endswith("; or take another base, since this one has nothing to train")
    assert "train the parent stage" not in verdict.advice
    plain = run(FakeContext(tmp_path, one_sided(1.3, 0.4), injection=injection(1.5)))
    assert "(injection option bound)" in plain.advice


def test_training_data_are_read_only_as_far_as_asked(tmp_path) -> None:
    context = FakeContext(tmp_path, laplace(0.6), injection=injection(4.0))
    verdict = run(context, train_images=0)
    assert context.asked == [("pred", "val")]
    assert verdict.figures["figures"]["shrinkage"] is None
    run(context, train_images=8)
    assert context.asked[-1] == ("pred", "train")


def test_a_recipe_without_injection_is_a_mistake_of_the_recipe(tmp_path) -> None:
    with pytest.raises(InputError, match="needs an injection"):
        run(FakeContext(tmp_path, laplace(1.0)))


@pytest.mark.parametrize("bound", [0.0, -1.0, math.inf, math.nan])
def test_a_bound_that_bounds_nothing_is_refused(tmp_path, bound) -> None:
    with pytest.raises(InputError, match="positive number"):
        run(FakeContext(tmp_path, laplace(1.0), injection=injection(bound)))


def test_without_matplotlib_the_verdict_stands_and_says_why_there_is_no_picture(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(WorldError, match=r"experiment-engine\[plots\]"):
        picture.save_histogram(drawn(laplace(1.0), 2).images, 1.0, tmp_path / "x.png")
    verdict = run(FakeContext(tmp_path, laplace(0.6), injection=injection(4.0)))
    assert verdict.status == "pass"
    assert "experiment-engine[plots]" in verdict.figures["picture"]
    assert not (tmp_path / "feasibility.png").exists()


def test_data_without_a_usable_image_are_undetermined(tmp_path) -> None:
    context = FakeContext(tmp_path, laplace(1.0), count=0, injection=injection(4.0))
    verdict = run(context)
    assert verdict.status == "undetermined"
    assert verdict.figures["figures"]["equal"]["error"] is None


def test_json_has_no_numbers_that_json_does_not_know() -> None:
    image = np.tile([1.0, -1.0], 500)
    image[:300] = np.nan
    for data in (Residuals(), residuals([image] * 40), residuals([image]), same({0.0: 1.0})):
        json.dumps(judge(data, 1.0, Settings()).to_dict(), allow_nan=False)


def test_the_text_is_readable_when_piped() -> None:
    report = judge(drawn(one_sided(1.3, 0.4)), 1.5, Settings(unit="px", bound_option="max_correction"))
    lines = text_of(report).splitlines()
    assert lines[0] == "feasibility of a correction within ±1.5 px: FAIL"
    assert lines[1].startswith("design rule: bound 1.5 px >= E0 (mean |r|) 1.7 px fails")
    assert lines[2].startswith("measured on 40 images, 40 scenes, 40960 pixels")
    assert any(line.startswith("FAIL because structure") for line in lines)
    assert any(line.startswith("advice: raise the bound from 1.5 to") for line in lines)
    assert "\x1b" not in "".join(lines)


def test_the_text_shows_what_is_not_known_as_a_dash() -> None:
    text = text_of(judge(Residuals(dropped=3), 1.5, Settings()))
    assert "not measured" in text
    assert "3 images with too few pixels left out" in text
    one = np.ones(1000)
    one[0] = np.nan
    single = text_of(judge(residuals([one]), 1.5, Settings(), train=drawn(laplace(1.0), 2)))
    assert "- .. -" in single
    assert "shrinkage S" in single
    assert "1 pixels without a finite prediction" in single


def test_a_picture_can_be_drawn_of_nothing(tmp_path) -> None:
    picture.save_histogram([], 1.0, tmp_path / "empty.png", "px")
    assert (tmp_path / "empty.png").stat().st_size > 1000


def test_registering_imports_neither_torch_nor_numpy() -> None:
    code = "import sys, engine.gates.plugin; print([m for m in ('torch', 'numpy', 'rich') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_both_gates_are_registered() -> None:
    found: dict[str, tuple[Any, ...]] = {}
    plugin.engine_gates(lambda name, *rest, **more: found.update({name: (*rest, more)}))
    assert found["feasibility"] == (FeasibilityOptions, "engine.gates.gate:FeasibilityGate", {"feasibility": True})
    options, factory, more = found["threshold"]
    assert (options, factory) == (ThresholdOptions, "engine.gates.threshold:ThresholdGate")
    assert more["needs"](ThresholdOptions(metric="epe", max=1.0)) == ["epe"]


@pytest.mark.parametrize(
    ("options", "words"),
    [({"metric": "epe"}, "needs max, min or both"), ({"metric": "epe", "min": 2, "max": 1}, "no value can pass")],
)
def test_a_threshold_needs_limits_that_can_hold(options, words) -> None:
    with pytest.raises(ValidationError, match=words):
        ThresholdOptions(**options)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        FeasibilityOptions(regoin="glass")


def evaluation(base: dict[str, float] | None = None, **mean: float) -> Evaluation:
    return Evaluation(
        mean=mean,
        pooled=mean,
        skipped=dict.fromkeys(mean, 1),
        per_sample={name: [value] for name, value in mean.items()},
        base_mean=base or {},
        ids=["0", "1"],
        scenes=["a", "b"],
    )


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        ({"max": 1.0}, "pass", "epe 0.8 <= 1"),
        ({"max": 0.8}, "pass", "epe 0.8 <= 0.8"),
        ({"max": 0.5}, "fail", "epe 0.8 > 0.5"),
        ({"min": 0.9}, "fail", "epe 0.8 < 0.9"),
        ({"min": 0.1, "max": 1.0}, "pass", "epe 0.8 >= 0.1 and <= 1"),
        ({"max": 1.0, "of": "base"}, "fail", "epe of the base 1.5 > 1"),
    ],
)
def test_a_threshold_compares(tmp_path, options, status, reason) -> None:
    context = FakeContext(tmp_path, laplace(1.0), evaluation=evaluation({"epe": 1.5}, epe=0.8))
    verdict = ThresholdGate(ThresholdOptions(metric="epe", warp="gt", **options))(context)
    assert (verdict.status, verdict.reason) == (status, reason)
    assert context.asked == [("gt", "none")]
    assert verdict.figures["samples"] == 2
    assert verdict.figures["skipped"] == 1


def test_the_base_is_the_system_where_nothing_corrects_it(tmp_path) -> None:
    context = FakeContext(tmp_path, laplace(1.0), evaluation=evaluation(epe=0.8))
    gate = ThresholdGate(ThresholdOptions(metric="epe", max=1.0, of="base"))
    assert gate(context).status == "pass"


def test_a_metric_that_was_not_measured_fails_the_threshold(tmp_path) -> None:
    context = FakeContext(tmp_path, laplace(1.0), evaluation=evaluation(epe_glass=0.8, bad=math.nan))
    missing = ThresholdGate(ThresholdOptions(metric="epe_glas", max=1.0))(context)
    assert missing.status == "fail"
    assert missing.reason == "epe_glas was not measured; measured are: bad, epe_glass"
    assert missing.advice == "did you mean 'epe_glass'?"
    far = ThresholdGate(ThresholdOptions(metric="zzz", max=1.0))(context)
    assert far.advice == "add the metric to the recipe"
    undefined = ThresholdGate(ThresholdOptions(metric="bad", max=1.0))(context)
    assert undefined.status == "fail"
    assert "no sample gave it a finite value" in undefined.reason
    assert undefined.figures["value"] is None


def test_a_folder_that_cannot_be_written_is_the_worlds_fault_and_nothing_half_written_stays(
    tmp_path, monkeypatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorldError, match=r"file/.* could not be written: File exists"):
        run(FakeContext(tmp_path / "file", laplace(0.6), injection=injection(4.0)))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(WorldError, match="No space left"):
        run(FakeContext(tmp_path / "stage", laplace(0.6), injection=injection(4.0)))
    assert not list((tmp_path / "stage").iterdir())
