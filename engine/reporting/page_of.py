"""A run as one page of HTML that needs nothing else: its figures, its pictures, its style and its scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from engine.events import NOTHING_FROZEN
from engine.plain import finite
from engine.reporting.whole import holds

if TYPE_CHECKING:
    from jinja2 import Environment

PARTS = ("head", "result", "timeline", "gates", "ablations", "frozen", "origin")
"""What is written here, in HTML; curves and pictures are drawn by the page's own scripts."""
SCRIPTS = ("chart.js", "plots.js", "gallery.js", "page.js")


def page(run: Mapping[str, Any], images: Mapping[str, Any], live: bool = False, version: str = "") -> str:
    """The page of a run as `gather` and `gather_pictures` found it; `live`: it asks its server for what is new."""
    html: str = (
        _environment()
        .get_template("page.html")
        .render(
            run=run,
            live=live,
            parts={name: _safe(html) for name, html in parts(run).items()},
            style=_safe(_text("style.css")),
            scripts=[_safe(_text(name)) for name in SCRIPTS],
            data=_safe(embedded(data(run, live, version))),
            images=_safe(embedded(images)),
        )
    )
    return html


def parts(run: Mapping[str, Any]) -> dict[str, str]:
    """The written parts of the page by name."""
    drawn = _histograms(run)
    return {name: _environment().get_template(f"{name}.html").render(run=run, histograms=drawn) for name in PARTS}


def data(run: Mapping[str, Any], live: bool, version: str) -> dict[str, Any]:
    """What the scripts draw."""
    samples = [row for row in run["ablations"] if row["samples"]]
    return {
        "live": live,
        "version": version,
        "bands": run["bands"],
        "curves": run["curves"],
        "histograms": _histograms(run),
        "samples": samples,
    }


def _histograms(run: Mapping[str, Any]) -> dict[int, Any]:
    """The residuals that gates measured, by the number of the gate."""
    histograms: dict[int, Any] = {}
    for number, gate in enumerate(run["gates"]):
        figures = gate.get("figures")
        if holds(figures, {"histogram": dict, "figures": dict, "settings": dict}):
            bound, unit = figures["figures"].get("bound"), figures["settings"].get("unit", "")
            drawn = holds(figures["histogram"], {"edges": list, "share": list, "lost": float, "beyond": float})
            if drawn and isinstance(bound, float):
                histograms[number] = {"histogram": figures["histogram"], "bound": bound, "unit": str(unit)}
    return histograms


def embedded(value: Any) -> str:
    """JSON that may stand in a script element: nothing in it can end the element."""
    text = json.dumps(finite(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _text(name: str) -> str:
    return (files("engine.reporting") / "page" / name).read_text(encoding="utf-8")


def _safe(html: str) -> str:
    from markupsafe import Markup

    return Markup(html)  # its own templates, or text that `embedded` has made harmless


@cache
def _environment() -> Environment:
    from jinja2 import ChainableUndefined, Environment, FunctionLoader

    made = Environment(
        loader=FunctionLoader(_text),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["nothing_frozen"] = NOTHING_FROZEN
    made.filters |= {
        "count": lambda value: f"{value:,}" if isinstance(value, int | float) else "–",
        "decimals": lambda value: f"{value:.3f}" if isinstance(value, int | float) else "–",
        "duration": _duration,
        "figure": lambda value: f"{value:.5g}" if isinstance(value, float) else str(value),
        "percent": lambda value: f"{value:.0%}" if isinstance(value, int | float) else "–",
        "signed": lambda value: f"{value:+.3f}".replace("-", "−") if isinstance(value, int | float) else "–",
        "without": lambda table, *names: {key: item for key, item in table.items() if key not in names},
    }
    return made


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
