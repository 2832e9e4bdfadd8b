"""Large pictures answered band by band: what is cut, how the answers are blended, and what is left of the seams."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InputError, PluginError
from engine.prediction import Batch, Prediction
from engine.training.tiling import Bands, in_bands


def picture(height: int) -> Batch:
    numbers = torch.Generator().manual_seed(0)
    return {"image": torch.rand(1, 3, height, 5, generator=numbers), "focal": torch.ones(1), "id": ["one"]}


def by_pixel(batch: Batch) -> Prediction:
    """An answer to each pixel alone, which knows no seams, with every part that a prediction can have."""
    base = Prediction(
        batch["image"][:, :1], confidence=batch["image"][:, 1:2], features={"more": torch.ones(1, 1, 1, 1)}
    )
    return base.corrected(batch["image"][:, 2:] - 0.5, batch["image"][:, 2:])


def by_rows(batch: Batch) -> Prediction:
    """An answer that sees three rows, and zeros beyond the picture's edge."""
    return Prediction(torch.nn.functional.avg_pool2d(batch["image"][:, :1], (3, 1), 1, (1, 0)))


@given(height=st.integers(1, 200), rows=st.integers(1, 60), overlap=st.integers(0, 59))
def test_bands_cover_every_row_and_share_what_they_should(height: int, rows: int, overlap: int) -> None:
    if overlap >= rows:
        with pytest.raises(InputError, match=rf"bands of {rows} rows cannot share {overlap}"):
            Bands(rows, overlap)
        return
    places = Bands(rows, overlap).of(height)
    assert places[0].start == 0
    assert places[-1].stop == height
    assert {place.stop - place.start for place in places} == {min(rows, height)}
    for above, below in pairwise(places):
        assert above.start < below.start
        assert above.stop - below.start >= overlap


@pytest.mark.parametrize(("rows", "overlap"), [(7, 0), (7, 3), (16, 15), (40, 1)])
def test_what_is_answered_pixel_by_pixel_has_no_seams(rows: int, overlap: int) -> None:
    batch = picture(33)
    whole, (banded, seam) = by_pixel(batch), in_bands(by_pixel, batch, Bands(rows, overlap))
    assert banded.base is not None
    assert banded.confidence is not None
    for part in ("value", "confidence", "correction", "raw"):
        torch.testing.assert_close(getattr(banded, part), getattr(whole, part))
    torch.testing.assert_close(banded.value, banded.base.value + banded.correction)
    assert seam == (pytest.approx(0, abs=1e-6) if rows < 33 else None)


def test_an_overlap_takes_most_of_a_seam_away() -> None:
    batch = picture(32)
    whole = by_rows(batch).value
    apart, shared = (in_bands(by_rows, batch, Bands(16, overlap)) for overlap in (0, 8))
    hard, soft = ((prediction.value - whole).abs().amax((0, 1, 3)) for prediction, _ in (apart, shared))
    assert apart[1] is None, "these bands share no row"
    assert hard.nonzero().flatten().tolist() == [15, 16], "the edges of two bands see zeros in place of each other"
    assert 0 < soft.max() < hard.max() / 8


def test_a_picture_of_one_band_is_answered_as_it_is() -> None:
    batch = picture(12)
    asked: list[Batch] = []

    def answer(batch: Batch) -> Prediction:
        asked.append(batch)
        return by_pixel(batch)

    prediction, seam = in_bands(answer, batch, Bands(12, 4))
    assert prediction.features
    assert seam is None
    assert asked[0] is batch
    in_bands(answer, batch, Bands(8, 4))
    assert [each["image"].shape[-2] for each in asked[1:]] == [8, 8]
    assert all(each["focal"] is batch["focal"] and each["id"] == ["one"] for each in asked)


def test_it_is_told_how_much_bands_differ_where_they_overlap() -> None:
    batch, number = picture(20), 0

    def counted(batch: Batch) -> Prediction:
        nonlocal number
        number += 1
        return Prediction(torch.full_like(batch["image"][:, :1], 3.0 * number))

    prediction, seam = in_bands(counted, batch, Bands(12, 4))
    assert seam == pytest.approx(3.0)
    assert prediction.value[0, 0, :, 0].tolist() == pytest.approx([3.0] * 8 + [3.375, 4.125, 4.875, 5.625] + [6.0] * 8)


def test_an_answer_of_another_height_is_refused() -> None:
    def halved(batch: Batch) -> Prediction:
        return Prediction(batch["image"][:, :1, ::2])

    with pytest.raises(PluginError, match=r"the answer to 8 rows has a value of the shape \(1, 1, 4, 5\)"):
        in_bands(halved, picture(12), Bands(8, 2))
