"""Masks as a last round could have left them: the truth with the mistakes that masks of one round have."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32

from recon4d.scene import MotionMasks

MISSED = 0.6
"""Part of the clips whose movers are missed, whole or in part, in some consecutive frames ..."""
MISSED_FRAMES = (1, 6)
"""... fewest and most of them."""
WRONG = 0.4
"""Part of the clips in which something static is called moving in some consecutive frames."""
WRONG_RADIUS = (3, 25)
"""Radius of that, samples of `Flow`."""
OUTLINE_ERROR = 4
"""Most samples by which all outlines are too narrow or too wide."""
BLUR = (0.5, 3.0)
"""Standard deviation of the outlines' softness, samples."""
SURE = (0.6, 0.98)
"""Probability where the masks are sure."""


@dataclass(frozen=True)
class _Interval:
    """Some frames."""

    start: int
    stop: int

    @classmethod
    def random(cls, rng: np.random.Generator, frames: int, most: int) -> "_Interval":
        count = int(rng.integers(MISSED_FRAMES[0], most + 1))
        start = int(rng.integers(1 - count, frames))
        return cls(max(start, 0), min(start + count, frames))


def imagined_masks(
    truth: Float32[np.ndarray, "frames rows cols"], rng: np.random.Generator
) -> MotionMasks:
    """Draw masks with mistakes.

    Args:
        truth: Part of each sample that moves.
        rng: Decides which mistakes.
    """
    frames, rows, cols = truth.shape
    found = truth.copy()
    if rng.random() < MISSED:
        missed = _Interval.random(rng, frames, MISSED_FRAMES[1])
        found[missed.start : missed.stop] *= _half_plane(rng, rows, cols)
    if rng.random() < WRONG:
        wrong = _Interval.random(rng, frames, frames)
        centre = int(rng.integers(cols)), int(rng.integers(rows))
        axes = tuple(int(r) for r in rng.integers(*WRONG_RADIUS, 2))
        blob = np.zeros((rows, cols), np.float32)
        cv2.ellipse(blob, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
        found[wrong.start : wrong.stop] = np.maximum(found[wrong.start : wrong.stop], blob)
    error = int(rng.integers(-OUTLINE_ERROR, OUTLINE_ERROR + 1))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(error) + 1,) * 2)
    change = cv2.dilate if error > 0 else cv2.erode
    blur = float(rng.uniform(*BLUR))
    soft = [cv2.GaussianBlur(change(mask, disc), (0, 0), blur) for mask in found]
    low, high = 1 - rng.uniform(*SURE), rng.uniform(*SURE)
    return MotionMasks(np.asarray(low + (high - low) * np.stack(soft), np.float32))


def _half_plane(rng: np.random.Generator, rows: int, cols: int) -> Float32[np.ndarray, "rows cols"]:
    """0 on one side of a random line, 1 on the other; 0 everywhere in a third of the cases."""
    if rng.random() < 1 / 3:
        return np.zeros((rows, cols), np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    v, u = np.mgrid[0:rows, 0:cols]
    through = rng.uniform(0, rows), rng.uniform(0, cols)
    side = (v - through[0]) * np.sin(angle) + (u - through[1]) * np.cos(angle)
    return np.asarray(side > 0, np.float32)
