import numpy as np
import pytest
import torch
from engine_polarization.diagnostics import CorrectionDiagnostics
from engine_polarization.options import DIAGNOSTICS, DiagnosticsOptions, diagnostic_names

from engine.prediction import Prediction

BOUND = 2.0
SHAPE = (1, 1, 8, 40)


def _scene(residual: torch.Tensor, transparent: torch.Tensor | None = None) -> tuple[dict, Prediction]:
    """Truth and a base that is wrong by `residual` px."""
    truth = torch.zeros_like(residual)
    batch = {"disparity": truth, "valid": torch.ones_like(residual, dtype=torch.bool)}
    if transparent is not None:
        batch["transparent"] = transparent
    return batch, Prediction(truth - residual)


def _corrected(base: Prediction, raw: torch.Tensor) -> Prediction:
    return base.corrected(BOUND * torch.tanh(raw), raw)


def _figures(prediction: Prediction, batch: dict) -> dict[str, float]:
    found = CorrectionDiagnostics(DiagnosticsOptions())(prediction, batch)
    assert list(found) == diagnostic_names(DiagnosticsOptions())
    means = {name.split("/")[0]: (total / count).item() for name, (total, count) in found.items() if count.sum() > 0}
    return {name: means.get(name, float("nan")) for name in DIAGNOSTICS}


def _everywhere() -> torch.Tensor:
    return torch.ones(SHAPE, dtype=torch.bool)


def _residual(seed=0) -> torch.Tensor:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(seed)) * 3.2 - 1.6


def test_a_perfect_correction_is_healthy_in_every_figure():
    residual = _residual()
    batch, base = _scene(residual, _everywhere())
    figures = _figures(_corrected(base, torch.atanh(residual / BOUND)), batch)
    assert figures["sat95"] == 0
    assert figures["slope"] > 0.5
    assert figures["spread"] == pytest.approx(1, abs=1e-4)
    assert figures["fit"] == pytest.approx(1, abs=1e-4)
    assert figures["gain"] == pytest.approx(1, abs=1e-4)
    assert figures["raw_q99"] < 2.6


def test_a_saturated_constant_shows_in_saturation_slope_and_spread():
    batch, base = _scene(_residual(), _everywhere())
    figures = _figures(_corrected(base, torch.full(SHAPE, 5.0)), batch)
    assert figures["sat95"] == 1
    assert figures["slope"] < 0.001
    assert figures["spread"] == pytest.approx(0, abs=1e-4)
    assert np.isnan(figures["fit"])
    assert figures["gain"] < 0
    assert figures["raw_median"] == figures["raw_q99"] == 5


def test_a_constant_that_does_not_saturate_is_caught_by_its_spread_alone():
    batch, base = _scene(_residual(), _everywhere())
    figures = _figures(_corrected(base, torch.full(SHAPE, 0.3)), batch)
    assert figures["sat95"] == 0
    assert figures["slope"] > 0.5
    assert figures["spread"] == pytest.approx(0, abs=1e-4)


def test_a_fresh_module_has_no_spread_and_no_gain():
    batch, base = _scene(_residual(), _everywhere())
    figures = _figures(_corrected(base, torch.zeros(SHAPE)), batch)
    assert (figures["sat95"], figures["slope"], figures["spread"], figures["gain"]) == (0, 1, 0, 0)
    assert np.isnan(figures["fit"])


def test_the_figures_agree_with_numpy_on_a_random_case():
    residual = 4 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))
    raw = 2 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(4))
    transparent = torch.rand(SHAPE, generator=torch.Generator().manual_seed(5)) > 0.5
    batch, base = _scene(residual, transparent)
    figures = _figures(_corrected(base, raw), batch)

    chosen = transparent.numpy()
    r, z = residual.double().numpy()[chosen], raw.double().numpy()[chosen]
    c, clipped = BOUND * np.tanh(z), np.clip(r, -BOUND, BOUND)
    before, after, floor = abs(r).mean(), abs(r - c).mean(), np.maximum(abs(r) - BOUND, 0).mean()
    outside = ~chosen & (abs(residual.numpy()) < 0.5)
    good = residual.double().numpy()[outside]
    growth = abs(good - BOUND * np.tanh(raw.double().numpy()[outside])).mean() - abs(good).mean()
    expected = {
        "sat95": (abs(np.tanh(z)) > 0.95).mean(),
        "slope": (1 - np.tanh(z) ** 2).mean(),
        "raw_median": np.median(abs(z)),
        "raw_q95": np.quantile(abs(z), 0.95),
        "raw_q99": np.quantile(abs(z), 0.99),
        "spread": c.std() / clipped.std(),
        "fit": np.corrcoef(c, clipped)[0, 1],
        "gain": (before - after) / (before - floor),
        "harm": growth / abs(good).mean(),
        "harm_px": growth,
    }
    assert figures == pytest.approx(expected, abs=1e-3)


def test_spread_and_fit_are_taken_within_each_image():
    # Two images, each answered by its own constant: across both it looks informed, within each it is blind.
    residual = torch.cat((_residual(0) + 1, _residual(1) - 1))
    batch, base = _scene(residual, torch.ones_like(residual, dtype=torch.bool))
    raw = torch.tensor([0.5, -0.5]).reshape(2, 1, 1, 1).expand_as(residual)
    found = CorrectionDiagnostics(DiagnosticsOptions())(_corrected(base, raw), batch)
    assert torch.allclose(found["spread/transparent"][0], torch.zeros(2), atol=1e-4)
    assert found["fit/transparent"][1].tolist() == [0, 0]


def test_occluded_and_out_of_view_pixels_are_not_judged():
    residual = _residual()
    batch, base = _scene(residual, _everywhere())
    raw = torch.atanh(residual / BOUND)
    raw[..., :10], raw[..., 30:] = 9.0, 9.0
    batch["occluded"] = torch.zeros(SHAPE, dtype=torch.bool)
    batch["occluded"][..., :10] = True
    batch["disparity"][..., 30:] = -30.0
    base.value[..., 30:] = -30.0
    assert _figures(_corrected(base, raw), batch)["sat95"] == 0


def test_without_a_correction_nothing_is_defined():
    batch, base = _scene(_residual(), _everywhere())
    for total, count in CorrectionDiagnostics(DiagnosticsOptions())(base, batch).values():
        assert total.tolist() == count.tolist() == [0]


def test_a_region_that_the_data_does_not_mark_means_all_valid_pixels():
    residual = _residual()
    raw = torch.atanh(residual / BOUND)
    marked, base = _scene(residual, _everywhere())
    unmarked, _ = _scene(residual)
    with_mask, without = (_figures(_corrected(base, raw), batch) for batch in (marked, unmarked))
    assert with_mask == pytest.approx(without, nan_ok=True)
    assert np.isnan(without["harm"])


def test_an_empty_region_and_pixels_that_are_not_finite_leave_no_figure():
    batch, base = _scene(_residual(), ~_everywhere())
    figures = _figures(_corrected(base, torch.zeros(SHAPE)), batch)
    assert all(np.isnan(figures[name]) for name in DIAGNOSTICS if not name.startswith("harm"))
    broken = Prediction(torch.full(SHAPE, torch.nan))
    assert all(np.isnan(value) for value in _figures(_corrected(broken, torch.zeros(SHAPE)), batch).values())
