"""What this package brings to the engine; each library is imported when a run begins, in the tracker's own thread."""

from __future__ import annotations

from engine.hookspecs import Register, hookimpl
from engine_trackers.options import MLflowOptions, TensorBoardOptions, TrackioOptions, WandbOptions


@hookimpl
def engine_trackers(register: Register) -> None:
    """Four programs, each with an extra of its own."""
    register("tensorboard", TensorBoardOptions, "engine_trackers.tensorboard:TensorBoard")
    register("mlflow", MLflowOptions, "engine_trackers.mlflow:MLflow")
    register("wandb", WandbOptions, "engine_trackers.wandb:Wandb")
    register("trackio", TrackioOptions, "engine_trackers.trackio:Trackio")
