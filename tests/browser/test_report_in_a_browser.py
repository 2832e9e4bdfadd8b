"""The report in a real browser: silent, alone, complete, switched, walked by keyboard, whole at two widths, alive."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import events_of, only_run
from forked import Forks
from playwright.sync_api import Browser, Page, expect, sync_playwright
from toy_world import RECIPE, STAGE_A, merged, toml

from engine.reporting.live import Watch

ROOT = Path(__file__).parents[2]
CALM = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
CALM += ["--disable-sync", "--no-first-run"]
SMALL = {
    "data.train.count": "4",
    "data.train.height": "64",
    "data.train.width": "96",
    "data.train.crop": "[64, 96]",
    "data.val.count": "4",
    "data.val.height": "64",
    "data.val.width": "96",
    "train.batch_size": "2",
    "train.log_every": "1",
    "stage.A.steps": "3",
    "stage.B.batch_size": "2",
    "stage.B.steps": "4",
    "stage.C.steps": "3",
    # four scenes are too few for a verdict, and the run is to reach its end
    "stage.B.gate.feasibility.accept": '["warn", "undetermined"]',
}


@pytest.fixture(scope="module")
def run(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the main recipe, as small as it gets."""
    folder = tmp_path_factory.mktemp("run")
    changes = [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]
    done = forks.run("run", ROOT / "recipes" / "s2m2_pol.toml", *changes, folder=folder)
    assert done.code == 0, done.err
    return only_run(folder, "s2m2_pol")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=os.environ["ENGINE_BROWSER"], args=CALM)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that may say nothing in its console and fetch nothing but what it was opened with."""
    made = browser.new_page(viewport={"width": 1280, "height": 900})
    said: list[str] = []
    fetched: list[str] = []
    made.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    made.on("pageerror", lambda error: said.append(str(error)))
    made.on("request", lambda request: fetched.append(request.url))
    yield made
    made.close()
    assert said == []
    strangers = [url for url in fetched if not url.startswith(("data:", "about:", fetched[0]))]
    assert strangers == []


def opened(page: Page, run: Path) -> Page:
    page.goto((run / "report.html").as_uri())
    return page


def points(page: Page) -> dict[tuple[str, str], int]:
    """(chart, series) -> points that are drawn: the places of its line, or the upper edge of its area."""
    drawn = page.evaluate("""() => [...document.querySelectorAll(".charts .chart")].flatMap((chart) =>
        [...chart.querySelectorAll("svg path[data-series]")].map((path) => [
            chart.querySelector("figcaption").firstChild.textContent, path.dataset.series,
            path.getAttribute("d"), path.classList.contains("line")]))""")
    return {(chart, series): len(re.findall("[ML]", d)) // (1 if line else 2) for chart, series, d, line in drawn}


def test_every_curve_has_as_many_points_as_the_events_hold(page: Page, run: Path) -> None:
    drawn = points(opened(page, run))

    steps, evaluated = events_of(run, "step"), events_of(run, "evaluated")
    assert len(steps) == 10
    expected = {("Loss", "loss"): 10, ("Learning rate", "learning rate"): 10, ("Gradient norm", "gradient norm"): 10}
    expected |= {("Time of a step", name): 10 for name in ("computing", "waiting for data")}
    expected |= {
        ("Loss", term): sum(term in step["terms"] for step in steps) for step in steps for term in step["terms"]
    }
    places: dict[tuple[str, str], set[tuple[str, str]]] = {}
    line = {"off": "base alone", "pred": "corrected, aligned by prediction", "gt": "corrected, aligned by ground truth"}
    for event in evaluated:
        moment = (event["stage"], event["moment"])
        for metric in event["evaluation"]["mean"]:
            places.setdefault((metric, line[event["warp"]]), set()).add(moment)
        for metric in event["evaluation"]["base_mean"]:
            places.setdefault((metric, "base alone"), set()).add(moment)
    expected |= {series: len(moments) for series, moments in places.items()}
    assert drawn == expected


def test_stage_and_sample_are_switched_and_two_stages_flicker(page: Page, run: Path) -> None:
    opened(page, run)
    gallery = page.locator("#gallery")
    shown = gallery.locator('[data-name="disparity"] img')
    assert gallery.locator(".shot").count() == 11
    expect(gallery.locator("h3")).to_have_text(re.compile("after C$"))
    after_c = shown.get_attribute("src")

    gallery.get_by_role("group", name="stage").get_by_role("button", name="after A").click()
    after_a = shown.get_attribute("src")
    assert after_a != after_c
    assert gallery.locator('[data-name="correction"]').count() == 0

    left = gallery.locator('[data-name="left"] img')
    first = left.get_attribute("src")
    gallery.get_by_role("group", name="sample").get_by_role("button").nth(2).click()
    assert left.get_attribute("src") != first
    assert left.evaluate("image => image.decode().then(() => image.naturalWidth)") == 96

    page.keyboard.press("x")
    expect(gallery.locator("h3")).to_have_text(re.compile("before A$"))
    page.keyboard.press("x")
    gallery.get_by_role("button", name="flicker (f)").click()
    expect(gallery.locator("h3")).to_have_text(re.compile("before A$"))
    expect(gallery.locator("h3")).to_have_text(re.compile("after A$"))
    page.keyboard.press("f")
    expect(gallery.get_by_role("button", name="flicker (f)")).to_have_attribute("aria-pressed", "false")

    curves = page.get_by_role("group", name="Stage shown in the curves")
    curves.get_by_role("button", name="B", exact=True).click()
    assert points(page)[("Loss", "loss")] == 4


def test_everything_is_reached_and_read_by_keyboard(page: Page, run: Path) -> None:
    opened(page, run)
    for part in page.locator("details").all():
        part.evaluate("part => { part.open = true; }")
    wanted = page.evaluate("""() => [...document.querySelectorAll("a, button, summary, svg[tabindex], [tabindex='0']")]
        .filter((node) => node.offsetParent !== null || node instanceof SVGElement)
        .map((node, number) => { node.dataset.walk = number; return number; })""")
    walked = []
    for _ in wanted:
        page.keyboard.press("Tab")
        walked.append(page.evaluate("() => Number(document.activeElement.dataset.walk)"))
    assert walked == wanted, "Tab goes through everything, in the order in which it stands"

    chart = page.locator(".charts svg").first
    chart.focus()
    page.keyboard.press("Home")
    tip = page.locator(".tip:visible")
    expect(tip).to_contain_text("A, step 1 of 3")
    page.keyboard.press("ArrowRight")
    expect(tip).to_contain_text("A, step 2 of 3")
    loss = events_of(run, "step")[1]["loss"]
    assert float(re.search(r"loss ([\d.]+)", tip.inner_text())[1]) == pytest.approx(loss, rel=1e-3)
    expect(page.locator("#told")).to_contain_text("step 2 of 3")
    page.keyboard.press("Escape")
    expect(tip).to_have_count(0)
    box = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 10, box["y"] + box["height"] / 2)
    expect(tip).to_contain_text("C, step 3 of 3")


# Places of text that lie over each other or beyond the window; what scrolls by itself may be wider than the window.
CROWDED = """() => {
  const shown = (node) => node.checkVisibility() && !node.closest(".tip, .visually-hidden, .skip, nav");
  const found = [], places = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (!node.data.trim() || !node.parentElement || node.parentElement.closest("script, style, title, noscript") || !shown(node.parentElement)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const within = node.parentElement.closest(".scroll, pre")?.getBoundingClientRect();
    for (const box of range.getClientRects()) {
      const seen = { left: box.left, right: box.right, top: box.top, bottom: box.bottom };
      if (within) for (const [near, far] of [["left", "right"], ["top", "bottom"]]) {
        seen[near] = Math.max(seen[near], within[near]);
        seen[far] = Math.min(seen[far], within[far]);
      }
      places.push([seen, node.data.trim().slice(0, 40), node.parentElement]);
    }
  }
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) found.push(`the page is ${document.documentElement.scrollWidth} wide`);
  for (const [box, text, parent] of places)
    if ((box.right > width + 1 || box.left < -1) && !parent.closest(".scroll, pre")) found.push(`beyond the window: ${text}`);
  for (let i = 0; i < places.length; i++)
    for (let j = i + 1; j < places.length; j++) {
      const [a, b] = [places[i][0], places[j][0]];
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left), down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (across > 1 && down > 3) found.push(`over each other: ${places[i][1]} | ${places[j][1]}`);
    }
  return found;
}"""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overlaps_or_is_cut_off(page: Page, run: Path, width: int, scheme: Any) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    opened(page, run)
    for part in page.locator("details").all():
        part.evaluate("part => { part.open = true; }")

    assert page.evaluate(CROWDED) == []

    # Readable: WCAG's contrast of at least 4.5 between text and ground, for the colours that carry text.
    contrast = page.evaluate("""() => {
      const light = (name) => {
        const probe = document.createElement("i");
        probe.style.color = `var(${name})`;
        document.body.append(probe);
        const parts = getComputedStyle(probe).color.match(/[0-9.]+/g).slice(0, 3).map((each) => each / 255);
        probe.remove();
        const [r, g, b] = parts.map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      const pairs = [["--ink", "--ground"], ["--soft", "--ground"], ["--soft", "--raised"], ["--focus", "--ground"],
        ["--good", "--wash-good"], ["--doubt", "--wash-doubt"], ["--bad", "--wash-bad"], ["--neutral", "--wash-neutral"]];
      return pairs.map(([a, b]) => [a, b, ratio(light(a), light(b))]).filter(([, , each]) => each < 4.5);
    }""")
    assert contrast == []


def test_the_file_is_small_and_prints(page: Page, run: Path) -> None:
    assert (run / "report.html").stat().st_size < 5_000_000
    assert opened(page, run).pdf().startswith(b"%PDF")


SLOW = """
import time
from engine.hookspecs import hookimpl

@hookimpl
def engine_step(event):
    time.sleep(0.12)
"""


def test_watch_shows_new_steps_without_reload(page: Page, forks: Forks, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    recipe = merged(RECIPE, {"stage": [STAGE_A | {"steps": 40}], "train": {"log_every": 1}})
    (tmp_path / "toy.toml").write_text(toml(recipe | {"plugins": [*recipe["plugins"], str(tmp_path / "slow.py")]}))
    running = forks.start("run", "toy.toml", folder=tmp_path)
    while not list(tmp_path.glob("runs/toy/*/events.jsonl")):
        assert not running.ended(), running.wait().err
        time.sleep(0.05)
    watch = Watch(only_run(tmp_path), 0)
    serving = threading.Thread(target=watch.serve)
    serving.start()
    try:
        page.goto(watch.address)
        page.evaluate("() => { window.opened = true; }")
        line = page.locator('path[data-series="loss"]')
        expect(line).to_have_count(1, timeout=20_000)
        expect(page.locator(".badge.running").first).to_be_visible()
        seen = int(line.get_attribute("data-points"))
        page.wait_for_function(
            "seen => Number(document.querySelector('path[data-series=\"loss\"]').dataset.points) > seen + 3", arg=seen
        )
        assert not running.ended(), "the run was still going on"
        page.wait_for_function("() => document.querySelector('#head .badge').classList.contains('done')")
        assert line.get_attribute("data-points") == "40"
        assert page.evaluate("() => window.opened"), "the page was not loaded again"
        assert page.locator("#gallery .shot").count() == 3
    finally:
        page.goto("about:blank")
        watch.stop()
        serving.join()
    assert running.wait().code == 0
