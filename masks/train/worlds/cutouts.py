"""Objects cut out of photographs by a salient-object network, and outlines drawn at random.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from recon4d.networks.u2net import salience

SURE = 0.85
"""Mean opacity inside the outline below which the network was not sure what the object is."""
SHARE = (0.01, 0.6)
"""Smallest and largest part of the photograph that an object may fill."""
MOST_BORDERS = 1
"""Sides of the photograph at which an object may be cut off."""
OUTLINE_WAVES = 6
"""A drawn outline's bumps come fewer times around it than this."""


@dataclass(frozen=True)
class Cutout:
    """An object with its outline, cropped to it."""

    picture: UInt8[np.ndarray, "rows cols 3"]
    alpha: Float32[np.ndarray, "rows cols"]
    """Opacity, 0 to 1."""
    photograph: int
    """Index of the photograph that it is from; -1 for drawn outlines."""
    corner: tuple[int, int]
    """(column, row) of its upper left corner there."""


def cut_out(photograph: UInt8[np.ndarray, "height width 3"], index: int) -> Cutout | None:
    """The most salient object of a photograph; None where the network is not sure or it does not fit."""
    salient = _opacity(photograph)
    mask = (salient > 0.5).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count < 2:
        return None
    best = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    inside = labels == best
    height, width = mask.shape
    left, top, wide, tall = (int(k) for k in stats[best, :4])
    borders = (left == 0) + (top == 0) + (left + wide == width) + (top + tall == height)
    share = inside.mean()
    unsure = salient[inside].mean() < SURE or not SHARE[0] < share < SHARE[1]
    if unsure or borders > MOST_BORDERS or min(wide, tall) < 24:
        return None
    alpha = np.where(cv2.dilate(inside.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0, salient, 0)
    alpha = np.clip((alpha - 0.5) / 0.4, 0, 1).astype(np.float32)  # inside the outline: no halo
    window = slice(top, top + tall), slice(left, left + wide)
    return Cutout(photograph[window].copy(), alpha[window].copy(), index, (left, top))


def _opacity(
    photograph: UInt8[np.ndarray, "height width 3"],
) -> Float32[np.ndarray, "height width"]:
    """How much each pixel belongs to what a viewer looks at, 0 to 1."""
    found = 1 / (1 + np.exp(-salience(photograph)))
    found = (found - found.min()) / max(float(np.ptp(found)), 1e-6)
    height, width = photograph.shape[:2]
    return np.asarray(cv2.resize(found, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def random_outline(rng: np.random.Generator, picture: UInt8[np.ndarray, "rows cols 3"]) -> Cutout:
    """A blob, a polygon or a figure of limbs, filled with a picture."""
    rows, cols = picture.shape[:2]
    mask = np.zeros((rows, cols), np.uint8)
    kind = rng.integers(3)
    if kind == 2:
        _draw_figure(mask, rng)
    else:
        corners = 90 if kind == 0 else int(rng.integers(3, 9))
        angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radius = np.full(corners, 0.75)
        for wave in range(2, OUTLINE_WAVES):
            radius += rng.normal(0, 0.18 / wave) * np.sin(wave * angle + rng.uniform(0, 6.3))
        radius = np.clip(radius, 0.2, 1)
        at = np.stack((np.cos(angle) * radius, np.sin(angle) * radius), axis=1)
        points = ((at + 1) / 2 * (cols - 1, rows - 1)).astype(np.int32)
        cv2.fillPoly(mask, [points], 255, cv2.LINE_AA)
    return Cutout(picture, mask.astype(np.float32) / 255, -1, (0, 0))


def _draw_figure(mask: UInt8[np.ndarray, "rows cols"], rng: np.random.Generator) -> None:
    """Head, trunk and four to six limbs with joints."""
    rows, cols = mask.shape
    unit = min(rows, cols)
    hip, neck = (np.array([0.5 + rng.normal(0, 0.04), y]) for y in (0.55, 0.25))
    scale = np.array([cols, rows])

    def limb(start: np.ndarray, length: float, angle: float, thick: float) -> np.ndarray:
        end = start + length * np.array([np.sin(angle), np.cos(angle)])
        a, b = (start * scale).astype(int).tolist(), (end * scale).astype(int).tolist()
        cv2.line(mask, a, b, 255, max(int(thick * unit), 2), cv2.LINE_AA)
        return end

    limb(neck, float(hip[1] - neck[1]), 0.0, float(rng.uniform(0.14, 0.3)))
    for start, count in ((hip, 2), (neck, 2)):
        for _ in range(count):
            angle, thick = float(rng.normal(0, 0.6)), float(rng.uniform(0.05, 0.12))
            knee = limb(start, 0.2, angle, thick)
            limb(knee, 0.2, angle + float(rng.normal(0, 0.5)), thick * 0.85)
    head = (neck - (0, 0.1)) * scale
    cv2.circle(mask, head.astype(int).tolist(), int(0.09 * unit), 255, -1, cv2.LINE_AA)
