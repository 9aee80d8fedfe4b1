"""Depth edges on image edges: no depth between two surfaces, and the full resolution."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from recon4d.optim.dense_observed import STEEP, Observed, relative_range

WINDOW = 5
"""Side of the window in which a pixel looks for a depth edge."""
REACH, REACH_STEP = 4, 2
"""Candidates lie up to this many pixels away, every so many pixels, in both directions."""
SAME_COLOUR = 12.0
"""Standard deviation of colours within one surface, per channel of 0 to 255."""
MIN_VOTE = 0.02
"""Weight of a candidate that nothing confirms."""
ROUNDS = 2
"""How often pixels choose: the second time among those that have chosen."""


def choose_sides(
    surface: Observed, guide: Float[Tensor, "frames rows cols 3"]
) -> Float[Tensor, "frames rows cols"]:
    """Near depth edges, take the weighted median of the neighbours that have the pixel's colour."""
    depths = surface.inverse_depth
    offsets = range(-REACH, REACH + 1, REACH_STEP)
    dy, dx = torch.tensor([(y, x) for y in offsets for x in offsets], device=depths.device).T
    for _ in range(ROUNDS):
        n, y, x = (
            (relative_range(depths, WINDOW) > STEEP * (WINDOW - 1) / depths.shape[2]).nonzero().T
        )
        near_y = (y[:, None] + dy).clamp_(0, depths.shape[1] - 1)
        near_x = (x[:, None] + dx).clamp_(0, depths.shape[2] - 1)
        near = (n[:, None], near_y, near_x)
        change = (guide[near] - guide[n, y, x][:, None]).square_().sum(-1)
        vote = torch.exp(change * (-0.5 / SAME_COLOUR**2)) * (surface.confidence[near] + MIN_VOTE)
        candidates, order = depths[near].sort(dim=1)
        reached = vote.gather(1, order).cumsum(1)
        middle = (reached < 0.5 * reached[:, -1:]).sum(1, keepdim=True)
        depths = depths.clone()
        depths[n, y, x] = candidates.gather(1, middle)[:, 0]
    return depths


def enlarge(
    coarse: Float[Tensor, "frames rows cols"],
    coarse_guide: Float[Tensor, "frames rows cols 3"],
    guide: Float[Tensor, "frames height width 3"],
) -> Float[Tensor, "frames height width"]:
    """Enlarge inverse depth: smoothly inside surfaces; at edges, from the 3 x 3 neighbour with the nearest colour."""
    size = guide.shape[1:3]
    smooth = F.interpolate(coarse[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    rows, cols = coarse.shape[1:]
    is_edge = (relative_range(coarse, 3) > 2 * STEEP / cols).float()
    n, y, x = F.interpolate(is_edge[:, None], size=size, mode="nearest")[:, 0].nonzero().T
    offsets = torch.tensor([(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)], device=coarse.device)
    row, col = y * rows // size[0], x * cols // size[1]
    near_y = (row[:, None] + offsets[:, 0]).clamp_(0, rows - 1)
    near_x = (col[:, None] + offsets[:, 1]).clamp_(0, cols - 1)
    near = (n[:, None], near_y, near_x)
    colour = (coarse_guide[near] - guide[n, y, x][:, None]).square_().sum(-1)
    at_y, at_x = (y + 0.5) * rows / size[0] - 0.5, (x + 0.5) * cols / size[1] - 0.5
    distance = (near_y - at_y[:, None]) ** 2 + (near_x - at_x[:, None]) ** 2
    cost = colour / (2 * SAME_COLOUR**2) + distance
    best = cost.argmin(1, keepdim=True)
    smooth[n, y, x] = coarse[near].gather(1, best)[:, 0]
    return smooth
