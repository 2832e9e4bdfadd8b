"""The data sets that are read in their published layout.

A reader is a module with an options model `<Set>Options(FramesOptions)`, which has `root: Path`, and a function
`frames(options) -> list[Frame]`. It is imported when its name is registered, so it imports no numpy: `Frame` and
`MaskFile` come from `engine_stereo.data.frames`, `Encoding` and `PRESETS` from `engine_stereo.data.presets`.
"""

from __future__ import annotations

from engine_stereo.data.options import FramesOptions

READERS: dict[str, tuple[type[FramesOptions], str]] = {}
"""Name in a recipe -> (options, "module:function" that lists the examples)."""
