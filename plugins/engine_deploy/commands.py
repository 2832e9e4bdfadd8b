"""The commands of this package; what they do stands in the other modules, which are imported when they are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

Run = Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a run, or a recipe.", show_default=False)]
Sets = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the recipe.")]
Repeats = Annotated[int, typer.Option(min=1, help="Times that a sample is answered; medians are told.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="markdown",
    help="Take what a run has trained elsewhere: as ONNX, or smaller; and measure what that costs.",
)


@app.command()
def export(
    run: Run,
    file: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="What to write.", show_default=False)],
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="Size of the pictures; by default that of the validation data.")
    ] = None,
    base_alone: Annotated[bool, typer.Option("--base-alone", help="Leave the injection out.")] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Write FILE.int8.onnx too; see `compare` for its error.")
    ] = False,
    within: Annotated[float, typer.Option(metavar="PX", help="How far the file may be from torch.")] = 1e-3,
    sets: Sets = [],  # noqa: B006  # typer copies the default, and None would need a second type
) -> None:
    """Write the system as an ONNX file of one size, and FILE.json with what it takes and gives.

    onnxruntime and torch answer some validation samples; where they differ by more than --within, nothing is written
    and the exit code is 4.

        engine deploy export runs/RECIPE/RUN network.onnx --size 320x736 --set model.valid_iters=16
    """
    from engine import load_recipe, load_system, samples
    from engine_deploy.export import export as exported
    from engine_deploy.export import quantised
    from engine_deploy.inputs import parsed_size
    from engine_deploy.measuring import weights_of
    from engine_deploy.onnx_file import require_onnx

    wanted = parsed_size(size)
    require_onnx()
    recipe = load_recipe(run, sets)
    system = load_system(recipe, weights=weights_of(run))
    about = exported(system, samples(recipe, 2), file, size=wanted, base_alone=base_alone, within=within)
    parity = about["parity"]
    apart = ", ".join(f"{name} {worst:.1e}" for name, worst in parity["max"].items())
    typer.echo(f"written: {file}, opset {about['opset']}, {file.stat().st_size / 1e6:.1f} MB")
    for each in about["inputs"]:
        typer.echo(f"  takes {each['name']} {each['shape']} {each['dtype']}")
    typer.echo(f"  onnxruntime is from torch at most: {apart} ({parity['inputs']} inputs, {within:g} allowed)")
    if int8:
        typer.echo(f"written: {quantised(file)}; not held to torch, `compare` tells its error")


@app.command()
def shrink(
    run: Run,
    file: Annotated[Path, typer.Argument(metavar="FILE.safetensors", help="What to write.", show_default=False)],
    keep: Annotated[Literal["fp32", "bf16", "int8"], typer.Option(help="How matrices and kernels are kept.")] = "fp32",
    prune: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Set this share of the weights, the smallest, to zero.")
    ] = None,
    narrow: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Take this share of the hidden units out of each MLP.")
    ] = None,
    sets: Sets = [],  # noqa: B006  # as above
) -> None:
    """Write the weights smaller. `compare` reads the file again and measures it.

    engine deploy shrink runs/RECIPE/RUN small.safetensors --keep int8 --narrow 0.25
    """
    from engine import load_recipe, load_system
    from engine_deploy import smaller
    from engine_deploy.measuring import weights_of

    system = load_system(load_recipe(run, sets), weights=weights_of(run))
    if narrow is not None:
        typer.echo(f"{smaller.take_units_out(system, narrow)} hidden units taken out")
    if prune is not None:
        typer.echo(f"{smaller.zero_smallest(system, prune):.1%} of the weights of layers are zero")
    smaller.save(system, file, keep)
    typer.echo(f"written: {file}, {file.stat().st_size / 1e6:.1f} MB")


@app.command()
def compare(
    run: Run,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILES...", help="What `export` and `shrink` wrote.", show_default=False)
    ],
    sets: Sets = [],  # noqa: B006  # as above
    repeats: Repeats = 5,
    zipped: Annotated[bool, typer.Option("--zipped", help="Tell the size of each file as zlib packs it too.")] = False,
    as_json: Json = False,
) -> None:
    """Size, time and held-out error of files, beside those of what the run has trained.

    engine deploy compare runs/RECIPE/RUN network.onnx network.int8.onnx small.safetensors
    """
    from engine_deploy.measuring import compare as compared
    from engine_deploy.measuring import iterated_otherwise

    rows = compared(run, files, sets, repeats, zipped)
    for line in iterated_otherwise(rows):
        typer.echo(f"warning: {line}", err=True)
    heads = ["file", "MB", *(["zipped MB"] if zipped else [])]
    sizes = ["bytes", *(["zipped"] if zipped else [])]
    _tell(rows, heads, lambda row: [row["file"], *(f"{row[size] / 1e6:.1f}" for size in sizes)], as_json)


@app.command()
def tradeoff(
    run: Run,
    vary: Annotated[
        str | None, typer.Option(metavar="KEY=V,V,...", help="A key of the recipe, such as model.valid_iters.")
    ] = None,
    scale: Annotated[str, typer.Option(metavar="S,S,...", help="Scales at which pictures are looked at.")] = "1",
    sets: Sets = [],  # noqa: B006  # as above
    repeats: Repeats = 5,
    as_json: Json = False,
) -> None:
    """Time and held-out error of a trained system with other settings: iterations, size of the pictures.

    engine deploy tradeoff runs/RECIPE/RUN --vary model.valid_iters=2,4,8,16 --scale 1,0.5
    """
    from engine_deploy.measuring import scales_of, varied
    from engine_deploy.measuring import tradeoff as measured

    key, values = varied(vary)
    rows = measured(run, key, values, scales_of(scale), sets, repeats)
    heads = [*([key] if key else []), "scale"]
    _tell(rows, heads, lambda row: [*([row["setting"]] if key else []), f"{row['scale']:g}"], as_json)


def _tell(rows: list[dict[str, Any]], heads: list[str], first: Any, as_json: bool) -> None:
    """Rows as a table, or as JSON, with the machine that they were measured on."""
    from engine_deploy.measuring import machine

    if as_json:
        typer.echo(json.dumps({"machine": machine(), "rows": rows}, indent=1))
        return
    names = list(rows[0]["mean"])
    table = [[*heads, "ms", "CPU ms", *names]]
    for row in rows:
        means = ["-" if row["mean"][name] is None else f"{row['mean'][name]:.4f}" for name in names]
        times = [f"{1e3 * row[which]:.1f}" for which in ("seconds", "cpu_seconds")]
        table.append([*first(row), *times, *means])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    about = machine()
    gpu = "" if about["gpu"] == "none" else f", {about['gpu']}"
    typer.echo(f"{about['processor']}, {about['threads']} threads{gpu}, torch {about['torch']}")
