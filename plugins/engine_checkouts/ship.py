"""`engine ship`: what a run has trained, as its authors' own scripts read it.

The folder then holds the checkpoint under the authors' name, and cfg.yaml with the constructor's arguments.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
import yaml
from torch import Tensor

from engine import read_weights
from engine.errors import InputError
from engine_checkouts.arguments import arguments
from engine_checkouts.options import CheckoutOptions, NetworkOptions
from engine_checkouts.preset import Preset
from engine_checkouts.presets import PRESETS

PREFIX = "base."
AXIS = "disparity_attention"
NOT_OPTIONS = ("plugin", "weights", "commit", "sources")
"""Keys of [model] that are the engine's own, or hold the checkout to what it was: the weights are what they are."""


def ship(run: Path, folder: Path, preset: Preset | None = None) -> Path:
    """Write the base that the run's last stage handed on, and its cfg.yaml, into `folder`; the checkpoint's path.

    preset: of a network that a plugin of your own registers. Beside the tensors the file tells what a reader of the
    weights has to know: the commit, the steps, and the attention's axis where that is known. InputError for a run that
    is not done, for a folder that is no run's, and for a network that no preset here knows; WorldError for damage.
    """
    if not (run / "recipe.json").is_file():
        raise InputError(f"{run} is no directory of a run", "`engine runs list` shows them")
    recipe = json.loads((run / "recipe.json").read_text())
    rows = json.loads((run / "status.json").read_text())["rows"] if (run / "status.json").is_file() else []
    if not rows:
        raise InputError(f"no stage of {run} has finished yet, so it has no weights")
    options, preset = _network(recipe["model"], preset)
    stage = rows[-1]["stage"]
    handed_on, trained = read_weights(run / f"stage-{stage}" / "weights.safetensors")
    tensors = {name.removeprefix(PREFIX): tensor for name, tensor in handed_on.items() if name.startswith(PREFIX)}
    steps = {each["name"]: each["steps"] for each in recipe["stage"]}
    about = {
        "global_step": steps.get(stage, 0),
        "epoch": 0,
        "commit": recipe["model"].get("commit", ""),
    }
    if AXIS in trained:
        about[AXIS] = trained[AXIS]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / preset.file.name
    torch.save(_laid_out(tensors, preset, about), path)
    iterations = {
        "train_iters": options.train_iters or preset.train_iters,
        "valid_iters": options.valid_iters or preset.valid_iters,
    }
    (folder / "cfg.yaml").write_text(yaml.safe_dump({**arguments(preset, options), **iterations}))
    return path


def _network(model: dict[str, Any], preset: Preset | None) -> tuple[NetworkOptions, Preset]:
    options = {key: value for key, value in model.items() if key not in NOT_OPTIONS}
    if preset is not None:
        return NetworkOptions.model_validate(options), preset
    if model["plugin"] != "checkout":
        raise InputError(
            f"the run's model is {model['plugin']!r}; expected 'checkout', whose presets tell how authors keep weights",
            "for a preset of your own, from Python: engine_checkouts.ship.ship(RUN, FOLDER, PRESET)",
        )
    own = CheckoutOptions.model_validate(options)
    return own, PRESETS[own.preset]


def _laid_out(tensors: dict[str, Tensor], preset: Preset, about: dict[str, Any]) -> dict[str, Any]:
    named = {f"{preset.file.prefix}{name}": tensor for name, tensor in tensors.items()}
    return named if preset.file.key is None else {preset.file.key: named, **about}


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a run.", show_default=False)],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where it is written.", show_default=False)],
) -> None:
    """Write the weights of a run with a network from a checkout as its authors' own scripts read them.

    engine ship runs/foundation_stereo/RUN shipped
    """
    typer.echo(ship(run, folder))
