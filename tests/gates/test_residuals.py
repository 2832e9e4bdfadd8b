from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.errors import InputError
from engine.gates.residuals import KEPT_PIXELS, Residuals, border_of, collect
from engine.gates.strata import strata_rows
from engine.prediction import Prediction

from .made import PIXELS, SIDE, FakeContext, injection, laplace, residuals


def test_the_residual_is_target_minus_base_where_a_correction_was_added(tmp_path) -> None:
    context = FakeContext(tmp_path, lambda rng, n: np.full(n, 0.5), count=6)
    found = collect(context.predictions(), target="depth")
    assert len(found.images) == 6
    assert found.scene_of().tolist() == [0, 0, 1, 1, 2, 2]
    for image in found.images:
        np.testing.assert_allclose(image.signed, 0.5, atol=1e-5)
        assert image.pixels == PIXELS


def test_region_and_correctable_limit_the_pixels(tmp_path) -> None:
    context = FakeContext(tmp_path, laplace(1.0), count=2)

    def upper_half(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        mask = torch.zeros_like(batch["valid"])
        mask[..., : 3 * SIDE // 4, :] = True
        return mask

    inner = collect(context.predictions(), target="depth", region="glass", injection=injection(1.0))
    both = collect(
        context.predictions(), target="depth", region="glass", injection=injection(1.0, correctable=upper_half)
    )
    assert inner.images[0].pixels == SIDE * (SIDE - 4)
    assert both.images[0].pixels == (3 * SIDE // 4) * (SIDE - 4)


def test_only_as_many_images_as_wanted_are_read(tmp_path) -> None:
    context = FakeContext(tmp_path, laplace(1.0), count=40)
    assert len(collect(context.predictions(), target="depth", images=6).images) == 6
    assert context.read == 8


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"target": "dept"}, "no field 'dept'.*Did you mean 'depth'"),
        ({"target": "depth", "region": "glas"}, "no field 'glas'.*Did you mean 'glass'"),
        ({"target": "depth", "region": "weight"}, "'weight' is float32; expected a boolean mask"),
        ({"target": "depth", "strata": ["metal"]}, "no field 'metal'"),
    ],
)
def test_a_field_that_is_wrong_is_named(tmp_path, arguments, words) -> None:
    with pytest.raises(InputError, match=words):
        collect(FakeContext(tmp_path, laplace(1.0)).predictions(), **arguments)


def test_several_channels_or_sizes_are_refused() -> None:
    two = torch.zeros(1, 2, SIDE, SIDE)
    valid = torch.ones(1, 1, SIDE, SIDE, dtype=torch.bool)
    with pytest.raises(InputError, match=r"measures maps, and field .flow. has shape \(1, 2, "):
        collect([({"flow": two, "valid": valid}, Prediction(two))], target="flow")
    with pytest.raises(InputError, match="the base answers with shape"):
        collect([({"depth": two[:, :1], "valid": valid}, Prediction(two))], target="depth")


def test_a_target_that_is_not_finite_where_valid_is_the_datas_fault() -> None:
    target = np.zeros((SIDE, SIDE), dtype=np.float32)
    target[0, :3] = np.inf
    with pytest.raises(InputError, match="not finite at 3 pixels"):
        Residuals().add(target, np.zeros_like(target), np.ones_like(target, dtype=bool))


def test_what_lies_outside_the_mask_may_be_anything() -> None:
    target = np.full((SIDE, SIDE), np.nan, dtype=np.float32)
    target[4:] = 1.0
    found = Residuals()
    found.add(target, np.full_like(target, 0.25), np.isfinite(target))
    assert set(found.images[0].signed.tolist()) == {0.75}


def test_half_precision_predictions_are_read() -> None:
    value = torch.full((1, 1, SIDE, SIDE), 2.0)
    batch = {"depth": value + 1, "valid": torch.ones(1, 1, SIDE, SIDE, dtype=torch.bool)}
    found = collect([(batch, Prediction(value.to(torch.bfloat16).requires_grad_()))], target="depth")
    assert found.images[0].signed.max() == 1.0
    assert not found.scenes_known


def test_large_images_are_thinned_the_same_way_every_time() -> None:
    signed = np.random.default_rng(0).laplace(0, 1, 3 * KEPT_PIXELS)
    one, other = residuals([signed]).images[0], residuals([signed]).images[0]
    assert one.signed.size == KEPT_PIXELS
    assert one.pixels == 3 * KEPT_PIXELS
    np.testing.assert_array_equal(one.signed, other.signed)
    assert np.mean(np.abs(one.signed) < 1) == pytest.approx(np.mean(np.abs(signed) < 1), abs=0.01)


def test_the_border_is_the_outer_tenth() -> None:
    border = border_of(20, 40)
    assert border.sum() == 20 * 40 - 16 * 32
    assert not border[2:18, 4:36].any()


def test_strata_tell_where_the_base_errs(tmp_path) -> None:
    rng = np.random.default_rng(0)
    found = Residuals()
    target = rng.uniform(0, 3, (40, 40)).astype(np.float32)
    right = np.broadcast_to(np.arange(40) >= 20, (40, 40))
    base = target - np.where(right, 2.0, -0.5).astype(np.float32)
    found.add(target, base, np.ones((40, 40), bool), strata={"glass": right}, confidence=np.where(right, 0.2, 0.95))
    rows = {row.name: row for row in strata_rows(found.images, 1.0)}
    assert (rows["glass"].pixels, rows["glass"].coverage) == (800, 0.0)
    assert rows["glass"].error == pytest.approx(2.0, abs=1e-6)
    assert rows["confidence < 0.5"].bias == pytest.approx(2.0, abs=1e-6)
    assert rows["confidence >= 0.9"].bias == pytest.approx(-0.5, abs=1e-6)
    assert "confidence 0.5 to 0.9" not in rows, "a kind of pixel that does not occur has no row"
    thirds = [row for name, row in rows.items() if name.startswith("target")]
    assert len(thirds) == 3
    assert sum(row.pixels for row in thirds) == 1600
    assert "image border" in rows


def test_a_target_of_one_value_has_no_thirds() -> None:
    names = [row.name for row in strata_rows(residuals([np.ones(PIXELS)]).images, 1.0)]
    assert sum(name.startswith("target") for name in names) == 1
    assert strata_rows([], 1.0) == ()
