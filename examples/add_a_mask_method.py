"""A new method of motion masks, in one file: what moves unlike most of the picture.

A package makes it known by an entry point, then `recon4d run video.mp4 --masks unusual` knows it, help text and all:

    [project.entry-points."recon4d.masks"]
    unusual = "add_a_mask_method"

In recon4d itself it would be this file in masks/ and one line in `MASKS` of recon4d/choices.py.
"""

import numpy as np

from recon4d.core.scene import MotionMasks, Scene
from recon4d.masks import MaskMethod, Seen
from recon4d.weights.resolve import Resources

UNUSUAL_PX = 4.0
"""Flow that is off from the median by this is as likely to move as not, pixels; made up."""


def make(resources: Resources) -> MaskMethod:
    """The method; `resources` would have its weights (`resources.weights("unusual")`) and the device."""
    return MaskMethod(masks, depends_on_scene=False)


def masks(seen: Seen, scene: Scene) -> MotionMasks:
    """Probability of motion at every sample of `Flow`; 0 in frames that no flow starts from."""
    shape = seen.flow.confidence.shape[1:]
    found = np.zeros((seen.video.num_frames, *shape), np.float32)
    for frame in range(seen.video.num_frames):
        edges = np.flatnonzero(seen.flow.edges[:, 0] == frame)
        if len(edges):
            flow = np.asarray(seen.flow.flow_px[edges[0]], np.float32)
            off = np.linalg.norm(flow - np.median(flow, axis=(0, 1)), axis=-1)
            found[frame] = off / (off + UNUSUAL_PX)
    return MotionMasks(found)
