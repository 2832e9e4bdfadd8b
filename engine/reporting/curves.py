"""The curves of a run, over the steps of all its stages put one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Event = Mapping[str, Any]
Point = tuple[float, float | None]

MOST_POINTS = 4000
"""Points of one curve: more than a chart has pixels, and a report of a very long run stays small."""
DIGITS = 5
"""Significant digits of a figure: more than a chart shows and a reader wants."""

OFF, PRED, GT = "base alone", "corrected, aligned by prediction", "corrected, aligned by ground truth"


def bands(stages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Where each stage lies on the axis of steps: `from` and `to`."""
    found, at = [], 0
    for stage in stages:
        found.append({"name": stage["name"], "from": at, "to": at + stage["steps"]})
        at += stage["steps"]
    return found


def step_curves(steps: Mapping[str, Sequence[Event]], placed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Loss and its terms, gradient norm, learning rate, and time of a step, in charts.

    steps: the events of each stage; a step that was made again after an interruption counts as it was made last.
    """
    made = [
        (band["from"] + step, event)
        for band in placed
        for step, event in sorted({event["step"]: event for event in steps.get(band["name"], ())}.items())
    ]
    terms = list(dict.fromkeys(name for _, event in made for name in event["terms"]))
    # One term that is the whole loss in every stage would be drawn over it.
    several = len(terms) > 1
    charts = [
        _chart(
            "loss",
            "Loss",
            "",
            [_series("loss", made, lambda e: e["loss"])]
            + [_series(name, made, lambda e, name=name: e["terms"].get(name)) for name in terms if several],
            log=True,
        ),
        _chart("rate", "Learning rate", "", [_series("learning rate", made, lambda e: e["learning_rate"])]),
        _chart(
            "gradient", "Gradient norm", "", [_series("gradient norm", made, lambda e: e["gradient_norm"])], log=True
        ),
        _chart(
            "time",
            "Time of a step",
            "ms",
            [
                _series("computing", made, lambda e: 1e3 * e["seconds_per_step"] * (1 - e["data_share"])),
                _series("waiting for data", made, lambda e: 1e3 * e["seconds_per_step"] * e["data_share"]),
            ],
            stacked=True,
        ),
    ]
    if any(event["skipped"] for _, event in made):
        charts.append(_chart("skipped", "Steps skipped", "", [_series("skipped", made, lambda e: e["skipped"])]))
    return [{**chart, "group": "training"} for chart in charts if chart["series"]]


def metric_curves(
    evaluations: Iterable[Event], placed: Sequence[Mapping[str, Any]], key: Sequence[str]
) -> list[dict[str, Any]]:
    """A chart for each metric on held-out data: the base alone beside what corrects it.

    Metrics of `key` come first. What is known only where a correction was made is told of the correction itself. `hue`
    numbers the colours, so that a line has the same in every chart.
    """
    bases: dict[str, dict[str, list[Point]]] = {}
    where = {band["name"]: band for band in placed}
    corrected_only: dict[str, bool] = {}
    for event in evaluations:
        band = where.get(event["stage"])
        if band is None:
            continue
        at = _place(event["moment"], band)
        figures, on = event["evaluation"], "" if event.get("data", "val") == "val" else f" on {event['data']}"
        line = {"off": OFF, "pred": PRED, "gt": GT}[event["warp"]]
        for name, value in figures["mean"].items():
            bases.setdefault(name + on, {}).setdefault(line, []).append((at, rounded(value)))
            alone = event["warp"] != "off" and name not in figures["base_mean"]
            corrected_only[name + on] = corrected_only.get(name + on, True) and alone
        for name, value in figures["base_mean"].items() if event["warp"] != "gt" else ():
            bases.setdefault(name + on, {}).setdefault(OFF, []).append((at, rounded(value)))
    first = [name for name in key if name in bases]
    charts = []
    for name in [*first, *(name for name in bases if name not in first)]:
        lines = [
            {"name": line, "hue": hue, "points": _ordered(bases[name][line])}
            for hue, line in enumerate((OFF, PRED, GT))
            if line in bases[name]
        ]
        group = "key" if name in first else "correction" if corrected_only.get(name) else "other"
        charts.append({**_chart(f"metric {name}", name, "", lines), "group": group})
    return charts


def rounded(value: Any) -> float | None:
    """A figure with as many digits as a reader wants; None for one that is missing."""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, int | float) else None


def _place(moment: str, band: Mapping[str, Any]) -> float:
    within = {"before": 0, "after": band["to"] - band["from"]}
    return float(band["from"] + (within[moment] if moment in within else int(moment.rpartition(" ")[2])))


def _ordered(points: list[Point]) -> list[Point]:
    """Points in the order of steps; where a figure was measured twice, the later one."""
    return sorted(dict(points).items())


def _series(name: str, made: Sequence[tuple[float, Event]], read: Any) -> dict[str, Any]:
    points = [(at, rounded(read(event))) for at, event in made]
    return {"name": name, "points": points if any(value is not None for _, value in points) else []}


def _chart(name: str, title: str, unit: str, series: list[dict[str, Any]], **how: bool) -> dict[str, Any]:
    kept = [_thinned(each) for each in series if each["points"]]
    return {"id": name, "title": title, "unit": unit, "series": kept, **how}


def _thinned(series: dict[str, Any]) -> dict[str, Any]:
    """At most `MOST_POINTS` points, evenly chosen; `of` tells how many there were."""
    points = series["points"]
    if len(points) <= MOST_POINTS:
        return series
    every = -(-len(points) // MOST_POINTS)
    return {**series, "points": points[::every], "of": len(points)}
