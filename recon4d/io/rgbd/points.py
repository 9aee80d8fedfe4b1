"""Depth that is known in points (a laser scanner's), not in areas: brought to the working size, and a little beyond.

Numbers here that name no source were set by hand.
"""

import math

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from recon4d.core.tensors import EDGE_RATIO
from recon4d.io.resize import resize_nearest

IN_AREAS = 0.2
"""Part of the known pixels whose neighbours are all known from which on depth is known in areas: 0 of a laser scanner
(KITTI raw), .9 and more of depth cameras (TUM RGB-D)."""
MOST_REACH_PX = 3
"""Distance over which points stand for what is between them, at most, pixels of the working size."""

FARTHEST_M = 1e9
"""Smallest depth of where no point is, metres."""


def resized_depth(
    depth: Float32[np.ndarray, "height width"], size: tuple[int, int]
) -> Float32[np.ndarray, "rows cols"]:
    """Depth at another size (width, height); 0 = unknown.

    What is known in areas is taken as it is. Points are spread as far as they are apart where all of them around lie on
    one surface: inverse depth, which is linear on planes, is their mean.
    """
    known = depth > 0
    inside = cv2.erode(known.astype(np.uint8), np.ones((3, 3), np.uint8))
    if inside.sum() >= IN_AREAS * known.sum():
        return resize_nearest(depth, size)
    inverse, count, near, far = _gathered(depth, known, size)
    rows = (count > 0).any(axis=1)
    apart = 1 / math.sqrt((count[rows] > 0).mean())
    side = 2 * min(math.ceil(apart / 2), MOST_REACH_PX) + 1
    window = np.ones((side, side), np.uint8)
    near, far = cv2.erode(near, window), cv2.dilate(far, window)
    total, points = (cv2.boxFilter(x, -1, (side, side), normalize=False) for x in (inverse, count))
    is_surface = (points > 0.5) & (far < EDGE_RATIO * near)
    mean = np.divide(points, total, out=np.zeros_like(total), where=is_surface)
    return np.asarray(mean, np.float32)


def _gathered(
    depth: Float32[np.ndarray, "height width"],
    known: Bool[np.ndarray, "height width"],
    size: tuple[int, int],
) -> tuple[Float32[np.ndarray, "rows cols"], ...]:
    """Of the points in every pixel of another size: sum of the inverse depths, number, smallest and largest depth."""
    width, height = size
    v, u = np.nonzero(known)
    z = depth[v, u]
    row = ((v + 0.5) * (height / depth.shape[0])).astype(int)
    col = ((u + 0.5) * (width / depth.shape[1])).astype(int)
    inverse, count, far = (np.zeros((height, width), np.float32) for _ in range(3))
    near = np.full((height, width), FARTHEST_M, np.float32)
    np.add.at(inverse, (row, col), 1 / z)
    np.add.at(count, (row, col), 1)
    np.minimum.at(near, (row, col), z)
    np.maximum.at(far, (row, col), z)
    return inverse, count, near, far
