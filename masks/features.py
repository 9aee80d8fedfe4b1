"""What a mask method computes once per video, before the rounds of the loop."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float16

from recon4d.core.scene import Flow, MotionMasks


@dataclass(frozen=True)
class Features:
    """Evidence that does not depend on the scene."""

    evidence: Float16[np.ndarray, "frames values"]
    """Of image and flow; its layout is the method's own. May be a memory map."""


def stored_masks(features: Features, flow: Flow) -> MotionMasks:
    """Masks of a method whose evidence is the probability of each `Flow` sample; the scene has no say."""
    shape = (len(features.evidence), *flow.confidence.shape[1:])
    return MotionMasks(np.asarray(features.evidence, np.float32).reshape(shape))
