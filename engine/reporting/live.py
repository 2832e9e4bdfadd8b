"""`engine watch`: the report of a run on 127.0.0.1, which asks for what is new. Nothing else is served."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from engine.errors import WorldError
from engine.plain import finite
from engine.reporting.gallery import gather_pictures
from engine.reporting.gathering import gather
from engine.reporting.page_of import data, page, parts
from engine.reporting.run_files import RunFiles

HOST = "127.0.0.1"


class Watch:
    """A server of one run; `address` is where its page is. WorldError where the port cannot be had."""

    def __init__(self, run: Path, port: int) -> None:
        self.run = run
        handler = type("Handler", (_Handler,), {"watch": self})
        try:
            self._server = _Server((HOST, port), handler)
        except OSError as error:
            raise WorldError(
                f"port {port} on {HOST} cannot be had: {error.strerror or error}; `--port 0` takes a free one"
            ) from error
        self.port = int(self._server.server_address[1])
        self.address = f"http://{HOST}:{self.port}/"

    def serve(self) -> None:
        """Answer until Ctrl-C or `stop`."""
        try:
            self._server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            pass
        finally:
            self._server.server_close()

    def stop(self) -> None:
        """End `serve`, from another thread."""
        self._server.shutdown()

    def page(self) -> str:
        """The page as it is now."""
        version, figures = RunFiles(self.run).version(), gather(self.run)
        return page(figures, self._pictures(figures), live=True, version=version)

    def state(self, seen: str, pictures: str) -> dict[str, Any] | None:
        """What a page needs that has `seen` a version of the run, and the `pictures` of one; None when that is all."""
        version = RunFiles(self.run).version()
        if version == seen:
            return None
        figures = gather(self.run)
        state = {"data": data(figures, True, version), "parts": parts(figures)}
        images = self._pictures(figures)
        return state if images["version"] == pictures else {**state, "images": images}

    def _pictures(self, figures: Mapping[str, Any]) -> dict[str, Any]:
        return gather_pictures(self.run, [stage["name"] for stage in figures["stages"]])


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing of a page that was closed while it was sent."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """GET of the page and of its state; whatever else is asked for is not there."""

    watch: Watch
    server_version, sys_version = "engine", ""

    def do_GET(self) -> None:  # the name that http.server looks for
        """Answer one request."""
        asked = urlsplit(self.path)
        # A page of another site may not read a run by a name of its own that it lets point here.
        if self.headers.get("Host") not in {f"{name}:{self.watch.port}" for name in (HOST, "localhost")}:
            self._answer(HTTPStatus.FORBIDDEN, "this server answers to 127.0.0.1 alone", "text/plain")
        elif asked.path == "/":
            self._answer(HTTPStatus.OK, self.watch.page(), "text/html")
        elif asked.path == "/state":
            query = parse_qs(asked.query)
            state = self.watch.state(query.get("seen", [""])[-1], query.get("pictures", [""])[-1])
            if state is None:
                self.send_response(HTTPStatus.NO_CONTENT)
                self.end_headers()
            else:
                self._answer(HTTPStatus.OK, json.dumps(finite(state), allow_nan=False), "application/json")
        else:
            self._answer(HTTPStatus.NOT_FOUND, "there is nothing here", "text/plain")

    def _answer(self, status: HTTPStatus, text: str, kind: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # the name of the method it replaces
        """Nothing: a request a second would bury what matters."""
