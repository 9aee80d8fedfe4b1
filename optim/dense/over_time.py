"""One static surface over time: what a frame does not measure comes from the frames before and after it.

Each frame's surface goes on to the next, by the cameras, with the trust it deserves, and is joined there with what that
frame found alone; so does what has come so far, forwards and then backwards. What was measured anywhere outweighs what
was completed, and what was completed once stays: a completion counts little beside many that agree.

Numbers here that name no source were set by hand.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from recon4d.core.geometry import MIN_DEPTH_RATIO, relative_cameras, scene_rays, static_pixels
from recon4d.core.sampling import image_size
from recon4d.core.scene import Scene
from recon4d.core.tensors import sample_grid_px
from recon4d.optim.dense.observed import Observed, flatness, window_max

KEPT = 0.95
"""Part of its weight that a surface keeps from frame to frame: some twenty frames share what nothing measures."""
MOST = 1.0
"""Most weight that what comes from one side may have: that of one sure measurement."""
SAME = 0.2
"""Scale of the robust kernel, relative to the inverse depth, within which two estimates are of one surface."""
SMOOTH = 0.03
"""Relative difference from the nearest sample up to which samples are interpolated: beyond are two surfaces."""
TWO_SIDES = 1.1
"""Ratio of largest and smallest inverse depth beside a sample from which on a border runs through there."""
STEPS = 3
"""Looks at where the other frame has a pixel's point; its inverse depth there says better where to look."""
SETTLED_PX = 2.0
"""Most that the last of them may still move the point, pixels of the working size: farther is another surface."""
EDGE_WINDOW = 3
"""Side of the window in which a border makes a surface go on with less weight."""
EDGE_KEPT = 0.5
"""Least part of the weight that is kept there: a border is placed anew by the image of each frame."""
SURE = 0.3
"""Trust of a measurement that lets a frame place the borders around it."""
SURE_REACH = 6
"""Distance to such a one, `Flow` samples."""


@dataclass(frozen=True)
class _Carried:
    """What came from another frame, as this one would see it."""

    sided: Float[Tensor, "rows cols"]
    """Inverse depth; where a sure border runs, that of the side which the frame itself has there."""
    plain: Float[Tensor, "rows cols"]
    """Inverse depth as it came."""
    weight: Float[Tensor, "rows cols"]


def steady(
    surface: Float[Tensor, "frames rows cols"],
    trust: Float[Tensor, "frames rows cols"],
    scene: Scene,
    wanted: range,
) -> Float[Tensor, "frames rows cols"]:
    """Inverse depth of the static surface that frames agree on.

    Args:
        surface: What each frame found alone, everywhere.
        trust: How far it is measured, in [0, 1]; above 0.
        scene: Cameras. Frames without a measured pose neither give nor take.
        wanted: The frames' numbers in it.
    """
    sure = window_max(trust, 2 * SURE_REACH + 1) > SURE
    alone = Observed(surface, trust * _kept_at_edges(surface))
    frames = range(len(surface))
    before = dict(_passed_on(alone, sure, scene, wanted, frames))
    result = surface.clone()
    for i, after in _passed_on(alone, sure, scene, wanted, frames[::-1]):
        sides = [side for side in (before[i], after) if side is not None]
        if not sides:
            continue
        depths = torch.stack([surface[i], *(side.plain for side in sides)])
        weights = torch.stack([alone.confidence[i], *(side.weight for side in sides)])
        result[i], _ = _joined(depths, weights)
    return result


def _passed_on(
    alone: Observed,
    sure: Bool[Tensor, "frames rows cols"],
    scene: Scene,
    wanted: range,
    order: range,
) -> Iterator[tuple[int, _Carried | None]]:
    """What each frame gets from those before it in some order."""
    before: tuple[int, Tensor, Tensor] | None = None
    for i in order:
        frame, found = wanted[i], None
        if not scene.is_posed[frame]:
            yield i, None
            continue
        depths, weight = alone.inverse_depth[i], alone.confidence[i]
        if before is not None and scene.component[before[0]] == scene.component[frame]:
            found = _carried(depths, sure[i], before, scene, frame)
            depths, weight = _joined(
                torch.stack((depths, found.sided)), torch.stack((weight, found.weight))
            )
        weight = weight * torch.where(sure[i], _kept_at_edges(depths[None])[0], 1.0)
        before = frame, depths, weight
        yield i, found


