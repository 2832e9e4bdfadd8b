"""Two or more runs beside each other: what their recipes differ in, their metrics sample by sample, their gates."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.checkpoints.record import is_figure
from engine.errors import WorldError
from engine.files import read_json
from engine.runs.history import RunHistory
from engine.runs.pairing import Paired, paired

MOMENTS = ("before", "after")
ABSENT = "-"


@dataclass(frozen=True)
class MetricRow:
    """A metric of run `run` (2 for the second) against the first, at one moment of a stage.

    warp: what aligned the signal, "off" without injection, "" where the run does not tell. ablation: "none", or what
    was done to the signal. data: "val", or the name of retention data.
    """

    stage: str
    moment: str
    warp: str
    ablation: str
    data: str
    run: int
    paired: Paired


@dataclass(frozen=True)
class GateRow:
    """What a gate said in every run, in the order in which it was asked: once, or again after an extension."""

    stage: str
    at: str
    check: str
    verdicts: Sequence[Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Comparison:
    """recipe: (key, its value in every run as text). notes: what the reader should know of it all."""

    runs: Sequence[RunHistory]
    recipe: Sequence[tuple[str, Sequence[str]]]
    metrics: Sequence[MetricRow]
    gates: Sequence[GateRow]
    notes: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, which the table, the page and the JSON document are made of."""
        runs = [
            {"run": number, "name": run.name, "path": str(run.path), "state": run.state, "started": run.started}
            for number, run in enumerate(self.runs, 1)
        ]
        metrics = [{**vars(row), **asdict(row.paired)} for row in self.metrics]
        return {
            "runs": runs,
            "key": list(dict.fromkeys(name for run in self.runs for name in run.key)),
            "notes": list(self.notes),
            "recipe": [{"key": key, "values": list(values)} for key, values in self.recipe],
            "metrics": [{name: each for name, each in row.items() if name != "paired"} for row in metrics],
            "gates": [asdict(row) for row in self.gates],
        }


def compare(runs: Sequence[RunHistory]) -> Comparison:
    """Compare every run with the first; WorldError naming the file of an evaluation that is damaged."""
    metrics: list[MetricRow] = []
    notes = [f"run {number} is {run.state}" for number, run in enumerate(runs, 1) if run.state != "done"]
    for number, run in enumerate(runs[1:], 2):
        notes += _other_data(runs[0], run, number)
        rows = list(_metrics(runs[0], run, number))
        metrics += rows
        if not rows:
            notes.append(f"run {number} and run 1 have measured nothing in common")
    order = [stage.name for run in runs for stage in run.stages]
    metrics.sort(key=lambda row: (order.index(row.stage), MOMENTS.index(row.moment), row.data, row.ablation, row.warp))
    recipe = list(differences([run.recipe for run in runs]))
    return Comparison(runs, recipe, metrics, _gates(runs), notes)


def differences(values: Sequence[Any], key: str = "") -> Iterator[tuple[str, list[str]]]:
    """The keys in which recipes differ, dotted as for --set, and what each recipe has there."""
    if all(value == values[0] for value in values):
        return
    tables = [_table(value) for value in values]
    if any(table is None for table in tables):
        yield key, [_text(value) for value in values]
        return
    for name in dict.fromkeys(name for table in tables for name in table or ()):
        inside = [(table or {}).get(name, _Absent) for table in tables]
        yield from differences(inside, f"{key}.{name}" if key else name)


class _Absent:
    """Stands where a recipe does not have a key."""


def _table(value: Any) -> Mapping[str, Any] | None:
    """A table, or an array of tables by their `name` (a gate's `check`); None for any other value."""
    if isinstance(value, Mapping):
        return value
    if not (isinstance(value, list) and all(isinstance(item, Mapping) for item in value)):
        return None
    named = {str(item.get("name") or item.get("check")): item for item in value}
    return named if len(named) == len(value) and "None" not in named else None


def _text(value: Any) -> str:
    if value is _Absent:
        return ABSENT
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _metrics(first: RunHistory, other: RunHistory, number: int) -> Iterator[MetricRow]:
    for stage in first.stages:
        for path in sorted((first.path / f"stage-{stage.name}").glob("evaluation-*.json")):
            moment, _, what = path.stem.removeprefix("evaluation-").partition("-")
            beside = other.path / path.parent.name / path.name
            if moment not in MOMENTS or not beside.is_file():
                continue
            evaluations = _evaluation(path), _evaluation(beside)
            retained = what.startswith("retention.")
            data = what.removeprefix("retention.") if retained else "val"
            warp, _, ablation = ("", "", "") if retained else what.partition("-")
            for pair in paired(*evaluations):
                yield MetricRow(stage.name, moment, warp, ablation or "none", data, number, pair)


def _evaluation(path: Path) -> dict[str, Any]:
    """An evaluation with its figures by sample; WorldError when it is damaged."""
    evaluation = read_json(path, ids=list, scenes=list, per_sample=dict)
    samples = len(evaluation["ids"])
    whole = all(
        isinstance(values, list) and len(values) == samples and all(map(is_figure, values))
        for values in evaluation["per_sample"].values()
    )
    named = all(isinstance(name, str) for name in (*evaluation["ids"], *evaluation["scenes"]))
    if not whole or not named or len(evaluation["scenes"]) != samples:
        raise WorldError(f"{path} is damaged: it has not one name and figure for each of its {samples} samples")
    return evaluation


def _other_data(first: RunHistory, other: RunHistory, number: int) -> Iterator[str]:
    """Held-out data that are not the same, as far as the runs noted that: pairs of samples may be none then."""
    noted = [next((stage.data for stage in run.stages if stage.data), {}) for run in (first, other)]
    for split in sorted(noted[0].keys() & noted[1].keys() - {"train"}):
        if noted[0][split] != noted[1][split]:
            yield f"data.{split} of run {number} is not that of run 1; samples are paired by their names all the same"


def _gates(runs: Sequence[RunHistory]) -> list[GateRow]:
    asked = dict.fromkeys((gate["stage"], gate["at"], gate["check"]) for run in runs for gate in run.gates)
    return [
        GateRow(*where, [[g for g in run.gates if (g["stage"], g["at"], g["check"]) == where] for run in runs])
        for where in asked
    ]
