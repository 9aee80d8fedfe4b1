"""Flow of what sticks to the picture is no motion of the scene: it has no confidence."""

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from recon4d.core.sampling import cell_of, sample_px, sample_shape
from recon4d.core.scene import Flow, Overlay

MARGIN = 4
"""Samples around an overlay whose flow it holds back: half a patch of DIS."""


def without_overlay(flow: Flow, overlay: Overlay | None) -> Flow:
    """The same flow, confidence 0 where the overlay is seen at its beginning or at its end; in place.

    Args:
        flow: Just measured.
        overlay: Of its frames.
    """
    if overlay is None:
        return flow
    hidden = [samples_beside(overlay.at(frame)) for frame in range(overlay.num_frames)]
    for edge, (source, target) in enumerate(flow.edges.tolist()):
        moved = flow.flow_px[edge].astype(np.float32)
        flow.confidence[edge][hidden[source] | _seen(hidden[target], moved)] = 0
    return flow


def hidden_samples(overlay: Overlay) -> Bool[np.ndarray, "frames rows cols"]:
    """Samples of `Flow` that an overlay touches, in every frame."""
    return np.stack([samples_in(overlay.at(frame)) for frame in range(overlay.num_frames)])


def samples_in(
    area: Bool[np.ndarray, "height width"],
) -> Bool[np.ndarray, "rows cols"]:
    """Samples of `Flow` that an area touches."""
    height, width = area.shape
    rows, cols = sample_shape((width, height))
    return np.asarray(
        cv2.resize(area.astype(np.float32), (cols, rows), interpolation=cv2.INTER_AREA) > 0
    )


def samples_beside(
    area: Bool[np.ndarray, "height width"],
) -> Bool[np.ndarray, "rows cols"]:
    """Samples of `Flow` in an area and around it."""
    small = samples_in(area)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * MARGIN + 1,) * 2)
    return np.asarray(cv2.dilate(small.astype(np.uint8), disc)) > 0


def _seen(
    area: Bool[np.ndarray, "rows cols"], flow_px: Float32[np.ndarray, "rows cols 2"]
) -> Bool[np.ndarray, "rows cols"]:
    """Samples whose flow ends in an area of the target."""
    rows, cols = area.shape
    at = cell_of(sample_px(rows, cols) + flow_px)
    inside = np.asarray(((at >= 0) & (at < (rows, cols))).all(-1))
    row, col = np.moveaxis(np.where(inside[..., None], at, 0), -1, 0)
    return np.asarray(inside & area[row, col])
