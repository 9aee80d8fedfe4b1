"""Groups of points that move as one solid does are one: what was divided too far is joined again.

Numbers here that name no source were set by hand.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Bool, Float32, Int64

from recon4d.tracks.chain import Followed

STEP = 12
"""Frames over which motion is compared: over fewer, things that go nearly the same way are not told apart."""
LEAST_STEPS = 3
"""Steps in which both groups must be seen."""
FEWEST = 3
"""Points of a group that must be seen in one."""
OFF_PX = 3.0
"""What one affine motion of both may leave of that of each, median, pixels over a step ..."""
STRETCH = 1.4
"""... and how much it may stretch or shrink them: two things that part are no one thing that grows."""
COMMON = 0.7
"""Part of its frames in which a part must be seen with the rest ..."""
NEVER = 0.9
"""... and of these, the part in which both must be in one piece of the mask."""
SWING = 0.8
"""Part of the size of both together by which they may come and go."""
TOUCH = 0.5
"""Part of the points that must be in one piece of the mask with the other group."""


def joined(
    label: Int64[np.ndarray, " points"],
    followed: Followed,
    piece: Int64[np.ndarray, "frames points"],
) -> Int64[np.ndarray, " points"]:
    """The labels, with small groups that go along with a larger one made part of it.

    Args:
        label: Group of each point; -1: none.
        followed: The points.
        piece: Of the mask in which each is seen.
    """
    return _merged(label, partial(_goes_along, followed, piece))


def _merged(
    label: Int64[np.ndarray, " points"],
    is_one: Callable[[Bool[np.ndarray, " points"], Bool[np.ndarray, " points"]], bool],
) -> Int64[np.ndarray, " points"]:
    """The labels, each group, the smallest first, made part of the largest one that it is one with."""
    out = label.copy()
    names, counts = np.unique(label[label >= 0], return_counts=True)
    order = names[np.argsort(-counts, kind="stable")].tolist()
    for at in range(len(order) - 1, 0, -1):
        for large in order[:at]:
            if is_one(out == large, out == order[at]):
                out[out == order[at]] = large
                break
    return out


def _goes_along(
    followed: Followed,
    piece: Int64[np.ndarray, "frames points"],
    large: Bool[np.ndarray, " points"],
    small: Bool[np.ndarray, " points"],
) -> bool:
    step = min(STEP, len(followed.uv) - 1)
    fits, touches = [], []
    for frame in range(0, len(followed.uv) - step, 2):
        seen = followed.is_visible[frame] & followed.is_visible[frame + step]
        a, b = np.flatnonzero(seen & large), np.flatnonzero(seen & small)
        if min(len(a), len(b)) < FEWEST:
            continue
        touches.append(np.isin(piece[frame, b], piece[frame, a]).mean())
        fits.append(_is_one_motion(followed.uv[frame], followed.uv[frame + step], a, b))
    return len(fits) >= LEAST_STEPS and bool(np.mean(fits) > 0.5 and np.mean(touches) >= TOUCH)


def _is_one_motion(
    here: Float32[np.ndarray, "points 2"],
    there: Float32[np.ndarray, "points 2"],
    a: Int64[np.ndarray, " some"],
    b: Int64[np.ndarray, " others"],
) -> bool:
    """Whether one affine motion explains where the points of both groups go."""
    both = np.concatenate((a, b))
    weight = np.concatenate((np.full(len(a), 1 / len(a)), np.full(len(b), 1 / len(b)))) ** 0.5
    place = (here[both] - here[both].mean(0)).astype(np.float64)
    terms = np.concatenate((place, np.ones((len(both), 1))), axis=1)
    moved = there[both].astype(np.float64)
    fit, *_ = np.linalg.lstsq(terms * weight[:, None], moved * weight[:, None], rcond=None)
    rest = np.linalg.norm(moved - terms @ fit, axis=1)
    stretch = np.linalg.svd(fit[:2], compute_uv=False)
    off = max(np.median(rest[: len(a)]), np.median(rest[len(a) :]))
    return bool(off <= OFF_PX and stretch[0] <= STRETCH and stretch[1] >= 1 / STRETCH)


def united(
    label: Int64[np.ndarray, " points"],
    followed: Followed,
    piece: Int64[np.ndarray, "frames points"],
) -> Int64[np.ndarray, " points"]:
    """The labels, with parts of one thing that swing (arms, a skirt) made one: two groups that are never apart.

    Args:
        label: Group of each point; -1: none.
        followed: The points.
        piece: Of the mask in which each is seen.
    """
    return _merged(label, partial(_never_apart, followed, piece))


def _never_apart(
    followed: Followed,
    piece: Int64[np.ndarray, "frames points"],
    large: Bool[np.ndarray, " points"],
    small: Bool[np.ndarray, " points"],
) -> bool:
    away, sizes, together, seen = [], [], 0, 0
    for frame, visible in enumerate(followed.is_visible):
        a, b = np.flatnonzero(visible & large), np.flatnonzero(visible & small)
        seen += len(b) > 0
        if not len(a) or not len(b):
            continue
        here = followed.uv[frame]
        together += bool(np.isin(piece[frame, b], piece[frame, a]).mean() > TOUCH)
        away.append(here[b].mean(0) - here[a].mean(0))
        sizes.append(np.linalg.norm(np.ptp(here[np.concatenate((a, b))], axis=0)))
    if not away or len(away) < COMMON * seen or together < NEVER * len(away):
        return False
    return bool(np.linalg.norm(np.ptp(away, axis=0)) <= SWING * np.median(sizes))
