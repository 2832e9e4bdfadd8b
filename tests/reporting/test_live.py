"""`engine watch`: the page and its state on 127.0.0.1, and nothing else."""

from __future__ import annotations

import http.client
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Command, WriteRecipe, only_run
from toy_world import STAGE_A

from engine.errors import WorldError
from engine.reporting.live import Watch


@contextmanager
def watching(run: Path) -> Iterator[Watch]:
    watch = Watch(run, 0)
    thread = threading.Thread(target=watch.serve)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join()


def asked(watch: Watch, path: str, method: str = "GET", host: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", watch.port, timeout=10)
    try:
        connection.request(method, path, headers={"Host": host or f"127.0.0.1:{watch.port}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_the_page_is_told_of_what_is_new_and_of_nothing_else(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    engine("run", toy_recipe(stage=[STAGE_A]))
    run = only_run(tmp_path)
    lines = (run / "events.jsonl").read_text().splitlines(keepends=True)
    (run / "events.jsonl").write_text("".join(lines[:5]))
    with watching(run) as watch:
        status, page = asked(watch, "/")
        assert (status, "connect-src 'self'" in page) == (200, True)
        _, text = asked(watch, "/state?seen=")
        first = json.loads(text)
        pictures = f"&pictures={first['images']['version']}"
        seen = f"/state?seen={first['data']['version']}{pictures}"
        assert asked(watch, seen) == (204, "")

        (run / "events.jsonl").write_text("".join(lines))

        status, text = asked(watch, seen)
        assert status == 200
        state = json.loads(text)
        assert "images" not in state
        (before, after) = (each["data"]["curves"][0]["series"][0]["points"] for each in (first, state))
        assert len(after) == 3
        assert len(before) < 3

        for path in (
            "/events.jsonl",
            "/../recipe.json",
            "/stage-A/pictures/after/0-0.png",
            "//etc/passwd",
            "/%2e%2e/x",
        ):
            assert asked(watch, path)[0] == 404
        assert asked(watch, "/", method="POST")[0] == 501
        assert asked(watch, "/", host="elsewhere.example:80")[0] == 403
        with pytest.raises(WorldError, match=rf"port {watch.port} on 127\.0\.0\.1 cannot be had"):
            Watch(run, watch.port)


def test_the_command_says_where_the_page_is_and_ends_with_ctrl_c(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine("run", toy_recipe(stage=[STAGE_A]))

    def interrupted(server: object, poll_interval: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("http.server.ThreadingHTTPServer.serve_forever", interrupted)
    done = engine("watch", only_run(tmp_path).name, "--port", 0)

    assert done.code == 0
    assert re.fullmatch(r"watching runs/toy/\S+ at http://127\.0\.0\.1:\d+/; Ctrl-C ends it\n", done.out)


def test_a_page_that_is_closed_while_it_is_sent_is_nothing_to_tell(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with watching(tmp_path) as watch:
        with socket.create_connection(("127.0.0.1", watch.port)) as browser:
            browser.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{watch.port}\r\n\r\n".encode())
            browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by a reset
        assert asked(watch, "/")[0] == 200
        until = time.monotonic() + 10
        while any("process_request" in thread.name for thread in threading.enumerate()) and time.monotonic() < until:
            time.sleep(0.01)
    assert capfd.readouterr().err == ""
