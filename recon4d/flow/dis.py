"""Dense inverse search flow (Kroeger et al., ECCV 2016; OpenCV's DIS), forward and backward, with a confidence."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float16, Float32, Int64, UInt8

from recon4d.core.parallel import each, one_opencv_thread
from recon4d.core.progress import Progress, no_progress
from recon4d.core.scene import FLOW_STRIDE, Flow
from recon4d.flow.store import Measured, store_flow

CONSISTENCY_PX = 0.5
"""Forward-backward error at which the confidence has fallen to 1/e, pixels, for short displacements."""
MIN_CONTRAST = 1.0
"""Standard deviation of the grey values around a pixel at which its flow begins to mean something, grey levels."""
CONTRAST_PX = 15
"""Side of the window over which it is taken, `Flow` samples."""
CONSISTENCY_SLOPE = 0.01
"""Part of the displacement that is added to `CONSISTENCY_PX`: long flows are less exact (Sundaram et al. 2010)."""


def flow_pairs(
    images: UInt8[np.ndarray, "frames height width 3"],
    pairs: Int64[np.ndarray, "pairs 2"],
    threads: int,
) -> Iterator[Measured]:
    """Compute flow and confidence of unordered pairs, both directions at once.

    Yields:
        Index of the pair and `(flow, confidence)`: (2, rows, cols, 2) float16 in pixels and (2, rows, cols) uint8,
        first from `pairs[i, 0]` to `pairs[i, 1]`, then back. In the order of `pairs`.
    """
    views = GrayViews(images)

    def one(pair: Int64[np.ndarray, "2"]) -> tuple[np.ndarray, np.ndarray]:
        return both_ways(views(int(pair[0])), views(int(pair[1])))

    with one_opencv_thread():
        yield from enumerate(each(one, pairs, threads))


def compute_flow(
    images: UInt8[np.ndarray, "frames height width 3"],
    pairs: Int64[np.ndarray, "pairs 2"],
    folder: Path,
    threads: int,
    progress: Progress = no_progress,
) -> Flow:
    """Flow of all pairs in both directions."""
    height, width = images.shape[1:3]
    measured = flow_pairs(images, pairs, threads)
    return store_flow(measured, pairs, (height, width), folder, progress)


@dataclass(frozen=True)
class DisSettings:
    """What of OpenCV's DIS is not as in its medium preset."""

    patch_stride: int
    """Samples between two patches; they are 8 wide."""
    descent_steps: int
    """Of every patch."""
    refinement_steps: int
    """Of the variational refinement, per scale: more smooth over what the patches have found, and take longer."""


FROM_NOTHING = DisSettings(patch_stride=4, descent_steps=12, refinement_steps=3)
"""Where nothing is known of the motion; with less smoothing the cameras of DAVIS `car-shadow` follow the car."""
FROM_NEAR = DisSettings(patch_stride=5, descent_steps=16, refinement_steps=1)
"""Where little is left to find: faster, and the cameras of `exact_static` and `exact_crowd` come out a tenth better."""


@dataclass(frozen=True)
class GrayView:
    """What is compared of a frame."""

    gray: UInt8[np.ndarray, "height width"]
    small: UInt8[np.ndarray, "rows cols"]
    """The same at the sampling of `Flow`."""
    texture: Float32[np.ndarray, "rows cols"]
    """Weight of every sample, in [0, 1]: see `texture`."""


class GrayViews:
    """Views of the last few frames: pairs are sorted, so each frame is converted once."""

    def __init__(
        self, images: UInt8[np.ndarray, "frames height width 3"], capacity: int = 64
    ) -> None:
        self._images, self._capacity = images, capacity
        self._views: dict[int, GrayView] = {}

    def __call__(self, index: int) -> GrayView:
        """View of a frame."""
        view = self._views.get(index)
        if view is None:
            image = np.ascontiguousarray(self._images[index])
            gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
            small = shrunk(gray)
            view = GrayView(gray, small, texture(small))
            self._views[index] = view
            if len(self._views) > self._capacity:
                self._views.pop(min(self._views), None)
        return view


