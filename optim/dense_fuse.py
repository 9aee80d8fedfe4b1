"""What one frame sees, and what its neighbours saw of the same surfaces."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from recon4d.geometry import invert_rigid, rays
from recon4d.optim.complete import Observed, flatness
from recon4d.optim.triangulate import sample_grid_px, triangulate
from recon4d.scene import FLOW_STRIDE, Flow, Scene

GOOD_STD = 0.01
"""Relative standard deviation of the inverse depth below which a triangulation earns full trust."""
KERNELS = (0.2, 0.1, 0.03, 0.03)
"""Scale of the robust kernel per iteration on the logarithm of the inverse depth: wide first, then 3 %."""
DOUBT = 0.3
"""Weight of an imaginary frame that contradicts: one agreeing frame alone is not certain."""
MIN_DEPTH_RATIO = 0.05
"""A neighbour's point nearer than this part of its depth there is treated as behind the camera."""


def observe(
    flow: Flow,
    frame: int,
    scene: Scene,
    static: Float32[np.ndarray, "rows cols"],
    device: torch.device,
) -> Observed:
    """Triangulate one frame and judge each pixel by the spread, the agreement of its edges and its surroundings."""
    found = triangulate(flow, frame, scene, static, device)
    relative = found.inverse_depth_std / found.inverse_depth
    agreement = found.weight.sum(0) / max(len(found.weight), 1)
    trust = agreement**2 * (GOOD_STD / relative).clamp_max(1) ** 2
    depths = found.inverse_depth[None]
    return Observed(depths, trust[None] * flatness(depths))


def fuse(flow: Flow, frame: int, scene: Scene, views: Mapping[int, Observed]) -> Observed:
    """Join a frame's inverse depth with what its flow neighbours found for the same points.

    Args:
        flow: Says where the neighbours see each pixel.
        frame: The frame; its result is returned.
        scene: Cameras.
        views: `observe` of the frame and of all frames that its edges lead to.
    """
    edges = np.flatnonzero(flow.edges[:, 0] == frame)
    own = views[frame]
    estimate, weight = own.inverse_depth.reshape(1, -1), own.confidence.reshape(1, -1)
    if len(edges):
        others, trust = _carried_over(flow, edges, scene, views)
        estimate, weight = torch.cat((estimate, others)), torch.cat((weight, trust))
    log, kept = estimate.log(), weight
    mean = log[0]
    for kernel in (torch.inf, *KERNELS):
        if kernel < torch.inf:
            kept = weight / (1 + ((log - mean) / kernel) ** 2) ** 2
        total = kept.sum(0)
        mean = torch.where(total > 1e-6, (kept * log).sum(0) / total.clamp_min(1e-12), log[0])
    agreeing = kept.sum(0)
    depths = mean.exp().reshape(own.inverse_depth.shape)
    trust = (agreeing / (weight.sum(0) + DOUBT)).reshape(depths.shape)
    return Observed(depths, trust * flatness(depths))


def _carried_over(
    flow: Flow, edges: np.ndarray, scene: Scene, views: Mapping[int, Observed]
) -> tuple[Float[Tensor, "edges pixels"], Float[Tensor, "edges pixels"]]:
    """Inverse depths of the targets, moved along the flow into the source frame, with their weights."""
    source, targets = int(flow.edges[edges[0], 0]), flow.edges[edges, 1]
    device = views[source].inverse_depth.device
    rows, cols = flow.confidence.shape[1:]
    uv = sample_grid_px(rows, cols, device)
    found = torch.from_numpy(np.asarray(flow.flow_px[edges])).to(device).reshape(len(edges), -1, 2)
    there = found.float() + uv
    nearest = (there / FLOW_STRIDE).floor_().long()
    index = nearest[..., 1].clamp_(0, rows - 1) * cols + nearest[..., 0].clamp_(0, cols - 1)
    depths = torch.stack([views[int(t)].inverse_depth.reshape(-1) for t in targets]).gather(
        1, index
    )
    trust = torch.stack([views[int(t)].confidence.reshape(-1) for t in targets]).gather(1, index)
    poses = torch.from_numpy(np.ascontiguousarray(scene.world_from_cam)).double()
    source_from_target = (invert_rigid(poses[source]) @ poses[torch.from_numpy(targets)]).to(
        device, torch.float32
    )
    ray = rays(there, torch.from_numpy(scene.intrinsics[targets]).to(device, torch.float32))
    turned = (ray * source_from_target[:, None, 2, :3]).sum(-1)
    ratio = turned + depths * source_from_target[:, 2, 3:]
    confidence = (
        torch.from_numpy(np.asarray(flow.confidence[edges])).to(device).reshape(index.shape)
    )
    weight = confidence.float() * (1 / 255) * trust * (ratio > MIN_DEPTH_RATIO)
    return depths / ratio.clamp_min(MIN_DEPTH_RATIO), weight
