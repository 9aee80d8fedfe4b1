"""The pairs as the batch optimizer's problem: flow between slots, and a depth prior from the aligned pointmaps.

Numbers here that name no source were set by hand.
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from recon4d.core.geometry import exp_se3, rays
from recon4d.optim.objective.flow_term import FlowTerm, flow_consistency
from recon4d.optim.objective.noise import RAYLEIGH_MEDIAN
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.terms import cauchy_weight
from recon4d.optim.objective.unknowns import State
from recon4d.optim.pairwise.depth import (
    FusedDepth,
    PairFits,
    align_scale,
    align_similarity,
    fuse,
)
from recon4d.optim.pairwise.grid import MIN_FLOW_SIGMA, PairGrid

PATCHES = 25
"""Errors of pointmaps are smooth over the image: alike within patches of a fifth of its sides."""
CREASE = 0.03
"""Flow is blurred across depth edges: a sample has half its weight where the inverse depth is this far, relative, from
the mean of its neighbours on the grid. A plane, however slanted, has none of that."""
POINT_VARIANCE = 0.02**2
"""Variance of the log-depth of a pointmap before it is known better: 2 % of the depth."""
MIN_VARIANCE = 0.005**2
"""No pointmap is believed to be better than 0.5 % of the depth."""


@dataclass(frozen=True)
class Slots:
    """Which pair is in which slot of which frame: frames have as many slots as the busiest needs."""

    edge: Int64[Tensor, "frames slots"]
    """-1 where a slot is empty."""

    @classmethod
    def of(cls, edges: Int64[Tensor, "edges 2"], num_frames: int) -> "Slots":
        """Pairs by their first view, in order."""
        mine: list[list[int]] = [[] for _ in range(num_frames)]
        for e, n in enumerate(edges[:, 0].tolist()):
            mine[n].append(e)
        width = max(len(m) for m in mine)
        rows = [m + [-1] * (width - len(m)) for m in mine]
        return cls(torch.tensor(rows, device=edges.device))

    def spread(self, values: Tensor) -> Tensor:
        """(edges, ...) to (frames, slots, ...); 0 in empty slots."""
        out = values[self.edge.clamp_min(0)]
        out[self.edge < 0] = 0
        return out


def build_pair_problem(
    grid: PairGrid,
    prior: FusedDepth,
    static: Float[Tensor, "frames samples"],
    correlated: float,
) -> Problem:
    """Flow on static pixels away from depth edges, and the pointmaps' depth as prior.

    Args:
        grid: The pairs.
        prior: Their depth; the flow's sigma turns relative errors into pixels.
        static: Weight 1 - M.
        correlated: Factor of the prior's sigma: errors of neighbouring samples are not independent.
    """
    flat = crease_weight(grid.maps((-prior.log_depth).exp()), 1).flatten(1)
    return slot_problem(
        grid.edges,
        grid.uv_px,
        grid.targets_px,
        grid.flow_weight,
        static * flat,
        prior,
        grid.flow_sigma_px / correlated,
    )


def slot_problem(
    edges: Int64[Tensor, "edges 2"],
    uv_px: Float[Tensor, "2 samples"],
    targets_px: Float[Tensor, "edges 2 samples"],
    flow_weight: Float[Tensor, "edges samples"],
    weight: Float[Tensor, "frames samples"],
    prior: FusedDepth,
    prior_px: float,
) -> Problem:
    """Flow by frames and slots, and depth as prior.

    Args:
        edges: The pairs (n, m).
        uv_px: Samples, the same in every frame.
        targets_px: Where the flow leads.
        flow_weight: Of every pair's flow.
        weight: Of a frame's samples in all its pairs.
        prior: Depth of the samples.
        prior_px: One standard deviation of the prior counts as many pixels of flow.
    """
    num_frames, num_samples = weight.shape
    slots = Slots.of(edges, num_frames)
    own = torch.arange(num_frames, device=weight.device)[:, None].expand_as(slots.edge)
    partners = torch.where(slots.edge >= 0, edges[slots.edge.clamp_min(0), 1], own)
    return Problem(
        samples_px=uv_px.expand(num_frames, 2, num_samples),
        partners=partners,
        targets_px=slots.spread(targets_px),
        weight=slots.spread(flow_weight) * weight[:, None],
        prior_inverse_depth=(-prior.log_depth).exp(),
        prior_weight=prior_px / prior.sigma,
    )


def correlation(num_samples: int) -> float:
    """Factor of the sigma of pointmaps' depth where samples share patches of alike errors."""
    return max(1.0, math.sqrt(num_samples / PATCHES))


