"""Points of moving things: followed by flow, and with their neighbours where the flow loses them.

Numbers here that name no source were set by hand.
"""

from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from scipy.spatial import cKDTree

from recon4d.core.sampling import cell_of
from recon4d.tracks.chain import Followed, follow
from recon4d.tracks.group_all import Grouped
from recon4d.tracks.ladder import Ladder
from recon4d.tracks.seeds import widened

NEIGHBOURS = 6
"""Points of the same object whose motion a point shares where it is lost."""
BESIDE = 3
"""Samples that the outline of an object may be off where flow still finds a point of it."""
CARRIED_PX = 0.7
"""Standard deviation that a frame of that adds, pixels."""


def follow_movers(
    ladder: Ladder,
    grouped: Grouped,
    start: Int64[np.ndarray, " points"],
    uv: Float[np.ndarray, "points 2"],
) -> tuple[Followed, Int64[np.ndarray, " points"]]:
    """Follow points of what moves, and say of which object each is (-1: none that is known).

    Where the flow loses a point, it moves as the points of its object next to it do; it is visible where the object is.

    Args:
        ladder: Flow.
        grouped: The objects.
        start: Frame in which each point is given.
        uv: Where, pixels.
    """
    of = np.array([_id_at(grouped.ids[f], p[None])[0] for f, p in zip(start, uv, strict=True)])
    of = np.where(of > 0, of, -1).astype(np.int64)
    found = follow(ladder, start, uv, widened(grouped.ids > 0) if grouped.items else None)
    seen, sigma = found.uv.copy(), found.sigma_px.copy()
    for way in (1, -1):
        frames = range(len(seen))[::way]
        for before, frame in pairwise(frames):
            begun = (start < frame) if way > 0 else (start > frame)
            lost = begun & ~found.is_visible[frame] & np.isfinite(sigma[before])
            for k in np.unique(of[lost & (of > 0)]):
                own = np.flatnonzero(lost & (of == k))
                moved = _with_neighbours(grouped, int(k), before, frame, seen[before, own])
                if moved is not None:
                    seen[frame, own] = moved
                    sigma[frame, own] = np.hypot(sigma[before, own], CARRIED_PX)
    visible = found.is_visible.copy()
    for frame in range(len(seen)):
        strict = _id_at(grouped.ids[frame], seen[frame]) == of
        near = _is_near(grouped.ids[frame], seen[frame], of)
        there = np.where(found.is_visible[frame], near, strict & np.isfinite(sigma[frame]))
        visible[frame] = np.where(of > 0, there, found.is_visible[frame])
    visible[start, np.arange(len(start))] = True
    return Followed(seen, visible, sigma), of


def _is_near(
    ids: UInt8[np.ndarray, "rows cols"],
    uv: Float[np.ndarray, "points 2"],
    of: Int64[np.ndarray, " points"],
) -> Bool[np.ndarray, " points"]:
    """Whether the object of each point is where it is, or a few samples beside it."""
    out = np.zeros(len(of), bool)
    for k in np.unique(of[of > 0]):
        grown = cv2.dilate((ids == k).astype(np.uint8), np.ones((2 * BESIDE + 1,) * 2, np.uint8))
        own = of == k
        out[own] = _id_at(grown, uv[own]) > 0
    return out


def _id_at(
    ids: UInt8[np.ndarray, "rows cols"], uv: Float[np.ndarray, "points 2"]
) -> Int64[np.ndarray, " points"]:
    """The object at pixels; 0 outside."""
    rows, cols = ids.shape
    known = np.nan_to_num(uv, nan=-1.0)
    row, col = cell_of(known).T
    inside = (known >= 0).all(1) & (row < rows) & (col < cols)
    return np.where(inside, ids[row.clip(0, rows - 1), col.clip(0, cols - 1)], 0).astype(np.int64)


def _with_neighbours(
    grouped: Grouped, k: int, before: int, frame: int, uv: Float32[np.ndarray, "points 2"]
) -> Float32[np.ndarray, "points 2"] | None:
    """Where points of an object go from one frame to another, as those next to them do; None where none is seen."""
    known = grouped.seeds.followed
    both = known.is_visible[before] & known.is_visible[frame] & (grouped.of == k)
    if not both.any():
        return None
    here, there = known.uv[before, both], known.uv[frame, both]
    apart, near = cKDTree(here).query(uv, k=min(NEIGHBOURS, len(here)))
    apart, near = (np.reshape(each, (len(uv), -1)) for each in (apart, near))
    weight = 1 / (grouped.seeds.spacing_px + apart)
    step = (there - here)[near]
    return np.asarray(uv + (weight[..., None] * step).sum(1) / weight.sum(1)[:, None], np.float32)
