"""Which frames see which static points: the tracks that tools for sparse models work with.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from recon4d.core.pinhole import project_array
from recon4d.results.result import Result

SAME_SURFACE = 0.03
"""Relative difference of depth up to which a frame sees a point; edges of surfaces differ by more."""
MAX_TRACK = 10
"""Frames per point: more say nothing new to trainers, and every one costs 32 bytes on disk."""
MIN_TRACK = 2
"""A point that fewer frames see is confirmed by none but the one that it comes from."""


@dataclass(frozen=True)
class Tracks:
    """Observations of points, sorted by frame."""

    frame: Int64[np.ndarray, " observations"]
    """Row among the exported frames."""
    point: Int64[np.ndarray, " observations"]
    place_px: Float64[np.ndarray, "observations 2"]
    """(u, v) of the point's exact projection in pixels of the working size, centre of the first pixel at (0.5, 0.5)."""


def find_tracks(result: Result, points: Float64[np.ndarray, "points 3"], seed: int = 0) -> Tracks:
    """Find the frames that see each point, at most `MAX_TRACK` of them, spread evenly over those.

    Args:
        result: Frames with measured poses.
        points: In the world.
        seed: Of where each point's choice begins, so that every frame gets its share.
    """
    frames = range(len(result.images))
    seen = [np.flatnonzero(sees(result, frame, points)) for frame in frames]
    point = np.concatenate(seen)
    frame = np.repeat(np.arange(len(seen)), [len(rows) for rows in seen])
    keep = _spread_over_tracks(point, len(points), seed)
    frame, point = frame[keep], point[keep]
    places = np.concatenate(
        [project(result, row, points[point[frame == row]])[0] for row in frames]
    )
    return Tracks(frame, point, places)


def project(
    result: Result, frame: int, points: Float64[np.ndarray, "points 3"]
) -> tuple[Float64[np.ndarray, "points 2"], Float64[np.ndarray, " points"]]:
    """Pixels (u, v) of the working size and z-depth of points in a frame; (-1, -1) for what is behind the camera."""
    pose = result.world_from_cam[frame]
    in_cam = (points - pose[:3, 3]) @ pose[:3, :3]
    z = in_cam[:, 2]
    is_ahead = z[:, None] > 0
    place = project_array(np.where(is_ahead, in_cam, 1.0), result.intrinsics[frame])
    return np.where(is_ahead, place, -1.0), z


def sees(
    result: Result, frame: int, points: Float64[np.ndarray, "points 3"]
) -> Bool[np.ndarray, " points"]:
    """Points that lie on the static surface which a frame sees in their place."""
    height, width = result.depth.shape[1:]
    place, z = project(result, frame, points)
    col, row = np.floor(place).astype(np.int64).T
    inside = (col >= 0) & (col < width) & (row >= 0) & (row < height)
    row, col = np.where(inside, row, 0), np.where(inside, col, 0)
    there = result.depth[frame][row, col]
    is_usable = inside & (there > 0) & ~result.is_dynamic[frame][row, col]
    return np.asarray(is_usable & (np.abs(z - there) < SAME_SURFACE * z))


def _spread_over_tracks(
    point: Int64[np.ndarray, " observations"], num_points: int, seed: int
) -> Bool[np.ndarray, " observations"]:
    """Observations to keep: `MAX_TRACK` of each long track at even steps; none of a track that is too short."""
    count = np.bincount(point, minlength=num_points)
    order = np.argsort(point, kind="stable")
    first = np.cumsum(count) - count
    rank = np.empty(len(point), np.int64)
    rank[order] = np.arange(len(point)) - first[point[order]]
    length = count[point]
    start = np.random.default_rng(seed).integers(0, np.maximum(count, 1))[point]
    # the multiples of length / MAX_TRACK, shifted by start, that fall on this rank
    step = (rank * MAX_TRACK + start) % np.maximum(length, 1)
    is_chosen = (length <= MAX_TRACK) | (step < MAX_TRACK)
    return np.asarray(is_chosen & (length >= MIN_TRACK))
