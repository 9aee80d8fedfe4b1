"""What a mask method computes once per video, before the rounds of the loop."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float16


@dataclass(frozen=True)
class Features:
    """Evidence that does not depend on the scene."""

    evidence: Float16[np.ndarray, "frames values"]
    """Of image and flow; its layout is the method's own. May be a memory map."""
