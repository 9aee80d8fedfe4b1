"""Points all over what moves, followed as long as they are seen: what objects are told apart by.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int64
from scipy.spatial import cKDTree

from recon4d.core.sampling import sample_place
from recon4d.tracks.chain import Followed, follow
from recon4d.tracks.ladder import Ladder

SPACING = 8 / 512
"""Distance of neighbouring points, parts of the long side of the picture ..."""
LEAST_SPACING_PX = 6.0
"""... but not less: flow has a sample every 2 px, and is smooth over a few of them ..."""
MOST_POINTS = 1500
"""... or more, where that would be more points than this in a window of the video."""
USUAL_LIFE = 12
"""Frames that a point is seen in, about, for that."""
EVERY = 2
"""Frames between those in which points are added where none are left."""
LEAST_FRAMES = 4
"""Frames in which a point must be seen to tell how it moves."""
JUMP_PX = 3.0
"""Change of the step from one frame to the next, against that of most points, from which on a point has slipped to
another thing, pixels ..."""
JUMP_SLOPE = 0.25
"""... and the part of its step that is added to it."""
MARGIN = 1
"""Samples by which masks are widened for points that are followed: flow is off by so much."""


@dataclass(frozen=True)
class Seeds:
    """Points on what moves."""

    followed: Followed
    spacing_px: float
    """Distance of neighbouring ones."""


def seed(ladder: Ladder, moving: Bool[np.ndarray, "frames rows cols"], window: int) -> Seeds:
    """Cover what moves with points in every frame.

    Args:
        ladder: Flow.
        moving: What moves, at the samples of `Flow`.
        window: Frames that are looked at together: the number of points in them is bounded.
    """
    wide, spacing = widened(moving), _spacing(moving, window)
    parts: list[Followed] = []
    covered: list[list[np.ndarray]] = [[] for _ in moving]
    for frame in range(0, len(moving), EVERY):
        fresh = _uncovered(moving[frame], covered[frame], spacing)
        if not len(fresh):
            continue
        start = np.full(len(fresh), frame)
        found = follow(ladder, start, fresh, wide)
        lasts = found.is_visible.sum(0) >= min(LEAST_FRAMES, len(moving))
        found = found.of(lasts)
        parts.append(found)
        for at in range(len(moving)):
            covered[at].append(found.uv[at][found.is_visible[at]])
    return Seeds(_cut(_joined(parts, len(moving))), spacing)


def widened(moving: Bool[np.ndarray, "frames rows cols"]) -> Bool[np.ndarray, "frames rows cols"]:
    """Masks with a margin, in which points of movers may be found."""
    kernel = np.ones((2 * MARGIN + 1,) * 2, np.uint8)
    return np.stack([cv2.dilate(mask.astype(np.uint8), kernel) > 0 for mask in moving])


def _spacing(moving: Bool[np.ndarray, "frames rows cols"], window: int) -> float:
    """Distance of neighbouring points, pixels."""
    usual = max(SPACING * 2 * max(moving.shape[1:]), LEAST_SPACING_PX)
    per_frame = 4 * moving.sum() / len(moving) / usual**2
    points = per_frame * max(1.0, min(window, len(moving)) / USUAL_LIFE)
    return float(usual * max(1.0, (points / MOST_POINTS) ** 0.5))


def _uncovered(
    moving: Bool[np.ndarray, "rows cols"], covered: list[np.ndarray], spacing: float
) -> Float32[np.ndarray, "points 2"]:
    """Pixels of a grid on what moves that are not near to a point."""
    step = max(1, round(spacing / 2))
    grid = np.zeros_like(moving)
    grid[step // 2 :: step, step // 2 :: step] = True
    rows, cols = np.nonzero(moving & grid)
    places = sample_place(np.stack((cols, rows), axis=1)).astype(np.float32)
    known = np.concatenate([np.zeros((0, 2), np.float32), *covered])
    if not len(known) or not len(places):
        return np.asarray(places)
    apart, _ = cKDTree(known).query(places)
    return np.asarray(places[apart > 0.75 * spacing])


def _joined(parts: list[Followed], frames: int) -> Followed:
    nothing = np.zeros((frames, 0), np.float32)
    return Followed(
        np.concatenate([nothing[..., None].repeat(2, 2), *(p.uv for p in parts)], axis=1),
        np.concatenate([nothing > 0, *(p.is_visible for p in parts)], axis=1),
        np.concatenate([nothing, *(p.sigma_px for p in parts)], axis=1),
    )


def _cut(found: Followed) -> Followed:
    """Points that slip to another thing end there, and begin anew."""
    slips = _slips(found)
    points = np.flatnonzero(slips.any(0))
    kept = np.setdiff1d(np.arange(found.uv.shape[1]), points)
    parts = [_life(found, kept, 0, len(found.uv))]
    for point in points:
        bounds = [0, *np.flatnonzero(slips[:, point]).tolist(), len(found.uv)]
        parts += [_life(found, np.array([point]), a, b) for a, b in pairwise(bounds)]
    joined = _joined(parts, len(found.uv))
    lasts = joined.is_visible.sum(0) >= min(LEAST_FRAMES, len(found.uv))
    return joined.of(lasts)


def _life(found: Followed, points: Int64[np.ndarray, " chosen"], first: int, end: int) -> Followed:
    """Some points, seen from a frame up to another alone."""
    uv, sigma = found.uv[:, points].copy(), found.sigma_px[:, points].copy()
    for outside in (slice(0, first), slice(end, None)):
        uv[outside], sigma[outside] = np.nan, np.inf
    return Followed(uv, np.isfinite(sigma), sigma)


def _slips(found: Followed) -> Bool[np.ndarray, "frames points"]:
    """Frames in which a point's step changes at once, unlike that of most points."""
    out = np.zeros(found.is_visible.shape, bool)
    last, velocity = found.uv[0].copy(), np.full_like(found.uv[0], np.nan)
    when = np.where(found.is_visible[0], 0, -1)
    for frame in range(1, len(out)):
        seen = found.is_visible[frame]
        step = (found.uv[frame] - last) / np.maximum(frame - when, 1)[:, None]
        change = step - velocity
        known = seen & np.isfinite(change).all(1)
        if known.any():
            change -= np.median(change[known], axis=0)
            limit = JUMP_PX + JUMP_SLOPE * np.linalg.norm(step, axis=1)
            out[frame] = known & (np.linalg.norm(change, axis=1) > limit)
        velocity[seen] = np.where(out[frame, seen, None], np.nan, step[seen])
        last[seen], when[seen] = found.uv[frame, seen], frame
    return out
