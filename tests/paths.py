"""Errors of camera paths whose truth is known."""

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation


def centres(world_from_cam: Float64[np.ndarray, "frames 4 4"]) -> Float64[np.ndarray, "frames 3"]:
    return world_from_cam[:, :3, 3]


def path_length(world_from_cam: Float64[np.ndarray, "frames 4 4"]) -> float:
    return float(np.linalg.norm(np.diff(centres(world_from_cam), axis=0), axis=1).sum())


def similarity(
    points: Float64[np.ndarray, "n 3"], truth: Float64[np.ndarray, "n 3"]
) -> tuple[float, float]:
    """Scale of the least-squares similarity from points to truth, and the RMS distance that remains."""
    a, b = points - points.mean(0), truth - truth.mean(0)
    turn, _ = Rotation.align_vectors(b, a)
    turned = turn.apply(a)
    scale = float((turned * b).sum() / (a * a).sum())
    return scale, float(np.sqrt(((scale * turned - b) ** 2).sum(1).mean()))


def relative_ate(
    found: Float64[np.ndarray, "frames 4 4"], truth: Float64[np.ndarray, "frames 4 4"]
) -> float:
    """RMS position error after the best similarity, as a part of the path's length."""
    return similarity(centres(found), centres(truth))[1] / path_length(truth)


def turn_errors_deg(
    found: Float64[np.ndarray, "frames 4 4"], truth: Float64[np.ndarray, "frames 4 4"]
) -> Float64[np.ndarray, " frames"]:
    """Angle between the rotations of two paths, both against their first camera."""
    a, b = (np.linalg.inv(poses[0]) @ poses for poses in (found, truth))
    between = np.swapaxes(a[:, :3, :3], 1, 2) @ b[:, :3, :3]
    return np.degrees(Rotation.from_matrix(between).magnitude())
