import pytest
import torch
from engine_stereo.masked import masked_quantiles, masked_sum, region_mask
from engine_stereo.regions import parse_region
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InputError


def _batch(**masks: list[bool]) -> dict:
    return {name: torch.tensor(values).reshape(1, 1, 1, -1) for name, values in masks.items()}


MASKS = {
    "valid": [True, True, True, True, False],
    "occluded": [False, True, False, True, False],
    "transparent": [True, True, False, False, True],
}


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        ("all", [1, 1, 1, 1, 0]),
        ("noc", [1, 0, 1, 0, 0]),
        ("occ", [0, 1, 0, 1, 0]),
        ("~occ", [1, 0, 1, 0, 0]),
        ("transparent", [1, 1, 0, 0, 0]),
        ("transparent&noc", [1, 0, 0, 0, 0]),
        ("~transparent", [0, 0, 1, 1, 0]),
        ("opaque", [0, 0, 1, 0, 0]),
        ("~transparent&~noc", [0, 0, 0, 1, 0]),
    ],
)
def test_a_region_is_the_valid_pixels_that_meet_all_its_conditions(region, expected):
    assert region_mask(region, _batch(**MASKS)).flatten().tolist() == [bool(value) for value in expected]


def test_a_region_whose_mask_the_batch_lacks_is_not_defined():
    assert region_mask("noc", _batch(valid=[True])) is None
    assert region_mask("~transparent", _batch(valid=[True])) is None
    assert region_mask("all", _batch(valid=[True])) is not None


@pytest.mark.parametrize("region", ["", "&", "a&", "a|b", "a b", "!a", "~~a", "1a", "a & b"])
def test_what_is_no_region_is_refused(region):
    with pytest.raises(ValueError, match="is not a region"):
        parse_region(region)


@pytest.mark.parametrize("region", ["~all", "~opaque"])
def test_the_negation_of_a_conjunction_is_refused(region):
    with pytest.raises(ValueError, match="no conjunction"):
        parse_region(region)


def test_a_field_that_is_no_mask_is_refused_with_the_masks_there_are():
    batch = _batch(**MASKS) | {"left": torch.zeros(1, 3, 1, 5)}
    with pytest.raises(InputError, match=r"'left', which is no mask; masks are occluded, transparent, valid"):
        region_mask("left", batch)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=20), st.floats(0, 1))
def test_quantiles_agree_with_torch(values, probability):
    samples = torch.tensor([values])
    found = masked_quantiles(samples, torch.ones_like(samples, dtype=torch.bool), [probability])[0, 0]
    assert torch.allclose(found, torch.quantile(samples[0].double(), probability).float(), rtol=1e-4, atol=1e-4)


def test_quantiles_see_only_the_mask_and_place_infinity_last():
    values = torch.tensor([[1.0, torch.inf, 2.0, torch.nan], [5.0, 5.0, 5.0, 5.0]])
    mask = torch.tensor([[True, True, True, False], [False] * 4])
    found = masked_quantiles(values, mask, [0.0, 0.5, 0.75, 1.0])
    assert found[0].tolist() == [1.0, 2.0, torch.inf, torch.inf]
    assert found[1].isnan().all()


def test_sums_ignore_what_lies_outside_the_mask():
    values = torch.tensor([[1.0, torch.nan, torch.inf]])
    assert masked_sum(values, torch.tensor([[True, False, False]])).tolist() == [1.0]
