"""Pictures of a sweep, by Optuna and matplotlib."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import optuna
from matplotlib import pyplot
from optuna.visualization import matplotlib as drawn

from engine_sweep.sweep import Sweep


def draw(sweep: Sweep, study: optuna.Study) -> list[Path]:
    """Write the figures over the trials, over each key, and within trials where they were measured on the way."""
    pictures: dict[str, Callable[..., Any]] = {
        "history.png": drawn.plot_optimization_history,
        "keys.png": drawn.plot_slice,
    }
    if any(trial.intermediate_values for trial in study.get_trials(deepcopy=False)):
        pictures["on-the-way.png"] = drawn.plot_intermediate_values
    written = []
    with mpl.rc_context({"backend": "agg"}), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # which it says of every such picture
        warnings.filterwarnings("ignore", "Attempting to set identical low and high")  # of a single trial
        for name, plot in pictures.items():
            named = {} if name == "on-the-way.png" else {"target_name": sweep.metric}
            axes = plot(study, **named)
            figure = (axes if hasattr(axes, "figure") else axes.flat[0]).figure
            figure.savefig(sweep.folder / name, dpi=120, bbox_inches="tight")
            pyplot.close(figure)
            written.append(sweep.folder / name)
    return written