def both_ways(
    a: GrayView, b: GrayView
) -> tuple[Float16[np.ndarray, "2 rows cols 2"], UInt8[np.ndarray, "2 rows cols"]]:
    """Flow a to b and b to a with their consistency confidence, sampled every `FLOW_STRIDE` pixels."""
    there, back = dis_flow(a.small, b.small), dis_flow(b.small, a.small)
    return with_confidence(there, back, a, b)


def dis_flow(
    small_a: UInt8[np.ndarray, "rows cols"],
    small_b: UInt8[np.ndarray, "rows cols"],
    settings: DisSettings = FROM_NOTHING,
) -> Float32[np.ndarray, "rows cols 2"]:
    """Flow a to b, in pixels of the working size, from images at the sampling of `Flow`.

    OpenCV's medium preset halves the image in the same way, spends twice the time on more patches and more descent,
    and gains nothing that the next round's flow or the optimizer would notice.
    """
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(0)
    dis.setPatchStride(settings.patch_stride)
    dis.setGradientDescentIterations(settings.descent_steps)
    dis.setVariationalRefinementIterations(settings.refinement_steps)
    start = np.zeros((*small_a.shape, 2), np.float32)
    return np.asarray(dis.calc(small_a, small_b, start), np.float32) * FLOW_STRIDE


def with_confidence(
    there: Float32[np.ndarray, "rows cols 2"],
    back: Float32[np.ndarray, "rows cols 2"],
    a: GrayView,
    b: GrayView,
) -> tuple[Float16[np.ndarray, "2 rows cols 2"], UInt8[np.ndarray, "2 rows cols"]]:
    """Sampled flow a to b and b to a as they are stored, with their consistency confidence."""
    sure = (
        consistency(there, back, b.texture) * a.texture,
        consistency(back, there, a.texture) * b.texture,
    )
    flows = np.stack((there, back)).astype(np.float16)
    return flows, np.stack(sure).round().astype(np.uint8)


def shrunk(gray: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "rows cols"]:
    """An image at the sampling of `Flow`."""
    size = (gray.shape[1] // FLOW_STRIDE, gray.shape[0] // FLOW_STRIDE)
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)


def texture(gray: UInt8[np.ndarray, "rows cols"]) -> Float32[np.ndarray, "rows cols"]:
    """0 where an image is blank (only noise, contrast below `MIN_CONTRAST`), 1 from twice that on."""
    small = gray.astype(np.float32)
    window = (CONTRAST_PX, CONTRAST_PX)
    mean = cv2.blur(small, window)
    contrast = np.sqrt(np.maximum(cv2.blur(small * small, window) - mean * mean, 0))
    return np.asarray(np.clip(contrast / MIN_CONTRAST - 1, 0, 1), np.float32)


def consistency(
    forward: Float32[np.ndarray, "rows cols 2"],
    backward: Float32[np.ndarray, "rows cols 2"],
    there: Float32[np.ndarray, "rows cols"],
) -> Float32[np.ndarray, "rows cols"]:
    """Confidence 255 t exp(-(e / s)^2) from the forward-backward error e and the target's weight t at the flow's end.

    Args:
        forward: Flow from this image, pixels.
        backward: Flow of the target back to this image.
        there: Weight of every target pixel, in [0, 1]: a blank target has nothing to match.
    """
    rows, cols = forward.shape[:2]
    grid_u, grid_v = np.meshgrid(
        np.arange(cols, dtype=np.float32), np.arange(rows, dtype=np.float32)
    )
    map_u = grid_u + forward[..., 0] / FLOW_STRIDE
    map_v = grid_v + forward[..., 1] / FLOW_STRIDE
    back, worth = (
        cv2.remap(x, map_u, map_v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for x in (backward, there)
    )
    error2 = ((forward + back) ** 2).sum(-1)
    scale = CONSISTENCY_PX + CONSISTENCY_SLOPE * np.sqrt((forward**2).sum(-1))
    inside = (map_u >= 0) & (map_u <= cols - 1) & (map_v >= 0) & (map_v <= rows - 1)
    return np.where(inside, 255 * worth * np.exp(-error2 / scale**2), 0).astype(np.float32)
