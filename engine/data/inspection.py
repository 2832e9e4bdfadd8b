"""What `engine data inspect` does with one data set: look at some of its samples, and tell what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.contracts import Finding, Inspection
from engine.data.source import Source
from engine.errors import DamagedDataError, PluginError, WorldError
from engine.registered import guarded

LEVELS = ("error", "warning", "note")
NAMED = 5
"""So many names are told of a list; the rest are counted."""


@dataclass
class Inspected:
    """A data set after inspection.

    count: its samples. looked: the indices of those that were read whole. ids, scenes: one for each of them. figures,
    findings: of all inspections; findings begin with the worst. pictures: what they drew.
    """

    name: str
    count: int
    looked: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    scenes: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)

    @property
    def is_wrong(self) -> bool:
        """Whether training on it would give garbage."""
        return any(finding.level == "error" for finding in self.findings)


def spread(count: int, samples: int) -> list[int]:
    """At most `samples` indices of `count`, evenly spread, the first and the last among them."""
    return sorted({int(place) for place in np.linspace(0, count - 1, min(samples, count)).round()})


def inspect(source: Source, samples: int, inspections: Mapping[str, Inspection], folder: Path, name: str) -> Inspected:
    """Look at `samples` of a data set without augmentation; pictures go to `folder`, which is made, under `name`.

    Samples that cannot be read are told among the findings. Errors of the data set as `Source` tells them, PluginError
    for an inspection that fails.
    """
    result = Inspected(name, len(source))
    damaged: list[DamagedDataError] = []
    indices = spread(result.count, samples)
    for index in indices:
        try:
            sample = source.sample(index, None)
        except DamagedDataError as error:
            damaged.append(error.without_trace())
            continue
        result.looked.append(index)
        result.ids.append(sample.get("id", str(index)))
        result.scenes.append(sample.get("scene", str(index)))
        for brought, inspection in inspections.items():
            with guarded(f"inspection {brought!r} failed at sample {index} of {source}"):
                inspection.look(sample, index, source.dataset)
    scenes = source.scenes()
    result.figures["samples"] = result.count
    result.figures["samples looked at"] = len(result.looked)
    result.figures["scenes"] = len(set(scenes)) if scenes is not None else f"{len(set(result.scenes))} in these samples"
    result.findings += _damage(damaged, len(indices))
    for brought, inspection in inspections.items():
        with guarded(f"inspection {brought!r} failed on {source}"):
            result.figures |= inspection.figures()
            found = list(inspection.findings())
        if not all(isinstance(each, Finding) and each.level in LEVELS for each in found):
            raise PluginError(f"inspection {brought!r} gave {found!r}; expected a list of engine.contracts.Finding")
        result.findings += found
        draw = getattr(inspection, "draw", None)
        if draw is not None:
            picture = folder / f"{name}-{brought}.png"
            folder.mkdir(parents=True, exist_ok=True)
            try:
                with guarded(f"inspection {brought!r} failed to draw {source}"):
                    if draw(picture):
                        result.pictures.append(picture)
            except WorldError as error:  # a library for drawing that is not there costs the picture alone
                result.findings.append(Finding("note", f"there is no picture: {error}"))
    result.findings.sort(key=lambda finding: LEVELS.index(finding.level))
    return result


def shared(train: tuple[Source, Inspected], val: tuple[Source, Inspected]) -> list[Finding]:
    """What training and validation have in common that they should not."""
    findings = []
    told = [source.scenes() for source, _ in (train, val)]
    known = all(scenes is not None for scenes in told)
    scenes = [set(told[n] or ()) if known else set(each.scenes) for n, (_, each) in enumerate((train, val))]
    both = sorted(scenes[0] & scenes[1])
    if both:
        what = f"data.train and data.val share {plural(len(both), 'scene')}: {named(both)}"
        advice = "give data.val scenes of its own, or what it measures is memory"
        findings.append(Finding("error", what, {"shared scenes": len(both)}, advice))
    return findings


def _damage(damaged: Sequence[DamagedDataError], looked: int) -> list[Finding]:
    if not damaged:
        return []
    words = "; ".join(str(error) for error in damaged[:NAMED]) + ("; ..." if len(damaged) > NAMED else "")
    what = f"{len(damaged)} of {plural(looked, 'sample')} cannot be read: {words}"
    figures = {"damaged": [error.sample for error in damaged]}
    advice = 'restore the files, or set damaged = "skip"'
    if len(damaged) == looked:
        return [Finding("error", what, figures, "restore the files")]
    return [Finding("warning", what, figures, advice)]


def named(names: Sequence[str]) -> str:
    """The first of `names`, and how many more there are."""
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


def plural(count: int, noun: str) -> str:
    """'1 sample', '2 samples'."""
    return f"{count} {noun}" + ("" if count == 1 else "s")
