"""The embedded scenes, rendered, packed and read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from engine_scenes.dataset import PolarizedScenes
from engine_scenes.options import SceneOptions

from engine.data.options import ZarrOptions
from engine.data.packing import pack
from engine.data.source import Source
from engine.data.zarr_store import ZarrData


def test_packed_scenes_are_bit_for_bit_the_rendered_ones(tmp_path: Path) -> None:
    scenes = PolarizedScenes(SceneOptions(count=3, height=32, width=48))
    pack(Source(scenes, "scenes"), tmp_path / "x.zarr", {}, lambda *_: None, workers=2)
    store = ZarrData(ZarrOptions(path=tmp_path / "x.zarr"))
    assert len(store) == 3
    assert store.scenes() == scenes.scenes()
    assert store.units() == {"disparity": "px", "focal": "px", "baseline": "m"}
    for index in range(3):
        found, expected = store.sample(index, None), scenes.sample(index, None)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert np.asarray(found[name]).dtype == np.asarray(value).dtype, name
            assert np.asarray(found[name]).tobytes() == np.asarray(value).tobytes(), name
