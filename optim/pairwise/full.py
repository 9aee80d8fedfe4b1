"""Every pixel of the aligned pairs: depth fused from pointmaps, the last steps of the cameras, masks, and flow."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from recon4d.core.geometry import invert_rigid
from recon4d.core.scene import Notice
from recon4d.optim.pairwise.dense import (
    FrameFlow,
    dense_log_depth,
    frame_flow,
    pairs_by_view,
    refine_depth,
    relative_to,
)
from recon4d.optim.pairwise.depth import FusedDepth
from recon4d.optim.pairwise.grid import PairGrid
from recon4d.optim.pairwise.motion import PairSamples, dense_log_odds, surroundings
from recon4d.optim.pairwise.pairs import Pairs, pair_notice
from recon4d.optim.pairwise.problem import align_pairs_to, crease_weight, enlarge_map
from recon4d.optim.pairwise.sharpen import halo_px, sharpened
from recon4d.optim.pairwise.start import PairStart
from recon4d.optim.pairwise.types import (
    AlignedPairs,
    PairOptions,
    PairsInUse,
    SceneView,
)


def full_size(
    pairs: Pairs,
    graph: PairsInUse,
    view: SceneView,
    start: PairStart,
    options: PairOptions,
) -> AlignedPairs:
    """Depth and masks of every pixel, and the last steps of the cameras."""
    grid, (width, height) = graph.fine, pairs.size
    static = view.static(grid)
    device = static.device
    fused = _fused(pairs, graph, view, static)
    sharp = sharpened(pairs, graph, view, start, fused, options)
    view, fused = sharp.view, sharp.fused
    maps = fused.log_depth.reshape(-1, height, width)
    ranges = surroundings(maps)
    depth = np.empty((pairs.num_frames, height, width), np.float32)
    depth_std = np.empty_like(depth)
    moves = np.zeros(depth.shape, bool)
    for frame in range(pairs.num_frames):
        first, _ = pairs_by_view(pairs, graph.keep, frame)
        flow = frame_flow(pairs, first, grid.flow_sigma_px, device)
        prior = FusedDepth(fused.log_depth[frame], fused.sigma[frame])
        inverse, std, moving = _full_frame(pairs, flow, view, prior, ranges, grid, options)
        depth[frame] = (1 / inverse).reshape(height, width).cpu().numpy()
        depth_std[frame] = (std / inverse).reshape(height, width).cpu().numpy()
        moves[frame] = moving.cpu().numpy()
    notices = (
        *graph.notices,
        *_without_points(grid),
        *_without_static(grid, static),
        *sharp.notices,
    )
    return AlignedPairs(
        world_from_cam=invert_rigid(view.state.cam_from_world).cpu().numpy(),
        depth=depth,
        depth_std=depth_std,
        pose_covariance=sharp.pose_covariance,
        focal_px=view.state.intrinsics[:, 0].cpu().numpy(),
        moving=moves,
        notices=notices,
    )


def _fused(
    pairs: Pairs, graph: PairsInUse, view: SceneView, static: Float[Tensor, "frames samples"]
) -> FusedDepth:
    """Depth of every pixel of every frame from the pointmaps."""
    grid, (width, height) = graph.fine, pairs.size
    keep = torch.from_numpy(graph.keep).to(static.device)
    alignment = align_pairs_to(grid, view.state, static).among(keep)
    odds = grid.maps(view.log_odds)
    found = []
    for frame in range(pairs.num_frames):
        first, second = pairs_by_view(pairs, graph.keep, frame)
        moving = enlarge_map(odds[frame : frame + 1], (height, width)).flatten() > 0
        found.append(dense_log_depth(pairs, first, second, alignment, view.variance, moving))
    return FusedDepth(
        torch.stack([f.log_depth for f in found]), torch.stack([f.sigma for f in found])
    )


def _full_frame(
    pairs: Pairs,
    flow: FrameFlow,
    view: SceneView,
    prior: FusedDepth,
    ranges: Float[Tensor, "frames 2 height width"],
    grid: PairGrid,
    options: PairOptions,
) -> tuple[Float[Tensor, " samples"], Float[Tensor, " samples"], Bool[Tensor, "height width"]]:
    """Inverse depth, its relative standard deviation, and motion mask of one frame."""
    width, height = pairs.size
    relative = relative_to(pairs, flow.edges, view.state)
    moving = torch.zeros((height, width), dtype=torch.bool, device=prior.log_depth.device)
    edges = torch.from_numpy(pairs.edges[flow.edges]).to(moving.device)
    if options.masks != "none":
        samples = PairSamples(
            uv_px=flow.uv_px,
            targets_px=flow.targets_px,
            weight=flow.weight,
            flow_sigma_px=grid.flow_sigma_px,
            log_depth=prior.log_depth,
            edges=edges,
            relative=relative,
            intrinsics=view.state.intrinsics,
            width=width,
        )
        moving = dense_log_odds(samples, ranges) > 0
    reach = halo_px(width)
    halo = F.max_pool2d(moving[None, None].to(flow.weight), 2 * reach + 1, 1, reach)[0, 0]
    flat = crease_weight((-prior.log_depth).exp().reshape(1, height, width), reach)[0]
    static = ((1 - halo) * flat).flatten()
    inverse, std = refine_depth(
        flow, relative, prior, static, view.state.intrinsics[edges], grid.flow_sigma_px
    )
    return inverse, std, moving


def _without_points(grid: PairGrid) -> list[Notice]:
    """Say how many points of the pairs that are used count for nothing."""
    share = float((torch.stack((grid.source_weight, grid.target_weight)) <= 0).float().mean())
    if share == 0:
        return []
    what = f"{share:.1%} of the points are not finite, behind the camera, or have no confidence above 1: not used"
    return [Notice("unusable_points", what)]


def _without_static(grid: PairGrid, static: Float[Tensor, "frames samples"]) -> list[Notice]:
    """Name pairs that had no say about the cameras."""
    weight = (grid.flow_weight * static[grid.edges[:, 0]]).sum(1)
    none = grid.edges[weight <= 0].tolist()
    if not none:
        return []
    what = "have no usable static pixel: not used for the cameras"
    return [pair_notice("pair_without_static", [(int(n), int(m)) for n, m in none], what)]
