"""The user's own masks, and any finished masks, at the sampling of `Flow`."""

import cv2
import numpy as np
from jaxtyping import Bool

from recon4d.core.sampling import sample_shape
from recon4d.core.scene import MotionMasks
from recon4d.masks import MaskMethod


def given_method(is_dynamic: Bool[np.ndarray, "frames height width"]) -> MaskMethod:
    """The user's masks as a method: they say the same in every round."""
    return MaskMethod(lambda seen, scene: given_masks(is_dynamic), depends_on_scene=False)


def given_masks(is_dynamic: Bool[np.ndarray, "frames height width"]) -> MotionMasks:
    """The user's masks as probabilities at the sampling of `Flow`: 1 where any part of a sample moves."""
    return MotionMasks((outlines(is_dynamic).probability > 0).astype(np.float32))


def outlines(is_dynamic: Bool[np.ndarray, "frames height width"]) -> MotionMasks:
    """Finished masks at the sampling of `Flow`: the part of each sample that moves."""
    height, width = is_dynamic.shape[1:]
    rows, cols = sample_shape((width, height))
    small = [
        cv2.resize(frame.astype(np.float32), (cols, rows), interpolation=cv2.INTER_AREA)
        for frame in is_dynamic
    ]
    return MotionMasks(np.stack(small))
