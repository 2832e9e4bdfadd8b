"""`engine runs compare`: runs beside each other, sample by sample."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from engine.cli.opening import JsonOption, RunsOption, console, print_json
from engine.cli.runs_show import RUN


def compare(
    names: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help=RUN, show_default=False)],
    runs: RunsOption = Path("runs"),
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with every metric, in one file.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare runs with the first of them: recipes key by key, metrics by stage, gates side by side.

    Metrics are paired by the samples' names; the difference is told with a 95 % bootstrap interval of its mean over
    held-out scenes. The table has the key metrics of the recipes; the page and the JSON document have all, with the
    difference on every sample.

        engine runs compare 3f9a2c 81b04e

        engine runs compare runs/RECIPE/ONE runs/RECIPE/OTHER --html comparison.html
    """
    from engine.errors import InputError
    from engine.reporting.run_tables import comparison_tables
    from engine.runs.comparison import compare as compared
    from engine.runs.directory import find
    from engine.runs.history import read_run

    if len(names) < 2:
        raise InputError("one run alone cannot be compared", "name two or more; `engine runs list` lists them")
    document = compared([read_run(find(runs, name)) for name in names]).to_dict()
    out = console(as_json=json)
    if json:
        print_json(document)
    else:
        for part in comparison_tables(document):
            out.print(part, soft_wrap=isinstance(part, str))
    for note in document["notes"]:
        out.print(f"[yellow]{escape(note)}[/yellow]", soft_wrap=True)
    if html is not None:
        from engine.reporting.comparison_page import write_page

        write_page(html, document)
        out.print(f"written: {html}", soft_wrap=True, markup=False)
