"""Followed points as trails: the way that each came in the last frames, as lines.

Numbers here that name no source were set by hand.
"""

import colorsys

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from recon4d.results.cloud import PointCloud
from recon4d.results.palette import PALETTE
from recon4d.results.result import Result

LENGTH = 12
"""Frames of a trail."""
STATIC_RGB = (150, 150, 160)
"""Of points that do not move: they have no trail, and are not drawn as lines."""
NO_LINES = (np.zeros((0, 2, 3), np.float32), np.zeros((0, 3), np.uint8))
"""Where nothing is drawn."""
HUES = 64
"""Colours of moving points of no object, by their number."""


def trail_lines(
    result: Result, frame: int, length: int = LENGTH
) -> tuple[Float32[np.ndarray, "lines 2 3"], UInt8[np.ndarray, "lines 3"]]:
    """Where moving points came from until a frame, in the world, and the RGB of each line: that of its object.

    Args:
        result: With tracks; without, there are no lines.
        frame: In which the trails end.
        length: Frames that they go back.
    """
    tracks = result.tracks
    if tracks is None:
        return NO_LINES
    moving = np.flatnonzero(tracks.object_id != 0)
    frames = range(max(frame - length, 0), frame)
    lines, colors = [], []
    for at in frames:
        ends = tracks.world[at : at + 2, moving]
        drawn: Bool[np.ndarray, " points"] = np.isfinite(ends).all((0, 2))
        drawn &= tracks.is_visible[frame, moving]
        lines.append(np.moveaxis(ends[:, drawn], 0, 1))
        colors.append(trail_colors(result)[moving[drawn]])
    if not lines:
        return NO_LINES
    return np.concatenate(lines).astype(np.float32), np.concatenate(colors)


def track_cloud(result: Result, frame: int) -> PointCloud:
    """The followed points that a frame sees, coloured by their objects."""
    tracks = result.tracks
    assert tracks is not None, "there are points"
    seen = tracks.is_visible[frame] & np.isfinite(tracks.world[frame]).all(1)
    points = tracks.world[frame, seen]
    depth = (points - result.world_from_cam[frame, :3, 3]) @ result.world_from_cam[frame, :3, 2]
    share = tracks.sigma[frame, seen] / np.maximum(depth, 1e-12)
    sure = np.full(len(points), 255, np.uint8)
    normals = np.zeros_like(points)
    return PointCloud(points, trail_colors(result)[seen], normals, sure, share.astype(np.float32))


def trail_colors(result: Result) -> UInt8[np.ndarray, "points 3"]:
    """RGB of every followed point: that of its object, a hue of its own where it is of none, grey where static."""
    assert result.tracks is not None, "there are points"
    ids = result.tracks.object_id
    hues = [colorsys.hsv_to_rgb(k / HUES, 0.8, 1.0) for k in range(HUES)]
    own = (255 * np.array(hues)).astype(np.uint8)[np.arange(len(ids)) % HUES]
    out = np.where((ids > 0)[:, None], PALETTE[ids.clip(0)], own)
    out[ids == 0] = STATIC_RGB
    return np.asarray(out, np.uint8)
