import numpy as np
import pytest
import torch
from engine_stereo.metrics import DisparityError
from engine_stereo.options import ErrorOptions, error_names
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.prediction import Prediction

EVERYTHING = ["epe", "bad", "d1", "a50", "a90", "a95", "a99", "rmse", "bias"]


def _measure(value, truth, masks=None, **options) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    batch = {"disparity": truth, "valid": torch.ones_like(truth, dtype=torch.bool)} | (masks or {})
    return dict(DisparityError(ErrorOptions(**options))(Prediction(value), batch))


def _mean(figure) -> float:
    return (figure[0].sum() / figure[1].sum()).item()


def test_a_constant_offset_of_three_px_is_not_bad_at_three_but_a_bit_more_is():
    # Whole numbers and a truth of 0 keep the arithmetic exact, so that "strictly more" can be seen.
    whole = torch.arange(24.0).reshape(1, 1, 4, 6)
    exact = _measure(whole + 3, whole, quantities=EVERYTHING, taus=[1, 3])
    assert _mean(exact["bad3/all"]) == 0
    assert _mean(exact["bad1/all"]) == 100
    for name in ("epe", "rmse", "bias", "a50", "a99"):
        assert _mean(exact[f"{name}/all"]) == pytest.approx(3)
    above = _measure(torch.full_like(whole, 3.01), torch.zeros_like(whole), quantities=["bad"], taus=[3])
    assert _mean(above["bad3/all"]) == 100


def test_d1_asks_for_both_three_px_and_five_percent():
    truth = torch.tensor([10.0, 100.0, 100.0, 10.0, -100.0, 0.0]).reshape(1, 1, 1, 6)
    error = torch.tensor([4.0, 4.0, 6.0, 2.0, 4.0, 4.0]).reshape(1, 1, 1, 6)
    assert _mean(_measure(truth + error, truth, quantities=["d1"])["d1/all"]) == pytest.approx(100 * 3 / 6)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from(["all", "noc", "transparent&noc", "~transparent"]))
def test_every_figure_agrees_with_a_loop_over_samples(seed, region):
    rng = np.random.default_rng(seed)
    shape = (3, 1, 5, 7)
    truth, value = rng.uniform(0, 60, shape).astype("f"), rng.uniform(0, 60, shape).astype("f")
    valid, occluded, transparent = (rng.random(shape) < p for p in (0.8, 0.3, 0.5))
    batch = {"disparity": truth, "valid": valid, "occluded": occluded, "transparent": transparent}
    metric = DisparityError(ErrorOptions(regions=[region], quantities=EVERYTHING, taus=[2.0]))
    figures = metric(Prediction(torch.from_numpy(value)), {k: torch.from_numpy(v) for k, v in batch.items()})

    chosen = {
        "all": valid,
        "noc": valid & ~occluded,
        "transparent&noc": valid & transparent & ~occluded,
        "~transparent": valid & ~transparent,
    }[region]
    for sample in range(3):
        d = value[sample][chosen[sample]].astype("f8") - truth[sample][chosen[sample]]
        expected = {f"nonfinite/{region}": 0.0}
        if d.size:
            e, t = abs(d), truth[sample][chosen[sample]]
            expected |= {
                f"epe/{region}": e.mean(),
                f"bias/{region}": d.mean(),
                f"rmse/{region}": np.sqrt((e**2).mean()),
                f"bad2/{region}": 100 * (e > 2).mean(),
                f"d1/{region}": 100 * ((e > 3) & (e / t > 0.05)).mean(),
            } | {f"a{q}/{region}": np.quantile(e, q / 100) for q in (50, 90, 95, 99)}
        for name, value_expected in expected.items():
            total, count = figures[name]
            if d.size:
                assert (total[sample] / count[sample]).item() == pytest.approx(value_expected, rel=1e-3, abs=1e-3)
            else:
                assert (total[sample].item(), count[sample].item()) == (0, 0)


def test_a_sample_without_pixels_is_skipped_and_never_perfect():
    truth = torch.zeros(2, 1, 2, 2)
    valid = torch.ones_like(truth, dtype=torch.bool)
    valid[1] = False
    figures = _measure(truth + 1, truth, {"valid": valid}, quantities=EVERYTHING)
    for total, count in figures.values():
        assert count[0] > 0
        assert (total[1].item(), count[1].item()) == (0, 0)


def test_a_region_without_its_mask_is_skipped():
    truth = torch.zeros(1, 1, 2, 2)
    figures = _measure(truth, truth, regions=["all", "noc", "transparent"])
    assert {name: count.item() for name, (_, count) in figures.items() if "epe" in name} == {
        "epe/all": 4,
        "epe/noc": 0,
        "epe/transparent": 0,
    }


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
def test_an_estimate_that_is_not_finite_counts_as_an_error(wrong):
    truth = torch.zeros(1, 1, 1, 4)
    value = torch.tensor([0.0, 0.0, 0.0, wrong]).reshape(1, 1, 1, 4)
    figures = _measure(value, truth, quantities=EVERYTHING, taus=[2])
    assert _mean(figures["nonfinite/all"]) == 25
    assert _mean(figures["bad2/all"]) == 25
    assert _mean(figures["epe/all"]) == torch.inf
    assert _mean(figures["a50/all"]) == 0
    assert _mean(figures["a99/all"]) == torch.inf
    valid = torch.tensor([True, True, True, False]).reshape(1, 1, 1, 4)
    outside = _measure(value, truth, {"valid": valid}, quantities=EVERYTHING)
    assert _mean(outside["epe/all"]) == 0
    assert _mean(outside["nonfinite/all"]) == 0


def test_the_names_are_those_that_are_produced():
    options = ErrorOptions(regions=["all", "transparent&noc"], quantities=["epe", "bad", "a90"], taus=[0.5, 2])
    truth = torch.zeros(1, 1, 2, 2)
    masks = {name: truth.bool() for name in ("transparent", "occluded")}
    produced = list(_measure(truth, truth, masks, **options.model_dump()))
    assert produced == error_names(options)
    assert "bad0.5/transparent&noc" in produced


@pytest.mark.parametrize(
    "options", [{"regions": ["a|b"]}, {"regions": []}, {"quantities": ["mae"]}, {"taus": [0]}, {"tau": [1]}]
)
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(ValidationError):
        ErrorOptions(**options)
