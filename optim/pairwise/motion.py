"""Evidence for motion in pairwise predictions: flow and depth of a pixel against what a static world would show.

With the cameras and the depth of the pointmaps, every pair predicts where a static pixel must appear in the other
frame, and at what depth. Both predictions have known errors: those of the flow, and of the depth along the epipolar
line. A static pixel obeys all pairs up to these errors; a moving one breaks those between which it has moved, and the
longer they are apart in time the clearer. So every pair adds a log likelihood ratio, and slow and pausing movers are
found by the pairs that see them move, without a threshold per pair.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from recon4d.optim.objective.flow_term import FlowTerm, flow_consistency
from recon4d.optim.pairwise.pairs import PairGrid

FLOW_SLOPE = 0.01
"""Standard deviation of the flow grows by this part of the displacement ..."""
FLOW_FACTOR = 1.5
"""... and starts at this multiple of that of consistent flow: cameras and sampling have errors, too."""
DEPTH_SIGMA = 0.02
"""Standard deviation of one frame's log-depth from pointmaps."""
MOTION_RATE = 0.005
"""Expected motion of a mover from frame to frame, part of the image width ..."""
WATCHFUL_RATE = 0.002
"""... and on the grid, whose samples only choose what the cameras are found from: slower motion is suspected there,
because a static sample too few costs nothing, but a slow mover that is taken for static bends the cameras to itself."""
MOST_EVIDENCE = 8.0
"""Log likelihood ratio beyond which a single pair is not believed: flow has gross errors."""
NEIGHBOURS = 1 / 128
"""Evidence is averaged over pixels up to this far, part of the width: half the width of the halo of good flow."""
PRIOR_ODDS = -2.0
"""Log-odds of motion before anything was seen: one pixel in eight."""


def motion_evidence(
    term: FlowTerm,
    depth_error: Float[Tensor, "edges samples"],
    flow_px: Float[Tensor, "edges 2 samples"],
    weight: Float[Tensor, "edges samples"],
    gap: Float[Tensor, " edges"],
    flow_sigma_px: float,
    motion_px: float,
) -> Float[Tensor, "edges samples"]:
    """Log likelihood ratio of moving against static, pair by pair.

    Args:
        term: Flow against the static prediction.
        depth_error: Logarithm of the depth seen in the target over the predicted one; 0 where nothing is known.
        flow_px: Measured flow.
        weight: Of the flow, in [0, 1].
        gap: Frames between source and target.
        flow_sigma_px: Standard deviation of consistent flow per axis.
        motion_px: Expected motion of a mover from frame to frame.
    """
    variance = (FLOW_FACTOR * flow_sigma_px) ** 2 + FLOW_SLOPE**2 * flow_px.square().sum(1)
    along = term.by_inverse_depth() * term.inverse_depth.unsqueeze(-2)
    by_depth = (along * term.residual_px).sum(1)
    squared = term.squared() / variance
    squared = squared - by_depth**2 / (
        variance * (variance / DEPTH_SIGMA**2 + along.square().sum(1))
    )
    squared = squared + (depth_error / (2 * DEPTH_SIGMA)) ** 2
    growth = (motion_px * gap[:, None]) ** 2 / variance
    ratio = 0.5 * squared * (growth / (1 + growth)) - torch.log1p(growth)
    return weight * term.in_front * ratio.clamp_max(MOST_EVIDENCE)