def crease_weight(
    inverse_depth: Float[Tensor, "frames rows cols"], reach: int
) -> Float[Tensor, "frames rows cols"]:
    """Weight of flow where surfaces bend or end: 1 on planes, 1/2 at `CREASE`; neighbours are `reach` pixels apart."""
    padded = F.pad(inverse_depth[:, None], (reach,) * 4, mode="replicate")[:, 0]
    rows, cols = inverse_depth.shape[1:]
    middle = slice(reach, reach + rows), slice(reach, reach + cols)
    across = padded[:, middle[0], 2 * reach :] + padded[:, middle[0], :cols]
    down = padded[:, 2 * reach :, middle[1]] + padded[:, :rows, middle[1]]
    bend = torch.maximum((across - 2 * inverse_depth).abs(), (down - 2 * inverse_depth).abs())
    return 1 / (1 + (bend / (CREASE * inverse_depth)) ** 2)


@dataclass(frozen=True)
class Alignment:
    """Every pair's pointmaps against the scene."""

    factor: Float[Tensor, " edges"]
    """Takes the depth of the first view to that of the scene."""
    fit: PairFits
    """Takes points of the second view to its own camera in the scene."""
    error: Float[Tensor, "edges samples"]
    """Relative error of the second view's points that remains."""

    def among(self, keep: Bool[Tensor, " edges"]) -> "Alignment":
        """The alignment in a longer list, of which `keep` says which pairs were aligned; the others are not used."""
        place = (keep.cumsum(0) - 1).clamp_min(0)
        fit = self.fit
        return Alignment(
            self.factor[place],
            PairFits(fit.scale[place], fit.rotation[place], fit.translation[place]),
            self.error[place],
        )


def align_pairs_to(
    grid: PairGrid, state: State, static: Float[Tensor, "frames samples"]
) -> Alignment:
    """Closed-form alignment of both views of every pair, on static pixels, weighted with the confidence."""
    source, target = grid.edges.T
    depth = 1 / state.inverse_depth
    uv = grid.uv_px.T.expand(len(target), -1, -1)
    ray = rays(uv, state.intrinsics[target].to(depth)).transpose(1, 2)
    factor = align_scale(
        grid.source_points[:, 2], depth[source], grid.source_weight * static[source]
    )
    fit, error = align_similarity(
        grid.target_points, depth[target][:, None] * ray, grid.target_weight * static[target]
    )
    return Alignment(factor, fit, error)


def measured_depth(
    grid: PairGrid,
    alignment: Alignment,
    static: Float[Tensor, "frames samples"],
    variance: Float[Tensor, "2 2"],
) -> FusedDepth:
    """Depth of every sample from all pointmaps that show it.

    Args:
        grid: The pairs.
        alignment: To the scene.
        static: Weight 1 - M.
        variance: Of log-depth, by (static, moving) and (first, second view).
    """
    log_depth, weight = aligned_log_depth(grid, alignment)
    source, target = grid.edges.T
    moving = (static < 0.5).to(torch.int64)
    rows = []
    for frame in range(len(static)):
        mine = (source == frame, target == frame)
        rows.append(
            fuse(
                torch.cat([log_depth[k, mine[k]] for k in (0, 1)]),
                torch.cat([weight[k, mine[k]] for k in (0, 1)]),
                torch.cat(
                    [variance[moving[frame], k].expand(int(mine[k].sum()), -1) for k in (0, 1)]
                ),
            )
        )
    return FusedDepth(
        torch.stack([r.log_depth for r in rows]), torch.stack([r.sigma for r in rows])
    )


def aligned_log_depth(
    grid: PairGrid, alignment: Alignment
) -> tuple[Float[Tensor, "2 edges samples"], Float[Tensor, "2 edges samples"]]:
    """Log-depth of both views' samples in their own cameras, and the weight of each."""
    near = grid.source_points[:, 2] * alignment.factor[:, None]
    z = torch.stack((near, alignment.fit.depth(grid.target_points)))
    weight = torch.stack((grid.source_weight, grid.target_weight)) * (z > 0)
    return torch.where(weight > 0, z, 1.0).log(), weight


