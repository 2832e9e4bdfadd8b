"""Photograph the report of a finished run for README: python docs/make_report_pictures.py runs/s2m2_pol/RUN [chromium].

Needs the extra `browser` and Debian's chromium; `make test-browser` installs both. A run that is short will do to try
it: engine run recipes/s2m2_pol.toml --set stage.A.steps=20 --set stage.B.steps=20 --set stage.C.steps=10.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

PICTURES = Path(__file__).parent / "pictures"
CALM = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
CALM += ["--disable-sync", "--no-first-run"]
WIDTH, HEIGHT = 1280, 900


def photograph(page: Page, name: str, section: str) -> None:
    """What a window shows that begins at a section of the page, as WebP."""
    page.evaluate("id => document.getElementById(id).scrollIntoView()", section)
    content = page.screenshot(animations="disabled")
    Image.open(io.BytesIO(content)).save(PICTURES / f"{name}.webp", quality=80, method=6)


def main() -> None:
    """The stages and gates in light colours, the pictures and curves in dark ones."""
    run, chromium = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "/usr/bin/chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*CALM])
        for scheme, name, section in (("light", "report", "head"), ("dark", "report_pictures", "pictures")):
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)
            page.goto((run / "report.html").resolve().as_uri())
            photograph(page, name, section)
        browser.close()


if __name__ == "__main__":
    main()
