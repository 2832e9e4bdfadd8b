"""Rendered scenes on disk: rendered once by worker processes, complete under their final name or not there at all.

Workers are fresh interpreters that run `engine_scenes.worker`. Neither forked nor spawned children would do: a fork of
a process whose torch threads are awake can hang, and spawn runs the user's main program again.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from engine.contracts import Progress
from engine.data.cache import cache_directory, made_once
from engine.errors import DamagedDataError, WorldError
from engine_scenes.options import SceneOptions

RENDERER = 3
"""Raise it with any change that alters a stored number: old stores are then no longer found."""

FORMAT = 2
"""Raise it with any change to how numbers are stored. 2: with checksums, without which damage may pass for numbers."""

LIGHT, TRUTH = "light", "truth"
DISPARITY_SCALE = 256
NARROW = 640
"""Up to this width disparities stay far below the 256 px that 16 bits hold at this scale; wider images take 32."""

VALID, OCCLUDED, TRANSPARENT = 1, 2, 4

_CHANNELS = {
    LIGHT: ["left_r", "left_g", "left_b", "left_q", "left_u", "right_r", "right_g", "right_b", "right_q", "right_u"],
    TRUTH: ["disparity_x256", "flags"],
}


def world(options: SceneOptions) -> dict[str, Any]:
    """The options that decide what is rendered; noise and crops come later."""
    return options.model_dump(include={"split", "count", "seed", "height", "width", "transparent"})


def store_path(options: SceneOptions) -> Path:
    """Where the scenes of these options are, or will be."""
    key = json.dumps({"renderer": RENDERER, "format": FORMAT, **world(options)}, sort_keys=True)
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return cache_directory("scenes") / f"{options.split}-{options.count}-{digest}.zarr"


def create(path: Path, options: SceneOptions) -> None:
    """An empty store: `light` float16 (N, 10, H, W), `truth` uint16 (uint32 if wide) (N, 2, H, W), a chunk a scene."""
    group = zarr.create_group(path, attributes={"renderer": RENDERER, **world(options)})
    for name, (shape, kind) in _layout(options).items():
        array = group.create_array(
            name,
            shape=shape,
            chunks=(1, *shape[1:]),
            dtype=kind,
            # blosc takes many a flipped bit for a number: the checksum is over what it wrote
            compressors=[BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"), Crc32cCodec()],
        )
        array.attrs["channels"] = _CHANNELS[name]


def _layout(options: SceneOptions) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of each array."""
    kinds = {LIGHT: "float16", TRUTH: "uint16" if options.width <= NARROW else "uint32"}
    return {
        name: ((options.count, len(_CHANNELS[name]), options.height, options.width), kind)
        for name, kind in kinds.items()
    }


def write(path: Path, numbers: list[int]) -> Iterator[int]:
    """Render those scenes into an existing store, yielding each number when it is on disk. Torch runs on one thread.

    A pixel whose disparity the store cannot hold is stored as one that is not valid.
    """
    import torch

    from engine_scenes.pairs import render_pair
    from engine_scenes.scene import random_scene

    group = zarr.open_group(path, mode="r+")
    what = {name: group.attrs[name] for name in ("split", "seed", "height", "width", "transparent")}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for number in numbers:
            pair = render_pair(random_scene(index=number, **what))
            truth = pair.truth
            flags = truth.valid * VALID + truth.occluded * OCCLUDED + truth.transparent * TRANSPARENT
            disparity = np.rint(truth.disparity.numpy() * DISPARITY_SCALE)
            stored = np.stack([disparity, flags.numpy()]) * (disparity <= np.iinfo(group[TRUTH].dtype).max)
            # zarr leaves out a chunk of zeros, which would look like one that was lost
            with zarr.config.set({"array.write_empty_chunks": True}):
                group[LIGHT][number] = pair.light
                group[TRUTH][number] = stored.astype(group[TRUTH].dtype)
            yield number
    finally:
        torch.set_num_threads(threads)


