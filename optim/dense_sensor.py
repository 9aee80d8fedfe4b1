"""Measured depth as a strong observation: it fixes what it sees, flow and completion do the rest."""

import torch
from jaxtyping import Float
from torch import Tensor

from recon4d.optim.dense_observed import Observed

RELATIVE_STD = 0.01
"""Relative standard deviation of a depth camera at short range."""
QUADRATIC_STD = 0.002
"""Growth of the relative standard deviation per metre: that of the depth grows with its square, as in stereo."""
FLOW_STD = 0.01
"""Relative standard deviation of a fully trusted triangulation."""
DISAGREE = 3.0
"""Standard deviations from which on flow and sensor do not see the same surface; the sensor then wins."""


def join_sensor(observed: Observed, measured: Float[Tensor, "frames rows cols"]) -> Observed:
    """Weighted mean of inverse depth from flow and sensor by their variances.

    Args:
        observed: From flow; the trust divides its variance.
        measured: Depth in the unit of the poses (metres), 0 = unknown.
    """
    known = measured > 0
    depth = torch.where(known, measured, 1.0)
    relative = RELATIVE_STD + QUADRATIC_STD * depth
    precision, flow_precision = relative**-2, observed.confidence / FLOW_STD**2
    gap = (observed.inverse_depth * depth - 1).abs()
    flow_precision = torch.where(gap > DISAGREE * relative, 0.0, flow_precision)
    total = precision + flow_precision
    joined = (precision / depth + flow_precision * observed.inverse_depth) / total
    return Observed(
        torch.where(known, joined, observed.inverse_depth),
        torch.where(known, torch.ones_like(depth), observed.confidence),
    )
