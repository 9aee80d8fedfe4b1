"""The working size, and resizing to it.

Numbers here that name no source were set by hand.
"""

import math

import cv2
import numpy as np

from recon4d.core.errors import InputError
from recon4d.io.options import SIDE_MULTIPLE_PX, SMALLEST_SIDE_PX

SHAPE_TOLERANCE = 0.01
"""Depth and masks may differ from the images in resolution, but their aspect ratios only by rounding."""


def working_size(
    source_size: tuple[int, int], size: int, pixel_aspect: float = 1.0
) -> tuple[int, int]:
    """Return the (width, height) at which everything is computed.

    Args:
        source_size: (width, height) of the input in pixels.
        size: Wanted long side.
        pixel_aspect: Width over height of an input pixel; those of the working size are square.
    """
    width, height = (float(side) for side in source_size)
    seen = (width * pixel_aspect, height) if pixel_aspect >= 1 else (width, height / pixel_aspect)
    scale = min(1.0, size / max(seen))
    rounded = tuple(_round_side(side * scale, side) for side in seen)
    if min(rounded) < SMALLEST_SIDE_PX:
        remedy = "a larger --size" if min(seen) >= SMALLEST_SIDE_PX else "larger frames"
        raise InputError(
            f"the frames have {width:g}x{height:g} px, a working size of {rounded[0]}x{rounded[1]} px; each "
            f"side needs at least {SMALLEST_SIDE_PX} px: give {remedy}"
        )
    return rounded[0], rounded[1]


def fy_over_fx(
    source_size: tuple[int, int], size: tuple[int, int], pixel_aspect: float = 1.0
) -> float:
    """Ratio of the focal lengths, at the working size, of a camera whose pixels are square as they are seen.

    Args:
        source_size: (width, height) of the input in pixels.
        size: Of the working size.
        pixel_aspect: Width over height of an input pixel as it is seen.
    """
    return size[1] * source_size[0] * pixel_aspect / (source_size[1] * size[0])


def same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two (width, height) show the same picture at two resolutions."""
    return abs(one[0] / one[1] / (other[0] / other[1]) - 1) <= SHAPE_TOLERANCE


def resize_nearest(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize values that must not be mixed: each pixel takes the value under its centre."""
    return cv2.resize(values, size, interpolation=cv2.INTER_NEAREST_EXACT)


def _round_side(wanted: float, available: float) -> int:
    nearest = SIDE_MULTIPLE_PX * math.floor(wanted / SIDE_MULTIPLE_PX + 0.5)
    if nearest > available:
        nearest -= SIDE_MULTIPLE_PX
    return nearest
