"""A damaged store of scenes never passes for numbers: damage is named, or what is read is what was rendered."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Command
from engine_scenes import store
from engine_scenes.dataset import PolarizedScenes
from engine_scenes.options import SceneOptions
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_world import STAGE_A, toml

from engine.errors import DamagedDataError, WorldError

SMALL = {"split": "val", "count": 2, "height": 32, "width": 32}


@pytest.fixture(scope="module", autouse=True)
def _rendered(tmp_path_factory: pytest.TempPathFactory) -> Any:
    before = os.environ["ENGINE_CACHE"]
    os.environ["ENGINE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    scenes().prepare(lambda *_: None)
    yield
    os.environ["ENGINE_CACHE"] = before


@pytest.fixture(scope="module")
def written() -> dict[Path, bytes]:
    """Every file of the store, by its path."""
    path = store.store_path(scenes().options)
    return {file: file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def rendered() -> list[dict[str, Any]]:
    data = scenes()
    return [data.sample(index, None) for index in range(2)]


def scenes() -> PolarizedScenes:
    return PolarizedScenes(SceneOptions.model_validate(SMALL))


def chunk(array: str, scene: int = 1) -> Path:
    return store.store_path(scenes().options) / array / f"c/{scene}/0/0/0"


def damage(file: Path, content: bytes, how: str, place: float) -> None:
    at = min(int(place * len(content)), len(content) - 1)
    if how == "missing":
        file.unlink()
    elif how == "cut":
        file.write_bytes(content[:at])
    elif how == "flipped":
        file.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
    else:
        file.write_bytes(content[:at] + b"\0" * len(content[at:]))


def read_or_refused(data: PolarizedScenes, index: int) -> dict[str, Any] | WorldError:
    try:
        return data.sample(index, None)
    except WorldError as error:
        return error


HOW = st.sampled_from(["missing", "cut", "flipped", "zeros"])


@settings(max_examples=60)
@given(st.data(), HOW, st.floats(0, 1))
def test_whatever_is_damaged_is_found_or_changes_nothing(
    written: dict[Path, bytes], rendered: list[dict[str, Any]], data: Any, how: str, place: float
) -> None:
    file = data.draw(st.sampled_from(list(written)))
    damage(file, written[file], how, place)
    try:
        damaged = scenes()
        for index, whole in enumerate(rendered):
            read = read_or_refused(damaged, index)
            if isinstance(read, DamagedDataError):
                assert read.sample == f"val-{index:05d}"
                assert f"{read.array}/c/{index}/0/0/0" in str(read)
                assert "delete" in str(read)
            elif isinstance(read, WorldError):
                assert file.name == "zarr.json", str(read)
                assert "are damaged" in str(read)
            else:
                assert all(np.array_equal(read[name], value) for name, value in whole.items()), file
    finally:
        file.write_bytes(written[file])


@pytest.mark.parametrize("array", [store.LIGHT, store.TRUTH])
@pytest.mark.parametrize("how", ["missing", "cut", "flipped", "zeros"])
def test_a_damaged_chunk_names_its_array_scene_and_file(written: dict[Path, bytes], array: str, how: str) -> None:
    file = chunk(array)
    damage(file, written[file], how, 0.5)
    try:
        scenes().sample(0, None)
        with pytest.raises(DamagedDataError, match=rf"array '{array}' of sample val-00001 is damaged: .*/{array}/c/1/"):
            scenes().sample(1, None)
    finally:
        file.write_bytes(written[file])


def test_a_scene_of_zeros_is_no_lost_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path))
    monkeypatch.setattr(store, "DISPARITY_SCALE", 1e9)  # nothing fits, so nothing is valid
    options = SceneOptions.model_validate({**SMALL, "count": 1})
    assert not PolarizedScenes(options).sample(0, None)["valid"].any()


def test_a_store_that_is_deleted_is_rendered_again(written: dict[Path, bytes], rendered: list[dict[str, Any]]) -> None:
    chunk(store.TRUTH).unlink()
    shutil.rmtree(store.store_path(scenes().options))
    np.testing.assert_array_equal(scenes().sample(1, None)["disparity"], rendered[1]["disparity"])
    assert written.keys() == {file for file in store.store_path(scenes().options).rglob("*") if file.is_file()}


@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_a_run_stops_at_a_damaged_scene_or_passes_over_it(
    engine: Command, tmp_path: Path, written: dict[Path, bytes], policy: str
) -> None:
    recipe = tmp_path / "scenes.toml"
    table = {"plugin": "polarized_scenes", **SMALL}
    recipe.write_text(
        toml(
            {
                "name": "scenes",
                "model": {"plugin": "s2m2", "size": "nano"},
                "data": {"train": {**table, "damaged": policy}, "val": {**table, "seed": 1}},
                "train": {"losses": [{"name": "disparity_l1"}], "batch_size": 1},
                "stage": [{**STAGE_A, "steps": 2}],
            }
        )
    )
    file = chunk(store.TRUTH)
    damage(file, written[file], "flipped", 0.5)
    try:
        done = engine("run", recipe)
    finally:
        file.write_bytes(written[file])
    told = "data.train (polarized_scenes): array 'truth' of sample val-00001 is damaged: "
    assert told in (done.err if policy == "stop" else done.out)
    assert done.code == (1 if policy == "stop" else 0), done.err
    assert "Traceback" not in done.err
