import dataclasses
import math

import numpy as np
import pytest
import torch
from engine_scenes.glass import glass_paths
from engine_scenes.pairs import ground_truth, render_pair
from engine_scenes.scene import Camera, Scene, Surface, random_scene
from engine_scenes.shapes import Box, Ellipsoid, Rectangle
from engine_scenes.trace import camera_rays, first_hits
from engine_scenes.vectors import cross, dot, normalized
from hypothesis import given, settings
from hypothesis import strategies as st


def warped(right: np.ndarray, disparity: np.ndarray) -> np.ndarray:
    """The right image (C, H, W) read at x - disparity, linearly."""
    width = right.shape[-1]
    x = np.clip(np.arange(width)[None] - disparity, 0, width - 1)
    low = np.minimum(np.floor(x).astype(int), width - 2)
    rows = np.arange(right.shape[-2])[:, None]
    return right[:, rows, low] + (x - low) * (right[:, rows, low + 1] - right[:, rows, low])


def matte(scene: Scene) -> Scene:
    """The same scene without anything that looks different from two sides."""
    return dataclasses.replace(scene, surfaces=[dataclasses.replace(s, gloss=0.0) for s in scene.surfaces])


@pytest.fixture(scope="module")
def opaque_scenes() -> list[Scene]:
    return [random_scene(3, "test", k, 96, 120, transparent=False) for k in range(4)]


def column(*xyz: float) -> torch.Tensor:
    return torch.tensor(xyz, dtype=torch.float32)[:, None]


def test_the_right_view_read_at_the_true_disparity_gives_the_left_view(opaque_scenes: list[Scene]) -> None:
    for scene in opaque_scenes:
        pair = render_pair(matte(scene))
        truth = pair.truth
        left, right = pair.light[0:3].astype(np.float32), pair.light[5:8].astype(np.float32)
        disparity = truth.disparity.numpy()
        steep = np.hypot(*np.gradient(disparity)) > 0.5
        use = ~truth.occluded.numpy() & ~steep
        use[:, :2] = use[:, -2:] = False

        def residual(shift: float, left=left, right=right, disparity=disparity, use=use) -> float:
            return float(np.abs(left - warped(right, disparity + shift))[:, use].mean())

        shifts = np.array([-0.5, -0.25, 0, 0.25, 0.5])
        cost = [residual(s) for s in shifts]
        assert cost[2] == min(cost)
        assert cost[2] < 0.6 * min(cost[0], cost[4])
        assert cost[2] < 0.05 * left.mean()
        curve = np.polyfit(shifts, np.square(cost), 2)
        assert abs(-curve[1] / (2 * curve[0])) < 0.03


def test_occlusion_agrees_with_looking_forward_and_back(opaque_scenes: list[Scene]) -> None:
    agreement = []
    for scene in [*opaque_scenes, random_scene(3, "test", 9, 96, 120)]:
        truth = ground_truth(scene)
        other = dataclasses.replace(scene, camera=scene.camera.shifted(scene.baseline))
        right = ground_truth(other).disparity.numpy()
        disparity = truth.disparity.numpy()
        width = disparity.shape[1]
        landing = np.arange(width)[None] - disparity
        column_there = np.clip(np.rint(landing).astype(int), 0, width - 1)
        there = right[np.arange(len(right))[:, None], column_there]
        lost = (landing < -0.5) | (there - disparity > 1)
        agreement.append((lost == truth.occluded.numpy()).mean())
    assert np.mean(agreement) >= 0.99


def test_disparity_on_a_sphere_is_that_of_its_front() -> None:
    base = random_scene(0, "train", 0, 64, 80)
    axes = torch.eye(3)
    camera = Camera(column(0, 0, 0.4), axes[:, :1], axes[:, 2:], axes[:, 1:2], 80.0, 64, 80)
    sphere = Ellipsoid(torch.tensor([0.0, 1.0, 0.4]), axes, torch.full((3,), 0.2))
    ball = dataclasses.replace(base.surfaces[-1], shape=sphere, glass="solid")
    scene = dataclasses.replace(base, surfaces=[*base.surfaces[:3], ball], camera=camera, baseline=0.1)
    truth = ground_truth(scene)
    y, x = np.mgrid[:64, :80]
    r = np.stack([(x - 39.5) / 80, np.ones_like(x), -(y - 31.5) / 80])
    # |t r - c| = 0.2 with c one metre ahead; r has forward component 1, so that t is the depth.
    a, b = (r**2).sum(0), r[1]
    room = b * b - a * (1 - 0.04)
    hit = room > 0.005
    depth = (b - np.sqrt(np.maximum(room, 0))) / a
    np.testing.assert_allclose(truth.disparity.numpy()[hit], (80 * 0.1 / depth)[hit], rtol=1e-4)
    assert bool(truth.transparent.numpy()[hit].all())
    assert not bool(truth.transparent.numpy()[room < 0].any())


