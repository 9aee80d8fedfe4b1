"""Completes inverse depth: confident pixels keep theirs, the others continue the surfaces around them.

From coarse to fine. At the coarse radii a plane is fitted around every pixel, within the neighbourhood that image
edges leave it; at the fine radii what the confident pixels differ from it is averaged and added. Robust weights against
the current surface drop what does not belong to it.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from recon4d.optim.dense_geodesic import Barriers, colour_barriers, geodesic_sums, local_planes

COLOUR_SCALE = 15.0
"""Sum of the channels' changes (0 to 255 each) between neighbours that counts as an edge of strength 1."""
TEXTURE_STRENGTH = 0.3
"""Strength of a colour edge where the depth on both sides is equal: texture, not the border of an object."""
STEP = 0.07
"""Relative range of inverse depth in a 7 x 7 neighbourhood from which on there is a border between two surfaces."""
PLANE_STEPS = ((32.0, 0.3), (32.0, 0.15), (10.0, 0.1), (10.0, 0.1))
"""(radius in coarse pixels, kernel of the relative deviation) of each plane fit; coarse pixels are 2 x 2 pixels."""
DETAIL_STEPS = ((6.0, 0.1, 0.5), (1.5, 0.1, 0.3))
"""(radius in pixels, kernel of the relative deviation, weight of no change) of each refinement."""
LEVEL_WEIGHT = 1.0
"""Sum of weights at which a finer plane counts as much as the coarser one below it."""
FALLBACK_WEIGHT = 1e-6
"""Weight of the frame's typical inverse depth: decides only where nothing else reaches."""


@dataclass(frozen=True)
class Observed:
    """Inverse depth of some frames with the trust it deserves, in [0, 1]; 0 = says nothing."""

    inverse_depth: Float[Tensor, "frames rows cols"]
    confidence: Float[Tensor, "frames rows cols"]


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
    observed = Observed(depths, observed.confidence)
    strength = TEXTURE_STRENGTH + (1 - TEXTURE_STRENGTH) * (1 - flatness(depths))
    strength = strength * (1 - moving)
    surface = _coarse_surface(observed, guide, strength).clamp(low, high)
    barriers = colour_barriers(guide, strength, COLOUR_SCALE)
    return _add_detail(surface, observed, barriers).clamp(low, high)


def relative_range(
    depths: Float[Tensor, "frames rows cols"], size: int
) -> Float[Tensor, "frames rows cols"]:
    """Largest minus smallest value in a square window of odd size, relative to the value."""
    largest = _window_max(_window_max(depths, size, 1), size, 2)
    smallest = _window_max(_window_max(-depths, size, 1), size, 2)
    return largest.add_(smallest).div_(depths)


def _window_max(values: Tensor, size: int, dim: int) -> Tensor:
    """Maximum in a centred window along one axis, by windows of doubling length."""
    length = values.shape[dim]
    edge = [0, 0, 0, 0]
    edge[0 if dim == 2 else 2] = edge[1 if dim == 2 else 3] = size // 2
    values = F.pad(values[:, None], edge, mode="replicate")[:, 0]
    reach = 1
    while reach < size:
        step = min(reach, size - reach)
        kept = values.shape[dim] - step
        values = torch.maximum(values.narrow(dim, 0, kept), values.narrow(dim, step, kept))
        reach += step
    return values.narrow(dim, 0, length)


def flatness(depths: Float[Tensor, "frames rows cols"]) -> Float[Tensor, "frames rows cols"]:
    """1 inside a surface, towards 0 near a border between two, where flow mixes both."""
    return 1 / (1 + (relative_range(depths, 7) / STEP) ** 4)


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
    surface = _fallback(coarse)
    lower, upper = coarse.inverse_depth.amin((1, 2), True), coarse.inverse_depth.amax((1, 2), True)
    weight = coarse.confidence
    for radius, kernel in PLANE_STEPS:
        planes, total = local_planes(coarse.inverse_depth, weight, barriers, radius)
        trust = LEVEL_WEIGHT if radius < PLANE_STEPS[0][0] else FALLBACK_WEIGHT
        surface = torch.lerp(surface, planes.clamp(lower, upper), total / (total + trust))
        weight = _robust(coarse, surface, kernel)
    size = observed.inverse_depth.shape[1:]
    return F.interpolate(surface[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


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
