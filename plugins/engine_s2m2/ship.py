"""Make a weights file to ship from a finished run: python -m engine_s2m2.ship RUN FILE.

Half precision, because a few MB travel with the package; the file tells which recipe, commit and figures made it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

PREFIX = "base."


def ship(run: Path, target: Path) -> None:
    """Write the base's tensors that the run's last stage handed on, float16, to `target`."""
    recipe = json.loads((run / "recipe.json").read_text())
    provenance = json.loads((run / "provenance.json").read_text())
    last = json.loads((run / "status.json").read_text())["rows"][-1]
    tensors = load_file(run / f"stage-{last['stage']}" / "weights.safetensors")
    about = {
        "recipe": json.dumps(recipe),
        "commit": json.dumps({key: (provenance["git"] or {}).get(key) for key in ("commit", "dirty")}),
        "versions": json.dumps(provenance["versions"]),
        "figures": json.dumps(last["mean"]),
    }
    half = {
        name.removeprefix(PREFIX): tensor.to(torch.float16)
        for name, tensor in tensors.items()
        if name.startswith(PREFIX)
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file(half, target, metadata=about)


if __name__ == "__main__":
    ship(Path(sys.argv[1]), Path(sys.argv[2]))
