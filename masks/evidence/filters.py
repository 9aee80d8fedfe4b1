"""Small image filters and the transport of evidence along the flow.

Numbers here that name no source were set by hand.
"""

import cv2
import numpy as np
from jaxtyping import Float32, Int64, UInt8

from recon4d.core.parallel import each
from recon4d.core.sampling import in_samples
from recon4d.core.scene import Flow

TIME_OFFSETS = (1, 2)
"""Frames apart over which evidence is carried along the flow."""
TIME_WEIGHT = 0.7
"""Weight of a neighbour's evidence against a frame's own."""
GUIDE_RADIUS = 4
"""Radius of the image-guided filter, `Flow` samples: half the reach of DIS' patches."""
GUIDE_EPSILON = 5.0**2
"""Variance of grey levels (0..255) below which the guided filter smooths: that of noise."""


def gray(small: UInt8[np.ndarray, "rows cols 3"]) -> Float32[np.ndarray, "rows cols"]:
    """Grey levels, 0 to 255."""
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.float32)


def guided(
    values: Float32[np.ndarray, "rows cols"], guide: Float32[np.ndarray, "rows cols"]
) -> Float32[np.ndarray, "rows cols"]:
    """Guided filter (He, Sun and Tang, ECCV 2010): smooths values but for edges of the guide."""
    window = (2 * GUIDE_RADIUS + 1,) * 2
    mean_g, mean_v = cv2.blur(guide, window), cv2.blur(values, window)
    variance = cv2.blur(guide * guide, window) - mean_g * mean_g
    covariance = cv2.blur(guide * values, window) - mean_g * mean_v
    slope = covariance / (variance + GUIDE_EPSILON)
    offset = mean_v - slope * mean_g
    return np.asarray(cv2.blur(slope, window) * guide + cv2.blur(offset, window), np.float32)


def along_time(
    values: Float32[np.ndarray, "frames rows cols"], flow: Flow, threads: int = 1
) -> Float32[np.ndarray, "frames rows cols"]:
    """Weighted mean with the same surface point's values in neighbouring frames, where the flow is consistent."""
    near = np.isin(np.abs(flow.edges[:, 1] - flow.edges[:, 0]), TIME_OFFSETS)

    def one(frame: int) -> Float32[np.ndarray, "rows cols"]:
        edges = np.flatnonzero(near & (flow.edges[:, 0] == frame))
        total, weight = carried(values, flow, edges)
        share = np.float32(TIME_WEIGHT)
        return np.asarray((values[frame] + share * total) / (1 + share * weight), np.float32)

    return np.stack(list(each(one, range(len(values)), threads)))


def carried(
    values: Float32[np.ndarray, "frames rows cols"], flow: Flow, edges: Int64[np.ndarray, " edges"]
) -> tuple[Float32[np.ndarray, "rows cols"], Float32[np.ndarray, "rows cols"]]:
    """Sum, weighted with the flow's confidence, of a frame's surface points' values in other frames, and the weights.

    Args:
        values: Of all frames.
        flow: Leads there.
        edges: Rows of `flow.edges` that leave the frame.
    """
    rows, cols = values.shape[1:]
    grid = np.meshgrid(np.arange(cols, dtype=np.float32), np.arange(rows, dtype=np.float32))
    total, weight = (np.zeros((rows, cols), np.float32) for _ in range(2))
    for edge in edges:
        moved = in_samples(flow.flow_px[edge].astype(np.float32))
        at = (grid[0] + moved[..., 0], grid[1] + moved[..., 1])
        trust = flow.confidence[edge] * np.float32(1 / 255)
        total += trust * cv2.remap(values[flow.edges[edge, 1]], *at, cv2.INTER_LINEAR)
        weight += trust
    return total, weight