class Scenes:
    """The stored scenes of finished stores, read by one process."""

    def __init__(self, path: Path, options: SceneOptions) -> None:
        """Open the store; WorldError when what describes it is damaged."""
        self.path = path
        self._arrays: dict[str, Any] = {}
        try:
            group = zarr.open_group(path, mode="r")
            for name, (shape, kind) in _layout(options).items():
                array: Any = group[name]
                if (array.shape, str(array.dtype), array.chunks) != (shape, kind, (1, *shape[1:])):
                    raise ValueError(f"its array '{name}' is {array.dtype} {array.shape} in chunks of {array.chunks}")
                self._arrays[name] = array
        # What zarr raises for descriptions that say anything at all.
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise WorldError(f"the rendered scenes in {path} are damaged: {error}; {_again(path)}") from error

    def read(self, name: str, number: int, scene: str) -> np.ndarray[Any, Any]:
        """Array `name` of scene `number`; DamagedDataError, by the name `scene`, for a chunk that is not as written."""
        array = self._arrays[name]
        file = self.path / name / array.metadata.encode_chunk_key((number, 0, 0, 0))
        try:
            if not file.is_file():
                raise ValueError("it is missing")  # zarr would read zeros
            read: np.ndarray[Any, Any] = array[number]
        except (OSError, ValueError, RuntimeError) as error:
            raise DamagedDataError(name, scene, f"{file}: {error}; {_again(self.path)}") from error
        return read


def _again(path: Path) -> str:
    return f"delete {path} and it is rendered again"


def ensure(options: SceneOptions, progress: Progress | None = None) -> Path:
    """The path of the finished store, rendering it first if nobody has.

    Of several processes that want the same store one renders and the others wait for it. What an interrupted writer
    left behind is removed by the next one.

    Raises:
        WorldError: a worker failed, or the cache directory cannot be written.
    """
    path = store_path(options)
    made_once(path, lambda partial: _render(partial, options, progress))
    return path


def _render(path: Path, options: SceneOptions, progress: Progress | None) -> None:
    what = f"rendering {options.count} {options.split} scenes"
    create(path, options)
    for done, _ in enumerate(_numbers_as_written(path, options.count), 1):
        if progress is not None:
            progress(done, options.count, what)


def _numbers_as_written(partial: Path, count: int) -> Iterator[int]:
    workers = min(len(os.sched_getaffinity(0)), count // 4)
    if workers < 2:
        # Starting an interpreter with torch takes as long as rendering a dozen scenes.
        yield from write(partial, list(range(count)))
        return
    yield from _in_workers(partial, count, workers)


def _in_workers(partial: Path, count: int, workers: int) -> Iterator[int]:
    """Let `workers` processes write every scene; all report on one pipe, which closes when the last of them ends."""
    package_root = str(Path(__file__).resolve().parents[1])
    places = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"}
    reading, writing = os.pipe()
    logs = [partial / f"worker-{k}.log" for k in range(workers)]
    processes: list[subprocess.Popen[bytes]] = []
    with open(reading) as reports:  # noqa: PTH123 - a file descriptor has no path
        try:
            try:
                for k, log in enumerate(logs):
                    command = [
                        sys.executable,
                        "-m",
                        "engine_scenes.worker",
                        str(partial),
                        str(count),
                        str(k),
                        str(workers),
                    ]
                    with log.open("wb") as errors:
                        process = subprocess.Popen(
                            command, env=environment, stdin=subprocess.DEVNULL, stdout=writing, stderr=errors
                        )
                    processes.append(process)
            finally:
                os.close(writing)
            for line in reports:
                yield int(line)
            for process, log in zip(processes, logs, strict=True):
                if process.wait() != 0:
                    last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["no message"]
                    raise WorldError(f"a process that renders scenes ended with code {process.returncode}: {last[0]}")
                log.unlink()
        finally:
            for process in processes:
                process.kill()
                process.wait()
