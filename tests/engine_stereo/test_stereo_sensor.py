import numpy as np
from engine_stereo.sensor import display, expose, intensities, stokes


def light(value: float = 0.3, q: float = 0.2, u: float = -0.1) -> tuple[np.ndarray, np.ndarray]:
    rgb = np.full((3, 100, 100), value, dtype=np.float32)
    return rgb, np.stack([np.full((100, 100), q), np.full((100, 100), u)]).astype(np.float32)


def test_the_redundant_pairs_agree_before_noise() -> None:
    i = intensities(*light())
    np.testing.assert_allclose(i[0] + i[2], i[1] + i[3], rtol=1e-6)


def test_without_noise_the_light_comes_back() -> None:
    rgb, qu = light()
    again, polarization = expose(rgb, qu, 0, 0, np.random.default_rng(0))
    np.testing.assert_allclose(again, rgb, rtol=1e-5)
    np.testing.assert_allclose(polarization, qu, atol=1e-6)


def test_noise_is_unbiased_and_as_large_as_promised() -> None:
    rgb, qu = light()
    noisy, polarization = expose(rgb, qu, 0.02, 0.0, np.random.default_rng(1))
    assert abs(noisy.mean() - 0.3) < 4 * 0.01 / np.sqrt(noisy.size)
    # S0 is the mean of four intensities.
    assert abs(noisy.std() / 0.01 - 1) < 0.03
    np.testing.assert_allclose(polarization.mean((1, 2)), qu[:, 0, 0], atol=0.003)


def test_shot_noise_grows_with_the_root_of_the_light() -> None:
    spreads = [expose(*light(v, 0, 0), 0.0, 0.02, np.random.default_rng(2))[0].std() for v in (0.1, 0.4)]
    assert abs(spreads[1] / spreads[0] - 2) < 0.06


def test_polarisation_is_at_most_complete_and_fades_in_the_dark() -> None:
    i = np.zeros((4, 3, 2, 2), dtype=np.float32)
    assert (stokes(i)[1] == 0).all()
    i[0] = 1
    assert np.hypot(*stokes(i)[1]).max() <= 1 + 1e-6


def test_the_picture_follows_the_srgb_curve() -> None:
    linear = np.array([0, 0.0031308, 0.2140, 1, 7], dtype=np.float32)
    np.testing.assert_allclose(display(linear), [0, 10.3, 127.5, 255, 255], atol=0.1)
