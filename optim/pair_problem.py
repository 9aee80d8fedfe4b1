"""The pairs as the batch optimizer's problem: flow between slots, and a depth prior from the pointmaps."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from recon4d.geometry import rays
from recon4d.optim.pair_depth import FusedDepth, align_scale, align_similarity, fuse
from recon4d.optim.pairs import PairGrid
from recon4d.optim.problem import Problem
from recon4d.optim.state import State


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

    def spread(self, values: Tensor, empty: float = 0.0) -> Tensor:
        """(edges, ...) to (frames, slots, ...)."""
        out = values[self.edge.clamp_min(0)]
        return torch.where((self.edge >= 0)[(...,) + (None,) * (values.ndim - 1)], out, empty)


def build_pair_problem(
    grid: PairGrid,
    prior: FusedDepth,
    static: Float[Tensor, "frames samples"],
) -> Problem:
    """Flow on static pixels, and the pointmaps' depth as prior.

    Args:
        grid: The pairs.
        prior: Their depth; sigma turns relative errors into pixels by that of the flow.
        static: Weight 1 - M.
    """
    num_frames, num_samples = static.shape
    slots = Slots.of(grid.edges, num_frames)
    own = torch.arange(num_frames, device=static.device)[:, None].expand_as(slots.edge)
    partners = torch.where(slots.edge >= 0, grid.edges[slots.edge.clamp_min(0), 1], own)
    return Problem(
        samples_px=grid.uv_px.expand(num_frames, 2, num_samples),
        partners=partners,
        targets_px=slots.spread(grid.targets_px),
        weight=slots.spread(grid.flow_weight) * static[:, None],
        prior_inverse_depth=(-prior.log_depth).exp(),
        prior_weight=grid.flow_sigma_px / prior.sigma,
    )


def measured_depth(
    grid: PairGrid, state: State, static: Float[Tensor, "frames samples"]
) -> FusedDepth:
    """Depth of every sample from the pointmaps, each aligned in closed form to the current scene."""
    source, target = grid.edges.T
    depth = 1 / state.inverse_depth
    ray = rays(grid.uv_px.T, state.intrinsics.to(depth)).T
    factor = align_scale(grid.source_points[:, 2], depth[source], grid.source_weight * static[source])
    fit, _ = align_similarity(
        grid.target_points, depth[target][:, None] * ray, grid.target_weight * static[target]
    )
    near = grid.source_points[:, 2] * factor[:, None]
    far = fit.depth(grid.target_points)
    rows = []
    for frame in range(len(depth)):
        z = torch.cat((near[source == frame], far[target == frame]))
        weight = torch.cat((grid.source_weight[source == frame], grid.target_weight[target == frame]))
        weight = weight * (z > 0)
        log_depth = torch.where(weight > 0, z, 1.0).log()
        rows.append(fuse(log_depth, weight, torch.full_like(z, 0.02**2)))
    return FusedDepth(torch.stack([r.log_depth for r in rows]), torch.stack([r.sigma for r in rows]))
