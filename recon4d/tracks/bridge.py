"""The same thing before and after it was hidden: groups of points that continue each other's way and look alike.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64, UInt8

from recon4d.core.pinhole import lift_array, project_array
from recon4d.results.result import Result
from recon4d.tracks.chain import Followed

LONGEST_S = 2.0
"""Seconds that a thing may be hidden."""
OVERLAP = 6
"""Frames in which both may be seen: a thing goes behind another one bit by bit."""
BEST = 15
"""Frames at the end of a group, and at the beginning of another: the one with the most points tells where it is."""
STEP = 4
"""Frames over which velocity is taken."""
OFF = 0.6
"""Distance from where a group would be, in its sizes, up to which another one continues it ..."""
OFF_WAY = 0.25
"""... and the part of the way meanwhile that is added to it."""
ALIKE = 0.35
"""Part of the colours that both must share."""
OTHERWISE = 0.6
"""Difference of the two velocities, of the sum of both, up to which one group continues another ..."""
OTHERWISE_PX = 0.75
"""... and pixels per frame that are added to it."""
LEVELS = 4
"""Levels per channel by which colours are counted."""
THERE = 0.15
"""Part of the most points of a group ever seen at once from which on it is there: single ones slip to other things."""
LEAST_POINTS = 3
"""Of a group that is looked for."""


@dataclass(frozen=True)
class _Part:
    """A group of points."""

    first: int
    last: int
    colours: Float64[np.ndarray, " bins"]
    points: Int64[np.ndarray, " points"]


def bridged(
    result: Result, found: Followed, label: Int64[np.ndarray, " points"]
) -> Int64[np.ndarray, " points"]:
    """The labels, those of a thing that was hidden made one."""
    parts = {k: _part(result, found, np.flatnonzero(label == k)) for k in set(label.tolist())}
    parts = {k: part for k, part in parts.items() if len(part.points) >= LEAST_POINTS}
    costs = [
        (_cost(result, found, before, after), a, b)
        for a, before in parts.items()
        for b, after in parts.items()
        if a != b
    ]
    goes_on: dict[int, int] = {}
    for cost, a, b in sorted(costs):
        if np.isfinite(cost) and a not in goes_on.values() and b not in goes_on:
            goes_on[b] = a
    first = {k: k for k in set(label.tolist())}
    for k in first:
        while first[k] in goes_on:
            first[k] = goes_on[first[k]]
    return np.array([first[k] for k in label.tolist()], np.int64)


def _part(result: Result, found: Followed, points: Int64[np.ndarray, " points"]) -> _Part:
    visible = found.is_visible[:, points]
    many = visible.sum(1)
    frames = np.flatnonzero(many >= max(THERE * many.max(), 1))
    counts = np.zeros(LEVELS**3)
    for frame in frames:
        at = found.uv[frame, points[visible[frame]]]
        colours = _colours_at(result.images[frame], at).astype(np.int64) * LEVELS // 256
        np.add.at(counts, colours @ np.array([LEVELS**2, LEVELS, 1]), 1)
    return _Part(int(frames[0]), int(frames[-1]), counts / counts.sum(), points)


def _colours_at(
    image: UInt8[np.ndarray, "height width 3"], uv: Float32[np.ndarray, "points 2"]
) -> UInt8[np.ndarray, "points 3"]:
    col, row = np.floor(uv).astype(np.int64).T
    height, width = image.shape[:2]
    return np.asarray(image[row.clip(0, height - 1), col.clip(0, width - 1)])


def _cost(result: Result, found: Followed, before: _Part, after: _Part) -> float:
    """How badly one group continues another; infinite where it does not."""
    times = result.timestamps_s
    gap = after.first - before.last
    if gap < -OVERLAP or after.last <= before.last or before.first >= after.first:
        return np.inf
    if times[after.first] - times[before.last] > LONGEST_S:
        return np.inf
    alike = float(np.minimum(before.colours, after.colours).sum())
    if alike < ALIKE:
        return np.inf
    a = _best(found, before, range(max(before.first, before.last - BEST), before.last + 1))
    b = _best(found, after, range(after.first, min(after.last, after.first + BEST) + 1))
    if a >= b:
        return np.inf
    depth = _depth(result, found, before, a)
    start, end = (
        _placed(result, f, _middle(found, p, f), depth) for p, f in ((before, a), (after, b))
    )
    speeds = [_velocity(result, found, p, f, depth) for p, f in ((before, a), (after, b))]
    at_end = [_seen(result, b, end + v) - _seen(result, b, end) for v in speeds]
    both = sum(float(np.linalg.norm(v)) for v in at_end)
    if np.linalg.norm(at_end[0] - at_end[1]) > OTHERWISE * both + OTHERWISE_PX:
        return np.inf
    way = np.mean(speeds, axis=0) * (b - a)
    off = _seen(result, b, start + way) - _seen(result, b, end)
    moved = np.linalg.norm(_seen(result, b, start + way) - _seen(result, b, start))
    size = max(_size(found, before, a), _size(found, after, b))
    limit = OFF * size + OFF_WAY * moved
    share = float(np.linalg.norm(off) / limit)
    return share + 1 - alike if share < 1 else np.inf


def _best(found: Followed, part: _Part, frames: range) -> int:
    counts = found.is_visible[frames.start : frames.stop, part.points].sum(1)
    return frames[int(counts.argmax())]


def _own(found: Followed, part: _Part, frame: int) -> Float32[np.ndarray, "points 2"]:
    own = part.points[found.is_visible[frame, part.points]]
    return np.asarray(found.uv[frame, own])


def _middle(found: Followed, part: _Part, frame: int) -> Float64[np.ndarray, "2"]:
    own = _own(found, part, frame)
    return np.asarray((own.min(0) + own.max(0)) / 2, np.float64)


def _size(found: Followed, part: _Part, frame: int) -> float:
    return float(np.linalg.norm(np.ptp(_own(found, part, frame), axis=0)))


def _depth(result: Result, found: Followed, part: _Part, frame: int) -> float:
    """Of a group's points: it need not be right, as both groups are placed at it."""
    col, row = np.floor(_own(found, part, frame)).astype(np.int64).T
    height, width = result.depth.shape[1:]
    values = result.depth[frame][row.clip(0, height - 1), col.clip(0, width - 1)]
    return float(np.median(values[values > 0])) if (values > 0).any() else 1.0


def _placed(
    result: Result, frame: int, uv: Float[np.ndarray, "*some 2"], depth: float
) -> Float64[np.ndarray, "*some 3"]:
    """Points of the world at a depth of a frame."""
    return lift_array(uv, depth, result.intrinsics[frame], result.world_from_cam[frame])


def _seen(result: Result, frame: int, point: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "2"]:
    pose = result.world_from_cam[frame]
    in_cam = (point - pose[:3, 3]) @ pose[:3, :3]
    in_cam[2] = max(in_cam[2], 1e-6)
    return np.asarray(project_array(in_cam, result.intrinsics[frame]))


def _velocity(
    result: Result, found: Followed, part: _Part, frame: int, depth: float
) -> Float64[np.ndarray, "3"]:
    """Per frame, of a group around a frame; 0 where no point is seen for long enough."""
    for a, b in ((frame - STEP, frame), (frame, frame + STEP)):
        if not (part.first <= a and b <= part.last):
            continue
        both = part.points[found.is_visible[a, part.points] & found.is_visible[b, part.points]]
        if len(both):
            there, then = (_placed(result, t, found.uv[t, both], depth) for t in (a, b))
            return np.asarray(np.median(then - there, axis=0) / (b - a))
    return np.zeros(3)
