"""Evidence for motion in pairwise predictions: flow and depth of a pixel against what a static world would show.

With the cameras and the depth of the pointmaps, every pair predicts where a static pixel must appear in the other
frame, and at what depth. Both predictions have known errors: those of the flow, and of the depth along the epipolar
line. A static pixel obeys all pairs up to these errors; a moving one breaks those between which it has moved, and the
longer they are apart in time the clearer. So every pair adds a log likelihood ratio, and slow and pausing movers are
found by the pairs that see them move, without a threshold per pair.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from recon4d.optim.objective.flow_term import FlowTerm, flow_consistency
from recon4d.optim.pairwise.grid import PairGrid

FLOW_SLOPE = 0.01
"""Standard deviation of the flow grows by this part of the displacement (cf. `recon4d.optim.objective.noise`) ..."""
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


@dataclass(frozen=True)
class PairSamples:
    """Some pairs at the same pixels: their flow and depth, and the cameras that a static world is seen with."""

    uv_px: Float[Tensor, "2 samples"]
    targets_px: Float[Tensor, "edges 2 samples"]
    """Where the flow leads."""
    weight: Float[Tensor, "edges samples"]
    """Of the flow."""
    flow_sigma_px: float
    """Standard deviation of consistent flow per axis."""
    log_depth: Float[Tensor, "*#edges samples"]
    """From the pointmaps: flow has no part in it, which makes motion along epipolar lines visible."""
    edges: Int64[Tensor, "edges 2"]
    relative: Float[Tensor, "edges 4 4"]
    """`target_from_source` of every pair."""
    intrinsics: Float[Tensor, "frames 4"]
    """(fx, fy, cx, cy) of every frame, pixels."""
    width: int
    """Of the image, pixels."""

    def flow_term(self) -> FlowTerm:
        """Flow against that of a static world."""
        inverse_depth, intrinsics = (-self.log_depth).exp(), self.intrinsics[self.edges]
        return flow_consistency(
            self.uv_px,
            self.targets_px,
            inverse_depth,
            self.relative.to(self.uv_px),
            *intrinsics.to(self.uv_px).unbind(1),
        )

    def evidence(
        self, ranges: Float[Tensor, "frames 2 rows cols"], rate: float
    ) -> Float[Tensor, "edges samples"]:
        """`motion_evidence` of every pair.

        Args:
            ranges: `surroundings` of the log-depth of all frames.
            rate: Expected motion of a mover from frame to frame, part of the image width.
        """
        term, target_range = self.flow_term(), ranges[self.edges[:, 1]]
        rows, cols = target_range.shape[2:]
        step = self.width / cols
        size = self.uv_px.new_tensor((cols * step, rows * step))
        at = (self.targets_px.transpose(1, 2) * (2 / size) - 1)[:, None]
        found = F.grid_sample(
            target_range, at, mode="nearest", padding_mode="border", align_corners=False
        )
        predicted = self.log_depth - term.inverse_z.log()
        error = outside_interval(predicted, found[:, 0, 0], found[:, 1, 0])
        gap = (self.edges[:, 0] - self.edges[:, 1]).abs().to(self.uv_px)
        flow_px, motion_px = self.targets_px - self.uv_px, rate * self.width
        return motion_evidence(
            term, error, flow_px, self.weight, gap, self.flow_sigma_px, motion_px
        )


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
        log_depth: From the pointmaps.
        relative: `target_from_source` of every pair.
        intrinsics: (fx, fy, cx, cy) of every frame, pixels.
        width: Of the image, pixels.
    """
    source = grid.edges[:, 0]
    samples = PairSamples(
        uv_px=grid.uv_px,
        targets_px=grid.targets_px,
        weight=grid.flow_weight,
        flow_sigma_px=grid.flow_sigma_px,
        log_depth=log_depth[source],
        edges=grid.edges,
        relative=relative,
        intrinsics=intrinsics,
        width=width,
    )
    evidence = samples.evidence(surroundings(grid.maps(log_depth)), WATCHFUL_RATE)
    odds = evidence.new_full((len(log_depth), evidence.shape[1]), PRIOR_ODDS)
    odds.index_add_(0, source, evidence)
    near = F.avg_pool2d(grid.maps(odds)[:, None], 3, 1, 1, count_include_pad=False)
    return near.flatten(1)


def dense_log_odds(
    samples: PairSamples, ranges: Float[Tensor, "frames 2 rows cols"]
) -> Float[Tensor, "rows cols"]:
    """Log-odds of motion at every pixel of one frame, with those of its neighbours.

    Args:
        samples: The frame's pairs at all of its pixels.
        ranges: `surroundings` of the log-depth of all frames.
    """
    evidence = samples.evidence(ranges, MOTION_RATE)
    odds = (evidence.sum(0) + PRIOR_ODDS).reshape(ranges.shape[2:])
    reach = max(1, round(NEIGHBOURS * samples.width))
    side = 2 * reach + 1
    return F.avg_pool2d(odds[None, None], side, 1, reach, count_include_pad=False)[0, 0]


def surroundings(
    log_depth: Float[Tensor, "frames rows cols"],
) -> Float[Tensor, "frames 2 rows cols"]:
    """Least and greatest log-depth among a pixel and its eight neighbours."""
    high = F.max_pool2d(log_depth[:, None], 3, 1, 1)[:, 0]
    low = -F.max_pool2d(-log_depth[:, None], 3, 1, 1)[:, 0]
    return torch.stack((low, high), 1)