def outside_interval(
    value: Float[Tensor, "*shape"], low: Float[Tensor, "*shape"], high: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Signed distance of an interval from a value: 0 inside."""
    return (low - value).clamp_min(0) + (high - value).clamp_max(0)


def grid_log_odds(
    grid: PairGrid,
    log_depth: Float[Tensor, "frames samples"],
    relative: Float[Tensor, "edges 4 4"],
    intrinsics: Float[Tensor, "frames 4"],
    width: int,
) -> Float[Tensor, "frames samples"]:
    """Log-odds of motion at every sample, from all pairs of its frame, with those of its neighbours on the grid.

    Args:
        grid: The pairs.
        log_depth: From the pointmaps: flow has no part in it, which makes motion along epipolar lines visible.
        relative: `target_from_source` of every pair.
        intrinsics: (fx, fy, cx, cy) of every frame, pixels.
        width: Of the image, pixels.
    """
    source, target = grid.edges.T
    frames = log_depth.shape[0]
    maps = grid.maps(log_depth)
    low, high = surroundings(maps)
    evidence = pair_evidence(
        grid.uv_px,
        grid.targets_px,
        grid.flow_weight,
        log_depth[source],
        torch.stack((low[target], high[target]), 1),
        relative,
        intrinsics[grid.edges],
        (source - target).abs(),
        grid.flow_sigma_px,
        width,
        WATCHFUL_RATE,
    )
    odds = evidence.new_full((frames, evidence.shape[1]), PRIOR_ODDS)
    odds.index_add_(0, source, evidence)
    near = F.avg_pool2d(grid.maps(odds)[:, None], 3, 1, 1, count_include_pad=False)
    return near.flatten(1)


def dense_log_odds(
    uv_px: Float[Tensor, "2 samples"],
    targets_px: Float[Tensor, "edges 2 samples"],
    weight: Float[Tensor, "edges samples"],
    log_depth: Float[Tensor, " samples"],
    ranges: Float[Tensor, "frames 2 rows cols"],
    edges: Int64[Tensor, "edges 2"],
    relative: Float[Tensor, "edges 4 4"],
    intrinsics: Float[Tensor, "frames 4"],
    flow_sigma_px: float,
    width: int,
) -> Float[Tensor, "rows cols"]:
    """Log-odds of motion at every pixel of one frame, with those of its neighbours.

    Args:
        uv_px: All pixels.
        targets_px: Where the flow of the frame's pairs leads.
        weight: Of the flow.
        log_depth: Of the frame, from the pointmaps.
        ranges: `surroundings` of the log-depth of all frames.
        edges: The frame's pairs.
        relative: Their `target_from_source`.
        intrinsics: (fx, fy, cx, cy) of every frame, pixels.
        flow_sigma_px: Standard deviation of consistent flow per axis.
        width: Of the image, pixels.
    """
    gap = (edges[:, 0] - edges[:, 1]).abs()
    evidence = pair_evidence(
        uv_px, targets_px, weight, log_depth, ranges[edges[:, 1]], relative, intrinsics[edges], gap,
        flow_sigma_px, width, MOTION_RATE,
    )  # fmt: skip
    odds = (evidence.sum(0) + PRIOR_ODDS).reshape(ranges.shape[2:])
    reach = max(1, round(NEIGHBOURS * width))
    side = 2 * reach + 1
    return F.avg_pool2d(odds[None, None], side, 1, reach, count_include_pad=False)[0, 0]


def surroundings(
    log_depth: Float[Tensor, "frames rows cols"],
) -> tuple[Float[Tensor, "frames rows cols"], Float[Tensor, "frames rows cols"]]:
    """Least and greatest log-depth among a pixel and its eight neighbours."""
    high = F.max_pool2d(log_depth[:, None], 3, 1, 1)[:, 0]
    low = -F.max_pool2d(-log_depth[:, None], 3, 1, 1)[:, 0]
    return low, high


def pair_evidence(
    uv_px: Float[Tensor, "2 samples"],
    targets_px: Float[Tensor, "edges 2 samples"],
    weight: Float[Tensor, "edges samples"],
    log_depth: Float[Tensor, "*edges samples"],
    target_range: Float[Tensor, "edges 2 rows cols"],
    relative: Float[Tensor, "edges 4 4"],
    intrinsics: Float[Tensor, "edges 2 4"],
    gap: Int64[Tensor, " edges"],
    flow_sigma_px: float,
    width: int,
    rate: float,
) -> Float[Tensor, "edges samples"]:
    """`motion_evidence` of some pairs at the same pixels.

    `target_range` is that of `surroundings` in the targets, `intrinsics` are those of source and target.
    """
    inverse_depth = (-log_depth).exp()
    term = flow_consistency(
        uv_px, targets_px, inverse_depth, relative.to(uv_px), *intrinsics.to(uv_px).unbind(1)
    )
    rows, cols = target_range.shape[2:]
    step = width / cols
    size = uv_px.new_tensor((cols * step, rows * step))
    at = (targets_px.transpose(1, 2) * (2 / size) - 1)[:, None]
    found = F.grid_sample(
        target_range, at, mode="nearest", padding_mode="border", align_corners=False
    )
    predicted = log_depth - term.inverse_z.log()
    error = outside_interval(predicted, found[:, 0, 0], found[:, 1, 0])
    return motion_evidence(
        term, error, targets_px - uv_px, weight, gap.to(uv_px), flow_sigma_px, rate * width
    )