@pytest.mark.parametrize("roll", [0.0, 0.3])
def test_a_mirroring_floor_is_polarised_level_with_the_ground(roll: float) -> None:
    base = random_scene(0, "train", 0, 32, 40)
    floor = dataclasses.replace(base.surfaces[0], gloss=1.0, weak=0.0)
    pitch = math.radians(-(90 - math.degrees(math.atan(1.5))))
    forward = column(0, math.cos(pitch), math.sin(pitch))
    level, upright = column(1, 0, 0), column(0, -math.sin(pitch), math.cos(pitch))
    right = math.cos(roll) * level + math.sin(roll) * upright
    up = math.cos(roll) * upright - math.sin(roll) * level
    camera = Camera(column(0, 0, 0.5), right, up, forward, 400.0, 32, 40)
    scene = dataclasses.replace(base, surfaces=[floor], planes=1, camera=camera)
    q, u = render_pair(scene).light[3:5].astype(np.float32)[:, 16, 20]
    # Seen from a camera rolled counter-clockwise by `roll`, the level direction lies at -roll in its picture.
    assert 0.5 * math.atan2(u, q) == pytest.approx(-roll, abs=0.01)


def test_tilted_light_has_a_positive_second_component_when_it_rises_to_the_right() -> None:
    """A pane whose s axis rises to the right in the picture polarises its mirror image along that axis."""
    camera_ray, right = column(0, 1, 0), column(1, 0, 0)
    s_axis = normalized(column(1, 0, 1))
    away = normalized(cross(s_axis, camera_ray))
    angle = math.atan(1.5)
    normal = -math.cos(angle) * camera_ray + math.sin(angle) * away
    rotation = torch.cat([s_axis, cross(normal, s_axis), normal], 1)
    sheet = Rectangle(torch.zeros(3), rotation, (1.0, 1.0))
    surface = Surface(sheet, 0, 0.01, 0.0, 0.1, 0.5, glass="pane")
    mirrored, seen = glass_paths(surface, torch.zeros(3, 1), camera_ray, torch.ones(1), right)
    assert float(mirrored.arrives.s2 / mirrored.arrives.s0) == pytest.approx(1, abs=1e-4)
    assert float(seen.arrives.s2) < 0


@given(st.integers(0, 2**31), st.sampled_from(["solid", "shell"]), st.booleans())
@settings(deadline=None, max_examples=30)
def test_glass_in_a_uniform_world_gives_back_no_more_light_than_there_is(seed: int, kind: str, boxed: bool) -> None:
    rng = np.random.default_rng(seed)
    rotation = torch.from_numpy(np.linalg.qr(rng.standard_normal((3, 3)))[0]).float()
    size = torch.from_numpy(rng.uniform(0.1, 0.3, 3)).float()
    shape = (Box if boxed and kind == "solid" else Ellipsoid)(torch.tensor([0.0, 1.0, 0.0]), rotation, size)
    d = normalized(
        torch.from_numpy(np.stack([rng.uniform(-0.1, 0.1, 50), np.ones(50), rng.uniform(-0.1, 0.1, 50)])).float()
    )
    t = shape.near(torch.zeros(3, 1), d)
    d, t = d[:, t < 10], t[t < 10]
    up = column(0, 0, 1).expand_as(d)
    surface = Surface(shape, 0, 0.01, 0, 0.1, 0.5, glass=kind)
    paths = glass_paths(surface, t * d, d, t, normalized(cross(d, up)))
    total = sum(p.arrives.s0 for p in paths)
    assert float(total.max()) <= 1 + 1e-4
    for p in paths:
        assert bool((p.arrives.s0 + 1e-5 >= torch.hypot(p.arrives.s1, p.arrives.s2)).all())
        torch.testing.assert_close(dot(p.direction, p.direction), torch.ones(len(t)), rtol=1e-3, atol=1e-3)


def test_culled_tracing_finds_what_testing_every_ray_finds() -> None:
    for k in range(3):
        scene = random_scene(5, "train", k, 48, 60)
        rays = camera_rays(scene.camera, 1)
        t, number = first_hits(scene, scene.camera, rays)
        every = torch.stack([s.shape.near(rays.origin, rays.direction) for s in scene.surfaces])
        torch.testing.assert_close(t, every.amin(0))
        assert bool((every.argmin(0) == number).all())


def test_glass_is_more_polarised_than_the_rest() -> None:
    glass, rest = [], []
    for k in range(4):
        pair = render_pair(random_scene(0, "val", k, 64, 80))
        dolp = np.hypot(*pair.light[3:5].astype(np.float32))
        assert dolp.max() <= 1.001
        clear = pair.truth.transparent.numpy()
        glass.append(dolp[clear].mean())
        rest.append(dolp[~clear].mean())
    assert np.mean(glass) > 1.5 * np.mean(rest)
    assert 0.01 < np.mean(rest) < 0.06


def test_a_scene_depends_on_its_numbers_alone() -> None:
    first = render_pair(random_scene(1, "val", 2, 32, 40))
    for split, index in (("val", 3), ("train", 2)):
        assert not np.array_equal(render_pair(random_scene(1, split, index, 32, 40)).light, first.light)
    again = render_pair(random_scene(1, "val", 2, 32, 40))
    np.testing.assert_array_equal(again.light, first.light)


def test_the_opaque_domain_is_the_same_world() -> None:
    clear, solid = (random_scene(0, "train", 4, 64, 80, transparent=t) for t in (True, False))
    one, other = ground_truth(clear), ground_truth(solid)
    assert torch.equal(one.disparity, other.disparity)
    assert torch.equal(one.occluded, other.occluded)
    assert bool(one.transparent.any())
    assert not bool(other.transparent.any())
