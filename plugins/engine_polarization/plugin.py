"""What this plugin brings to the engine; nothing heavy is imported before it is built."""

from __future__ import annotations

from engine.hookspecs import Register, hookimpl
from engine_polarization import options


@hookimpl
def engine_injections(register: Register) -> None:
    """The bounded correction from polarisation."""
    register("polarization", options.CorrectionOptions, "engine_polarization.correction:PolarizationCorrection")


@hookimpl
def engine_metrics(register: Register) -> None:
    """Whether the correction is alive: saturation, spread, fit, gain and harm."""
    register(
        "correction",
        options.DiagnosticsOptions,
        "engine_polarization.diagnostics:CorrectionDiagnostics",
        produces=options.diagnostic_names,
    )


@hookimpl
def engine_pictures(register: Register) -> None:
    """Degree and angle of polarisation, and the correction."""
    register("polarization", options.ReportPicturesOptions, "engine_polarization.report_pictures:PolarizationPictures")


@hookimpl
def engine_gates(register: Register) -> None:
    """Checks on a trained correction."""
    gates = "engine_polarization.gates"
    register("saturation", options.SaturationOptions, f"{gates}:Saturation", needs=options.saturation_needs)
    register("signal_use", options.SignalUseOptions, f"{gates}:SignalUse", needs=options.metric_needs)
    register("warp_gap", options.WarpGapOptions, f"{gates}:WarpGap", needs=options.metric_needs)
