"""What can be wrong with the arrays of any data set, whatever they mean."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.contracts import Dataset, Finding, Sample
from engine.data.inspection import named, plural

BLOCK = 32
"""px; networks with five halvings pad pictures whose sides are no multiple of it. They see no smaller ones."""

FEW = 0.01
"""Share of the targets that may lie beyond the model's reach: outliers, which hardly weigh in a mean."""

Size = tuple[int, int]


class FieldsInspection:
    """Ids, fields, types, sizes, numbers that are not finite, and targets beyond the model's reach.

    target: the field that the model learns, None where there is no model. reach: the lowest and highest target that it
    can answer at (height, width), where it tells. batch: of what training draws, which has samples again and may have a
    size for each batch, how many samples stand in one; 0 of a data set.
    """

    def __init__(
        self,
        target: str | None = None,
        reach: Callable[[Size], tuple[float, float] | None] = lambda size: None,
        batch: int = 0,
    ) -> None:
        self.target = target
        self.reach = reach
        self.batch = batch
        self._ids: list[str] = []
        self._with: dict[str, list[str]] = defaultdict(list)
        self._types: dict[str, set[str]] = defaultdict(set)
        self._sizes: Counter[Size] = Counter()
        self._sizes_of: dict[tuple[str, int], set[Size]] = defaultdict(set)
        self._known: list[float] = []
        self._spoilt: dict[str, list[str]] = defaultdict(list)
        self._hidden: dict[str, list[str]] = defaultdict(list)
        self._beyond: list[float] = []
        self._reaches: list[tuple[float, float]] = []
        self._extremes: list[tuple[float, float]] = []

    def look(self, sample: Sample, index: int, dataset: Dataset) -> None:
        """Measure one sample."""
        name = sample.get("id", str(index))
        self._ids.append(name)
        valid = np.asarray(sample["valid"]) if "valid" in sample else None
        if valid is not None:
            self._known.append(float(valid.mean()) if valid.size else 0.0)
        for key, value in sample.items():
            self._with[key].append(name)
            if isinstance(value, str):
                continue
            array = np.asarray(value)
            self._types[key].add(str(array.dtype))
            if array.dtype.kind == "f":
                self._look_for_spoilt(key, array, valid, name)
        sizes = {key: np.shape(value)[-2:] for key, value in sample.items() if np.ndim(value) == 3}
        self._sizes.update(set(sizes.values()))
        for key, size in sizes.items():
            self._sizes_of[key, index // self.batch if self.batch else 0].add(size)
        if self.target in sample:
            self._look_at_target(np.asarray(sample[self.target]), valid)

    def _look_for_spoilt(self, key: str, array: NDArray[Any], valid: NDArray[Any] | None, name: str) -> None:
        finite = np.isfinite(array)
        if finite.all():
            return
        hidden = False
        if valid is not None and array.ndim == 3 and array.shape[-2:] == valid.shape[-2:]:
            hidden = bool((finite | ~valid).all())
        (self._hidden if hidden else self._spoilt)[key].append(name)

    def _look_at_target(self, target: NDArray[Any], valid: NDArray[Any] | None) -> None:
        known = target[valid] if valid is not None and valid.shape == target.shape else target
        known = known[np.isfinite(known)]
        if not known.size:
            return
        self._extremes.append((float(known.min()), float(known.max())))
        reach = self.reach((int(target.shape[-2]), int(target.shape[-1]))) if target.ndim >= 2 else None
        if reach is not None:
            self._reaches.append(reach)
            self._beyond.append(float(((known < reach[0]) | (known > reach[1])).mean()))

    def figures(self) -> Mapping[str, Any]:
        """Sizes, the share of valid pixels, and the target's range beside the model's."""
        rows: dict[str, Any] = {}
        if self._sizes:
            sizes = [f"{width} x {height}" for (height, width), _ in self._sizes.most_common(3)]
            rows["size, px"] = ", ".join(sizes) + (", ..." if len(self._sizes) > 3 else "")
        if self._known:
            rows["valid share, mean"] = float(np.mean(self._known))
            rows["valid share, least"] = min(self._known)
        if self._extremes:
            rows[f"{self.target}, least"] = min(low for low, _ in self._extremes)
            rows[f"{self.target}, most"] = max(high for _, high in self._extremes)
        if self._reaches:
            rows["model reaches from"] = max(low for low, _ in self._reaches)
            rows["model reaches to"] = min(high for _, high in self._reaches)
        return rows

    def findings(self) -> Sequence[Finding]:
        """What is wrong with the samples seen."""
        return [*self._wrong_ids(), *self._wrong_fields(), *self._not_finite(), *self._wrong_valid(), *self._too_far()]

    def _wrong_ids(self) -> Iterator[Finding]:
        twice = [name for name, count in Counter(self._ids).items() if count > 1]
        if twice and not self.batch:
            what = f"several samples have the same id: {named(twice)}"
            yield Finding("warning", what, {"ids": twice}, "give each sample an id of its own, or results are mixed up")

    def _wrong_fields(self) -> Iterator[Finding]:
        total = len(self._ids)
        for key, names in self._with.items():
            if len(names) < total:
                without = sorted(set(self._ids) - set(names))
                what = f"'{key}' is in {len(names)} of {total} samples, and not in {named(without)}"
                yield Finding("error", what, {"with": len(names)}, "a batch needs the same fields in all samples")
        for key, types in self._types.items():
            if types - {"float32", "bool"}:
                what = f"'{key}' has the type {', '.join(sorted(types))}; expected float32 or bool"
                yield Finding("warning", what, {"types": sorted(types)}, "convert it when it is read")
        # Fields of one sample may differ in size, as a picture and what is said of it do; one field of several may not.
        several = max(self._sizes_of.values(), key=len, default=set())
        if len(several) > 1:
            height, width = (min(size[side] for size in several) for side in (0, 1))
            of = " of a batch" if self.batch else ""
            what = f"samples{of} have {len(several)} sizes, the least height {height} and the least width {width} px"
            yield Finding("warning", what, {}, "crop all to one size, or set batch_size = 1")
        odd = [size for size in self._sizes if min(size) >= BLOCK and (size[0] % BLOCK or size[1] % BLOCK)]
        if odd:
            what = f"sides are no multiples of {BLOCK} px in {len(odd)} of {plural(len(self._sizes), 'size')}"
            yield Finding("note", what, {}, "networks that need it pad by themselves; a crop of multiples saves that")

    def _not_finite(self) -> Iterator[Finding]:
        for key, names in self._spoilt.items():
            what = (
                f"'{key}' holds NaN or infinity in {len(names)} of {plural(len(self._ids), 'sample')}: {named(names)}"
            )
            yield Finding("error", what, {"samples": names}, "mark such pixels as not valid, or repair the files")
        for key, names in self._hidden.items():
            what = f"'{key}' holds NaN or infinity where it is not valid, in {named(names)}"
            advice = "put 0 there: a loss that multiplies by the mask makes NaN of it"
            yield Finding("warning", what, {"samples": names}, advice)

    def _wrong_valid(self) -> Iterator[Finding]:
        empty = [name for name, share in zip(self._with["valid"], self._known, strict=True) if share == 0]
        if not empty:
            return
        everywhere = len(empty) == len(self._known)
        what = f"no pixel is valid in {len(empty)} of {plural(len(self._known), 'sample')}: {named(empty)}"
        advice = "check which stored values mean unknown, and the masks" if everywhere else "leave them out"
        yield Finding("error" if everywhere else "warning", what, {"samples": empty}, advice)

    def _too_far(self) -> Iterator[Finding]:
        beyond = float(np.mean(self._beyond)) if self._beyond else 0.0
        if beyond > FEW:
            low, high = max(low for low, _ in self._reaches), min(high for _, high in self._reaches)
            what = f"{beyond:.0%} of '{self.target}' lie beyond what the model can answer here, {low:g} to {high:g}"
            yield Finding(
                "error" if beyond > 0.5 else "warning",
                what,
                {"beyond": beyond},
                "check the scale, or choose a larger crop or another model",
            )
