"""Flow from a prediction: the target is warped by it, so that only what is left has to be found."""

from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float32

from recon4d.core.sampling import in_samples
from recon4d.flow import FlowMethod
from recon4d.flow.views import FrameView


def flow_from(
    method: FlowMethod,
    a: FrameView,
    b: FrameView,
    predicted: Float32[np.ndarray, "rows cols 2"],
) -> Float32[np.ndarray, "rows cols 2"]:
    """Flow a to b: b is warped by the prediction, and what is left is measured.

    Args:
        method: Measures it.
        a: A frame.
        b: Another.
        predicted: Flow to begin with, pixels, at the sampling of `Flow`.
    """
    height, width = a.gray.shape
    whole = cv2.resize(predicted, (width, height), interpolation=cv2.INTER_LINEAR)
    rest = method.warped(a, b, whole + _grid(height, width))
    at = in_samples(rest) + _grid(*predicted.shape[:2])
    along = cv2.remap(
        predicted, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(rest + along, np.float32)


@lru_cache(maxsize=2)
def _grid(rows: int, cols: int) -> Float32[np.ndarray, "rows cols 2"]:
    """Column and row of every pixel."""
    return np.stack(np.meshgrid(np.arange(cols), np.arange(rows)), axis=-1).astype(np.float32)
