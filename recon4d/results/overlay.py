"""Masks and depth as pictures that people can read.

Numbers here that name no source were set by hand.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

MOVING_COLOR = np.array([255, 45, 85], np.float32)
"""RGB of moving pixels: rare in nature."""
MOVING_TINT = 0.45
"""Share of the colour over moving pixels; more hides what moves."""
CONTOUR_SHARE = 1 / 256
"""Thickness of the outline per long side of the image."""
RANGE_PERCENT = (2.0, 98.0)
"""Percentiles of inverse depth that get the ends of the colours; beyond them are outliers."""
RANGE_STRIDE = 4
"""Pixels between those that the range is taken from."""
UNKNOWN_GREY = 40
"""Of 255; no colour of the scale is so dark."""
DIMMED = 0.5
"""Brightness of depth at confidence 0."""


def tint_moving(
    image: UInt8[np.ndarray, "height width 3"], is_dynamic: Bool[np.ndarray, "height width"]
) -> UInt8[np.ndarray, "height width 3"]:
    """Colour the moving pixels of an RGB image and draw their outline."""
    tinted = image.astype(np.float32)
    tinted[is_dynamic] += MOVING_TINT * (MOVING_COLOR - tinted[is_dynamic])
    out = np.rint(tinted).astype(np.uint8)
    outlines, _ = cv2.findContours(
        is_dynamic.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )
    thickness = max(1, round(max(image.shape[:2]) * CONTOUR_SHARE))
    cv2.drawContours(out, outlines, -1, MOVING_COLOR.tolist(), thickness, cv2.LINE_AA)
    return out


def depth_range(depth: Float32[np.ndarray, "frames height width"]) -> tuple[float, float]:
    """Nearest and farthest depth that get a colour of their own, for the whole video; (1, 1) if none is known."""
    sampled = depth[:, ::RANGE_STRIDE, ::RANGE_STRIDE]
    known = sampled[sampled > 0]
    if known.size == 0:
        return 1.0, 1.0
    low, high = np.percentile(known, RANGE_PERCENT)
    return float(low), float(high)


def color_depth(
    depth: Float32[np.ndarray, "height width"],
    confidence: UInt8[np.ndarray, "height width"],
    limits: tuple[float, float],
) -> UInt8[np.ndarray, "height width 3"]:
    """Colour depth from red (near) to blue (far), even in inverse depth.

    Args:
        depth: z-depth; unknown pixels become dark grey.
        confidence: Pixels with little of it are dimmed.
        limits: Nearest and farthest depth, from `depth_range`.
    """
    near, far = 1 / limits[0], 1 / limits[1]
    inverse = np.divide(1, depth, out=np.zeros_like(depth), where=depth > 0)
    share = (inverse - far) / max(near - far, np.finfo(np.float32).eps * near)
    colors = turbo(np.clip(share, 0, 1).astype(np.float32))
    brightness = DIMMED + (1 - DIMMED) * confidence[..., None] / np.float32(255)
    out = np.rint(colors * brightness).astype(np.uint8)
    out[depth <= 0] = UNKNOWN_GREY
    return out


def turbo(
    share: Float32[np.ndarray, "height width"],
) -> UInt8[np.ndarray, "height width 3"]:
    """RGB colours of numbers from 0 (blue) to 1 (red); the two ends of the map are too dark to be told apart."""
    levels = np.rint(20 + share * 225).astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)[..., ::-1])
