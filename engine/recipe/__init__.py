"""Recipes: what they may say, how they are read, and where each word of them stands."""

from engine.recipe.load import load_recipe
from engine.recipe.schema import (
    DataTable,
    Evaluate,
    GateTable,
    LossTable,
    MetricTable,
    ModelTable,
    Optimizer,
    Recipe,
    Schedule,
    Stage,
    Train,
    WarpMix,
    WarpSchedule,
)

__all__ = [
    "DataTable",
    "Evaluate",
    "GateTable",
    "LossTable",
    "MetricTable",
    "ModelTable",
    "Optimizer",
    "Recipe",
    "Schedule",
    "Stage",
    "Train",
    "WarpMix",
    "WarpSchedule",
    "load_recipe",
]
