"""What a sweep found: a document, a table, and the best trial as a recipe that can be run."""

from __future__ import annotations

import csv
import io
import shlex
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from engine.files import write_json
from engine_sweep.space import override
from engine_sweep.study import EXIT, REASON, RUN, SECONDS, counted
from engine_sweep.sweep import Sweep

DOCUMENT, TABLE, BEST = "sweep.json", "trials.csv", "best.json"


def document(sweep: Sweep, study: optuna.Study, own: dict[str, Any] | None) -> dict[str, Any]:
    """The sweep as data. best: the trial with the best figure, the first of equals. own: the recipe's own values."""
    trials = [_trial(place, trial) for place, trial in counted(study)]
    ended = [trial for trial in trials if trial["value"] is not None]
    sign = -1 if sweep.maximize else 1
    return {
        "recipe": str(sweep.recipe),
        "set": list(sweep.fixed),
        "swept": [vars(each) for each in sweep.swept],
        "metric": sweep.metric,
        "direction": "maximize" if sweep.maximize else "minimize",
        "pruner": sweep.pruner,
        "prune_after": sweep.prune_after,
        "seed": sweep.seed,
        "folder": str(sweep.folder),
        "own": next((trial["trial"] for trial in trials if trial["values"] == own), None),
        "best": min(ended, key=lambda trial: sign * trial["value"])["trial"] if ended else None,
        "trials": trials,
    }


def _trial(place: int, trial: FrozenTrial) -> dict[str, Any]:
    return {
        "trial": place,
        "value": trial.value if trial.state == TrialState.COMPLETE else None,
        "values": trial.params,
        "reason": trial.user_attrs.get(REASON, ""),
        "exit": trial.user_attrs.get(EXIT, 0),
        "reported": {str(step): value for step, value in sorted(trial.intermediate_values.items())},
        "run": trial.user_attrs.get(RUN, ""),
        "seconds": trial.user_attrs.get(SECONDS),
    }


def write(sweep: Sweep, found: dict[str, Any]) -> None:
    """Write the document and the table."""
    write_json(sweep.folder / DOCUMENT, found)
    text = io.StringIO()
    keys = [each.key for each in sweep.swept]
    rows = csv.writer(text)
    rows.writerow(["trial", sweep.metric, *keys, "reason", "run", "seconds"])
    for each in found["trials"]:
        values = [each["values"].get(key) for key in keys]
        rows.writerow([each["trial"], each["value"], *values, each["reason"], each["run"], each["seconds"]])
    (sweep.folder / TABLE).write_text(text.getvalue())


def write_best(sweep: Sweep, found: dict[str, Any], name: str) -> None:
    """Write the recipe of the best trial, complete, under the `name` that the sweep's recipe has."""
    values = found["trials"][found["best"]]["values"]
    sweep.check_recipe()
    write_json(sweep.folder / BEST, sweep.recipe_of(values, name).resolved())


def lines(sweep: Sweep, found: dict[str, Any]) -> list[str]:
    """The table for a terminal: the best first, what was given up last, with its reason."""
    keys = [each.key for each in sweep.swept]
    sign = -1 if sweep.maximize else 1
    order = sorted(found["trials"], key=lambda each: (each["value"] is None, sign * (each["value"] or 0)))
    rows = [["trial", sweep.metric, *keys, ""]]
    for each in order:
        said = "the recipe's own values" if each["trial"] == found["own"] else ""
        said = "; ".join(filter(None, [said, each["reason"]]))
        value = "-" if each["value"] is None else f"{each['value']:.6g}"
        rows.append([str(each["trial"]), value, *(_short(each["values"].get(key)) for key in keys), said])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def verdict(sweep: Sweep, found: dict[str, Any]) -> list[str]:
    """What the best trial is, how it stands to the recipe's own values, and how to run it."""
    best = found["trials"][found["best"]]
    said = f"best: trial {best['trial']}, {sweep.metric} {best['value']:.6g}"
    own = None if found["own"] is None else found["trials"][found["own"]]
    if own is None:
        said += "; the recipe's own values lie outside of the ranges and were not tried"
    elif own["trial"] == best["trial"]:
        said += "; these are the recipe's own values: no other trial is better"
    elif own["value"] is None:
        said += f"; the recipe's own values came to no end ({own['reason']})"
    else:
        said += f"; the recipe's own values give {own['value']:.6g}"
    values = [override(key, value) for key, value in best["values"].items()]
    # Elsewhere than by default it would find no stage to take.
    place = [] if sweep.runs == Path("runs") else ["--runs", str(sweep.runs)]
    again = ["engine", "run", str(sweep.folder / BEST), "--fresh", *place]
    words = ["engine", "run", str(sweep.recipe), *place]
    words += [word for each in (*sweep.fixed, *values) for word in ("--set", each)]
    return [said, f"again: {shlex.join(again)}", f"   or: {shlex.join(words)}"]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
