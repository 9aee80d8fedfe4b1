"""No masks: everything is static."""

import numpy as np

from recon4d.core.scene import MotionMasks, Scene
from recon4d.masks import MaskMethod, Seen
from recon4d.weights.resolve import Resources


def make(resources: Resources) -> MaskMethod:
    """The method of `--masks none`."""
    return MaskMethod(no_masks, depends_on_scene=False)


def no_masks(seen: Seen, scene: Scene) -> MotionMasks:
    """Probability 0 everywhere."""
    return MotionMasks(
        np.zeros((seen.video.num_frames, *seen.flow.confidence.shape[1:]), np.float32)
    )