def _kept_at_edges(depths: Float[Tensor, "frames rows cols"]) -> Float[Tensor, "frames rows cols"]:
    return flatness(depths, EDGE_WINDOW).clamp_min_(EDGE_KEPT)


def _joined(
    depths: Float[Tensor, "views rows cols"], weights: Float[Tensor, "views rows cols"]
) -> tuple[Float[Tensor, "rows cols"], Float[Tensor, "rows cols"]]:
    """Mean of those that agree with the one that most weight agrees with, and the weight behind it."""
    mean, most = depths[0], (weights * _agreement(depths, depths[0])).sum(0)
    for one in depths[1:]:
        support = (weights * _agreement(depths, one)).sum(0)
        mean, most = torch.where(support > most, one, mean), torch.maximum(support, most)
    for _ in range(2):
        kept = weights * _agreement(depths, mean)
        mean = (kept * depths).sum(0) / kept.sum(0)
    return mean, kept.sum(0)


def _agreement(
    depths: Float[Tensor, "views rows cols"], one: Float[Tensor, "rows cols"]
) -> Float[Tensor, "views rows cols"]:
    return (depths / one - 1).div_(SAME).square_().add_(1).square_().reciprocal_()


def _carried(
    alone: Float[Tensor, "rows cols"],
    sure: Bool[Tensor, "rows cols"],
    before: tuple[int, Float[Tensor, "rows cols"], Float[Tensor, "rows cols"]],
    scene: Scene,
    frame: int,
) -> _Carried:
    """Look up another frame's surface where it has the points of this one, which `alone` says first."""
    other, depths, weight = before
    rows, cols = alone.shape
    turned, moved = (
        x[0].to(alone.device) for x in relative_cameras(scene, frame, np.array([other]))
    )
    ray = scene_rays(scene, frame, sample_grid_px(rows, cols, alone.device))
    size = alone.new_tensor(image_size(rows, cols))
    lowest, highest = (sign * window_max(sign * depths[None], 3)[0] for sign in (-1, 1))
    maps = torch.stack((depths, lowest, highest, weight))
    sided, at = alone, torch.full_like(ray[:, :2], torch.inf)
    for _ in range(STEPS):
        last = at
        uv, ratio = static_pixels(turned, moved, ray, sided.reshape(-1))
        at, there = uv.T, ratio.clamp_min(MIN_DEPTH_RATIO).view(rows, cols)
        grid = (2 * at / size - 1).view(1, rows, cols, 2)
        near = _sampled(maps, grid, "nearest")
        smooth = _sampled(maps[:1], grid, "bilinear")[0]
        is_one = torch.where(
            sure, near[2] < TWO_SIDES * near[1], (smooth / near[0] - 1).abs() < SMOOTH
        )
        plain = torch.where(is_one, smooth, near[0]) * there
        sided = torch.where(is_one | ~sure, plain, _nearest(near[:3] * there, alone))
    settled = (at - last).abs().amax(1) < SETTLED_PX
    inside = settled & (at >= 0).all(1) & (at < size).all(1) & (ratio > MIN_DEPTH_RATIO)
    return _Carried(sided, plain, (near[3] * inside.view(rows, cols) * KEPT).clamp_max(MOST))


def _nearest(
    sides: Float[Tensor, "sides rows cols"], alone: Float[Tensor, "rows cols"]
) -> Float[Tensor, "rows cols"]:
    """Of each pixel's values, the one that is nearest to another map."""
    best, least = sides[0], (sides[0] - alone).abs()
    for side in sides[1:]:
        off = (side - alone).abs()
        best, least = torch.where(off < least, side, best), torch.minimum(off, least)
    return best


def _sampled(
    maps: Float[Tensor, "maps rows cols"], grid: Float[Tensor, "1 rows cols 2"], mode: str
) -> Float[Tensor, "maps rows cols"]:
    return F.grid_sample(maps[None], grid, mode, padding_mode="border", align_corners=False)[0]
