"""Whether stated standard deviations hold: the share of the true errors within one of them (68 % where they do)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.spatial.transform import Rotation

from recon4d.io.poses.trajectory import Trajectory


@dataclass(frozen=True)
class StatedPoses:
    """Shares of the errors of relative poses from frame t to t + 1, per axis, within one stated standard deviation."""

    steps: int
    """Pairs of neighbouring frames with a stated covariance and truth."""
    rotation: float
    translation: float


def stated_poses(
    estimate: Trajectory,
    truth: Trajectory,
    covariance: Float64[np.ndarray, "frames 6 6"],
    scale: float,
    max_diff_s: float,
) -> StatedPoses | None:
    """Compare the errors of relative poses with their covariance; None where no step has both.

    Args:
        estimate: What is judged.
        truth: What it should be.
        covariance: Of the estimate's relative poses (`Result.pose_covariance`).
        scale: Of the alignment, truth / estimate.
        max_diff_s: Largest difference of the time stamps of matched poses.
    """
    nearest, is_near = _nearest(estimate.timestamps_s, truth.timestamps_s, max_diff_s)
    covariance = covariance[1:]
    use = is_near[1:] & is_near[:-1] & np.isfinite(covariance).all((1, 2))
    use &= covariance.any((1, 2))  # a frame that repeats the one before is exactly there
    if not use.any():
        return None
    found = _steps(estimate.world_from_cam)
    found[:, :3, 3] *= scale
    off = np.linalg.inv(_steps(truth.world_from_cam[nearest])) @ found
    turned = Rotation.from_matrix(off[:, :3, :3]).as_rotvec()
    std = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    rotation = np.abs(turned)[use] < std[use, :3]
    translation = np.abs(off[use, :3, 3]) < scale * std[use, 3:]
    return StatedPoses(int(use.sum()), float(rotation.mean()), float(translation.mean()))


def _steps(world_from_cam: Float64[np.ndarray, "frames 4 4"]) -> Float64[np.ndarray, "steps 4 4"]:
    """Pose of every frame in the camera of the one before."""
    return np.asarray(np.linalg.inv(world_from_cam[:-1]) @ world_from_cam[1:])


def _nearest(
    times_s: Float64[np.ndarray, " frames"], others_s: Float64[np.ndarray, " others"], most_s: float
) -> tuple[Int64[np.ndarray, " frames"], Bool[np.ndarray, " frames"]]:
    """Index of the nearest other time, and whether it is near enough."""
    nearest = np.array([int(np.abs(others_s - time).argmin()) for time in times_s])
    return nearest, np.abs(others_s[nearest] - times_s) <= most_s
