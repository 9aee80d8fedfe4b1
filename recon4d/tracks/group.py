"""Which followed points are of one object: those that stay together, and are never apart.

Two points that are near each other and move alike are probably of one object, and two that move differently are not;
nor are two that were seen in separate pieces of the mask. Groups are joined as long as what their pairs say is in
favour, in the mean (agglomeration with average linkage on signed graphs, Bailoni et al. 2019): a few points that slip
from one object to another where they cross do not join the two.

Numbers here that name no source were set by hand.
"""

import heapq
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64

STEPS = (5, 2, 15)
"""Frames over which motion is compared. Over the shortest ones what crosses shows it at once, over the longest ones
things that go nearly the same way come apart."""
EVERY = 2
"""Frames between those from which motion is compared."""
TOGETHER = 2
"""Common moments that a pair needs to say anything ..."""
SURELY = 2.0
"""... unless its motion differs so many times more than that of points that move alike."""
AGAINST = 2.0
"""What counts against counts so many times: two things that cross are seen together briefly."""
ALIKE_PX = 1.5
"""Difference of the motion of two points, over a step, up to which they move alike, pixels ..."""
ALIKE_SLOPE = 0.03
"""... and the part of their distance that is added to it per frame: things turn, swing, come nearer."""
NEAR = 3.5
"""Distance up to which points are neighbours, spacings."""
FAR_ALIKE = 0.3
"""What pairs that are no neighbours, and move alike, say, of 1: both sides of a thing that something passes before."""
FRIEND = 0.1
"""What a pair says, of 1, from which on it counts for finding points that slip between things ..."""
TORN = 0.1
"""... and the part of the pairs of a point's friends that may be against each other."""
APART = 0.5
"""What neighbours say against it that are seen in separate pieces of the mask, of 1; others say it more the more
differently they move, and at least so much."""


def group(
    uv: Float32[np.ndarray, "frames points 2"],
    is_visible: Bool[np.ndarray, "frames points"],
    piece: Int64[np.ndarray, "frames points"],
    spacing_px: float,
) -> Int64[np.ndarray, " points"]:
    """Number of the group of each point, from 0 on, the largest group first; -1: it goes with two that do not agree.

    Args:
        uv: Where points are seen.
        is_visible: Whether they are.
        piece: Of the mask, in which each is seen in each frame.
        spacing_px: Distance of neighbouring points.
    """
    if not uv.shape[1]:
        return np.zeros(0, np.int64)
    weight, says = _evidence(uv, is_visible, piece, NEAR * spacing_px)
    sound = np.flatnonzero(_torn(weight, says) <= TORN)
    label = _agglomerate(weight[np.ix_(sound, sound)], says[np.ix_(sound, sound)])
    _, label, count = np.unique(label, return_inverse=True, return_counts=True)
    rank = np.empty(len(count), np.int64)
    rank[np.argsort(-count, kind="stable")] = np.arange(len(count))
    out = np.full(uv.shape[1], -1)
    out[sound] = rank[label]
    return out


def _torn(
    weight: Float32[np.ndarray, "points points"], says: Bool[np.ndarray, "points points"]
) -> Float32[np.ndarray, " points"]:
    """Of every point: how many pairs of those that move like it say that they are of two objects, of 1."""
    friends = (says & (weight > FRIEND)).astype(np.float32)
    against = (says & (weight < -FRIEND)).astype(np.float32)
    pairs = ((friends @ says.astype(np.float32)) * friends).sum(1)
    return np.asarray(((friends @ against) * friends).sum(1) / np.maximum(pairs, 1), np.float32)


