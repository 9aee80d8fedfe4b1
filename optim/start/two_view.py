"""Built-in geometry from flow alone: relative pose of every pair, and how much parallax it has.

Model selection follows the parallax: where a rotation explains the flow as well as an essential matrix does, the pair
says nothing about depth and its translation is zero (Torr, Fitzgibbon and Zisserman, IJCV 1999).

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from recon4d.core.geometry import orthonormal_array
from recon4d.core.parallel import each
from recon4d.core.pinhole import rays_array, view_angle

MIN_CONFIDENCE = 0.3
"""Flow samples below this confidence take no part in the relative pose."""
MIN_SAMPLES = 40
"""Fewer confident samples than this give no relative pose."""
INLIER_PX = 0.75
"""Threshold of MAGSAC on the Sampson distance, pixels: about three standard deviations of DIS flow."""
MIN_PARALLAX_PX = 1.0
"""Median flow that is left after the best rotation, below which a pair counts as rotation only, pixels."""


@dataclass(frozen=True)
class RelativePose:
    """Two-view geometry of one pair of frames."""

    target_from_source: Float[np.ndarray, "4 4"]
    """Unit translation, or zero for a rotation-only pair."""
    rotation: Float[np.ndarray, "3 3"]
    """The rotation that explains the flow best alone; for a pair whose parallax is too little to use."""
    parallax_px: float
    """Median flow of the inliers that no rotation explains."""
    inlier_share: float
    """Part of the confident samples that the model explains."""
    num_inliers: int


def two_view_poses(
    samples_px: Float[np.ndarray, "pairs samples 2"],
    targets_px: Float[np.ndarray, "pairs samples 2"],
    confidence: Float[np.ndarray, "pairs samples"],
    intrinsics: Float[np.ndarray, "4"],
    threads: int,
) -> list[RelativePose | None]:
    """Estimate the two-view geometry of many pairs; None where too few samples are confident."""

    def one(index: int) -> RelativePose | None:
        return relative_pose(samples_px[index], targets_px[index], confidence[index], intrinsics)

    return list(each(one, range(len(samples_px)), threads))


def relative_pose(
    source_px: Float[np.ndarray, "samples 2"],
    target_px: Float[np.ndarray, "samples 2"],
    confidence: Float[np.ndarray, " samples"],
    intrinsics: Float[np.ndarray, "4"],
) -> RelativePose | None:
    """Essential matrix by MAGSAC, or a rotation alone where that explains the flow as well."""
    good = confidence > MIN_CONFIDENCE
    if int(good.sum()) < MIN_SAMPLES:
        return None
    rays_a = rays_array(source_px[good].astype(np.float64), intrinsics)
    rays_b = rays_array(target_px[good].astype(np.float64), intrinsics)
    focal = float(intrinsics[:2].mean())
    threshold = view_angle(INLIER_PX, focal)
    essential, found = cv2.findEssentialMat(
        rays_a[:, :2], rays_b[:, :2], np.eye(3), cv2.USAC_MAGSAC, 0.999, threshold
    )
    rotation = _robust_rotation(rays_a, rays_b)
    leftover = focal * _angle_error(rays_a @ rotation.T, rays_b)
    if essential is None or essential.shape != (3, 3):
        return _rotation_only(rotation, leftover)
    inliers = found[:, 0] > 0
    parallax = float(np.median(leftover[inliers])) if inliers.any() else 0.0
    if parallax < MIN_PARALLAX_PX:
        return _rotation_only(rotation, leftover)
    pose = _decompose(essential, rotation, rays_a[inliers], rays_b[inliers])
    return RelativePose(pose, rotation, parallax, float(inliers.mean()), int(inliers.sum()))


def _decompose(
    essential: Float[np.ndarray, "3 3"],
    rotation: Float[np.ndarray, "3 3"],
    rays_a: Float[np.ndarray, "points 3"],
    rays_b: Float[np.ndarray, "points 3"],
) -> Float[np.ndarray, "4 4"]:
    """Pose of an essential matrix: the rotation near the one that was fitted alone, points in front of the camera.

    The other rotation of the twisted pair differs by half a turn, which frames of a video never do. Counting points in
    front of both cameras for all four poses (OpenCV's `recoverPose`) takes it now and then where parallax is low.
    """
    first, second, step = cv2.decomposeEssentialMat(essential)
    near = np.trace(rotation.T @ first) > np.trace(rotation.T @ second)
    turn, step = first if near else second, step[:, 0]
    parallax = np.cross(rays_a @ turn.T, rays_b)
    expected = np.cross(rays_b, step)  # of a point in front
    weight = np.maximum(np.linalg.norm(expected, axis=1), 1e-12)
    votes = (parallax * expected).sum(1) / weight
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn, step if votes.sum() > 0 else -step
    return pose


def _rotation_only(
    rotation: Float[np.ndarray, "3 3"], error_px: Float[np.ndarray, " good"]
) -> RelativePose:
    pose = np.eye(4)
    pose[:3, :3] = rotation
    explained = error_px < 2 * INLIER_PX
    median_px, share = float(np.median(error_px)), float(explained.mean())
    return RelativePose(pose, rotation, median_px, share, int(explained.sum()))


def _robust_rotation(
    rays_a: Float[np.ndarray, "points 3"], rays_b: Float[np.ndarray, "points 3"]
) -> Float[np.ndarray, "3 3"]:
    """Rotation between bundles of rays by Procrustes, reweighted by 1 / error."""
    a = rays_a / np.linalg.norm(rays_a, axis=1, keepdims=True)
    b = rays_b / np.linalg.norm(rays_b, axis=1, keepdims=True)
    weight = np.ones(len(a))
    for _ in range(6):
        rotation = orthonormal_array((b * weight[:, None]).T @ a)
        error = np.linalg.norm(a @ rotation.T - b, axis=1)
        weight = 1 / (error + 0.1 * np.median(error) + 1e-9)
    return np.asarray(rotation)


def _angle_error(
    turned: Float[np.ndarray, "points 3"], rays_b: Float[np.ndarray, "points 3"]
) -> Float[np.ndarray, " points"]:
    """Distance on the image plane z = 1."""
    safe = np.maximum(turned[:, 2:], 1e-3)
    return np.asarray(np.linalg.norm(turned[:, :2] / safe - rays_b[:, :2], axis=1))
