"""Sums over neighbourhoods that end at image edges: separable exponential kernels along geodesics, in linear time.

The recursive filter of the domain transform (Gastal and Oliveira, SIGGRAPH 2011): the weight between two pixels of a
line is the product of the link strengths between them, so that a strong edge cuts it, however wide the kernel is.

Numbers here that name no source were set by hand.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

PASSES = 2
"""Horizontal and vertical sweeps; two leave no visible streaks for kernels as smooth as depth needs."""
SLOPE_RIDGE = 0.3
"""Variance that a plane fit adds to the positions, in units of the kernel's: damps slopes that few pixels fix."""


@dataclass(frozen=True)
class Barriers:
    """Cost of stepping from the previous pixel to this one, per frame; 1 weakens a link to a quarter."""

    along_rows: Float[Tensor, "frames rows cols"]
    """From the left neighbour."""
    along_cols: Float[Tensor, "frames rows cols"]
    """From the upper neighbour."""


def colour_barriers(
    guide: Float[Tensor, "frames rows cols 3"],
    strength: Float[Tensor, "frames rows cols"],
    colour_scale: float,
) -> Barriers:
    """Barriers at colour changes.

    Args:
        guide: Smoothed image, 0 to 255.
        strength: How far a colour change counts as an edge, 0 to 1.
        colour_scale: Sum of the channels' changes that costs 1.
    """
    factor = strength / colour_scale
    across = (guide[:, :, 1:] - guide[:, :, :-1]).abs().sum(-1)
    down = (guide[:, 1:] - guide[:, :-1]).abs().sum(-1)
    return Barriers(F.pad(across, (1, 0)) * factor, F.pad(down, (0, 0, 1, 0)) * factor)


def geodesic_sums(
    values: Float[Tensor, "channels frames rows cols"], barriers: Barriers, radius: float
) -> Float[Tensor, "channels frames rows cols"]:
    """Weighted sum of every channel around every pixel.

    Args:
        values: What is summed; multiply by weights beforehand, and sum these as one more channel.
        barriers: Where neighbourhoods end.
        radius: Standard deviation of the kernel in pixels, where there is no barrier.
    """
    for step in range(PASSES):
        sigma = radius * math.sqrt(3) * 2 ** (PASSES - step - 1) / math.sqrt(4**PASSES - 1)
        link_x = torch.exp(-math.sqrt(2) * (1 / sigma + barriers.along_rows)).permute(2, 0, 1)
        link_y = torch.exp(-math.sqrt(2) * (1 / sigma + barriers.along_cols)).permute(1, 0, 2)
        values = _sweep(values.permute(3, 0, 1, 2), link_x[:, None])
        values = _sweep(values.permute(3, 1, 2, 0), link_y[:, None]).permute(1, 2, 0, 3)
    return values


def _sweep(values: Tensor, links: Tensor) -> Tensor:
    """Exponential sums along the first axis, from both sides; `links[i]` connects i - 1 and i."""
    values, links = values.contiguous(), links.contiguous()
    forward, backward = values.clone(), values.clone()
    for i in range(1, len(values)):
        forward[i].addcmul_(forward[i - 1], links[i])
        backward[-i - 1].addcmul_(backward[-i], links[-i])
    return forward.add_(backward).sub_(values)


def local_planes(
    values: Float[Tensor, "frames rows cols"],
    weights: Float[Tensor, "frames rows cols"],
    barriers: Barriers,
    radius: float,
) -> tuple[Float[Tensor, "frames rows cols"], Float[Tensor, "frames rows cols"]]:
    """Fit a plane to the weighted values around every pixel.

    Inverse depth of a plane in space is linear in the pixel, so slanted surfaces are continued exactly.

    Returns:
        The fitted plane at the pixel itself, and the sum of the weights that fixed it.
    """
    rows, cols = values.shape[1:]
    y, x = torch.meshgrid(
        torch.linspace(-rows / cols / 2, rows / cols / 2, rows, device=values.device),
        torch.linspace(-0.5, 0.5, cols, device=values.device),
        indexing="ij",
    )
    wx, wy, wv = weights * x, weights * y, weights * values
    moments = torch.stack((weights, wx, wy, wv, wx * x, wx * y, wy * y, wv * x, wv * y))
    total, *others = geodesic_sums(moments, barriers, radius).unbind(0)
    mx, my, mv, xx, xy, yy, xv, yv = (moment / (total + 1e-12) for moment in others)
    ridge = SLOPE_RIDGE * (radius / cols) ** 2
    xx, yy, xy = xx - mx * mx + ridge, yy - my * my + ridge, xy - mx * my
    xv, yv = xv - mx * mv, yv - my * mv
    determinant = xx * yy - xy * xy
    slope_x, slope_y = (yy * xv - xy * yv) / determinant, (xx * yv - xy * xv) / determinant
    return mv + slope_x * (x - mx) + slope_y * (y - my), total
