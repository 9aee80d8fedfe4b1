"""Points followed through a result: static ones by its geometry, moving ones by flow.

Numbers here that name no source were set by hand.
"""

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from recon4d.core.pinhole import lift_array
from recon4d.core.sampling import spread_evenly
from recon4d.results.motion import Tracks
from recon4d.results.result import Result
from recon4d.tracks.chain import Followed
from recon4d.tracks.group_all import Grouped
from recon4d.tracks.ladder import Ladder
from recon4d.tracks.movers import follow_movers
from recon4d.tracks.still import pixel_of, stand, std_share

BEGIN_EVERY = 12
"""Frames between those in which points are chosen."""
MOVING_SHARE = 4.0
"""Part of the chosen points that move, over the part of the picture that does ..."""
MOST_MOVING = 0.5
"""... up to this."""


def choose(
    result: Result, count: int, seed: int = 0
) -> tuple[Int64[np.ndarray, " points"], Float32[np.ndarray, "points 2"]]:
    """Points all over the video: the frame of each and its pixel.

    Args:
        result: What is where.
        count: How many at most.
        seed: Of the choice.
    """
    rng, frames = (
        np.random.default_rng(seed),
        spread_evenly(len(result), max(1, len(result) // BEGIN_EVERY)),
    )
    start, places = [], []
    for at, frame in enumerate(frames):
        many = count * (at + 1) // len(frames) - count * at // len(frames)
        known, moves = result.depth[frame] > 0, result.is_dynamic[frame]
        share = min(MOVING_SHARE * float(moves.mean()), MOST_MOVING)
        for area, wanted in (
            (known & ~moves, many - int(share * many)),
            (known & moves, int(share * many)),
        ):
            pixels = np.flatnonzero(area)
            chosen = rng.choice(pixels, min(wanted, len(pixels)), replace=False)
            row, col = np.divmod(np.sort(chosen), area.shape[1])
            places.append(np.stack((col, row), axis=1).astype(np.float32) + np.float32(0.5))
            start.append(np.full(len(chosen), frame))
    return np.concatenate(start).astype(np.int64), np.concatenate(places)


def track(
    result: Result,
    ladder: Ladder,
    grouped: Grouped,
    start: Int64[np.ndarray, " points"],
    uv: Float[np.ndarray, "points 2"],
) -> Tracks:
    """Follow points through the whole video.

    Args:
        result: Cameras, depth, masks.
        ladder: Flow.
        grouped: What moves, by objects.
        start: Frame in which each point is given.
        uv: Where, pixels.
    """
    frames, count = len(result), len(start)
    moves = np.array([_moves(result, f, p) for f, p in zip(start.tolist(), uv, strict=True)], bool)
    still, moving = np.flatnonzero(~moves), np.flatnonzero(moves)
    fixed = stand(result, start[still], uv[still])
    found, of = follow_movers(ladder, grouped, start[moving], uv[moving])
    there, sigma = _in_world(result, found)
    places = np.full((frames, count, 2), np.nan, np.float32)
    visible = np.zeros((frames, count), bool)
    off_px, off = (np.full((frames, count), np.inf, np.float32) for _ in range(2))
    world = np.full((frames, count, 3), np.nan, np.float32)
    ids = np.zeros(count, np.int32)
    for own, part in ((still, fixed), (moving, found)):
        places[:, own], visible[:, own], off_px[:, own] = part.uv, part.is_visible, part.sigma_px
    world[:, still], world[:, moving] = fixed.world[None], there
    off[:, still], off[:, moving], ids[moving] = fixed.sigma[None], sigma, of
    return Tracks(places, visible, off_px, world, off, start.astype(np.int32), ids)


def _moves(result: Result, frame: int, uv: Float[np.ndarray, "2"]) -> bool:
    height, width = result.depth.shape[1:]
    row, col, inside = pixel_of(uv[None], (width, height))
    return bool(inside[0] and result.is_dynamic[frame, row[0], col[0]])


def _in_world(
    result: Result, found: Followed
) -> tuple[Float32[np.ndarray, "frames points 3"], Float32[np.ndarray, "frames points"]]:
    """Moving points in the world, by the depth where they are seen; between those frames depth is interpolated."""
    depth = np.full(found.is_visible.shape, np.nan)
    share = np.full(found.is_visible.shape, np.inf)
    height, width = result.depth.shape[1:]
    for frame in range(len(depth)):
        row, col, inside = pixel_of(found.uv[frame], (width, height))
        here = result.depth[frame][row, col]
        seen = found.is_visible[frame] & inside & (here > 0) & result.is_dynamic[frame][row, col]
        depth[frame] = np.where(seen, here, np.nan)
        share[frame] = np.where(seen, std_share(result, frame, row, col), np.inf)
    depth = _between(depth, np.isfinite(found.uv).all(2))
    world = np.full((*depth.shape, 3), np.nan, np.float32)
    for frame, pose in enumerate(result.world_from_cam):
        uv = found.uv[frame].astype(np.float64)
        world[frame] = lift_array(uv, depth[frame], result.intrinsics[frame], pose)
    sigma = np.where(np.isfinite(share), depth, 0) * np.where(np.isfinite(share), share, 0)
    return world, np.where(np.isfinite(share), sigma, np.inf).astype(np.float32)


def _between(
    depth: Float64[np.ndarray, "frames points"], known: Bool[np.ndarray, "frames points"]
) -> Float64[np.ndarray, "frames points"]:
    """Depth in frames that do not show it, from those before and after."""
    out, times = np.full_like(depth, np.nan), np.arange(len(depth))
    for point in range(depth.shape[1]):
        seen = np.isfinite(depth[:, point])
        if seen.any():
            out[:, point] = np.interp(times, times[seen], depth[seen, point])
    return np.where(known, out, np.nan)
