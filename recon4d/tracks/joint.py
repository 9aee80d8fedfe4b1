"""Groups of points that move as one solid does are one: what was divided too far is joined again.

Numbers here that name no source were set by hand.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int64

from recon4d.tracks.chain import Followed

STEP = 5
"""Frames over which motion is compared."""
LEAST_STEPS = 3
"""Steps in which both groups must be seen."""
FITTED = 8
"""Points of the larger group that an affine motion is fitted to, at least."""
OFF_PX = 2.0
"""What the motion of the larger group may leave of that of the smaller one, median, pixels over a step."""
TOUCH = 0.5
"""Part of the steps in which both must be in one piece of the mask."""


def joined(
    label: Int64[np.ndarray, " points"],
    followed: Followed,
    piece: Int64[np.ndarray, "frames points"],
) -> Int64[np.ndarray, " points"]:
    """The labels, with small groups that go along with a larger one made part of it.

    Args:
        label: Group of each point, the largest first; -1: none.
        followed: The points.
        piece: Of the mask in which each is seen.
    """
    out = label.copy()
    for small in range(int(label.max(initial=-1)), 0, -1):
        for large in range(small):
            if _goes_along(followed, piece, out == large, out == small):
                out[out == small] = large
                break
    return out


def _goes_along(
    followed: Followed,
    piece: Int64[np.ndarray, "frames points"],
    large: Bool[np.ndarray, " points"],
    small: Bool[np.ndarray, " points"],
) -> bool:
    step = min(STEP, len(followed.uv) - 1)
    rests, touches = [], []
    for frame in range(0, len(followed.uv) - step, 2):
        seen = followed.is_visible[frame] & followed.is_visible[frame + step]
        a, b = np.flatnonzero(seen & large), np.flatnonzero(seen & small)
        if len(a) < FITTED or not len(b):
            continue
        touches.append(np.isin(piece[frame, b], piece[frame, a]).mean())
        rests.append(np.median(_rest(followed, frame, frame + step, a, b)))
    if len(rests) < LEAST_STEPS:
        return False
    return bool(np.median(rests) <= OFF_PX and np.mean(touches) >= TOUCH)


def _rest(
    followed: Followed,
    here: int,
    there: int,
    a: Int64[np.ndarray, " some"],
    b: Int64[np.ndarray, " others"],
) -> Float64[np.ndarray, " others"]:
    """What the affine motion of some points leaves of that of others, pixels."""
    middle = followed.uv[here, a].mean(0)

    def terms(points: Int64[np.ndarray, " any"]) -> Float64[np.ndarray, "any 3"]:
        place = (followed.uv[here, points] - middle).astype(np.float64)
        return np.concatenate((place, np.ones((len(points), 1))), axis=1)

    moved = (followed.uv[there] - followed.uv[here]).astype(np.float64)
    fit, *_ = np.linalg.lstsq(terms(a), moved[a], rcond=None)
    return np.asarray(np.linalg.norm(moved[b] - terms(b) @ fit, axis=1))
