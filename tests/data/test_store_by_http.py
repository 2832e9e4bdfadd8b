"""A packed store behind a web server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from toy_plugin import DataOptions, ToyData

from engine.data.loader import Fixed, evaluation_batches
from engine.data.options import ZarrOptions
from engine.data.packing import pack
from engine.data.source import Source
from engine.data.zarr_store import ZarrData
from engine.errors import DamagedDataError


class Parts(SimpleHTTPRequestHandler):
    """Answers with the asked part of a file, which the library's own server does not."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        span = self.headers.get("Range")
        if span:
            first, last = span.removeprefix("bytes=").split("-")
            part = content[int(first) : int(last) + 1]
            self.asked.append(span)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}")
        else:
            part = content
            self.send_response(200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Parts, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_come_in_parts_of_files(tmp_path: Path, address: str, workers: int) -> None:
    pack(Source(ToyData(DataOptions(count=6)), "toy"), tmp_path / "x.zarr", {}, lambda *_: None)
    Parts.asked.clear()
    store = ZarrData(ZarrOptions(url=f"{address}/x.zarr"))
    first = store.sample(0, None)  # in this process, before workers are forked from it
    batches = list(evaluation_batches(Fixed(store), 2, workers=workers, pin=False))
    images = np.concatenate([batch["image"].numpy() for batch in batches])
    expected = [ToyData(DataOptions(count=6)).sample(index, None)["image"] for index in range(6)]
    np.testing.assert_array_equal(images, expected)
    np.testing.assert_array_equal(first["image"], expected[0])
    assert Parts.asked


def test_a_missing_file_is_a_damaged_sample(tmp_path: Path, address: str) -> None:
    pack(Source(ToyData(DataOptions(count=2)), "toy"), tmp_path / "x.zarr", {}, lambda *_: None)
    (tmp_path / "x.zarr" / "group-0" / "signal" / "c.0.0.0.0").unlink()
    with pytest.raises(DamagedDataError, match="array 'signal' of sample train-1"):
        ZarrData(ZarrOptions(url=f"{address}/x.zarr")).sample(1, None)
