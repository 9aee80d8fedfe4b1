"""What stands and moves in training worlds: bodies, shadows, reflections."""

import numpy as np
import pytest

from recon4d.masks.train.worlds.light import Ground, Light
from recon4d.masks.train.worlds.material import Material, load_material
from recon4d.masks.train.worlds.planes import NOTHING, Patch, View, draw
from recon4d.masks.train.worlds.solids import box, random_body
from recon4d.masks.train.worlds.spaces import Lens, Space
from recon4d.masks.train.worlds.things import Thing, moving, random_thing, standing

SIZE = (160, 120)
LENS = Lens(120.0, SIZE)
INTRINSICS = np.array([120.0, 120, 80, 60])
GRAY = np.full((8, 8, 3), 200, np.uint8)


@pytest.fixture(scope="module")
def material() -> Material:
    return load_material((), cut=False)


def space(has_floor: bool = True, tilt: float = 0.0) -> Space:
    """A grey floor and a grey wall behind it."""
    wall = Patch(np.array([-20.0, -20, 9]), np.array([40.0, 0, 0]), np.array([0, 40.0, 0]), GRAY)
    floor = Patch(np.array([-20.0, 1, 9]), np.array([40.0, 0, 0]), np.array([0, 0, -9.0]), GRAY)
    return Space((wall, floor), 1.0, 9.0, has_floor=has_floor, tilt=tilt)


def crate() -> Thing:
    parts = box(np.array([0, 0.6, 4.0]), np.eye(3), np.array([0.8, 0.8, 0.8]), [GRAY] * 3)
    return Thing(tuple(parts), np.array([0, 0.6, 4.0]), is_solid=True)


@pytest.mark.parametrize("tilt", [0.0, 0.4])
def test_shadows_fall_along_the_light_onto_the_ground(tilt: float) -> None:
    ground = Ground(np.array([0, 1, tilt]), 1.5)
    light = Light((0.7, -0.4), 0.5)
    flat = light.onto(ground)
    rng = np.random.default_rng(0)
    points = np.append(rng.normal(0, 2, (50, 3)), np.ones((50, 1)), axis=1)
    fallen = points @ flat.T
    assert np.allclose(fallen[:, :3] @ ground.normal, ground.offset)
    way = (fallen - points)[:, :3]
    assert np.allclose(np.cross(way, np.array([0.7, 1, -0.4])), 0, atol=1e-9)
    assert np.allclose(fallen @ flat.T, fallen)


@pytest.mark.parametrize("tilt", [0.0, 0.4])
def test_a_mirror_keeps_distances_and_its_own_plane(tilt: float) -> None:
    ground = Ground(np.array([0, 1, tilt]), 1.5)
    mirror = ground.mirror()
    assert np.allclose(mirror @ mirror, np.eye(4))
    assert np.allclose(mirror[:3, :3] @ mirror[:3, :3].T, np.eye(3))
    on_plane = np.array([3.0, 1.5 - tilt * 2, 2.0, 1.0])
    assert np.allclose(mirror @ on_plane, on_plane)


def test_a_crate_darkens_the_floor_beside_it_and_nothing_else() -> None:
    view = View(np.eye(4), INTRINSICS, 0.0)
    empty = space()
    light = Light((1.2, 0.0), 0.6)
    lit, dark = (
        draw([*empty.walls, *standing(crate(), empty, strength)], view, SIZE)
        for strength in (Light((1.2, 0.0), 0.0), light)
    )
    darker = (lit.colour - dark.colour).max(-1)
    assert np.array_equal(lit.surface == NOTHING, dark.surface == NOTHING)
    assert np.array_equal(lit.inverse_depth, dark.inverse_depth)  # a shadow is no surface
    row, col = np.nonzero(darker > 20)
    assert len(row) > 100 and row.min() > 60  # on the floor, below the horizon
    assert np.median(col) > 80  # on the side that the light goes to
    beside = darker[89, 97:104]  # floor next to the crate: behind two faces of it
    assert np.allclose(beside, 0.6 * 200, atol=3)


def test_the_shadow_of_what_moves_goes_along_and_is_no_mover() -> None:
    rng, empty, light = np.random.default_rng(0), space(), Light((0.5, 0.2), 0.5)

    def track(time: float) -> np.ndarray:
        return np.array([0.1 * time, 0.6, 4.0])

    patches = moving(rng, crate(), (track, 10), 3, (empty, light))
    assert {p.mover for p in patches if not p.is_shade} == {3}
    assert {p.mover for p in patches if p.is_shade} == {NOTHING}
    for part in patches:
        a, b = (part.frame(time)[:, 2] for time in (0.0, 9.0))
        assert np.linalg.norm(b - a) > 0.3


def test_in_a_photograph_things_stand_on_their_own_foot() -> None:
    tilted = space(has_floor=False, tilt=0.3)
    ground = Ground.under(crate().parts, tilted)
    foot = np.array([0, 1.0, crate().parts[0].origin[2]])
    assert ground.normal @ foot == pytest.approx(ground.offset, abs=0.05)


def test_bodies_stand_on_their_point_and_have_their_height(material: Material) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        parts = random_body(rng, material, np.array([0.3, 1.0, 4.0]), 0.7)
        corners = np.concatenate(
            [[p.origin, p.origin + p.across + p.down, p.origin + p.down] for p in parts]
        )
        assert corners[:, 1].max() == pytest.approx(1.0)
        assert corners[:, 1].min() == pytest.approx(0.3)
        assert len(parts) in (6, 12)


def test_things_are_bodies_and_pictures_somewhere_in_view(material: Material) -> None:
    things = [
        random_thing(np.random.default_rng(seed), material, space(), LENS) for seed in range(40)
    ]
    assert 2 <= sum(thing.is_solid for thing in things) <= 20
    for thing in things:
        x, _, z = thing.middle
        assert z > 0 and abs(120 * x / z) <= 80
