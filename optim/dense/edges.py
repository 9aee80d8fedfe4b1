"""Depth edges on image edges: no depth between two surfaces, and the full resolution.

Numbers here that name no source were set by hand.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from recon4d.optim.dense.observed import STEEP, Observed, relative_range

WINDOW = 5
"""Side of the window in which a pixel looks for a depth edge."""
REACH, REACH_STEP = 4, 2
"""Candidates lie up to this many pixels away, every so many pixels, in both directions."""
SAME_COLOUR = 10.0
"""Standard deviation of colours within one surface, per channel of 0 to 255."""
FAR_SIDE = 0.4
"""Quantile of the inverse depths that a pixel takes: below the median: patches of the flow make near things fat."""
MIN_VOTE = 0.3
"""Weight of a candidate that nothing confirms."""


def choose_sides(
    surface: Observed, guide: Float[Tensor, "frames rows cols 3"]
) -> Float[Tensor, "frames rows cols"]:
    """Near depth edges, take a weighted quantile of the neighbours that have the pixel's colour."""
    depths = surface.inverse_depth
    planes = guide.permute(3, 0, 1, 2).reshape(3, -1)
    offsets = range(-REACH, REACH + 1, REACH_STEP)
    ranges = relative_range(depths, WINDOW)
    here = (ranges > STEEP * (WINDOW - 1) / depths.shape[2]).nonzero().T
    near = _flat_neighbours(here, depths.shape, offsets)
    middle = _flat(here, depths.shape)
    colour = _colour_change(planes[:, middle], planes, near)
    trust = surface.confidence.reshape(-1)[near].add_(MIN_VOTE)
    vote = colour.mul_(-0.5 / SAME_COLOUR**2).exp_().mul_(trust)
    candidates, order = depths.reshape(-1)[near].sort(dim=0)
    reached = vote.gather(0, order).cumsum_(0)
    half = (reached < FAR_SIDE * reached[-1]).sum(0, keepdim=True)
    chosen = candidates.gather(0, half)[0]
    return depths.flatten().index_copy_(0, middle, chosen).view(depths.shape)


def _flat(here: Int64[Tensor, "3 points"], shape: torch.Size) -> Int64[Tensor, " points"]:
    """Index into the flattened frames of (frame, row, col)."""
    return (here[0] * shape[1] + here[1]) * shape[2] + here[2]


def _flat_neighbours(
    here: Int64[Tensor, "3 points"], shape: torch.Size, offsets: Sequence[int]
) -> Int64[Tensor, "neighbours points"]:
    """Indices into the flattened frames of a square pattern around every point, kept inside the image."""
    rows = [(here[1] + dy).clamp_(0, shape[1] - 1) for dy in offsets]
    cols = [(here[2] + dx).clamp_(0, shape[2] - 1) for dx in offsets]
    starts = [(here[0] * shape[1] + row).mul_(shape[2]) for row in rows]
    return torch.stack([start + col for start in starts for col in cols])


def _colour_change(
    colours: Float[Tensor, "3 points"],
    planes: Float[Tensor, "3 pixels"],
    near: Int64[Tensor, "neighbours points"],
) -> Float[Tensor, "neighbours points"]:
    """Squared distance of colours."""
    total = torch.zeros(near.shape, device=near.device)
    for colour, plane in zip(colours, planes, strict=True):
        total.add_(plane[near].sub_(colour).square_())
    return total


def enlarge(
    coarse: Float[Tensor, "frames rows cols"],
    coarse_guide: Float[Tensor, "frames rows cols 3"],
    guide: Float[Tensor, "frames height width 3"],
) -> Float[Tensor, "frames height width"]:
    """Enlarge inverse depth: smoothly inside surfaces; at edges, from the 3 x 3 neighbour with the nearest colour."""
    size, (rows, cols) = guide.shape[1:3], coarse.shape[1:]
    smooth = F.interpolate(coarse[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    is_edge = (relative_range(coarse, 3) > 2 * STEEP / cols).float()
    here = F.interpolate(is_edge[:, None], size=size, mode="nearest")[:, 0].nonzero().T
    below = torch.stack((here[0], here[1] * rows // size[0], here[2] * cols // size[1]))
    near = _flat_neighbours(below, coarse.shape, (-1, 0, 1))
    planes = coarse_guide.permute(3, 0, 1, 2).reshape(3, -1)
    cost = _colour_change(guide[here[0], here[1], here[2]].T, planes, near)
    cost.mul_(0.5 / SAME_COLOUR**2)
    off_y = (here[1] + 0.5) * (rows / size[0]) - 0.5 - below[1]
    off_x = (here[2] + 0.5) * (cols / size[1]) - 0.5 - below[2]
    for i, neighbour in enumerate(cost):
        neighbour.add_((i // 3 - 1 - off_y).square_()).add_((i % 3 - 1 - off_x).square_())
    chosen = near.gather(0, cost.argmin(0, keepdim=True))[0]
    smooth[here[0], here[1], here[2]] = coarse.reshape(-1)[chosen]
    return smooth
