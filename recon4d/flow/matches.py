"""Sparse matches between two frames, however far things moved, and the homography that most of them obey.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64, UInt8

from recon4d.core.sampling import image_size, sample_place, sample_px

MOST_FEATURES = 1000
"""Per frame, the strongest. SIFT (Lowe, IJCV 2004) on images at the sampling of `Flow`: on DAVIS `libby`, `bmx-trees`
and `drift-straight` flow from it is as consistent as from SIFT at the working size in a quarter of the time, and more
than from 2000 of ORB at the working size, which frames far apart leave without matches."""
WEAKEST = 0.02
"""Contrast of a feature as SIFT has it, half of its usual one: blurred frames have few others."""
MAX_RATIO = 0.8
"""Distance of a descriptor's match over that of the second best (Lowe 2004)."""
INLIER_PX = 3.0
"""Distance from where the homography has a point, pixels of the working size: depth and corners are not exact."""
MIN_INLIERS = 12
"""Matches that must obey a homography; frames of different videos come to 9."""
NEEDED = 4
"""Matches that determine one."""
FARTHEST = 4.0
"""Predictions are clipped to this, image widths: farther away nothing is seen."""


@dataclass(frozen=True)
class Features:
    """Distinctive points of a frame."""

    px: Float32[np.ndarray, "points 2"]
    """(u, v) at the working size."""
    descriptors: UInt8[np.ndarray, "points 128"]
    """What each looks like."""


def features_of(small: UInt8[np.ndarray, "rows cols"]) -> Features:
    """Features of a frame.

    Args:
        small: Its grey values at the sampling of `Flow`.
    """
    sift = cv2.SIFT.create(MOST_FEATURES, 3, WEAKEST, 10.0, 1.6, cv2.CV_8U)
    points, descriptors = sift.detectAndCompute(small, None)
    if descriptors is None:
        return Features(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8))
    px = sample_place(np.asarray(cv2.KeyPoint.convert(points), np.float32).reshape(-1, 2))
    return Features(px.astype(np.float32), np.asarray(descriptors, np.uint8))


def homography(a: Features, b: Features) -> Float64[np.ndarray, "3 3"] | None:
    """What brings points (u, v) of `a` to `b`; None where too few matches agree on one."""
    found, count = _fit(a, b)
    return None if count < MIN_INLIERS else found


def agreeing(a: Features, b: Features) -> int:
    """How many matches the best homography of two frames explains."""
    return _fit(a, b)[1]


def _fit(a: Features, b: Features) -> tuple[Float64[np.ndarray, "3 3"], int]:
    """The homography that most matches obey, and how many do; 0 where there is none."""
    of_a, of_b = _matches(a, b)
    found, inliers = None, np.zeros(0)
    if len(of_a) >= NEEDED:
        found, inliers = cv2.findHomography(a.px[of_a], b.px[of_b], cv2.RANSAC, INLIER_PX)
    if found is None or np.linalg.det(found) <= 0:
        return np.eye(3), 0
    return np.asarray(found, np.float64), int(np.count_nonzero(inliers))


def flow_by(
    warp: Float64[np.ndarray, "3 3"], rows: int, cols: int
) -> Float32[np.ndarray, "rows cols 2"]:
    """Flow of a homography, pixels, at the samples of `Flow`."""
    uv = sample_px(rows, cols)
    limit = FARTHEST * image_size(rows, cols)[0]
    there = cv2.perspectiveTransform(uv.reshape(-1, 1, 2).astype(np.float64), warp)
    return np.asarray(np.clip(there.reshape(uv.shape) - uv, -limit, limit), np.float32)


def _matches(
    a: Features, b: Features
) -> tuple[Int64[np.ndarray, " matches"], Int64[np.ndarray, " matches"]]:
    """Indices of the points of `a` and `b` that match: each is the other's best, and clearly so."""
    if min(len(a.px), len(b.px)) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    of_a, of_b = (torch.from_numpy(x.descriptors).float() for x in (a, b))
    alike = of_a @ of_b.T  # whole numbers below 2^24: exact in any order
    distance2 = (of_a**2).sum(1)[:, None] + (of_b**2).sum(1) - 2 * alike
    nearest, best = distance2.topk(2, dim=1, largest=False)
    mutual = distance2.argmin(0)[best[:, 0]] == torch.arange(len(of_a))
    clear = nearest[:, 0] < MAX_RATIO**2 * nearest[:, 1]
    chosen = torch.nonzero(mutual & clear)[:, 0]
    return chosen.numpy(), best[chosen, 0].numpy()
