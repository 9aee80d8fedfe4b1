"""Points of the static world: where cameras and depth say that they are seen, and what hides them.

Their depth is that of many frames together: every frame in which a point would be seen at about the depth that is there
says how far away it is along the ray of the frame that it was given in.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from recon4d.core.pinhole import project_array, rays_array
from recon4d.results.result import Result

SAME = 0.06
"""Relative difference of depth up to which a frame sees the point, and its depth there counts."""
HIDES = 0.03
"""Part of its depth by which what is seen must be nearer than a point to hide it."""
SURELY = 2.0
"""Standard deviations of the depth there that are added to it ..."""
MOST_UNSURE = 0.1
"""... up to this part of the depth."""
POSE_PX = 0.1
"""Standard deviation of a projection because of the cameras, pixels: about their error on rendered videos."""
NO_STD = 0.05
"""Standard deviation of the depth, as a part of it, where a result states none."""


@dataclass(frozen=True)
class Still:
    """Static points."""

    uv: Float32[np.ndarray, "frames points 2"]
    """Pixels; nan behind the camera."""
    is_visible: Bool[np.ndarray, "frames points"]
    sigma_px: Float32[np.ndarray, "frames points"]
    world: Float32[np.ndarray, "points 3"]
    sigma: Float32[np.ndarray, " points"]
    """Standard deviation of the depth in the frame that it was given in; infinite where there is none."""


def stand(
    result: Result, start: Int64[np.ndarray, " points"], uv: Float[np.ndarray, "points 2"]
) -> Still:
    """Find static points in all frames.

    Args:
        result: Cameras, depth, masks.
        start: Frame in which each point is given.
        uv: Where, pixels.
    """
    depth, share = _depth_at_start(result, start, uv)
    ray, centre = _rays(result, start, uv)
    depth, share = _agreed_depth(result, (ray, centre), depth, share)
    world = centre + depth[:, None] * ray
    is_sure = np.isfinite(share)
    std = depth * np.where(is_sure, share, 0)
    farther = centre + (depth + std)[:, None] * ray
    frames, count = len(result), len(start)
    places = np.full((frames, count, 2), np.nan, np.float32)
    visible = np.zeros((frames, count), bool)
    sigma_px = np.full((frames, count), np.inf, np.float32)
    for frame in range(frames):
        place, z = _seen(result, frame, world)
        shifted, _ = _seen(result, frame, farther)
        off = np.linalg.norm(shifted - place, axis=1)
        known = (z > 0) & (depth > 0)
        places[frame] = np.where(known[:, None], place, np.nan)
        sigma_px[frame] = np.where(
            known & is_sure & np.isfinite(off), np.hypot(POSE_PX, off), np.inf
        )
        visible[frame] = known & ~_hidden(result, frame, place, z)
    sigma = np.where(is_sure & (depth > 0), std, np.inf)
    world[depth <= 0] = np.nan
    return Still(places, visible, sigma_px, world.astype(np.float32), sigma.astype(np.float32))


def pixel_of(
    uv: Float[np.ndarray, "points 2"], size: tuple[int, int]
) -> tuple[Int64[np.ndarray, " points"], Int64[np.ndarray, " points"], Bool[np.ndarray, " points"]]:
    """Row and column of the pixel that holds each point, kept inside, and whether it is inside of an image of a size.

    Args:
        uv: Pixels (u, v).
        size: (width, height).
    """
    inside = (np.nan_to_num(uv, nan=-1.0) >= 0).all(1)
    inside &= (np.nan_to_num(uv, nan=-1.0) < size).all(1)
    col, row = np.floor(np.where(inside[:, None], uv, 0)).astype(np.int64).T
    return row, col, inside


def std_share(
    result: Result, frame: int, row: Int64[np.ndarray, " points"], col: Int64[np.ndarray, " points"]
) -> Float64[np.ndarray, " points"]:
    """Standard deviation of the depth at pixels over the depth; infinite where it is not known."""
    depth = result.depth[frame][row, col].astype(np.float64)
    if result.depth_std is None:
        return np.where(depth > 0, NO_STD, np.inf)
    std = result.depth_std[frame][row, col].astype(np.float64)
    return np.where(depth > 0, std / np.maximum(depth, 1e-12), np.inf)


def _size(result: Result) -> tuple[int, int]:
    height, width = result.depth.shape[1:]
    return width, height


def _depth_at_start(
    result: Result, start: Int64[np.ndarray, " points"], uv: Float[np.ndarray, "points 2"]
) -> tuple[Float64[np.ndarray, " points"], Float64[np.ndarray, " points"]]:
    """Depth of the pixels, 0 = unknown, and its standard deviation over it."""
    depth, share = np.zeros(len(start)), np.full(len(start), np.inf)
    for frame in np.unique(start):
        own = np.flatnonzero(start == frame)
        row, col, inside = pixel_of(uv[own], _size(result))
        depth[own] = np.where(inside, result.depth[frame][row, col], 0)
        share[own] = np.where(inside, std_share(result, int(frame), row, col), np.inf)
    return depth, share


def _rays(
    result: Result, start: Int64[np.ndarray, " points"], uv: Float[np.ndarray, "points 2"]
) -> tuple[Float64[np.ndarray, "points 3"], Float64[np.ndarray, "points 3"]]:
    """Direction, whose length is that of z-depth 1, and origin of the ray of each pixel in the world."""
    poses = result.world_from_cam[start]
    rays = np.zeros((len(start), 3))
    for frame in np.unique(start):
        own = start == frame
        rays[own] = rays_array(uv[own].astype(np.float64), result.intrinsics[frame])
    return np.einsum("nij,nj->ni", poses[:, :3, :3], rays), poses[:, :3, 3]


def _seen(
    result: Result, frame: int, points: Float64[np.ndarray, "points 3"]
) -> tuple[Float64[np.ndarray, "points 2"], Float64[np.ndarray, " points"]]:
    """Pixels and z-depth of points in a frame; no pixel behind the camera."""
    pose = result.world_from_cam[frame]
    in_cam = (points - pose[:3, 3]) @ pose[:3, :3]
    ahead = in_cam[:, 2] > 0
    place = project_array(np.where(ahead[:, None], in_cam, 1.0), result.intrinsics[frame])
    return np.where(ahead[:, None], place, np.nan), in_cam[:, 2]


def _agreed_depth(
    result: Result,
    rays: tuple[Float64[np.ndarray, "points 3"], Float64[np.ndarray, "points 3"]],
    depth: Float64[np.ndarray, " points"],
    share: Float64[np.ndarray, " points"],
) -> tuple[Float64[np.ndarray, " points"], Float64[np.ndarray, " points"]]:
    """Weighted median of what all frames that see a point say of its depth along its ray, and how sure that is."""
    ray, centre = rays
    said = np.full((len(result) + 1, len(depth)), np.nan)
    weight = np.zeros_like(said)
    said[-1], weight[-1] = depth, 1 / np.maximum(share, 1e-3) ** 2
    for frame in range(len(result)):
        place, z = _seen(result, frame, centre + depth[:, None] * ray)
        row, col, inside = pixel_of(place, _size(result))
        there = result.depth[frame][row, col]
        ahead = result.world_from_cam[frame][:3, 2]
        slope, offset = ray @ ahead, (centre - result.world_from_cam[frame][:3, 3]) @ ahead
        along = (there - offset) / np.where(np.abs(slope) > 1e-3, slope, np.nan)
        counts = inside & (there > 0) & ~result.is_dynamic[frame][row, col] & (depth > 0)
        counts &= (np.abs(there - z) < SAME * z) & np.isfinite(along) & (along > 0)
        own = std_share(result, frame, row, col)
        said[frame] = np.where(counts, along, np.nan)
        weight[frame] = np.where(counts, 1 / np.maximum(own, 1e-3) ** 2, 0)
    order = np.argsort(np.where(np.isfinite(said), said, np.inf), axis=0)
    ordered = np.take_along_axis(weight, order, 0)
    total = np.cumsum(ordered, axis=0)
    middle = (total < 0.5 * total[-1]).sum(0).clip(0, len(said) - 1)
    found = np.take_along_axis(np.take_along_axis(said, order, 0), middle[None], 0)[0]
    known = (depth > 0) & np.isfinite(found)
    best = 1 / np.sqrt(np.maximum(weight.max(0), 1e-12))
    return np.where(known, found, depth), np.where(
        np.isfinite(share), np.minimum(share, best), share
    )


def _hidden(
    result: Result,
    frame: int,
    place: Float[np.ndarray, "points 2"],
    z: Float[np.ndarray, " points"],
) -> Bool[np.ndarray, " points"]:
    """Points outside of the picture, under an overlay, behind what moves, or behind what is nearer."""
    row, col, inside = pixel_of(place, _size(result))
    seen = cv2.dilate(result.depth[frame].astype(np.float32), np.ones((3, 3), np.uint8))[row, col]
    share = np.nan_to_num(std_share(result, frame, row, col), posinf=MOST_UNSURE)
    slack = HIDES + np.minimum(SURELY * share, MOST_UNSURE)
    nearer = z > seen * (1 + slack)
    covered = result.depth[frame][row, col] <= 0
    return np.asarray(~inside | covered | result.is_dynamic[frame][row, col] | nearer)
