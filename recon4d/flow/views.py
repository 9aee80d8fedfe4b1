"""What a flow method sees of frames, and how sure flow is: forward-backward consistency where there is texture.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass
from functools import cached_property
from threading import Lock

import cv2
import numpy as np
from jaxtyping import Float16, Float32, UInt8

from recon4d.core.sampling import in_samples, shrink
from recon4d.flow.matches import Features, features_of

CONSISTENCY_PX = 0.5
"""Forward-backward error at which the confidence has fallen to 1/e, pixels, for short displacements."""
MIN_CONTRAST = 1.0
"""Standard deviation of the grey values around a pixel at which its flow begins to mean something, grey levels."""
CONTRAST_PX = 15
"""Side of the window over which it is taken, `Flow` samples."""
CONSISTENCY_SLOPE = 0.01
"""Part of the displacement that is added to `CONSISTENCY_PX`: long flows are less exact (Sundaram et al. 2010)."""


@dataclass(frozen=True)
class FrameView:
    """What is compared of a frame."""

    image: UInt8[np.ndarray, "height width 3"]
    """RGB."""
    gray: UInt8[np.ndarray, "height width"]
    small: UInt8[np.ndarray, "rows cols"]
    """The same at the sampling of `Flow`."""
    texture: Float32[np.ndarray, "rows cols"]
    """Weight of every sample, in [0, 1]: see `texture`."""

    @cached_property
    def features(self) -> Features:
        """Its distinctive points, found when they are first asked for."""
        return features_of(self.small)


class FrameViews:
    """Views of the last few frames, for several threads: pairs are sorted, so each frame is converted once."""

    def __init__(
        self, images: UInt8[np.ndarray, "frames height width 3"], capacity: int = 64
    ) -> None:
        self._images, self._capacity = images, capacity
        self._views: dict[int, FrameView] = {}
        self._lock = Lock()

    def __call__(self, index: int) -> FrameView:
        """View of a frame."""
        with self._lock:
            view = self._views.get(index)
        if view is not None:
            return view
        image = np.ascontiguousarray(self._images[index])
        gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
        small = shrink(gray)
        view = FrameView(image, gray, small, texture(small))
        with self._lock:
            self._views[index] = view
            if len(self._views) > self._capacity:
                self._views.pop(min(self._views))
        return view


def with_confidence(
    there: Float32[np.ndarray, "rows cols 2"],
    back: Float32[np.ndarray, "rows cols 2"],
    a: FrameView,
    b: FrameView,
) -> tuple[Float16[np.ndarray, "2 rows cols 2"], UInt8[np.ndarray, "2 rows cols"]]:
    """Sampled flow a to b and b to a as they are stored, with their consistency confidence."""
    sure = (
        consistency(there, back, b.texture) * a.texture,
        consistency(back, there, a.texture) * b.texture,
    )
    flows = np.stack((there, back)).astype(np.float16)
    return flows, np.stack(sure).round().astype(np.uint8)


def looked_at(
    image: UInt8[np.ndarray, "height width *channels"],
    at: Float32[np.ndarray, "height width 2"],
) -> UInt8[np.ndarray, "height width *channels"]:
    """An image through a map of columns and rows, as `FlowMethod.warped` is given one."""
    seen = cv2.remap(
        image, at[..., 0], at[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(seen, np.uint8)


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
    map_u = grid_u + in_samples(forward[..., 0])
    map_v = grid_v + in_samples(forward[..., 1])
    back, worth = (
        cv2.remap(x, map_u, map_v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for x in (backward, there)
    )
    error2 = ((forward + back) ** 2).sum(-1)
    scale = CONSISTENCY_PX + CONSISTENCY_SLOPE * np.sqrt((forward**2).sum(-1))
    inside = (map_u >= 0) & (map_u <= cols - 1) & (map_v >= 0) & (map_v <= rows - 1)
    return np.where(inside, 255 * worth * np.exp(-error2 / scale**2), 0).astype(np.float32)
