"""Two-view geometry from flow: pose, model selection, and the choice among the four poses of an essential matrix."""

import numpy as np
import pytest
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from recon4d.optim.start.two_view import RelativePose, relative_pose

INTRINSICS = np.array([400.0, 410.0, 256.0, 190.0])
SAMPLES = 600


def two_views(
    seed: int, step_m: float, noise_px: float
) -> tuple[RelativePose, Float64[np.ndarray, "3 3"], Float64[np.ndarray, "3"]]:
    """Estimate the pose between two views of points 2 to 6 m away; also return the true rotation and translation."""
    rng = np.random.default_rng(seed)
    points = np.c_[rng.uniform(-2, 2, (SAMPLES, 2)), rng.uniform(2, 6, SAMPLES)]
    turn = Rotation.from_rotvec(rng.normal(0, 0.05, 3)).as_matrix()
    step = rng.normal(size=3)
    step *= step_m / np.linalg.norm(step)

    def pixels(points: Float64[np.ndarray, "points 3"]) -> Float64[np.ndarray, "points 2"]:
        return np.asarray(points[:, :2] / points[:, 2:] * INTRINSICS[:2] + INTRINSICS[2:])

    there = pixels(points @ turn.T + step) + rng.normal(0, noise_px, (SAMPLES, 2))
    found = relative_pose(pixels(points), there, np.ones(SAMPLES), INTRINSICS)
    assert found is not None
    return found, turn, step


def turn_error_deg(pose: Float64[np.ndarray, "4 4"], turn: Float64[np.ndarray, "3 3"]) -> float:
    return float(np.degrees(Rotation.from_matrix(pose[:3, :3].T @ turn).magnitude()))


@pytest.mark.parametrize("seed", range(6))
def test_the_pose_between_two_views_is_found(seed: int) -> None:
    found, turn, step = two_views(seed, step_m=0.15, noise_px=0.1)
    assert turn_error_deg(found.target_from_source, turn) < 0.1  # 0.1 px of 400 px are 0.014 deg
    direction = found.target_from_source[:3, 3] @ step / np.linalg.norm(step)
    assert direction > 0.995
    assert found.inlier_share > 0.9


@pytest.mark.parametrize("seed", range(40))
def test_with_little_parallax_the_camera_is_never_turned_around(seed: int) -> None:
    """The mirrored pose of the twisted pair puts nearly as many points in front of both cameras."""
    found, turn, _ = two_views(seed, step_m=0.03, noise_px=0.8)
    assert turn_error_deg(found.target_from_source, turn) < 10  # the other pose is 180 away


def test_a_rotation_alone_has_no_translation() -> None:
    found, turn, _ = two_views(0, step_m=0.0, noise_px=0.2)
    np.testing.assert_array_equal(found.target_from_source[:3, 3], 0)
    assert turn_error_deg(found.target_from_source, turn) < 0.05
    assert found.parallax_px < 1


def test_too_few_confident_samples_give_no_pose() -> None:
    px = np.random.default_rng(0).uniform(0, 300, (SAMPLES, 2))
    assert relative_pose(px, px + 1, np.zeros(SAMPLES), INTRINSICS) is None
