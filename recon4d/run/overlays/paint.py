"""An overlay painted over with the colours around it: nothing of it is matched, tracked or taken for an object."""

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from recon4d.core.arrays import GrowingArray, read_only_map
from recon4d.core.files import writing
from recon4d.core.parallel import one_opencv_thread
from recon4d.core.scene import Overlay, Video
from recon4d.run.overlays.still import around, dilated

RIM_PX = 1
"""Pixels around an overlay that are painted over, too: it is blurred into them."""
BESIDE_PX = 48
"""Pixels around it whose colours it is painted with."""
COARSEST_PX = 4
"""Side of a picture that is not halved any more."""


def painted_over(video: Video, overlay: Overlay, folder: Path) -> Video:
    """The video without its overlay; as it was, its frames are `Video.originals`.

    Args:
        video: Just read, its images the file `images.npy` of `folder`.
        overlay: What was found in it.
        folder: Where `originals.npy` and a new `images.npy` are put.
    """
    with writing(folder):
        os.replace(folder / "images.npy", folder / "originals.npy")
    originals = read_only_map(folder / "originals.npy")
    with one_opencv_thread(), GrowingArray(folder / "images.npy") as images:
        for frame, image in enumerate(originals):
            images.append(paint_over(np.ascontiguousarray(image), overlay.at(frame)))
        return replace(video, images=images.finish(), originals=originals, overlay=overlay)


def paint_over(
    image: UInt8[np.ndarray, "height width 3"], area: Bool[np.ndarray, "height width"]
) -> UInt8[np.ndarray, "height width 3"]:
    """An image whose pixels in an area continue what is around it, smoothly."""
    if not area.any():
        return image
    box = around(area, BESIDE_PX)
    hidden = dilated(area[box], RIM_PX)
    out = image.copy()
    seen = out[box]
    seen[hidden] = 0
    half = (seen.shape[1] + 1) // 2, (seen.shape[0] + 1) // 2
    weighted = cv2.resize(seen, half, interpolation=cv2.INTER_AREA).astype(np.float32)
    weight = cv2.resize((~hidden).astype(np.float32), half, interpolation=cv2.INTER_AREA)
    filled = _filled(weighted, np.asarray(weight, np.float32))
    wide = cv2.resize(filled, seen.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    seen[hidden] = np.rint(wide[hidden])
    return out


def _filled(
    weighted: Float32[np.ndarray, "rows cols 3"], weight: Float32[np.ndarray, "rows cols"]
) -> Float32[np.ndarray, "rows cols 3"]:
    """Weighted colours over their weights; where that is 0, those of half the resolution."""
    mean = weighted / np.maximum(weight, np.float32(1e-6))[..., None]
    rows, cols = weight.shape
    if min(rows, cols) <= COARSEST_PX:
        return np.asarray(np.where((weight > 0)[..., None], mean, mean.mean((0, 1))))
    half = (cols + 1) // 2, (rows + 1) // 2
    coarse = _filled(
        np.asarray(cv2.resize(weighted, half, interpolation=cv2.INTER_AREA), np.float32),
        np.asarray(cv2.resize(weight, half, interpolation=cv2.INTER_AREA), np.float32),
    )
    wide = np.asarray(cv2.resize(coarse, (cols, rows), interpolation=cv2.INTER_LINEAR), np.float32)
    return np.where((weight > 0)[..., None], mean, wide)
