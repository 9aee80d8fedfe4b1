"""No refinement: probabilities become masks at one half."""

import numpy as np

from recon4d.core.scene import MotionMasks
from recon4d.masks import FinalMasks, Refiner, Seen
from recon4d.masks.refine.edges import enlarge
from recon4d.weights.resolve import Resources


def make(resources: Resources) -> Refiner:
    """The refinement of `--refine none`."""
    return refine_none


def refine_none(seen: Seen, motion: MotionMasks, unites: bool = False) -> FinalMasks:
    """Threshold at 0.5 at working size."""
    return FinalMasks(np.stack([enlarge(p, seen.video.size) > 0.5 for p in motion.probability]))
