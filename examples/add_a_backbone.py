"""A new source of first depth, in one file: the world is a floor, seen by a camera that looks ahead.

Any network that says depth goes here: its answer becomes a `DepthPrior`, which the optimizer treats as an uncertain
measurement. A package makes it known by an entry point:

    [project.entry-points."recon4d.geometry"]
    floor = "add_a_backbone"

In recon4d itself it would be this file in recon4d/priors/ and one line in `GEOMETRY` of recon4d/choices.py, with the
names of its weights.
"""

import numpy as np

from recon4d.core.scene import DepthPrior
from recon4d.priors import Prior, Question
from recon4d.weights.resolve import Resources

HORIZON = 0.3
"""Height of the horizon in the picture, from its top."""
RELATIVE_SIGMA = 1.0
"""How far the floor may be off, over its depth: hardly to be trusted."""


def make(resources: Resources) -> Prior:
    """The prior; a network would be `Prior(answer, resources.backbone("floor"), resources.device)`."""
    return Prior(answer)


def answer(question: Question) -> DepthPrior:
    """Depth of a plane below the camera, up to scale; unknown (0) above the horizon."""
    frames, (width, height) = question.video.num_frames, question.video.size
    below = (np.arange(height) + 0.5) / height - HORIZON
    column = np.where(below > 0.05, 1 / np.maximum(below, 0.05), 0).astype(np.float32)
    depth = np.broadcast_to(column[None, :, None], (frames, height, width)).copy()
    return DepthPrior(depth, False, np.full(depth.shape, RELATIVE_SIGMA, np.float16))
