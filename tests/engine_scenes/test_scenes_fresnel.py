import math

import pytest
import torch
from engine_scenes.fresnel import (
    Stokes,
    fresnel,
    reflected_direction,
    reflection,
    refracted_direction,
    rotated,
    slab,
    through,
    transmission,
    unpolarized_through,
)
from engine_scenes.vectors import cross, dot, normalized
from hypothesis import given, settings
from hypothesis import strategies as st

ANGLES = torch.linspace(0.01, 1.55, 200, dtype=torch.float64)
indices = st.floats(1.1, 2.5)
angles = st.floats(-math.pi, math.pi)


def axis(angle: float) -> torch.Tensor:
    """A direction across the travel direction z, `angle` counter-clockwise from x as seen by who looks at the light."""
    return torch.tensor([[math.cos(angle)], [math.sin(angle)], [0.0]], dtype=torch.float64)


TRAVEL = torch.tensor([[0.0], [0.0], [1.0]], dtype=torch.float64)


@given(indices)
@settings(deadline=None, max_examples=25)
def test_reflection_is_fully_s_polarised_at_brewsters_angle(n: float) -> None:
    brewster = torch.tensor([math.atan(n)], dtype=torch.float64)
    light = unpolarized_through(reflection(fresnel(brewster.cos(), n)))
    assert float(light.s1 / light.s0) == pytest.approx(1, abs=1e-9)


@given(indices)
@settings(deadline=None, max_examples=25)
def test_polarisation_follows_the_closed_forms(n: float) -> None:
    f = fresnel(ANGLES.cos(), n)
    ct = (1 - (ANGLES.sin() / n) ** 2).sqrt()
    rs = ((ANGLES.cos() - n * ct) / (ANGLES.cos() + n * ct)) ** 2
    rp = ((n * ANGLES.cos() - ct) / (n * ANGLES.cos() + ct)) ** 2
    mirrored, passed = unpolarized_through(reflection(f)), unpolarized_through(transmission(f))
    torch.testing.assert_close(mirrored.s1 / mirrored.s0, (rs - rp) / (rs + rp))
    torch.testing.assert_close(passed.s1 / passed.s0, -(rs - rp) / (2 - rs - rp))


@pytest.mark.parametrize("n", [1.33, 1.5, 1 / 1.5])
def test_what_is_not_reflected_is_transmitted(n: float) -> None:
    f = fresnel(ANGLES.cos(), n)
    sheet_back, sheet_on = slab(f)
    for back, on in ((reflection(f), transmission(f)), (sheet_back, sheet_on)):
        torch.testing.assert_close(back.a + on.a, torch.ones_like(ANGLES))
        torch.testing.assert_close(back.b + on.b, torch.zeros_like(ANGLES))


def test_a_thin_sheet_sums_all_orders_of_reflection() -> None:
    f = fresnel(ANGLES.cos(), 1.5)
    r, t = f.rs, 1 - f.rs
    series = r + sum(t * t * r ** (2 * k + 1) for k in range(400))
    back, on = slab(f)
    torch.testing.assert_close(back.a + back.b, series, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(on.a + on.b, (1 - r) / (1 + r))


def test_total_reflection_loses_nothing_and_retards_as_the_textbook_says() -> None:
    n = 1.5
    angle = torch.linspace(math.asin(1 / n) + 1e-3, 1.55, 100, dtype=torch.float64)
    f = fresnel(angle.cos(), 1 / n)
    assert bool((f.rs == 1).all() and (f.rp == 1).all())
    # Born and Wolf 1.5.4 (60): tan(delta / 2) = cos i sqrt(sin^2 i - n^2) / sin^2 i, n the relative index.
    half = torch.atan(angle.cos() * (angle.sin() ** 2 - 1 / n**2).sqrt() / angle.sin() ** 2)
    torch.testing.assert_close(f.real, torch.cos(2 * half))
    torch.testing.assert_close(f.imag.abs(), torch.sin(2 * half).abs())


def test_reflection_changes_continuously_into_total_reflection() -> None:
    critical = math.asin(1 / 1.5)
    f = fresnel(torch.tensor([critical - 1e-9, critical + 1e-9], dtype=torch.float64).cos(), 1 / 1.5)
    for value in (f.rs, f.rp, f.real, f.imag):
        assert float((value[0] - value[1]).abs()) < 1e-3


@given(angles, angles, angles, st.floats(0.1, 1.5), indices)
@settings(deadline=None, max_examples=50)
def test_a_turned_frame_describes_the_same_light(a: float, b: float, c: float, incidence: float, n: float) -> None:
    f = fresnel(torch.tensor([incidence], dtype=torch.float64).cos(), n)
    light = unpolarized_through(transmission(f))
    direct = rotated(light, axis(a), axis(c), TRAVEL)
    detour = rotated(rotated(light, axis(a), axis(b), TRAVEL), axis(b), axis(c), TRAVEL)
    for one, other in zip(direct, detour, strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(torch.hypot(direct.s1, direct.s2), light.s1.abs())


@given(angles)
@settings(deadline=None, max_examples=25)
def test_a_camera_rolled_by_an_angle_sees_the_light_turned_back_by_it(roll: float) -> None:
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    seen = rotated(Stokes(one, one, zero, zero), axis(0), axis(roll), TRAVEL)
    torch.testing.assert_close(seen.s1, torch.tensor([math.cos(-2 * roll)], dtype=torch.float64))
    torch.testing.assert_close(seen.s2, torch.tensor([math.sin(-2 * roll)], dtype=torch.float64))


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1), st.floats(0.05, 1.5), st.booleans())
@settings(deadline=None, max_examples=50)
def test_no_surface_polarises_beyond_full_polarisation(x: float, y: float, z: float, angle: float, out: bool) -> None:
    v = torch.tensor([x, y, z], dtype=torch.float64)
    v = v / max(1.0, float(v.norm()))
    light = Stokes(torch.ones(1, dtype=torch.float64), *v[:, None])
    f = fresnel(torch.tensor([angle], dtype=torch.float64).cos(), 1 / 1.5 if out else 1.5)
    for m in (reflection(f), transmission(f), *slab(f)):
        s = through(m, light)
        assert float(s.s0) + 1e-9 >= math.sqrt(float(s.s1) ** 2 + float(s.s2) ** 2 + float(s.s3) ** 2)


@given(st.floats(-1.4, 1.4), st.floats(-math.pi, math.pi), indices)
@settings(deadline=None, max_examples=40)
def test_rays_obey_snell_and_stay_in_the_plane_of_incidence(angle: float, turn: float, n: float) -> None:
    normal = TRAVEL
    d = torch.tensor(
        [[math.sin(angle) * math.cos(turn)], [math.sin(angle) * math.sin(turn)], [-math.cos(angle)]],
        dtype=torch.float64,
    )
    f = fresnel(-dot(normal, d), n)
    inside = refracted_direction(d, normal, -dot(normal, d), f.cos_t, n)
    torch.testing.assert_close(dot(inside, inside), torch.ones(1, dtype=torch.float64))
    torch.testing.assert_close(n * cross(normal, inside), cross(normal, d))
    mirrored = reflected_direction(d, normal)
    torch.testing.assert_close(dot(mirrored, normal), -dot(d, normal))
    torch.testing.assert_close(dot(normalized(d), normalized(d)), torch.ones(1, dtype=torch.float64))
