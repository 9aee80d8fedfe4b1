"""Points followed by flow: from frame to frame, and by longer steps that do not add up the errors of short ones.

In every frame a point is looked for from where it was 1, 2, 4, 8 and 16 frames before. Those of these places count
whose flow leads there and back; each has the variance of where it comes from and that of its own step, so that few long
steps beat many short ones, and a point that was hidden for a moment is found again. Where they disagree, the place that
most of them support wins.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int64, UInt8

from recon4d.core.sampling import sample_index
from recon4d.tracks.ladder import OFFSETS, Ladder

STEP_PX = 0.25
"""Standard deviation of the flow of one step, pixels of the working size: DIS on rendered scenes with exact truth."""
STEP_SLOPE = 0.005
"""Part of the step's length that is added to it."""
SEEN = 0.1
"""Confidence of flow, of 1, from which on it counts as leading there and back: within 1.5 px."""
WIDE = 256
"""Points that are looked up in a row."""
GATE = 3.0
"""Standard deviations within which two places of a point support each other."""
GATE_PX = 1.0
"""Pixels that are added to them."""


@dataclass(frozen=True)
class Followed:
    """Points followed through a video. What is not seen is nan in `uv`."""

    uv: Float32[np.ndarray, "frames points 2"]
    """Pixels of the working size, centre of the first pixel at (0.5, 0.5)."""
    is_visible: Bool[np.ndarray, "frames points"]
    sigma_px: Float32[np.ndarray, "frames points"]
    """Standard deviation of `uv` along each axis; infinite where it is not seen."""

    def of(self, points: Int64[np.ndarray, " some"] | Bool[np.ndarray, " points"]) -> "Followed":
        """Some of the points."""
        return Followed(self.uv[:, points], self.is_visible[:, points], self.sigma_px[:, points])


def follow(
    ladder: Ladder,
    start: Int64[np.ndarray, " points"],
    uv: Float[np.ndarray, "points 2"],
    may_be: Bool[np.ndarray, "frames rows cols"] | None = None,
    offsets: tuple[int, ...] = OFFSETS,
) -> Followed:
    """Follow points from a frame of each, to the end of the video and to its beginning.

    Args:
        ladder: Flow.
        start: Frame in which each point is given.
        uv: Where, pixels.
        may_be: Where points can be seen, at the samples of `Flow`: a mover is not followed onto the static world.
        offsets: Lengths of the steps that are used; (1,) chains the flow of neighbours alone.
    """
    shape = (ladder.num_frames, len(start))
    places = np.full((*shape, 2), np.nan, np.float32)
    variance = np.full(shape, np.inf, np.float32)
    places[start, np.arange(len(start))] = uv
    variance[start, np.arange(len(start))] = 0
    for way in (1, -1):
        for frame in range(ladder.num_frames)[::way]:
            begun = np.flatnonzero((start < frame) if way > 0 else (start > frame))
            if not len(begun):
                continue
            found = _candidates(ladder, frame, way, offsets, places[:, begun], variance[:, begun])
            place, own = _agreed(*found)
            if may_be is not None:
                own[at(may_be[frame].astype(np.uint8), place) < 0.5] = np.inf
            seen = np.isfinite(own)
            places[frame, begun[seen]], variance[frame, begun[seen]] = place[seen], own[seen]
    return Followed(places, np.isfinite(variance), np.sqrt(variance))


def at(
    values: Float[np.ndarray, "rows cols *any"] | UInt8[np.ndarray, "rows cols"],
    uv: Float[np.ndarray, "some 2"],
) -> Float32[np.ndarray, "..."]:
    """Values at the samples of `Flow`, read between them at pixels (u, v); outside, and where uv is nan, a border's."""
    place = np.nan_to_num(sample_index(uv)).astype(np.float32)
    rows = -(-len(place) // WIDE)
    grid = np.zeros((rows * WIDE, 2), np.float32)  # OpenCV takes at most 32,767 in a row
    grid[: len(place)] = place
    col, row = (np.ascontiguousarray(each.reshape(rows, WIDE)) for each in grid.T)
    source = values.astype(np.float32)
    if not rows:
        return np.zeros((0, *source.shape[2:]), np.float32)
    found = cv2.remap(source, col, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found.reshape(-1, *source.shape[2:])[: len(place)], np.float32)


def _candidates(
    ladder: Ladder,
    frame: int,
    way: int,
    offsets: tuple[int, ...],
    places: Float32[np.ndarray, "frames points 2"],
    variance: Float32[np.ndarray, "frames points"],
) -> tuple[Float32[np.ndarray, "steps points 2"], Float32[np.ndarray, "steps points"]]:
    """Where each step has the points in a frame, and the variance of that; infinite where it does not count."""
    count = places.shape[1]
    found = np.full((len(offsets), count, 2), np.nan, np.float32)
    unsure = np.full((len(offsets), count), np.inf, np.float32)
    for row, apart in enumerate(offsets):
        step = ladder.between(frame - way * apart, frame)
        if step is None:
            continue
        from_px, before = places[frame - way * apart], variance[frame - way * apart]
        moved = at(step[0], from_px)
        counts = np.isfinite(before) & (at(step[1], from_px) >= 255 * SEEN)
        own = (STEP_PX + STEP_SLOPE * np.linalg.norm(moved, axis=1)) ** 2
        found[row] = from_px + moved
        unsure[row] = np.where(counts, before + own, np.inf)
    return found, unsure


def _agreed(
    found: Float32[np.ndarray, "steps points 2"], variance: Float32[np.ndarray, "steps points"]
) -> tuple[Float32[np.ndarray, "points 2"], Float32[np.ndarray, " points"]]:
    """The place of each point that most of its steps support, and its variance: that of the best of them."""
    weight = 1 / variance
    apart = np.linalg.norm(found[:, None] - found[None], axis=-1)
    counted = np.isfinite(variance)
    both = np.where(counted[:, None] & counted[None], variance[:, None] + variance[None], 0)
    near = counted[:, None] & counted[None] & (apart <= GATE_PX + GATE * np.sqrt(both))
    best = (near * weight[None]).sum(1).argmax(0)
    support = near[best, :, np.arange(found.shape[1])].T
    share = support * weight
    total = np.maximum(share.sum(0), 1e-12)
    place = (share[..., None] * np.nan_to_num(found)).sum(0) / total[:, None]
    return place.astype(np.float32), np.where(support, variance, np.inf).min(0)
