"""Interlaced video: every frame shows two moments, one in its even lines and one in its odd lines.

Where something moves, neighbouring lines then differ more than lines of one field do, which are twice as far apart.
Fine lines that do not move are no sign of it.
"""

from collections.abc import Iterable
from itertools import islice, pairwise

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from recon4d.core.scene import Notice

MOST_FRAMES = 24
"""That are looked at before a video counts as progressive."""
ENOUGH = 4
"""Pairs of frames with motion that decide."""
MOVED = 12.0
"""Change of a line pair's mean from one frame to the next from which on something moves there, grey levels."""
COLUMNS = 480
"""That are looked at of a wide picture, about."""
BLOCK = 32
"""Side of the blocks that are judged, pixels of the input."""
LEAST_MOVING = 0.2
"""Share of a block's pixels that must move."""
FEWEST_BLOCKS = 12
"""Moving blocks that tell anything."""
COMBED = 1.15
"""Difference of neighbouring lines over that of lines two apart: of progressive pictures .5 to .9, of fields of two
moments above 1.3."""
ONE_SIGN = 0.6
"""Mean difference of even and odd lines over that of its amount, from which on one kind of line is simply darker."""
MOSTLY = 0.4
"""Share of the moving blocks that must be combed: of 23 progressive clips at most .02 are, of 22 of them with the odd
lines of the next frame .5 and more."""


def is_interlaced(images: Iterable[UInt8[np.ndarray, "height width 3"]]) -> bool:
    """Whether frames of a video are certainly interlaced.

    Args:
        images: RGB, at the size of the input, one after the other; only as many are taken as are needed.
    """
    found: list[float] = []
    for before, now in pairwise(islice(images, MOST_FRAMES)):
        share = combed_share(before, now)
        if share is not None:
            found.append(share)
        if len(found) == ENOUGH:
            return float(np.median(found)) > MOSTLY
    return False


def combed_share(
    before: UInt8[np.ndarray, "height width 3"], now: UInt8[np.ndarray, "height width 3"]
) -> float | None:
    """Part of the moving blocks of a frame whose lines are combed; None where too little moves."""
    if before.shape != now.shape or min(now.shape[:2]) < 2 * BLOCK:
        return None
    (even, odd), (old_even, old_odd) = _lines(now), _lines(before)
    moves = (np.abs(even + odd - old_even - old_odd) > 2 * MOVED)[:-1].astype(np.float32)
    apart = (even - odd)[:-1]
    near, far = np.abs(apart), np.abs(np.diff(even, axis=0))
    size = now.shape[1] // BLOCK, now.shape[0] // BLOCK
    moving, signed, combs, steps = (
        cv2.resize(np.ascontiguousarray(x), size, interpolation=cv2.INTER_AREA)
        for x in (moves, moves * apart, moves * near, moves * far)
    )
    judged = moving >= LEAST_MOVING
    if judged.sum() < FEWEST_BLOCKS:
        return None
    if abs(float(signed[judged].sum())) > ONE_SIGN * float(combs[judged].sum()):
        return 0.0
    return float((combs > COMBED * steps)[judged].mean())


def without_odd_lines(
    image: UInt8[np.ndarray, "height width 3"],
) -> UInt8[np.ndarray, "height width 3"]:
    """The even lines of an image where they are, the means of their neighbours between them."""
    even = np.ascontiguousarray(image[::2])
    between = cv2.addWeighted(even, 0.5, np.concatenate((even[1:], even[-1:])), 0.5, 0)
    out = image.copy()
    out[1::2] = between[: len(image) // 2]
    return out


def interlaced_notice(name: str) -> Notice:
    """What the user is told of an interlaced input."""
    message = (
        f"{name} is interlaced: the even and the odd lines of a frame show two moments; the even lines are used, and "
        "those between are interpolated"
    )
    return Notice("interlaced", message)


def _lines(
    image: UInt8[np.ndarray, "height width 3"],
) -> tuple[Float32[np.ndarray, "lines cols"], Float32[np.ndarray, "lines cols"]]:
    """Grey levels of the even and of the odd lines, every few columns."""
    few = np.ascontiguousarray(image[: len(image) // 2 * 2, :: max(1, image.shape[1] // COLUMNS)])
    gray = cv2.cvtColor(few, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return gray[::2], gray[1::2]
