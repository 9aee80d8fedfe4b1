"""Completes inverse depth: confident pixels keep theirs, the others continue the surfaces around them.

From coarse to fine. At the coarse radii a plane is fitted around every pixel, within the neighbourhood that image
edges leave it; at the fine radii what the confident pixels differ from it is averaged and added. Robust weights against
the current surface drop what does not belong to it.

Numbers here that name no source were set by hand.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from recon4d.optim.dense.edges import enlarge
from recon4d.optim.dense.geodesic import Barriers, colour_barriers, geodesic_sums, local_planes
from recon4d.optim.dense.observed import Observed, flatness

COLOUR_SCALE = 13.0
"""Sum of the channels' changes (0 to 255 each) between neighbours that counts as an edge of strength 1."""
TEXTURE_STRENGTH = 0.3
"""Strength of a colour edge where the depth on both sides is equal: texture, not the border of an object."""
PLANE_STEPS = ((32.0, 0.3), (32.0, 0.15), (10.0, 0.1), (10.0, 0.1))
"""(radius in coarse pixels, kernel of the relative deviation) of each plane fit; coarse pixels are 2 x 2 pixels."""
DETAIL_STEPS = ((6.0, 0.1, 0.5), (1.5, 0.1, 0.3))
"""(radius in pixels, kernel of the relative deviation, weight of no change) of each refinement."""
FAR_POWER = 1
"""Exponent of the relative depth in the weights of plane fits."""
FAR_LIMIT = 4.0
"""Relative depth beyond which weights stay as they are."""
SOFTEN = 0.5
"""Exponent of the confidence as weight: doubtful measurements still know more than the surroundings do."""
LEVEL_WEIGHT = 1.0
"""Sum of weights at which a finer plane counts as much as the coarser one below it."""
FALLBACK_WEIGHT = 1e-6
"""Weight of the frame's typical inverse depth: decides only where nothing else reaches."""


def complete(
    observed: Observed,
    guide: Float[Tensor, "frames rows cols 3"],
    moving: Float[Tensor, "frames rows cols"],
    limits: Float[Tensor, "frames 2"],
) -> Float[Tensor, "frames rows cols"]:
    """Find a smooth surface through the confident pixels that breaks only at image edges.

    Args:
        observed: Measurements.
        guide: Smoothed image, 0 to 255.
        moving: Probability that a pixel moves; its colours are no edges, because the static world goes on behind it.
        limits: Smallest and largest inverse depth of each frame.

    Returns:
        Inverse depth within `limits`, everywhere.
    """
    low, high = limits[:, :1, None], limits[:, 1:, None]
    depths = observed.inverse_depth.clamp(low, high)
    observed = Observed(depths, observed.confidence**SOFTEN)
    strength = TEXTURE_STRENGTH + (1 - TEXTURE_STRENGTH) * (1 - flatness(depths))
    strength = strength * (1 - moving)
    surface = _coarse_surface(observed, guide, strength).clamp(low, high)
    barriers = colour_barriers(guide, strength, COLOUR_SCALE)
    return _add_detail(surface, observed, barriers).clamp(low, high)


def _robust(
    observed: Observed, surface: Float[Tensor, "frames rows cols"], kernel: float
) -> Float[Tensor, "frames rows cols"]:
    deviation = (observed.inverse_depth - surface) / (kernel * surface)
    return observed.confidence / (1 + deviation**2)


def _coarse_surface(
    observed: Observed,
    guide: Float[Tensor, "frames rows cols 3"],
    strength: Float[Tensor, "frames rows cols"],
) -> Float[Tensor, "frames rows cols"]:
    coarse = _halve(observed)
    small_guide = F.avg_pool2d(guide.permute(0, 3, 1, 2), 2, ceil_mode=True).permute(0, 2, 3, 1)
    small_strength = F.max_pool2d(strength[:, None], 2, ceil_mode=True)[:, 0]
    barriers = colour_barriers(small_guide, small_strength, COLOUR_SCALE)
    coarse = _prefer_far(coarse)
    surface = _fallback(coarse)
    lower, upper = coarse.inverse_depth.amin((1, 2), True), coarse.inverse_depth.amax((1, 2), True)
    weight = coarse.confidence
    for radius, kernel in PLANE_STEPS:
        planes, total = local_planes(coarse.inverse_depth, weight, barriers, radius)
        trust = LEVEL_WEIGHT if radius < PLANE_STEPS[0][0] else FALLBACK_WEIGHT
        surface = torch.lerp(surface, planes.clamp(lower, upper), total / (total + trust))
        weight = _robust(coarse, surface, kernel)
    return enlarge(surface, small_guide, guide)


def _prefer_far(observed: Observed) -> Observed:
    """Where a blank surface is cut off from its surroundings by edges, it more often lies behind them than in front."""
    depths = observed.inverse_depth
    typical = (observed.confidence * depths).sum((1, 2), True) / observed.confidence.sum(
        (1, 2), True
    ).clamp_min(1e-9)
    ratio = (typical / depths).clamp(1 / FAR_LIMIT, FAR_LIMIT)
    return Observed(depths, observed.confidence * ratio**FAR_POWER)


def _halve(observed: Observed) -> Observed:
    both = torch.stack((observed.confidence, observed.confidence * observed.inverse_depth), dim=1)
    weight, value = F.avg_pool2d(both, 2, ceil_mode=True).unbind(1)
    plain = F.avg_pool2d(observed.inverse_depth[:, None], 2, ceil_mode=True)[:, 0]
    return Observed(torch.where(weight > 1e-9, value / weight.clamp_min(1e-9), plain), weight)


def _fallback(observed: Observed) -> Float[Tensor, "frames rows cols"]:
    """What lies around, edges or not: smooth, wide sums that no barrier stops."""
    none = torch.zeros_like(observed.confidence)
    both = torch.stack((observed.confidence, observed.confidence * observed.inverse_depth))
    weight, value = geodesic_sums(both, Barriers(none, none), PLANE_STEPS[0][0])
    mean = (both[1].sum((1, 2), True) + 1e-9) / (both[0].sum((1, 2), True) + 1e-9)
    fallback: Tensor = (value + FALLBACK_WEIGHT * mean) / (weight + FALLBACK_WEIGHT)
    return fallback


def _add_detail(
    surface: Float[Tensor, "frames rows cols"], observed: Observed, barriers: Barriers
) -> Float[Tensor, "frames rows cols"]:
    for radius, kernel, idle in DETAIL_STEPS:
        weight = _robust(observed, surface, kernel)
        both = torch.stack((weight, weight * (observed.inverse_depth - surface)))
        total, change = geodesic_sums(both, barriers, radius)
        surface = surface + change / (total + idle)
    return surface
