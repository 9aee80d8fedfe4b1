"""Objects that a static world would have below the ground cannot be at rest."""

import numpy as np
import pytest

from recon4d.core.sampling import sample_at
from recon4d.core.scene import Scene
from recon4d.masks.d2mif.below import below_ground, find_ground
from recon4d.masks.d2mif.salience import joined

ROWS, COLS = 72, 128
HORIZON = 20
"""Row where the ground ends; a wall stands behind it."""
CAR = (slice(30, 50), slice(50, 80))
"""Rows and columns of the object; it stands in row 50."""


def _ground(row: np.ndarray) -> np.ndarray:
    """Inverse depth of the ground in a row of the image, in 1 / its height above it."""
    return np.asarray(0.02 * (row - HORIZON) + 0.1)


def _scene(car: float | None, std: float = 0.002, hidden: bool = False) -> Scene:
    """One frame: a wall, the ground before it, and the object at some inverse depth (None: on the ground).

    Args:
        car: Inverse depth of the object.
        std: Deviation of all that is not at infinity.
        hidden: A fence hides the foot of the object.
    """
    row, col = (x.ravel() for x in np.mgrid[2:ROWS:4, 2:COLS:4])
    inverse = np.where(row < HORIZON, 0.1, _ground(row))
    inside = (row >= 30) & (row < 50) & (col >= 50) & (col < 80)
    inverse[inside] = _ground(np.array(50.0)) if car is None else car
    if hidden:
        inverse[(row >= 48) & (row < 68)] = 1.6
    deviation = np.where(inverse < 1e-3, np.inf, std)
    eye = np.eye(4)[None]
    return Scene(
        world_from_cam=eye,
        intrinsics=np.array([[200.0, 200.0, 128.0, 72.0]]),
        samples_px=sample_at(np.column_stack((row, col)).astype(np.int64))[None],
        inverse_depth=inverse.astype(np.float32)[None],
        inverse_depth_std=deviation.astype(np.float32)[None],
        is_posed=np.ones(1, bool),
        component=np.zeros(1, np.int64),
    )


def _found(scene: Scene) -> np.ndarray:
    salient = np.full((ROWS, COLS), -3.0, np.float32)
    salient[CAR] = 4.0
    return below_ground(scene, 0, salient, np.full((ROWS, COLS), 0.01, np.float32))


@pytest.mark.parametrize("car", [1e-6, 0.2], ids=["as fast as the camera", "slower"])
def test_what_would_be_below_the_ground_cannot_rest(car: float) -> None:
    found = _found(_scene(car))
    assert found[CAR].min() > 0.5
    outside = found.copy()
    outside[CAR] = 0
    assert not outside.any()


def test_what_stands_on_the_ground_may_rest() -> None:
    assert not _found(_scene(None)).any()


def test_what_would_float_may_rest() -> None:
    """Branches and lamps do."""
    assert not _found(_scene(1.5)).any()


def test_a_depth_that_is_hardly_known_tells_nothing() -> None:
    """0.4 for the 0.7 of the ground at its foot, give or take 0.1 each way."""
    assert _found(_scene(0.4)).any()
    scene = _scene(0.4)
    inside = scene.inverse_depth == np.float32(0.4)
    scene.inverse_depth_std[inside] = 0.1
    assert not _found(scene).any()


def test_what_is_behind_a_fence_may_be_far() -> None:
    assert not _found(_scene(0.1, hidden=True)).any()


def test_without_depth_nothing_is_said() -> None:
    scene = _scene(1e-6)
    scene.inverse_depth_std[:] = np.inf
    assert not _found(scene).any()


def test_a_wall_is_no_ground() -> None:
    rng = np.random.default_rng(3)
    at = rng.uniform(-1, 1, (200, 2))
    assert find_ground(at, np.full(200, 0.5)) is None
    assert find_ground(at, rng.uniform(0.1, 2, 200)) is None
    ground = find_ground(at, 1 + 0.6 * at[:, 1])
    assert ground is not None
    assert ground.plane == pytest.approx([0, 0.6, 1], abs=1e-9)  # no noise


def test_evidence_of_rest_is_void_where_nothing_can_rest() -> None:
    moves, salient = np.full((1, 3), 0.001, np.float32), np.array([[4, 4, -3]], np.float32)
    cannot = np.array([[0, 1, 0]], np.float32)
    assert (joined(moves, salient, cannot) > 0.5).tolist() == [[False, True, False]]
