"""The public API: the names that plugins and programs may rely on, and its version.

A plugin says which version it is made for by `ENGINE_API = 1` in the module that registers it, and is refused in a
sentence where the engine has another. VERSION is raised when something that is named here goes away, or takes or means
something else; what is added leaves it as it is. Every other module of the engine may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

VERSION = 1

DECLARATION = "ENGINE_API"
"""The name in a plugin's module under which it says the version; without it, it is taken for one of this version."""

PUBLIC: Mapping[str, Sequence[str]] = {
    "engine": (
        "__version__",
        "check_feasibility",
        "evaluate",
        "load_recipe",
        "load_system",
        "plan",
        "read_weights",
        "run",
        "samples",
    ),
    "engine.contracts": (
        "Ablation",
        "Base",
        "Dataset",
        "Evaluation",
        "Export",
        "Finding",
        "Gate",
        "GateContext",
        "Injection",
        "Inspection",
        "Loss",
        "Metric",
        "Picture",
        "Pictures",
        "Progress",
        "Sample",
        "Status",
        "TrackedRun",
        "Tracker",
        "Verdict",
    ),
    "engine.data.cache": ("cache_directory", "made_once"),
    "engine.data.draws": ("of_batch",),
    "engine.data.options": ("InnerData",),
    "engine.errors": (
        "DamagedDataError",
        "DivergedError",
        "EngineError",
        "GateRefusedError",
        "InputError",
        "InterruptedRunError",
        "PluginError",
        "Problem",
        "WorldError",
        "nearest",
    ),
    "engine.events": (
        "CheckpointSaved",
        "Evaluated",
        "GateDecided",
        "Note",
        "RunFinished",
        "RunStarted",
        "StageFinished",
        "StageFrozen",
        "StageStarted",
        "Step",
    ),
    "engine.files": ("held", "write_json"),
    "engine.gates.feasibility": ("Decision", "FeasibilityReport", "Figures", "Settings", "Summary"),
    "engine.hookspecs": (
        "Register",
        "engine_checkpoint_saved",
        "engine_commands",
        "engine_datasets",
        "engine_evaluated",
        "engine_exports",
        "engine_gate_decided",
        "engine_gates",
        "engine_injections",
        "engine_inputs",
        "engine_inspections",
        "engine_losses",
        "engine_metrics",
        "engine_models",
        "engine_note",
        "engine_pictures",
        "engine_run_finished",
        "engine_run_started",
        "engine_stage_finished",
        "engine_stage_frozen",
        "engine_stage_started",
        "engine_step",
        "engine_trackers",
        "hookimpl",
    ),
    "engine.prediction": ("Batch", "Prediction"),
    "engine.recipe": ("Recipe", "load_recipe"),
    "engine.runs.cost": ("StageCost",),
    "engine.runs.history": ("RunHistory", "StageHistory"),
    "engine.runs.planning": ("Plan", "PlannedStage"),
    "engine.testing": ("Check", "Shown", "dataset", "gate", "injection", "loss", "metric", "model", "tracker"),
}
"""Module -> what of it is public."""
