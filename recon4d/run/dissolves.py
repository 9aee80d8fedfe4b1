"""Dissolves: a video that blends from one place into another, which optical flow takes for one place.

A frame inside is the mean of the frames before and after it, each moved as the camera moved: both together explain it,
neither does alone, and they do not resemble each other.

Numbers here that name no source were set by hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from recon4d.core.parallel import one_opencv_thread
from recon4d.core.scene import Notice

LONG_SIDE_PX = 64
"""Of the pictures that are compared: few details, so that affine motion is nearly exact."""
BLUR_PX = 1.0
"""Standard deviation by which they are blurred, pixels: noise and compression go, gradients become smooth."""
APART = (3, 4, 6, 8, 12, 16)
"""Frames to the one before and the one after that are tried: half of a usual dissolve, 0.2 to 1 s."""
ALIKE_AS_THEY_ARE, ALIKE_MOVED = 0.7, 0.5
"""Correlation of the frames before and after, as they are and moved, from which on they show one place. With this and
the limits below none of 27 sequences without a dissolve is named, and 22 of 36 dissolves (8, 16 and 30 frames) between
them are: a camera that moves fast meanwhile hides the others."""
EXPLAINED = 0.7
"""Part of the frame's variance that both together must explain."""
BETTER_THAN_ONE = 1.5
"""Variance that the better one of them leaves alone, over what both leave."""
SHARE, SUM = 0.25, (0.7, 1.25)
"""Least share of each in the blend, and the range of their sum."""
OVERLAP = 0.4
"""Part of the picture that both must see."""
LEAST_FOUND = 3
"""Frames that must be found of a dissolve."""
JOINED = 8
"""Found frames that are no more apart belong to one dissolve."""
STEPS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-3)
"""When the search for the motion ends: steps, and gain of correlation."""

Picture = Float32[np.ndarray, "rows cols"]


@dataclass(frozen=True)
class Blend:
    """How two pictures explain a third."""

    shares: tuple[float, float]
    together: float
    """Part of the variance that both explain."""
    alone: float
    """... that the better one explains."""
    alike: float
    """Correlation of the two."""

    @property
    def is_dissolve(self) -> bool:
        """Both are needed, both are there, and they show different places."""
        gain = (1 - self.alone) / max(1 - self.together, 1e-6)
        return (
            self.together > EXPLAINED
            and gain > BETTER_THAN_ONE
            and self.alike < ALIKE_MOVED
            and min(self.shares) > SHARE
            and SUM[0] < sum(self.shares) < SUM[1]
        )


def dissolve_notices(
    images: UInt8[np.ndarray, "frames height width 3"],
) -> tuple[Notice, ...]:
    """A notice for every dissolve in a video."""
    notices = []
    for first, last in find_dissolves(images):
        message = (
            f"Frames {first} to {last} blend one place into another (a dissolve, which is a cut): what is before and "
            "what is after them is not one world, and path and depth across them mean nothing; reconstruct both apart "
            "(--start, --max-frames)."
        )
        notices.append(Notice("dissolve", message, tuple(range(first, last + 1))))
    return tuple(notices)


def find_dissolves(
    images: UInt8[np.ndarray, "frames height width 3"],
) -> list[tuple[int, int]]:
    """First and last frame that is surely a blend, of every dissolve."""
    with one_opencv_thread():
        pictures = [_small(image) for image in images]
        found = [at for at in range(len(pictures)) if _is_blend(pictures, at)]
    groups: list[list[int]] = []
    for at in found:
        if groups and at - groups[-1][-1] <= JOINED:
            groups[-1].append(at)
        else:
            groups.append([at])
    return [(group[0], group[-1]) for group in groups if _has_row(group)]


def explain(before: Picture, middle: Picture, after: Picture) -> Blend | None:
    """Explain a picture by two others, each moved onto it (affinely); None where they overlap too little."""
    (a, sees_a), (b, sees_b) = _moved(before, middle), _moved(after, middle)
    both = sees_a & sees_b
    if both.mean() < OVERLAP:
        return None
    p, m, q = (picture[both].astype(np.float64) for picture in (a, middle, b))
    p, m, q = p - p.mean(), m - m.mean(), q - q.mean()
    products = np.array([[p @ p, p @ q], [p @ q, q @ q]]) + 1e-6 * np.eye(2)
    against = np.array([p @ m, q @ m])
    shares = np.linalg.solve(products, against)
    variance = max(float(m @ m), 1e-6)
    return Blend(
        shares=(float(shares[0]), float(shares[1])),
        together=float(shares @ against) / variance,
        alone=float((against**2 / products.diagonal()).max()) / variance,
        alike=float(products[0, 1] / np.sqrt(products[0, 0] * products[1, 1])),
    )


def _is_blend(pictures: Sequence[Picture], at: int) -> bool:
    for apart in APART:
        if at - apart < 0 or at + apart >= len(pictures):
            return False
        before, after = pictures[at - apart], pictures[at + apart]
        if _correlation(before, after) > ALIKE_AS_THEY_ARE:
            continue
        blend = explain(before, pictures[at], after)
        if blend is not None and blend.is_dissolve:
            return True
    return False


def _has_row(frames: Sequence[int]) -> bool:
    """Enough frames, two of them neighbours: less may be chance."""
    return len(frames) >= LEAST_FOUND and bool((np.diff(frames) == 1).any())


def _small(image: UInt8[np.ndarray, "height width 3"]) -> Picture:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    scale = LONG_SIDE_PX / max(grey.shape)
    size = tuple(max(1, round(side * scale)) for side in grey.shape[::-1])
    return np.asarray(
        cv2.GaussianBlur(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), (0, 0), BLUR_PX)
    )


def _moved(picture: Picture, onto: Picture) -> tuple[Picture, Bool[np.ndarray, "rows cols"]]:
    """A picture moved onto another by the affine motion of the largest correlation, and where it is seen."""
    motion, everywhere = np.eye(2, 3, dtype=np.float32), np.ones(picture.shape, np.uint8)
    try:
        _, found = cv2.findTransformECC(
            onto, picture, motion, cv2.MOTION_AFFINE, STEPS, everywhere, 3
        )
    except cv2.error:  # nothing correlates: a flat picture, or another place
        return picture, np.ones(picture.shape, bool)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = picture.shape[::-1]
    moved = cv2.warpAffine(picture, found, size, flags=flags, borderValue=-1)
    return np.asarray(moved), np.asarray(moved >= 0)


def _correlation(a: Picture, b: Picture) -> float:
    p, q = (picture - picture.mean() for picture in (a, b))
    return float((p * q).sum() / np.sqrt((p * p).sum() * (q * q).sum() + 1e-9))
