"""The documentation in a real browser: pages alone and silent, as wide as the screen, light and dark, searched."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from test_report_in_a_browser import CALM, ROOT


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        """A request is no news."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    subprocess.run(built, cwd=ROOT, check=True)
    return folder


@pytest.fixture(scope="module")
def site(built: Path) -> Iterator[str]:
    """Its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(built))) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        serving.join()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=os.environ["ENGINE_BROWSER"], args=CALM)
        yield opened
        opened.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_pages_are_whole_alone_and_silent(chromium: Browser, built: Path, site: str, width: int, scheme: str) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    fetched: list[str] = []
    missing: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: fetched.append(request.url))
    page.on("response", lambda answer: missing.append(answer.url) if answer.status >= 400 else None)
    paths = [".", *(path.parent.name for path in sorted(built.glob("*/index.html")))]
    paths += ["hooks/engine_models", "recipes/s2m2_pol.toml"]  # pages of hooks and of recipes are alike
    backgrounds, too_wide = set(), []
    for path in paths:
        page.goto(f"{site}{path}/", wait_until="load")
        if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
            too_wide.append(path)
        backgrounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    page.close()

    assert len(paths) >= 20
    assert [url for url in fetched if not url.startswith((site, "data:"))] == []
    assert (said, missing, too_wide) == ([], [], [])
    (background,) = backgrounds
    dark = max(int(part) for part in background.removeprefix("rgb(").removesuffix(")").split(",")) < 64
    assert dark == (scheme == "dark")


def test_a_page_is_found_by_a_word_in_it(chromium: Browser, site: str) -> None:
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.goto(site)
    page.get_by_role("textbox", name="Search").fill("flip_horizontal")
    found = page.locator(".md-search-result__item a").first
    found.wait_for()
    addresses = page.locator(".md-search-result__item a").evaluate_all("links => links.map((link) => link.pathname)")
    page.close()
    assert "/data/" in addresses


def test_dark_is_chosen_by_a_button_and_stays_on_the_next_page(chromium: Browser, site: str) -> None:
    page = chromium.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page.goto(site)
    page.locator("label[title=Dark]").click()
    page.goto(f"{site}data/")
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")
    page.close()
