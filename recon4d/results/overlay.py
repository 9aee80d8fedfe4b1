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
UNKNOWN_GREYS = (40, 78)
"""Stripes of unknown depth, of 255; no colour of the scale is grey."""
STRIPES = 40
"""Of unknown depth, per long side of the image."""
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


def known_depth(
    depth: Float32[np.ndarray, "*frames height width"],
    confidence: UInt8[np.ndarray, "*frames height width"],
) -> Bool[np.ndarray, "*frames height width"]:
    """Pixels whose depth means something: at confidence 0 it is a constant, or that of a frame without a pose."""
    return np.asarray((depth > 0) & (confidence > 0))


def depth_range(
    depth: Float32[np.ndarray, "frames height width"],
    confidence: UInt8[np.ndarray, "frames height width"],
) -> tuple[float, float] | None:
    """Nearest and farthest depth that get a colour of their own, for the whole video; None if none is known."""
    part = np.s_[:, ::RANGE_STRIDE, ::RANGE_STRIDE]
    known = depth[part][known_depth(depth[part], confidence[part])]
    if known.size == 0:
        return None
    low, high = np.percentile(known, RANGE_PERCENT)
    return float(low), float(high)


def color_depth(
    depth: Float32[np.ndarray, "height width"],
    confidence: UInt8[np.ndarray, "height width"],
    limits: tuple[float, float] | None,
) -> UInt8[np.ndarray, "height width 3"]:
    """Colour depth from red (near) to blue (far), even in inverse depth.

    Args:
        depth: z-depth; unknown pixels (`known_depth`) get grey stripes.
        confidence: Pixels with little of it are dimmed.
        limits: Nearest and farthest depth, from `depth_range`.
    """
    height, width = depth.shape
    is_known = known_depth(depth, confidence)
    if limits is None or not is_known.any():
        return stripes(height, width)
    near, far = 1 / limits[0], 1 / limits[1]
    inverse = np.divide(1, depth, out=np.zeros_like(depth), where=is_known)
    share = (inverse - far) / max(near - far, np.finfo(np.float32).eps * near)
    colors = turbo(np.clip(share, 0, 1).astype(np.float32))
    brightness = DIMMED + (1 - DIMMED) * confidence[..., None] / np.float32(255)
    out = np.rint(colors * brightness).astype(np.uint8)
    return np.where(is_known[..., None], out, stripes(height, width))


def stripes(height: int, width: int) -> UInt8[np.ndarray, "height width 3"]:
    """The pattern of unknown depth."""
    period = max(2, round(max(height, width) / STRIPES))
    is_light = np.add.outer(np.arange(height), np.arange(width)) % period >= period // 2
    dark, light = UNKNOWN_GREYS
    grey = np.where(is_light, light, dark).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def turbo(
    share: Float32[np.ndarray, "height width"],
) -> UInt8[np.ndarray, "height width 3"]:
    """RGB colours of numbers from 0 (blue) to 1 (red); the two ends of the map are too dark to be told apart."""
    levels = np.rint(20 + share * 225).astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)[..., ::-1])