def depth_variance(
    grid: PairGrid,
    alignment: Alignment,
    fused: FusedDepth,
    static: Float[Tensor, "frames samples"],
) -> Float[Tensor, "2 2"]:
    """Variance of a pointmap's log-depth by (static, moving) and (first, second view), from the median deviation.

    Networks are worse on what moves, most of all in the view from the other time; by how much, the pairs tell.
    """
    log_depth, weight = aligned_log_depth(grid, alignment)
    found = log_depth.new_full((2, 2), POINT_VARIANCE)
    for view in (0, 1):
        frame = grid.edges[:, view]
        off = (log_depth[view] - fused.log_depth[frame]).abs()
        for moving in (0, 1):
            use = (weight[view] > 0) & ((static[frame] < 0.5) == bool(moving))
            if int(use.sum()) > 100:  # fewer do not tell a variance
                found[moving, view] = (1.4826 * off[use].median()) ** 2
    return found.clamp_min(MIN_VARIANCE)


def refine_relative(
    grid: PairGrid,
    state: State,
    relative: Float[Tensor, "edges 4 4"],
    kernels_px: tuple[float, ...],
) -> Float[Tensor, "edges 4 4"]:
    """Pose of every pair on its own from its flow, with the depth as it is: robust Gauss-Newton.

    Pairs that settle on a mover are outvoted by the others of the frame.
    """
    for kernel in kernels_px:
        term = _pair_flow(grid, state, relative)
        weight = cauchy_weight(term.squared(), kernel)[1] * term.in_front * grid.flow_weight
        pose = (term.by_pose() * weight.sqrt()[:, None, None]).transpose(1, 2).flatten(2)
        residual = (term.residual_px * weight.sqrt()[:, None]).flatten(1)
        hessian = (pose @ pose.transpose(1, 2)).double()
        gradient = (pose @ residual[..., None])[..., 0].double()
        damping = 1e-3 * hessian.diagonal(dim1=1, dim2=2) + 1e-6
        damped = hessian + torch.diag_embed(damping)  # positive definite: nothing to check, no wait
        step = torch.linalg.solve_ex(damped, gradient[..., None]).result[..., 0]
        relative = exp_se3(-step) @ relative
    return relative


def _pair_flow(grid: PairGrid, state: State, relative: Float[Tensor, "edges 4 4"]) -> FlowTerm:
    """Flow of every pair against depth, focal lengths, and relative poses that need not agree among pairs."""
    source, target = grid.edges.T
    depth = state.inverse_depth[source]
    intrinsics = state.intrinsics.to(depth)
    return flow_consistency(
        grid.uv_px,
        grid.targets_px,
        depth,
        relative.to(depth),
        intrinsics[source],
        intrinsics[target],
    )


def flow_error_px(
    grid: PairGrid,
    state: State,
    static: Float[Tensor, "frames samples"],
    relative: Float[Tensor, "edges 4 4"],
) -> Float[Tensor, " edges"]:
    """Median residual of every pair's flow on static samples that agree forth and back; 0 where there are none."""
    source = grid.edges[:, 0]
    term = _pair_flow(grid, state, relative)
    use = (grid.flow_weight * static[source]) > 0.5
    return torch.where(use, term.squared().sqrt(), torch.nan).nanmedian(1).values.nan_to_num(0.0)


def used_flow_sigma_px(
    grid: PairGrid,
    state: State,
    static: Float[Tensor, "frames samples"],
    relative: Float[Tensor, "edges 4 4"],
) -> float:
    """Standard deviation per axis of the flow that is used, from its residuals in the median pair.

    That of `PairGrid` is of all pixels, movers and their surroundings among them, and so up to a quarter greater.
    """
    error = flow_error_px(grid, state, static, relative)
    sigma = float(error[error > 0].median()) / RAYLEIGH_MEDIAN if bool((error > 0).any()) else 0.0
    return min(max(sigma, MIN_FLOW_SIGMA * float(grid.uv_px[0].max())), grid.flow_sigma_px)


def enlarge_state(state: State, coarse: PairGrid, fine: PairGrid) -> State:
    """The state on a finer grid."""
    depth = coarse.maps(state.inverse_depth)
    return replace(state, inverse_depth=enlarge_map(depth, (fine.rows, fine.cols)).flatten(1))


def enlarge_map(
    values: Float[Tensor, "frames rows cols"], size: tuple[int, int]
) -> Float[Tensor, "frames height width"]:
    """Bilinear."""
    out: Tensor = F.interpolate(values[:, None], size=size, mode="bilinear", align_corners=False)
    return out[:, 0]
