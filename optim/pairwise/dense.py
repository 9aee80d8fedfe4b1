"""Depth of every pixel with the cameras fixed: pointmaps fused frame by frame, then one unknown per pixel with flow.

Only the pairs of one frame are in memory beside the inputs and the result.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from recon4d.core.geometry import invert_rigid
from recon4d.optim.objective.flow_term import flow_consistency
from recon4d.optim.objective.terms import cauchy_weight
from recon4d.optim.objective.unknowns import State
from recon4d.optim.pairwise.depth import ROBUST_LOSS, FusedDepth, fuse
from recon4d.optim.pairwise.grid import clean_points, consistency, forth_and_back, pixel_centres
from recon4d.optim.pairwise.pairs import Pairs
from recon4d.optim.pairwise.problem import Alignment

REFINE_STEPS = 2
"""Gauss-Newton steps per pixel: the start is good to 1 %, where the flow is nearly linear in inverse depth."""
KERNEL_SIGMAS = 3.0
"""Scale of the robust kernel on flow, standard deviations."""


@dataclass(frozen=True)
class FrameFlow:
    """The flow of all pairs whose first view is one frame."""

    edges: list[int]
    uv_px: Float[Tensor, "2 samples"]
    flow_px: Float[Tensor, "edges 2 samples"]
    weight: Float[Tensor, "edges samples"]
    """In [0, 1]: consistency forth and back."""

    @property
    def targets_px(self) -> Float[Tensor, "edges 2 samples"]:
        """Where the flow leads."""
        return self.uv_px + self.flow_px


def pairs_by_view(
    pairs: Pairs, keep: Bool[np.ndarray, " edges"], frame: int
) -> tuple[list[int], list[int]]:
    """Kept pairs in which a frame is the first view, and those in which it is the second."""
    first = np.flatnonzero(keep & (pairs.edges[:, 0] == frame)).tolist()
    return first, np.flatnonzero(keep & (pairs.edges[:, 1] == frame)).tolist()


def dense_log_depth(
    pairs: Pairs,
    first: list[int],
    second: list[int],
    alignment: Alignment,
    variance: Float[Tensor, "2 2"],
    moving: Bool[Tensor, " samples"],
) -> FusedDepth:
    """Depth of every pixel of one frame from all pointmaps that show it, each aligned to the scene.

    Args:
        pairs: The predictions.
        first: Pairs in which the frame is the first view.
        second: ... the second view.
        alignment: Of all pairs.
        variance: Of log-depth by (static, moving) and (first, second view).
        moving: Which pixels count as moving.
    """
    depths, weights, variances = [], [], []
    for view, edges in enumerate((first, second)):
        points = pairs.source_points if view == 0 else pairs.target_points
        confidences = pairs.source_confidence if view == 0 else pairs.target_confidence
        of_pixel = variance[moving.long(), view]
        for e in edges:
            z = _own_depth(points[e], alignment, e, view)
            confidence = torch.from_numpy(confidences[e]).to(z).flatten()
            z, weight = clean_points(z[None, None], confidence[None])
            z, weight = z[0, 0], weight[0] * (z[0, 0] > 0)
            depths.append(torch.where(weight > 0, z, 1.0).log_())
            weights.append(weight)
            variances.append(of_pixel)
    return fuse(torch.stack(depths), torch.stack(weights), torch.stack(variances))


def _own_depth(
    points: Float32[np.ndarray, "height width 3"], alignment: Alignment, edge: int, view: int
) -> Float[Tensor, " samples"]:
    """Depth in the camera that saw the pixels."""
    fit = alignment.fit
    if view == 0:
        z = torch.from_numpy(np.ascontiguousarray(points[..., 2])).to(alignment.factor.device)
        return z.flatten() * alignment.factor[edge]
    row = fit.scale[edge] * fit.rotation[edge, 2]
    flat = torch.from_numpy(points).to(row.device).reshape(-1, 3)
    return flat @ row + fit.translation[edge, 2]


def frame_flow(pairs: Pairs, first: list[int], sigma_px: float, device: torch.device) -> FrameFlow:
    """Flow of one frame at every pixel, checked forth and back."""
    width, height = pairs.size
    uv = pixel_centres(width, height, 1, device)
    reverse = pairs.reverse()
    flows, weights = [], []
    for e in first:
        flow = torch.from_numpy(pairs.flow_px[e]).to(device).float().flatten(1)
        back = None
        if reverse[e] >= 0:
            back = torch.from_numpy(pairs.flow_px[reverse[e]]).to(device)[None]
        distance, inside = forth_and_back(uv, flow[None], back, pairs.size)
        flow = torch.nan_to_num(flow, 0.0, 0.0, 0.0)
        flows.append(flow)
        weights.append(consistency(flow[None], distance, inside, sigma_px)[0])
    return FrameFlow(first, uv, torch.stack(flows), torch.stack(weights))


def relative_to(pairs: Pairs, edges: list[int], state: State) -> Float[Tensor, "edges 4 4"]:
    """`target_from_source` of some pairs; float64."""
    poses = state.cam_from_world
    source, target = torch.from_numpy(pairs.edges[edges]).to(poses.device).T
    return poses[target] @ invert_rigid(poses[source])


def refine_depth(
    flow: FrameFlow,
    relative: Float[Tensor, "edges 4 4"],
    prior: FusedDepth,
    static: Float[Tensor, " samples"],
    intrinsics: Float[Tensor, "edges 2 4"],
    sigma_px: float,
) -> tuple[Float[Tensor, " samples"], Float[Tensor, " samples"]]:
    """Inverse depth of every pixel from the pointmaps and, where nothing moves, the flow: one unknown per pixel.

    The same flow term as for the cameras (`intrinsics` are those of source and target); the prior counts with its own
    sigma, as each pixel stands for itself.

    Returns:
        Inverse depth, and its standard deviation as a part of it.
    """
    start = (-prior.log_depth).exp()
    inverse_depth = start
    information = (sigma_px / (prior.sigma * start)) ** 2
    weight = flow.weight * static
    hessian = torch.zeros_like(start)
    for _ in range(REFINE_STEPS):
        term = flow_consistency(
            flow.uv_px,
            flow.targets_px,
            inverse_depth,
            relative.to(start),
            *intrinsics.to(start).unbind(1),
        )
        kernel = cauchy_weight(term.squared(), KERNEL_SIGMAS * sigma_px)[1]
        by_depth = term.by_inverse_depth()
        use = weight * kernel * term.in_front
        hessian = (use * by_depth.square().sum(1)).sum(0)
        gradient = (use * (by_depth * term.residual_px).sum(1)).sum(0)
        gradient = gradient + information * (inverse_depth - start)
        step = gradient / (hessian + information).clamp_min(1e-30)
        inverse_depth = (inverse_depth - step).clamp(0.5 * start, 2 * start)
    std_px = sigma_px / (hessian + information / ROBUST_LOSS**2).clamp_min(1e-30).sqrt()
    return inverse_depth, std_px / inverse_depth
