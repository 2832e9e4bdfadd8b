"""`engine runs verify`: are a run's weight files sound?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.cli.opening import JsonOption, RunsOption, console, open_session, print_json, read_recipe
from engine.cli.runs_show import RUN


def verify(
    run: Annotated[str, typer.Argument(metavar="RUN", help=RUN, show_default=False)],
    runs: RunsOption = Path("runs"),
    json: JsonOption = False,
) -> None:
    """Check every checkpoint and every weights file of a run: digests, names and shapes against the model, numbers.

    A moving average is told with its distance from the weights beside it, relative to their size: 0 where it only
    repeats them. Exit code 1: a file is not sound.

        engine runs verify 3f9a2c
    """
    from engine.errors import WorldError
    from engine.runs.directory import find
    from engine.runs.soundness import check_weights

    folder = find(runs, run)
    out = console(as_json=json)
    checks = check_weights(open_session(read_recipe(folder, []), out, quiet=True), folder)
    if json:
        print_json([vars(each) for each in checks])
    else:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for name in ("file", "tensors", "values", "digest", "average off by", "trained with", "result"):
            table.add_column(name, justify="right" if name in ("tensors", "values", "average off by") else "left")
        for each in checks:
            texts = ", ".join(f"{key} {value}" for key, value in each.about.items() if key not in ("stage", "recipe"))
            counts = (f"{each.tensors:,}", f"{each.values:,}") if each.tensors else ("", "")
            distance = "" if each.distance is None else f"{each.distance:.2e}"
            table.add_row(each.file, *counts, each.digest, distance, texts, "; ".join(each.wrong) or "sound")
        out.print(table)
    unsound = [each for each in checks if each.wrong]
    if unsound:
        first = unsound[0]
        raise WorldError(f"{len(unsound)} of {len(checks)} files are not sound, first {first.file}: {first.wrong[0]}")
