"""Pairs that are named on the command line: two pictures, two folders, or two patterns with stars."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.contracts import Sample
from engine.errors import InputError, Problem
from engine_stereo.data.frames import LAYOUTS, Frames
from engine_stereo.data.manifest import examples
from engine_stereo.data.manifest_rows import Row
from engine_stereo.data.options import FramesOptions, PairOptions

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".webp")

_SAID = {
    "left": "LEFT",
    "right": "RIGHT",
    "polarization_left": "--pol",
    "polarization_right": "--pol",
    "polarization_layout": "--layout",
}
"""Where a key of a manifest stands on the command line; all others are flags of their own names."""


class Pairs(Frames):
    """Frames whose samples also have `centre` (2,) float32: x and y px of the left principal point, where told."""

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Example `index`; errors as of `Frames.sample`."""
        sample = super().sample(index, rng)
        calibration = self.frames[index].calibration
        if calibration is not None and calibration.centre is not None:
            sample["centre"] = np.array(calibration.centre, np.float32)
        return sample


def pairs(options: PairOptions) -> Pairs:
    """The data set of the pairs; InputError with every mistake: files that are not there, or have no partner."""
    root = Path.cwd()
    left, right = (
        _pattern(text, _SAID[side], root) for side, text in (("left", options.left), ("right", options.right))
    )
    cells = {"left": left, "right": right, "id": _name(left), **_polarization(options, root)}
    for key in ("calibration", "focal", "baseline", "doffs"):
        if (value := getattr(options, key)) is not None:
            cells[key] = value
    row = Row(cells, lambda key: _SAID.get(key, f"--{key}") if key else "the pairs")
    return Pairs(examples([row], root, "the pairs", []), FramesOptions(polarimetry=options.polarimetry))


def _polarization(options: PairOptions, root: Path) -> dict[str, object]:
    """What a manifest would say of the files of polarisation."""
    if (options.pol is None) != (options.layout is None):
        given, missing = ("--layout", "--pol") if options.pol is None else ("--pol", "--layout")
        raise InputError(Problem(given, f"{missing} is missing", f"both, --layout one of {', '.join(LAYOUTS)}"))
    if options.pol is None or options.layout is None:
        return {}
    files = [options.pol] if isinstance(options.pol, str) else [*options.pol]
    if len(files) % 2:
        raise InputError(Problem("--pol", f"{len(files)} files", "as many of the left view as of the right"))
    patterns = [_pattern(text, "--pol", root) for text in files]
    half = len(patterns) // 2
    views = {"polarization_left": patterns[:half], "polarization_right": patterns[half:]}
    return {**views, "polarization_layout": options.layout}


def _pattern(text: str, where: str, root: Path) -> str:
    """`text`, or the pattern of the pictures in a folder; InputError where their suffixes differ, or there are none."""
    if not (root / text).is_dir():
        return text
    kinds = sorted({file.suffix for file in (root / text).iterdir() if file.suffix.lower() in PICTURES})
    if len(kinds) != 1:
        what = f"the folder {text} has pictures of {len(kinds)} kinds{': ' if kinds else ''}{', '.join(kinds)}"
        raise InputError(Problem(where, what, f"one, or a pattern in quotes such as '{Path(text) / '*.png'}'"))
    return f"{Path(text) / '*'}{kinds[0]}"


def _name(left: str) -> str:
    """The id of a pair: its left file without suffix, from the first folder on that has a star."""
    parts = Path(left).with_suffix("").parts
    starred = [place for place, part in enumerate(parts) if "*" in part]
    return "/".join(parts[starred[0] if starred else -1 :])
