"""How much the picture moves around every pixel, and in which direction: without it nothing can be told to stay."""

from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from recon4d.core.parallel import one_opencv_thread

LONG_SIDE_PX = 96
"""Of the pictures whose flow is measured."""
TEXTURE = 2.0
"""Gradient, grey levels per pixel of these pictures, from which on a pixel's flow means something."""
LARGEST_PX = 8.0
"""Flow counts up to this, pixels of these pictures: after a cut it is anything."""
AROUND = 0.1
"""Standard deviation of the surroundings that a pixel's motion is taken from, part of the long side."""
ANYWHERE = 0.01
"""Weight of the whole picture's motion beside that of the surroundings: decides where these are blank."""
LITTLE = 0.3
"""Part of the picture's usual motion below which a frame stands still: a tripod beside a pan. Set by hand."""


def motion_around(
    grays: list[UInt8[np.ndarray, "height width"]], still: Bool[np.ndarray, "height width"]
) -> tuple[Float32[np.ndarray, "height width 3"], Bool[np.ndarray, " frames"]]:
    """How the picture moves around every pixel, and when.

    Args:
        grays: Frames in their order; flow is that from each to the next.
        still: Pixels that do not count.

    Returns:
        Mean of u², v² and uv of the flow (u, v) around every pixel, square pixels of the working size; and in which
        frames the picture moves.
    """
    height, width = grays[0].shape
    scale = LONG_SIDE_PX / max(height, width)
    size = max(8, round(width * scale)), max(8, round(height * scale))
    small = [cv2.resize(gray, size, interpolation=cv2.INTER_AREA) for gray in grays]
    free = cv2.resize((~still).astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.9
    products, weight = np.zeros((*size[::-1], 3), np.float32), np.zeros(size[::-1], np.float32)
    powers = []
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    dis.setFinestScale(0)
    with one_opencv_thread():
        for here, there in pairwise(small):
            flow = dis.calc(here, there, np.zeros((*here.shape, 2), np.float32))
            u, v = np.moveaxis(np.clip(np.asarray(flow), -LARGEST_PX, LARGEST_PX), -1, 0)
            counts = (free & (_steepness(here) > TEXTURE)).astype(np.float32)
            products += np.stack((u * u, v * v, u * v), -1) * counts[..., None]
            weight += counts
            powers.append(((u * u + v * v) * counts).sum() / max(float(counts.sum()), 1.0))
    anywhere = ANYWHERE * (len(grays) - 1)
    mean = products.sum((0, 1)) / max(float(weight.sum()), 1.0)
    sigma = AROUND * LONG_SIDE_PX
    near, sure = (cv2.GaussianBlur(x, (0, 0), sigma) for x in (products, weight))
    around = (near + anywhere * mean) / (sure + anywhere)[..., None] / scale**2
    moves = np.array(powers) > LITTLE**2 * np.mean(powers)
    moving = np.append(moves, False) | np.append(False, moves)
    return np.asarray(cv2.resize(around.astype(np.float32), (width, height)), np.float32), moving


def gradient(
    smooth: Float32[np.ndarray, "rows cols *channels"],
) -> tuple[Float32[np.ndarray, "rows cols *channels"], Float32[np.ndarray, "rows cols *channels"]]:
    """Change of a smoothed image per pixel, across and down."""
    across, down = (
        np.asarray(cv2.Sobel(smooth, cv2.CV_32F, *way, ksize=1, scale=0.5), np.float32)
        for way in ((1, 0), (0, 1))
    )
    return across, down


def _steepness(gray: UInt8[np.ndarray, "rows cols"]) -> Float32[np.ndarray, "rows cols"]:
    smooth = np.asarray(cv2.GaussianBlur(gray.astype(np.float32), (0, 0), 1), np.float32)
    return np.asarray(np.hypot(*gradient(smooth)), np.float32)
