"""A published set's folder as paths with stars: which files belong together, and which of them are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

from engine.errors import InputError, Problem
from engine_stereo.data.calibration import Calibration, read_calibration
from engine_stereo.data.frames import Frame, MaskFile, Polarization
from engine_stereo.data.patterns import filled, found
from engine_stereo.data.presets import Encoding

SHOWN = 10
"""How many missing files are named."""

_LOOKED_AT = 100  # folders beside a wrong root that may be the right one


@dataclass(frozen=True)
class Layout:
    """Paths under the root; a star stands for what the left picture's stands for, counted from the left.

    masks, calibration: taken where any file of theirs is there, and then every example must have one, so that all
    examples have the same fields; a mask that narrows 'valid' is always needed. The paths of masks and of polarization
    have stars too. id: with stars. scene: with stars, or from what they stand for; the id without it. keep: which left
    pictures are examples, by what the stars stand for; all without it. disparity_right: stored as `disparity` is.
    """

    left: str
    right: str | None
    id: str
    disparity: str | None = None
    encoding: Encoding | None = None
    masks: Mapping[str, MaskFile] = field(default_factory=dict)
    calibration: str | Calibration | None = None
    polarization: Polarization | None = None
    disparity_right: str | None = None
    keep: Callable[[tuple[str, ...]], bool] | None = None
    scene: str | Callable[[tuple[str, ...]], str] = ""


def listed(root: Path, layouts: Sequence[Layout]) -> list[Frame]:
    """The examples that lie under `root` as `layouts` say. No picture is read.

    InputError for a root where a layout finds nothing, with what it should find, and for examples that miss a file, by
    name; DamagedDataError for a calibration that cannot be read.
    """
    folders = [_Folder(root, layout) for layout in layouts]
    empty = [folder for folder in folders if not folder.lefts]
    if empty:
        raise InputError([folder.wrong_root() for folder in empty])
    frames = [frame for folder in folders for frame in folder.frames()]
    missing = [problem for folder in folders for problem in folder.missing]
    if missing:
        more = len(missing) - SHOWN
        rest = [Problem(str(root), f"{more} more files are not there")] if more > 0 else []
        raise InputError([*missing[:SHOWN], *rest])
    return frames


class _Folder:
    """One layout under one root."""

    def __init__(self, root: Path, layout: Layout) -> None:
        self.root = root
        self.layout = layout
        keep = layout.keep or (lambda parts: True)
        self.lefts = {parts: path for parts, path in found(layout.left, root).items() if keep(parts)}
        self.missing: list[Problem] = []
        self._files: dict[str, set[str]] = {}
        self._calibrations: dict[Path, Calibration] = {}

    def wrong_root(self) -> Problem:
        needed = [path for path in (self.layout.left, self.layout.right, self.layout.disparity) if path]
        what = "there is no such folder" if not self.root.is_dir() else "the pictures are not there"
        near = [str(place) for place in self._near() if found(self.layout.left, place)]
        return Problem(str(self.root), what, " with ".join(f"'{pattern}'" for pattern in needed), near[:1])

    def _near(self) -> Iterator[Path]:
        """The folders around the root: who errs is mostly one too high or too low."""
        if self.layout.left.startswith("**/"):  # it would search the whole disk
            return
        if self.root.is_dir():
            yield from (place for place in islice(sorted(self.root.iterdir()), _LOOKED_AT) if place.is_dir())
        yield from islice(self.root.absolute().parents, 2)

    def frames(self) -> list[Frame]:
        return [self._frame(parts, path) for parts, path in self.lefts.items()]

    def _frame(self, parts: tuple[str, ...], left: str) -> Frame:
        name = filled(self.layout.id, parts)
        masks = {
            mask: replace(file, path=self._partner(mask, str(file.path), parts)) for mask, file in self._masks.items()
        }
        truth, right_truth = self.layout.disparity, self.layout.disparity_right
        scene = self.layout.scene or self.layout.id
        return Frame(
            name,
            filled(scene, parts) if isinstance(scene, str) else scene(parts),
            self.root / left,
            self._partner("right", self.layout.right, parts) if self.layout.right else None,
            self._partner("disparity", truth, parts) if truth else None,
            self.layout.encoding if truth else None,
            masks,
            self._polarization(parts),
            calibration=self._calibration(parts),
            disparity_right=self._partner("disparity_right", right_truth, parts) if right_truth else None,
        )

    def _polarization(self, parts: tuple[str, ...]) -> Polarization | None:
        if (polarization := self.layout.polarization) is None:
            return None
        left, right = (
            tuple(self._partner("polarization", str(path), parts) for path in paths)
            for paths in (polarization.left, polarization.right)
        )
        return replace(polarization, left=left, right=right)

    @cached_property
    def _masks(self) -> dict[str, MaskFile]:
        masks = self.layout.masks.items()
        return {name: file for name, file in masks if name.startswith("valid") or self._all(str(file.path))}

    def _calibration(self, parts: tuple[str, ...]) -> Calibration | None:
        pattern = self.layout.calibration
        if not isinstance(pattern, str):
            return pattern
        if not self._all(pattern):
            return None
        path = self._partner("calibration", pattern, parts)
        if path not in self._calibrations and path.is_file():
            self._calibrations[path] = read_calibration(path)
        return self._calibrations.get(path)

    def _partner(self, what: str, pattern: str, parts: tuple[str, ...]) -> Path:
        path = filled(pattern, parts)
        if path not in self._all(pattern):
            self.missing.append(Problem(str(self.root / path), f"{what} of {self.lefts[parts]} is not there"))
        return self.root / path

    def _all(self, pattern: str) -> set[str]:
        """The files that fit, listed once, because asking for each of 100,000 takes minutes over a network."""
        if pattern not in self._files:
            self._files[pattern] = set(found(pattern, self.root).values())
        return self._files[pattern]
