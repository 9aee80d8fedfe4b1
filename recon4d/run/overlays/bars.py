"""Dark bars along the border of the picture, as of a film on another screen; they are found without motion, too."""

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from recon4d.core.sampling import spread_evenly

MOST_FRAMES = 48
"""That are looked at."""
DARKEST = 26
"""Grey level up to which a bar may be black: 16 of limited range taken for full, and compression noise."""
LEAST_PX = 2
"""Rows that a bar has, pixels of the working size."""
STRAIGHT_PX = 2
"""How far its edge may waver."""
STRAIGHT_SHARE = 0.6
"""Share of the columns at which the picture begins right there; in the others the scene is dark, too."""
INSIDE = 0.02
"""Share of the columns that may be lit within a bar: compression, or a subtitle of a few frames."""
MOST_SHARE = 0.4
"""Of the picture's height: a bar is no black video."""
STEP = 12
"""Grey levels by which the picture is brighter than the bar beside it."""


def dark_bars(
    images: UInt8[np.ndarray, "frames height width 3"],
) -> Bool[np.ndarray, "height width"]:
    """Where there are black bars in every frame.

    Args:
        images: At working size.
    """
    colours = np.zeros(images.shape[1:], np.uint8)
    for frame in spread_evenly(len(images), MOST_FRAMES):
        np.maximum(colours, images[frame], out=colours)
    # compression rings into a bar; one bright pixel is no picture
    calm = np.asarray(cv2.medianBlur(np.ascontiguousarray(colours.max(-1)), 3), np.uint8)
    out = np.zeros(images.shape[1:3], bool)
    for area, picture in ((out, calm), (out.T, calm.T)):
        area[: _depth(picture)] = True
        area[::-1][: _depth(picture[::-1])] = True
    return out


def _depth(brightest: UInt8[np.ndarray, "rows cols"]) -> int:
    """Rows of a bar at the top of a picture that has the brightest grey level of every pixel; 0 where there is none."""
    dark = brightest <= DARKEST
    runs = np.where(dark.all(0), len(dark), np.argmin(dark, axis=0))
    depth = int(np.quantile(runs, INSIDE, method="lower"))
    if depth < LEAST_PX or depth > MOST_SHARE * len(dark):
        return 0
    begins = (runs >= depth) & (runs <= depth + STRAIGHT_PX)
    beyond = brightest[depth + STRAIGHT_PX : depth + 2 * STRAIGHT_PX].astype(np.int64)
    brighter = beyond.mean(0) - brightest[:depth].astype(np.int64).mean(0) > STEP
    if (begins & brighter).mean() < STRAIGHT_SHARE:
        return 0
    return int(np.median(runs[begins]))
