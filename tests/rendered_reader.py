"""A reader for rendered polarised pairs, one npz a pair: the kind of plugin a user writes for data of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from engine.errors import WorldError
from engine.hookspecs import hookimpl


class RenderedOptions(BaseModel):
    """folder: where the npz files are."""

    model_config = ConfigDict(extra="forbid")

    folder: Path


class RenderedPairs:
    """Pairs with keys s0_L, s0_R (sRGB), qu_L, qu_R (value / 127), disparity (value / 256 px) and three masks."""

    def __init__(self, options: RenderedOptions) -> None:
        self.files = sorted(options.folder.glob("*.npz"))
        if not self.files:
            raise WorldError(f"no npz files in {options.folder}")

    def __len__(self) -> int:
        return len(self.files)

    def sample(self, index: int, rng: np.random.Generator | None) -> dict[str, Any]:
        with np.load(self.files[index]) as pair:
            image = {side: pair[f"s0_{side}"].transpose(2, 0, 1).astype(np.float32) for side in "LR"}
            qu = {side: pair[f"qu_{side}"].transpose(2, 0, 1).astype(np.float32) / 127 for side in "LR"}
            masks = {name: pair[name][None] for name in ("transparent", "occluded", "valid")}
            disparity = pair["disparity"][None].astype(np.float32) / 256
        name = self.files[index].stem
        return {
            "left": image["L"],
            "right": image["R"],
            "polarization_left": qu["L"],
            "polarization_right": qu["R"],
            "disparity": disparity,
            **masks,
            "id": name,
            "scene": name,
        }


@hookimpl
def engine_datasets(register: Any) -> None:
    register("rendered_pairs", RenderedOptions, RenderedPairs)
