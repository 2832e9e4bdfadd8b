"""One's own data: a file that lists what belongs together, in CSV, JSONL or TOML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.errors import InputError, Problem, WorldError, nearest
from engine_stereo.data.calibration import Calibration, read_calibration
from engine_stereo.data.frames import LAYOUTS, Frame, Frames, MaskFile, Polarization
from engine_stereo.data.manifest_keys import converted
from engine_stereo.data.manifest_rows import Row, read_rows
from engine_stereo.data.options import ManifestOptions
from engine_stereo.data.patterns import filled, found, has_star, star_count
from engine_stereo.data.presets import PRESETS, SUFFIXES, Depth, Encoding

SHOWN = 50
"""How many mistakes are told."""

_ENCODING_KEYS = ("per_px", "invalid", "absolute", "key", "subsample", "digits")
_FIELDS = ("left", "right", "disparity", "valid", "polarization_left", "polarization_right", "id", "scene")
_FIELDS += ("disparity_right", "focal", "baseline", "doffs")
_PICTURES = ("png", "fsd", "sintel")


def manifest(options: ManifestOptions) -> Frames:
    """The data set that a manifest lists.

    InputError with every mistake in it: unknown keys, wrong values, files that are not there, partners that do not
    match. WorldError where the manifest itself is not there. No picture is read.
    """
    root = options.root or options.file.parent
    problems: list[Problem] = []
    return Frames(examples(read_rows(options.file, problems), root, str(options.file), problems), options, root)


def examples(rows: Sequence[Row], root: Path, name: str, problems: list[Problem]) -> list[Frame]:
    """The examples that rows list, with paths from `root`; InputError with every mistake in them and `problems`."""
    frames = [frame for row in rows for frame in _RowReader(row, root, problems).frames()]
    problems += _twice(frames, name)
    if not frames and not problems:
        problems.append(Problem(name, "it lists nothing", "a row with 'left' and 'right'"))
    if problems:
        raise InputError(_told(problems, name))
    return frames


def _told(problems: Sequence[Problem], name: str) -> list[Problem]:
    """Each mistake once, with how often it was made, and no more than can be read."""
    first = {(problem.what, problem.expected): problem for problem in reversed(problems)}
    often = Counter((problem.what, problem.expected) for problem in problems)
    told = []
    for key in dict.fromkeys((problem.what, problem.expected) for problem in problems):
        problem = first[key]
        what = problem.what + (f" (and in {often[key] - 1} more places)" if often[key] > 1 else "")
        told.append(replace(problem, what=what))
    more = len(told) - SHOWN
    return [*told[:SHOWN], *([Problem(name, f"{more} more mistakes")] if more > 0 else [])]


def _twice(frames: Sequence[Frame], where: str) -> Iterator[Problem]:
    for name, count in Counter(frame.id for frame in frames).items():
        if count > 1:
            yield Problem(where, f"{count} examples have the id {name!r}", "each id once; say 'id'")


class _RowReader:
    """One row, which is one example, or as many as fit its stars."""

    def __init__(self, row: Row, root: Path, problems: list[Problem]) -> None:
        self.row = row
        self.root = root
        self.problems = problems
        self.known_at_start = len(problems)
        self.values = converted(row, problems)

    def report(self, key: str | None, what: str, expected: str = "", near: Sequence[str] = ()) -> None:
        self.problems.append(Problem(self.row.where(key), what, expected, near))

    def frames(self) -> list[Frame]:
        """The examples; none where the row has a mistake, which is reported."""
        for key in ("left", "right"):
            if key not in self.row.cells:
                self.report(None, f"{key!r} is missing", "a path")
        self._check_masks()
        self._check_polarization()
        self._check_calibration()
        encoding = self._encoding()
        examples = self._examples() if "left" in self.values else []
        if len(self.problems) > self.known_at_start:
            return []
        frames = [self._frame(values, encoding) for values in examples]
        return frames if len(self.problems) == self.known_at_start else []

    # --- what one row says ---------------------------------------------------------------------------------------

    def _check_masks(self) -> None:
        for key in self.values:
            name, _, last = key.rpartition(".")
            if last in ("values", "inverted") and name not in self.values:
                self.report(key, f"{key!r} without {name!r}", "the mask's file")
            elif _is_mask(key) and key.removeprefix("mask.") in _FIELDS:
                self.report(key, f"a mask cannot be named {key.removeprefix('mask.')!r}, as another field is")
        for key in ("valid", "disparity_right"):
            if key in self.values and "disparity" not in self.row.cells:
                self.report(key, f"{key!r} has no effect without 'disparity'", "both, or neither")

    def _check_polarization(self) -> None:
        keys = ("polarization_left", "polarization_right", "polarization_layout")
        given = [key for key in keys if key in self.values]
        if not given:
            return
        for key in keys:
            if key not in self.values and key not in self.row.cells:
                self.report(given[0], f"{given[0]!r} without {key!r}", ", ".join(keys))
        layout = self.values.get("polarization_layout")
        if layout is None:
            return
        if layout not in LAYOUTS:
            near = nearest(layout, list(LAYOUTS))
            self.report(keys[2], f"there is no layout {layout!r}", f"one of {', '.join(LAYOUTS)}", near)
            return
        for key in keys[:2]:
            if key in self.values and len(self.values[key]) != LAYOUTS[layout]:
                what = f"{key!r} names {len(self.values[key])} files"
                self.report(key, what, f"{LAYOUTS[layout]} in the layout {layout!r}")

    def _check_calibration(self) -> None:
        figures = [key for key in ("focal", "baseline", "doffs") if key in self.values]
        if figures and "calibration" in self.row.cells:
            self.report(figures[0], f"{figures[0]!r} beside 'calibration'", "one of them")
        for key in ("focal", "baseline"):
            if figures and key not in self.row.cells and "calibration" not in self.row.cells:
                self.report(figures[0], f"{figures[0]!r} without {key!r}", "both")
            if key in self.values and not 0 < self.values[key] < float("inf"):
                self.report(key, f"{key!r} is {self.values[key]:g}", "a number above 0")

    def _encoding(self) -> Encoding | None:
        """How the disparity is stored, but for the calibration that depth needs."""
        values, path = self.values, self.values.get("disparity")
        if path is None:
            for key in ("encoding", "depth_unit", *_ENCODING_KEYS):
                if key in values and key not in self.row.defaults and "disparity" not in self.row.cells:
                    self.report(key, f"{key!r} has no effect without 'disparity'", "both, or neither")
            return None
        suffix = Path(path).suffix.lower()
        told = SUFFIXES.get(suffix)
        name = values.get("encoding")
        if name is None:
            if "encoding" in self.row.cells:
                return None
            if told is None or (told == "png" and not {"per_px", "depth_unit"} & self.row.cells.keys()):
                what = f"how {path!r} stores disparity is not known"
                self.report("disparity", what, "'encoding', or 'per_px': 256 where 256 means 1 px")
                return None
            base = Encoding(kind=told, invalid=[0] if told == "png" else [])
        elif name in PRESETS:
            base = PRESETS[name]
        elif name in set(SUFFIXES.values()) | set(_PICTURES):
            base = Encoding(kind=name, invalid=[0] if name == "png" else [])
        else:
            known = [*PRESETS, *dict.fromkeys((*SUFFIXES.values(), *_PICTURES))]
            near = nearest(name, known)
            self.report(
                "encoding", f"there is no encoding {name!r}", "" if near else f"one of {', '.join(known)}", near
            )
            return None
        if told and told != base.kind and not (told == "png" and base.kind in _PICTURES):
            self.report("encoding", f"the encoding {name!r} is a {base.kind} file, and {path!r} is not")
            return None
        if "digits" in values and "digits" not in self.row.defaults and base.kind != "fsd":
            self.report("digits", f"'digits' has no effect on a {base.kind} file", "the encoding 'fsd'")
        if "depth_unit" in values and not {"calibration", "focal"} & self.row.cells.keys():
            self.report(
                "depth_unit", "depth becomes disparity by a calibration", "'calibration', or 'focal' and 'baseline'"
            )
        if not 0 < values.get("depth_unit", 1) < float("inf"):
            self.report("depth_unit", f"'depth_unit' is {values['depth_unit']:g}", "a number above 0")
        own = {key: values[key] for key in _ENCODING_KEYS if key in values}
        try:
            return Encoding.model_validate(base.model_dump() | own)
        except ValidationError as error:
            for details in error.errors(include_url=False):
                key = str(details["loc"][0])
                self.report(key, f"{key!r} is {details['input']!r}", details["msg"].removeprefix("Input should be "))
            return None

    # --- stars -----------------------------------------------------------------------------------------------------

    def _paths(self) -> dict[str, tuple[str, ...]]:
        """Every key that names files, with them."""
        named = {}
        for key, value in self.values.items():
            if key in ("left", "right", "disparity", "disparity_right", "valid", "calibration") or _is_mask(key):
                named[key] = (value,)
            elif key in ("polarization_left", "polarization_right"):
                named[key] = value
        return named

    def _examples(self) -> list[dict[str, Any]]:
        """The row's values, once for each example, without stars; every file is there."""
        paths = self._paths()
        left = self.values["left"]
        if not has_star(left):
            for key, named in paths.items():
                if any(has_star(path) for path in named):
                    self.report(key, f"{key!r} has a star, and 'left' has none", "a star in both")
            matches: list[tuple[str, ...]] = [()]
        else:
            matches = list(found(left, self.root))
            if not matches:
                self._tell_missing("left", left, "no file fits")
                return []
            for key in ("right", "disparity", "disparity_right"):
                if len(matches) > 1 and key in self.values and not has_star(self.values[key]):
                    self.report(key, f"one {key!r} for {len(matches)} left pictures", "a star, as in 'left'")
        for key, named in paths.items():
            for path in named:
                self._check_partners(key, path, matches)
        return [self._filled(parts) for parts in matches] if len(self.problems) == self.known_at_start else []

    def _check_partners(self, key: str, pattern: str, matches: list[tuple[str, ...]]) -> None:
        stars = star_count(pattern)
        if matches[0] and stars > len(matches[0]):
            self.report(key, f"{pattern!r} has {stars} stars", f"at most {len(matches[0])}, as in 'left'")
            return
        names = dict.fromkeys(filled(pattern, parts) for parts in matches)
        absent = [name for name in names if not (self.root / name).is_file()]
        if absent and not has_star(pattern):
            self._tell_missing(key, pattern, "this file is not there")
        elif absent:
            self.report(key, f"{len(absent)} of {len(names)} left pictures have no {key!r}: {_some(absent)}")
        if has_star(pattern) and stars == len(matches[0]) and key != "left":
            extra = [path for parts, path in found(pattern, self.root).items() if path not in names]
            if extra:
                self.report(key, f"{len(extra)} files fit {pattern!r} and have no left picture: {_some(extra)}")

    def _tell_missing(self, key: str, path: str, what: str) -> None:
        """Report `path` with the names that are there where its first missing part should be."""
        here = self.root
        for part in Path(path).parts:
            if has_star(part) or not (here / part).exists():
                break
            here = here / part
        else:
            self.report(key, f"{key!r} is {path!r}: this is a folder", "a file")
            return
        try:
            names = sorted(each.name for each in here.iterdir())
        except OSError:
            names = []
        near = [] if has_star(part) else nearest(part, names)
        expected = "" if near else f"a name in {here}, which has {_some(names)}" if names else f"{here} is empty"
        self.report(key, f"{key!r} is {path!r}: {what}", expected, near)

    def _filled(self, parts: tuple[str, ...]) -> dict[str, Any]:
        """The row for one example: paths in full, names with what the stars stand for."""
        values = dict(self.values)
        for key, named in self._paths().items():
            full = tuple(self.root / filled(path, parts) for path in named)
            values[key] = full if key.startswith("polarization") else full[0]
        default = Path(filled(self.values["left"], parts)).with_suffix("").as_posix()
        values["id"] = filled(self.values.get("id", default), parts) if parts else self.values.get("id", default)
        values["scene"] = filled(self.values["scene"], parts) if "scene" in self.values else values["id"]
        return values

    # --- one example -------------------------------------------------------------------------------------------------

    def _frame(self, values: dict[str, Any], encoding: Encoding | None) -> Frame:
        calibration = self._calibration(values)
        if encoding is not None and "depth_unit" in values and calibration is not None:
            depth = Depth(
                focal=calibration.focal,
                baseline=calibration.baseline,
                doffs=calibration.doffs,
                unit=values["depth_unit"],
            )
            encoding = encoding.model_copy(update={"depth": depth})
        masks = {
            key.removeprefix("mask."): MaskFile(path, values.get(f"{key}.values"), values.get(f"{key}.inverted", False))
            for key, path in values.items()
            if key == "valid" or _is_mask(key)
        }
        layout = values.get("polarization_layout")
        views = (values.get("polarization_left"), values.get("polarization_right"))
        return Frame(
            id=values["id"],
            scene=values["scene"],
            left=values["left"],
            right=values["right"],
            disparity=values.get("disparity"),
            encoding=encoding,
            masks=masks,
            polarization=Polarization(layout, *views) if layout else None,
            calibration=calibration,
            disparity_right=values.get("disparity_right"),
        )

    def _calibration(self, values: dict[str, Any]) -> Calibration | None:
        if "calibration" in values:
            try:
                return _calibration_of(values["calibration"])
            except WorldError as error:
                self.report("calibration", str(error))
                return None
        if "focal" in values:
            return Calibration(values["focal"], values["baseline"], values.get("doffs", 0.0))
        return None


_calibration_of = lru_cache(maxsize=1024)(read_calibration)  # one file is often that of every row


def _is_mask(key: str) -> bool:
    return key.startswith("mask.") and not key.endswith((".values", ".inverted"))


def _some(names: Sequence[str]) -> str:
    shown = [Path(name).name if len(name) > 40 else name for name in names[:5]]
    return ", ".join(shown) + (", ..." if len(names) > 5 else "")
