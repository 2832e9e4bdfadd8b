"""What the photometric comparison says of a whole data set's disparity, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engine.contracts import Finding, Sample
from engine_stereo.data.inspect_photometry import AS_STORED, Comparison, Hypothesis, compare

ZEROS = 0.05
"""Share of valid disparities that are exactly 0 from which these are taken for unknown ones: infinitely far is rare."""

TOGETHER = 1.15
"""Two mistakes whose differences are within this factor cannot be told apart by pictures."""

NAMED = 5


class Truth:
    """Sign, scale and owner of the disparity, and its range."""

    def __init__(self) -> None:
        self.compared: list[tuple[str, Comparison]] = []
        self.ranges: list[Any] = []
        self.zeros: list[float] = []

    def look(self, name: str, sample: Sample) -> Hypothesis:
        """Measure one sample; the disparity that explains it, which is the stored one unless there is a better."""
        disparity, valid = (np.asarray(sample[key])[0] for key in ("disparity", "valid"))
        known = disparity[valid & np.isfinite(disparity)]
        if known.size:
            self.ranges.append(np.percentile(known, (1, 50, 99)))
            self.zeros.append(float((known == 0).mean()))
        views = (np.asarray(sample[side], np.float32) for side in ("left", "right"))
        found = compare(*views, disparity, valid, float(sample.get("doffs", 0)))
        self.compared.append((name, found))
        return found.best if found.verdict == "wrong" and found.best else AS_STORED

    def figures(self) -> Mapping[str, Any]:
        """The range of the disparity, and how well it explains the pictures."""
        rows: dict[str, Any] = {}
        if self.ranges:
            for name, value in zip(("1 %", "median", "99 %"), np.median(self.ranges, axis=0), strict=True):
                rows[f"disparity, {name}, px"] = float(value)
        told = [found for _, found in self.compared if found.verdict != "undetermined"]
        if told:
            rows["partner in the picture"] = float(np.mean([found.inside for found in told]))
            own = [found.cost[AS_STORED] for found in told if AS_STORED in found.cost]
            if own:
                rows["difference as stored, grey levels"] = float(np.mean(own))
            rows["difference of unrelated pixels"] = float(np.mean([found.unrelated for found in told]))
        return rows

    def findings(self) -> list[Finding]:
        """What is wrong with the disparity."""
        if not self.compared:
            return []
        return [self._verdict(), *self._unknown_as_zero()]

    def _verdict(self) -> Finding:
        by = {
            kind: [each for each in self.compared if each[1].verdict == kind] for kind in ("wrong", "fits", "unrelated")
        }
        told = sum(map(len, by.values()))
        if not told:
            what = (
                "sign and scale of the disparity cannot be told: the pictures are too flat or the disparities too small"
            )
            return Finding("note", what, {}, "look at the picture, or inspect more samples")
        wrong, lost = by["wrong"], by["unrelated"]
        if wrong:
            return _accusation(wrong, told)
        if lost:
            what = f"the disparity has nothing to do with the pictures in {len(lost)} of {told} samples: {_named(lost)}"
            advice = "check that left, right and disparity of one moment stand together"
            return Finding("error" if 2 * len(lost) > told else "warning", what, {"samples": len(lost)}, advice)
        nearest = min(found.ratio[each] for _, found in by["fits"] for each in found.far())
        what = "sign and scale of the disparity are right: under the nearest mistake the pictures differ"
        what += f" {nearest:.3g} times as much"
        return Finding("note", what, {"samples": len(by["fits"]), "nearest mistake": nearest})

    def _unknown_as_zero(self) -> list[Finding]:
        zero = float(np.mean(self.zeros)) if self.zeros else 0.0
        if not ZEROS < zero < 1:
            return []
        what = f"{zero:.0%} of the valid disparities are exactly 0, which mostly means unknown"
        return [Finding("warning", what, {"zeros": zero}, "say invalid = [0] of the encoding, or give a mask 'valid'")]


def _accusation(wrong: Sequence[tuple[str, Comparison]], told: int) -> Finding:
    kinds = Counter(_kind(found) for _, found in wrong)
    kind, count = kinds.most_common(1)[0]
    same = [(name, found) for name, found in wrong if _kind(found) == kind]
    scales = [found.best.scale for _, found in same if found.best]
    winner = Counter(found.best for _, found in same if found.best).most_common(1)[0][0]
    if len(set(scales)) > 1 and kind == "scale":
        winner = Hypothesis(float(np.median(scales)))
    explained = float(np.mean([min(found.ratio.values()) for _, found in same]))
    means = [(found.cost[found.best], found.cost.get(AS_STORED, found.unrelated)) for _, found in same if found.best]
    best, own = (float(np.mean(column)) for column in zip(*means, strict=True))
    looks, advice = _words(kind, winner)
    rival = _as_good(same)
    what = (
        f"{looks}: {winner} explains the pictures best (they differ by {best:.3g} grey levels, as stored by {own:.3g})"
    )
    what += f" in {count} of {plural(told)}" + (f": {_named(same)}" if count < told else "")
    what += f"; {rival} does as well" if rival else ""
    figures = {"hypothesis": str(winner), "scale": winner.scale, "views exchanged": winner.exchanged}
    figures |= {"offset": winner.offset, "ratio": explained, "samples": count}
    return Finding("error" if 2 * count >= told else "warning", what, figures, advice)


def plural(count: int) -> str:
    """'1 sample', '2 samples'."""
    return f"{count} sample" + ("" if count == 1 else "s")


def _kind(found: Comparison) -> str:
    best = found.best
    assert best is not None, "asked of samples with a mistake"
    if best.offset:
        return "offset"
    if best.exchanged:
        return "swapped" if best.scale > 0 else "other view"
    if best.scale > 0:
        return "scale"
    return "sign" if found.middle < 0 else "both swapped"


def _words(kind: str, winner: Hypothesis) -> tuple[str, str]:
    size = abs(winner.scale)
    scaled = "" if size == 1 else f", and {_times(size)}"
    repair = "" if size == 1 else f"; multiply the disparity by {size:.4g}"
    if kind == "scale":
        advice = (
            f"multiply the disparity by {size:.4g}, that is divide the encoding's 'per_px' by it; pictures that were"
        )
        return f"the disparity looks {_times(size)}", f"{advice} resized need their disparity scaled with their width"
    if kind == "sign":
        return f"the disparity has the wrong sign{scaled}", f"say absolute = true of the encoding, or negate it{repair}"
    if kind == "swapped":
        return f"left and right pictures are exchanged{scaled}", f"exchange 'left' and 'right'{repair}"
    if kind == "both swapped":
        return (
            f"left and right are exchanged, the disparity with them, or it has the wrong sign{scaled}",
            f"exchange 'left' and 'right' and take the other view's disparity, or negate it{repair}",
        )
    if kind == "other view":
        return f"the disparity is the right picture's{scaled}", f"take the disparity of the left view{repair}"
    side = "without" if winner.offset > 0 else "with"
    advice = f"make it from depth as focal * baseline / depth - doffs: {winner.offset:+.1f} px are missing"
    return f"the disparity was made {side} the offset of the principal points", advice


def _times(scale: float) -> str:
    """How large the stored disparity is, where `scale` times it would be right."""
    if scale == 2:
        return "half as large as it should be"
    if scale == 0.5:
        return "twice as large as it should be"
    return f"1/{scale:.4g} as large as it should be" if scale > 1 else f"{1 / scale:.4g} times as large as it should be"


def _as_good(found: Sequence[tuple[str, Comparison]]) -> str:
    """Another mistake of the other views or sign that explains the samples about as well, or nothing."""
    for rival in found[0][1].ratio:
        others = [each for _, each in found if each.best and each.best != rival]
        differs = all(
            (each.best.exchanged, each.best.scale > 0) != (rival.exchanged, rival.scale > 0)
            for each in others
            if each.best
        )
        near = all(each.ratio.get(rival, np.inf) < TOGETHER * min(each.ratio.values()) for each in others)
        if len(others) == len(found) and differs and near:
            return str(rival)
    return ""


def _named(found: Sequence[tuple[str, Comparison]]) -> str:
    return ", ".join(name for name, _ in found[:NAMED]) + (", ..." if len(found) > NAMED else "")