def _evidence(
    uv: Float32[np.ndarray, "frames points 2"],
    is_visible: Bool[np.ndarray, "frames points"],
    piece: Int64[np.ndarray, "frames points"],
    near_px: float,
) -> tuple[Float32[np.ndarray, "points points"], Bool[np.ndarray, "points points"]]:
    """What every pair says, from -1 (of two objects) to 1 (of one), and whether it says anything."""
    steps = [min(step, len(uv) - 1) for step in STEPS]
    parts = [_compared(uv, is_visible, piece, step) for step in steps]
    differ = np.max([part.differ for part in parts], axis=0)
    enough = parts[0].moments >= min(TOGETHER, len(uv) // (steps[0] + EVERY))
    says = enough | (differ > SURELY)
    separate, nearest = parts[0].apart, parts[0].nearest
    alike = np.clip(1 - differ, -1, 1)
    near = np.where(alike > 0, alike - APART * separate, alike)
    far = FAR_ALIKE * np.maximum(alike, 0) - separate * np.clip(differ, APART, 1)
    weight = np.where(nearest < near_px, near, far)
    weight *= np.where(weight < 0, AGAINST, 1)
    says &= np.abs(weight) > 0
    weight[~says] = 0
    np.fill_diagonal(says, False)
    return weight.astype(np.float32), says


@dataclass(frozen=True)
class _Compared:
    """All pairs of points over steps of one length."""

    differ: Float32[np.ndarray, "points points"]
    """How much they move differently: 1 is as much as points of one thing may."""
    moments: Float32[np.ndarray, "points points"]
    """Steps in which both were seen."""
    apart: Float32[np.ndarray, "points points"]
    """Share of them in which they were in separate pieces of the mask."""
    nearest: Float32[np.ndarray, "points points"]
    """Least distance, pixels."""


def _compared(
    uv: Float32[np.ndarray, "frames points 2"],
    is_visible: Bool[np.ndarray, "frames points"],
    piece: Int64[np.ndarray, "frames points"],
    step: int,
) -> _Compared:
    count = uv.shape[1]
    total, moments, apart = (np.zeros((count, count), np.float32) for _ in range(3))
    nearest = np.full((count, count), np.inf, np.float32)
    for frame in range(0, len(uv) - step, EVERY):
        own = np.flatnonzero(is_visible[frame] & is_visible[frame + step])
        here, there, both = uv[frame, own], uv[frame + step, own], np.ix_(own, own)
        away = here[:, None] - here[None]
        length = np.sqrt((away**2).sum(-1))
        change = np.sqrt(((there[:, None] - there[None] - away) ** 2).sum(-1))
        total[both] += (change / (ALIKE_PX + ALIKE_SLOPE * step * length)) ** 2
        moments[both] += 1
        apart[both] += piece[frame, own][:, None] != piece[frame, own][None]
        nearest[both] = np.minimum(nearest[both], length)
    many = np.maximum(moments, 1)
    return _Compared(np.sqrt(total / many), moments, apart / many, nearest)


def _agglomerate(
    weight: Float32[np.ndarray, "points points"], says: Bool[np.ndarray, "points points"]
) -> Int64[np.ndarray, " points"]:
    """Join the two groups whose pairs are most in favour, in the mean, until none are."""
    total, pairs = weight.astype(np.float64), says.astype(np.float64)
    label = np.arange(len(total))
    version = np.zeros(len(total), np.int64)
    is_group = np.ones(len(total), bool)
    heap: list[tuple[float, int, int, int, int]] = []

    def push(a: int, others: Int64[np.ndarray, " others"]) -> None:
        mean = total[a, others] / np.maximum(pairs[a, others], 1)
        for b, value in zip(others[mean > 0].tolist(), mean[mean > 0].tolist(), strict=True):
            heapq.heappush(heap, (-value, a, b, int(version[a]), int(version[b])))

    for a in range(len(total)):
        push(a, a + 1 + np.flatnonzero(pairs[a, a + 1 :] > 0))
    while heap:
        _, a, b, of_a, of_b = heapq.heappop(heap)
        if not (is_group[a] and is_group[b] and version[a] == of_a and version[b] == of_b):
            continue
        label[label == b] = a
        is_group[b] = False
        for sums in (total, pairs):
            sums[a] += sums[b]
            sums[:, a] = sums[a]
            sums[a, a] = 0
        version[a] += 1
        push(a, np.flatnonzero(is_group & (pairs[a] > 0)))
    return label
