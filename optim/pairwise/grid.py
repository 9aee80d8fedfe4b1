"""Pairwise predictions thinned to a grid of pixels, and how exact their flow is: it is followed forth and back.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from recon4d.optim.objective.noise import RAYLEIGH_MEDIAN
from recon4d.optim.pairwise.pairs import Pairs

MIN_USABLE = 0.05
"""A pair needs this share of usable pixels in both views: fewer do not hold a similarity against noise."""
BILINEAR_NOISE = 1.2
"""Noise of flow minus bilinearly sampled flow over that of flow: sqrt(1 + 4/9), 4/9 = mean sum of squared weights."""
MIN_FLOW_SIGMA = 1e-4
"""No flow is exacter than this part of the image width (0.05 px at 512): models and lenses are not."""
CONSISTENT_SIGMAS = 4.0
"""Forward and backward flow contradict each other beyond this many standard deviations ..."""
CONSISTENT_SLOPE = 0.01
"""... and this part of the displacement: long flow is less exact."""


@dataclass(frozen=True)
class PairGrid:
    """Every `step`-th pixel of the pairs, on one device; unusable points have weight 0 and are finite."""

    step: int
    rows: int
    cols: int
    edges: Int64[Tensor, "edges 2"]
    uv_px: Float[Tensor, "2 samples"]
    """The same pixels in every frame."""
    source_points: Float[Tensor, "edges 3 samples"]
    target_points: Float[Tensor, "edges 3 samples"]
    source_weight: Float[Tensor, "edges samples"]
    """Logarithm of the confidence."""
    target_weight: Float[Tensor, "edges samples"]
    targets_px: Float[Tensor, "edges 2 samples"]
    """Where the flow leads."""
    flow_weight: Float[Tensor, "edges samples"]
    """In [0, 1]: does the flow stay in the image, and does the flow back agree?"""
    flow_sigma_px: float
    """Standard deviation of consistent flow per axis, found by going forth and back."""

    num_frames: int

    def maps(self, values: Float[Tensor, "frames samples"]) -> Float[Tensor, "frames rows cols"]:
        """Samples in their rows and columns."""
        return values.reshape(len(values), self.rows, self.cols)

    def only(self, keep: Bool[Tensor, " edges"]) -> "PairGrid":
        """Some of the pairs."""
        per_edge = (
            "edges", "source_points", "target_points", "source_weight", "target_weight", "targets_px", "flow_weight",
        )  # fmt: skip
        return replace(self, **{name: getattr(self, name)[keep] for name in per_edge})


def pixel_centres(
    width: int, height: int, step: int, device: torch.device
) -> Float[Tensor, "2 samples"]:
    """(u, v) of the centres of every `step`-th pixel, row by row, starting half a step from the border."""
    v = torch.arange(step // 2, height, step, device=device, dtype=torch.float32) + 0.5
    u = torch.arange(step // 2, width, step, device=device, dtype=torch.float32) + 0.5
    return torch.stack((u.repeat(len(v)), v.repeat_interleave(len(u))))


def clean_points(
    points: Float[Tensor, "edges axes samples"], confidence: Float[Tensor, "edges samples"]
) -> tuple[Float[Tensor, "edges axes samples"], Float[Tensor, "edges samples"]]:
    """Points and their weights log(confidence); weight 0 where either is not finite or the confidence is below 1."""
    usable = torch.isfinite(points.sum(1)) & torch.isfinite(confidence) & (confidence > 1)
    weight = torch.where(usable, confidence, 1.0).log()
    return torch.where(usable[:, None], points, 0.0), weight


def length(vectors: Float[Tensor, "*batch axes samples"]) -> Float[Tensor, "*batch samples"]:
    """Length over the second last axis; several times as fast there as `torch.linalg.vector_norm`."""
    return vectors.square().sum(-2).sqrt()


def usable_share(grid: "PairGrid") -> Float[Tensor, " edges"]:
    """Share of usable points of every pair, in the worse of its two views."""
    first, second = ((w > 0).float().mean(1) for w in (grid.source_weight, grid.target_weight))
    return torch.minimum(first, second)


def thin(
    pairs: Pairs, keep: Bool[np.ndarray, " given"], step: int, device: torch.device
) -> PairGrid:
    """Take every `step`-th pixel of the kept pairs."""
    width, height = pairs.size
    part = (keep, slice(step // 2, None, step), slice(step // 2, None, step))

    def points(maps: Float32[np.ndarray, "edges height width 3"]) -> Tensor:
        return (
            torch.from_numpy(np.ascontiguousarray(maps[part]))
            .to(device)
            .flatten(1, 2)
            .transpose(1, 2)
            .contiguous()
        )

    def weights(maps: Float32[np.ndarray, "edges height width"]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(maps[part])).to(device).flatten(1)

    source, source_weight = clean_points(
        points(pairs.source_points), weights(pairs.source_confidence)
    )
    target, target_weight = clean_points(
        points(pairs.target_points), weights(pairs.target_confidence)
    )
    source_weight = source_weight * (source[:, 2] > 0)
    uv = pixel_centres(width, height, step, device)
    moved, back, inside = thin_flow(pairs, keep, uv, step, device)
    sigma = flow_sigma_px(back[inside], width)
    targets = moved + uv
    return PairGrid(
        step=step,
        rows=len(range(step // 2, height, step)),
        cols=len(range(step // 2, width, step)),
        edges=torch.from_numpy(pairs.edges[keep]).to(device),
        uv_px=uv,
        source_points=source,
        target_points=target,
        source_weight=source_weight,
        target_weight=target_weight,
        targets_px=targets,
        flow_weight=consistency(moved, back, inside, sigma),
        flow_sigma_px=sigma,
        num_frames=pairs.num_frames,
    )


def thin_flow(
    pairs: Pairs,
    keep: Bool[np.ndarray, " given"],
    uv: Float[Tensor, "2 samples"],
    step: int,
    device: torch.device,
) -> tuple[
    Float[Tensor, "edges 2 samples"], Float[Tensor, "edges samples"], Bool[Tensor, "edges samples"]
]:
    """Flow at the grid, the distance from the start after going forth and back, and whether the target is inside."""
    moved, back, inside = [], [], []
    back_of = pairs.reverse()
    for e in np.flatnonzero(keep):
        reverse = back_of[e]
        flow = torch.from_numpy(
            np.ascontiguousarray(pairs.flow_px[e, :, step // 2 :: step, step // 2 :: step])
        )
        flow = flow.to(device).float().flatten(1)
        there = torch.from_numpy(pairs.flow_px[reverse]).to(device)[None] if reverse >= 0 else None
        distance, stays = forth_and_back(uv, flow[None], there, pairs.size)
        moved.append(torch.nan_to_num(flow, 0.0, 0.0, 0.0))
        back.append(distance[0])
        inside.append(stays[0])
    return torch.stack(moved), torch.stack(back), torch.stack(inside)


def forth_and_back(
    uv_px: Float[Tensor, "2 samples"],
    flow_px: Float[Tensor, "edges 2 samples"],
    reverse_px: Float[Tensor, "edges 2 height width"] | None,
    size: tuple[int, int],
) -> tuple[Float[Tensor, "edges samples"], Bool[Tensor, "edges samples"]]:
    """Distance from the start after following the flow and the reverse flow there; whether the target is inside."""
    scale = uv_px.new_tensor(size)[:, None]
    target = uv_px + flow_px
    inside = ((target > 0) & (target < scale)).all(1)
    if reverse_px is None:
        return torch.zeros_like(inside, dtype=flow_px.dtype), inside
    grid = torch.where(inside[:, None], target * (2 / scale) - 1, 0.0).transpose(1, 2)[:, None]
    back = F.grid_sample(reverse_px.float(), grid, padding_mode="border", align_corners=False)[
        :, :, 0
    ]
    distance = length(flow_px + back)
    finite = torch.isfinite(distance)
    return torch.where(finite, distance, 0.0), inside & finite


def flow_sigma_px(back_px: Float[Tensor, " samples"], width: int) -> float:
    """Standard deviation of the flow per axis from the distances after going forth and back."""
    floor = MIN_FLOW_SIGMA * width
    if not bool((back_px > 0).any()):
        return floor
    return max(float(back_px[back_px > 0].median()) / (RAYLEIGH_MEDIAN * BILINEAR_NOISE), floor)


def consistency(
    flow_px: Float[Tensor, "edges 2 samples"],
    back_px: Float[Tensor, "edges samples"],
    inside: Bool[Tensor, "edges samples"],
    sigma_px: float,
) -> Float[Tensor, "edges samples"]:
    """Weight of flow: 1 where forth and back meet, 1/2 at `CONSISTENT_SIGMAS`, 0 outside the image."""
    tolerance = CONSISTENT_SIGMAS * BILINEAR_NOISE * sigma_px + CONSISTENT_SLOPE * length(flow_px)
    return inside / (1 + (back_px / tolerance).square().square())
