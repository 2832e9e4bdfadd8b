"""What the plugin brings keeps every promise to the engine."""

import subprocess
import sys

import pytest
import torch

from engine import testing
from engine.prediction import Prediction

HOOKS = ("engine_injections", "engine_metrics", "engine_gates")
SHAPE = (2, 1, 7, 9)


def batch() -> dict[str, torch.Tensor]:
    """Glass in half of each sample, on a slope that polarises."""
    numbers = torch.Generator().manual_seed(0)
    glass = torch.zeros(SHAPE, dtype=torch.bool)
    glass[..., :4] = True
    sides = {f"polarization_{side}": 0.2 * torch.randn(2, 2, 7, 9, generator=numbers) for side in ("left", "right")}
    truth = 2 + torch.rand(SHAPE, generator=numbers)
    return {**sides, "disparity": truth, "valid": torch.ones(SHAPE, dtype=torch.bool), "transparent": glass}


def corrected(fields: dict[str, torch.Tensor]) -> Prediction:
    raw = torch.linspace(-2, 2, fields["disparity"].numel()).reshape(SHAPE)
    return Prediction(fields["disparity"] + 0.5).corrected(3 * torch.tanh(raw), raw)


HEALTHY = {"sat95/transparent": 0.01, "spread/transparent": 0.8, "slope/transparent": 0.9}
PROMISES = [
    *testing.injection("polarization", {"max_correction": 3.0, "width": 8}, batch=batch, target="disparity"),
    *testing.metric("correction", batch=batch, target="disparity", predicted=corrected),
    *testing.gate("saturation", means=HEALTHY),
    *testing.gate("signal_use", means={"epe/transparent": 1.0}),
    *testing.gate("warp_gap", means={"epe/transparent": 1.0}),
]


@pytest.mark.parametrize("promise", PROMISES, ids=str)
def test_it_keeps_its_promises(promise: testing.Check) -> None:
    promise()


def test_what_saturation_reads_is_what_the_diagnostics_produce():
    from engine_polarization import options

    region = "transparent&noc"
    produced = options.diagnostic_names(options.DiagnosticsOptions(region=region))
    assert set(options.saturation_needs(options.SaturationOptions(region=region))) <= set(produced)


def test_registering_imports_neither_torch_nor_numpy():
    code = (
        "import sys, engine_polarization.plugin as p\n"
        f"[getattr(p, hook)(lambda *a, **k: None) for hook in {HOOKS!r}]\n"
        "heavy = {'torch', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
