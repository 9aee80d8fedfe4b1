"""A start from the pointmaps alone: focal length, one depth map per frame, and cameras along the best spanning tree.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from torch import Tensor

from recon4d.core.geometry import invert_rigid, rays, rigid
from recon4d.optim.objective.camera_terms import FOCAL_PRIOR_PX
from recon4d.optim.objective.unknowns import State
from recon4d.optim.pairwise.depth import INLIER, align_scale, align_similarity, fuse
from recon4d.optim.pairwise.grid import PairGrid, length

WEISZFELD_STEPS = 10
"""Reweightings of the focal length: those of DUSt3R."""
FOCAL_SIGMAS = 3.0
"""Pairs whose focal length is farther from the median than this are not averaged, standard deviations."""
MIN_FOCAL_SIGMA = 2e-4
"""No pointmap's focal length is known better than to this part: lenses are not pinholes."""


def weiszfeld_focal(
    points: Float[Tensor, "*batch 3 samples"],
    offset_px: Float[Tensor, "2 samples"],
    weight: Float[Tensor, "*batch samples"],
) -> Float[Tensor, "*batch"]:
    """Focal length that minimises the sum of distances between pixels and projected points (Weiszfeld 1937).

    Args:
        points: In their own camera.
        offset_px: Pixels minus the principal point.
        weight: 0 where a point is not to be used.
    """
    planar = torch.nan_to_num(points[..., :2, :] / points[..., 2:, :], 0.0, 0.0, 0.0)
    along, square = (planar * offset_px).sum(-2), planar.square().sum(-2)
    focal = (weight * along).sum(-1) / (weight * square).sum(-1).clamp_min(1e-12)
    for _ in range(WEISZFELD_STEPS):
        off = length(offset_px - focal[..., None, None] * planar)
        kernel = weight / off.clamp_min(1e-8)
        focal = (kernel * along).sum(-1) / (kernel * square).sum(-1).clamp_min(1e-12)
    return focal


@dataclass(frozen=True)
class PairStart:
    """Cameras and depth from the pointmaps alone."""

    cam_from_world: Float[Tensor, "frames 4 4"]
    """float64."""
    depth: Float[Tensor, "frames samples"]
    intrinsics: Float[Tensor, "frames 4"]
    """(fx, fy, cx, cy) in pixels."""
    focal_sigma: float
    """Relative standard deviation of the focal length; 0 where it is known."""
    has_own_focals: bool
    """Whether every frame has a focal length of its own."""
    relative: Float[Tensor, "edges 4 4"]
    """`target_from_source` of every pair by its own pointmap; float64."""
    quality: Float[Tensor, " edges"]
    """Mean weight of a pair's points that fit those of other pairs."""
    error: Float[Tensor, " edges"]
    """Median relative error of the worse of a pair's two views, after alignment to all pairs' depth."""

    @property
    def focal_px(self) -> float:
        """Usual focal length across."""
        return float(self.intrinsics[:, 0].median())

    @property
    def is_focal_known(self) -> bool:
        """Whether the focal length is not to be found."""
        return self.focal_sigma == 0

    def focal_prior_px(self, sigma_px: float) -> float:
        """Cost of a focal length that is e times the usual one; for single frames, pointmaps give a start alone."""
        if self.is_focal_known or self.has_own_focals:
            return FOCAL_PRIOR_PX
        return sigma_px / self.focal_sigma

    def state(self) -> State:
        """What the optimizer starts from."""
        return State(self.cam_from_world, 1 / self.depth, self.intrinsics)


def start_from_pairs(
    grid: PairGrid,
    centre_px: tuple[float, float],
    known: tuple[float, float, float, float] | None = None,
    own_focals: bool = False,
) -> PairStart:
    """Focal length, depth and cameras for the optimizer to start from.

    Args:
        grid: The pairs.
        centre_px: Principal point, where the intrinsics are not known.
        known: (fx, fy, cx, cy) in pixels.
        own_focals: Every frame has a focal length of its own.
    """
    intrinsics, focal_sigma = _start_intrinsics(grid, centre_px, known, own_focals)
    depth = own_depth(grid)
    target = grid.edges[:, 1]
    ray = rays(grid.uv_px.T.expand(len(target), -1, -1), intrinsics[target].to(depth)).transpose(
        1, 2
    )
    source, target = grid.edges.T
    factor = align_scale(grid.source_points[:, 2], depth[source], grid.source_weight)
    fit, error = align_similarity(
        grid.target_points, depth[target][:, None] * ray, grid.target_weight
    )
    near = (grid.source_points[:, 2] * factor[:, None] / depth[source] - 1).abs()
    own_error = torch.where(grid.source_weight > 0, near, torch.nan).nanmedian(1).values
    quality = (grid.target_weight / (1 + (error / INLIER) ** 2)).mean(1)
    ratio = (fit.scale / factor).double()
    gain = frame_scales(grid.edges, ratio, quality, grid.num_frames)
    relative = rigid(fit.rotation.double(), fit.translation.double() * gain[target, None])
    poses = chain(grid.edges, relative, quality, grid.num_frames)
    return PairStart(
        cam_from_world=poses,
        depth=depth * gain[:, None].to(depth),
        intrinsics=intrinsics,
        has_own_focals=own_focals,
        focal_sigma=focal_sigma,
        relative=relative,
        quality=quality,
        error=torch.maximum(own_error, error.median(1).values),
    )


def _start_intrinsics(
    grid: PairGrid,
    centre_px: tuple[float, float],
    known: tuple[float, float, float, float] | None,
    own_focals: bool,
) -> tuple[Float[Tensor, "frames 4"], float]:
    """(fx, fy, cx, cy) of every frame, float64, and the relative standard deviation of the focal length."""
    like = grid.uv_px.new_empty(0, dtype=torch.float64)
    if known is not None:
        return like.new_tensor(known).repeat(grid.num_frames, 1), 0.0
    offset = grid.uv_px - grid.uv_px.new_tensor(centre_px)[:, None]
    focals = weiszfeld_focal(grid.source_points, offset, grid.source_weight)
    focal, sigma = shared_focal(focals)
    found = [focal] * grid.num_frames
    if own_focals:
        first = grid.edges[:, 0]
        found = [shared_focal(focals[first == frame])[0] for frame in range(grid.num_frames)]
    return like.new_tensor([(f, f, *centre_px) for f in found]), sigma


def shared_focal(focal_px: Float[Tensor, " edges"]) -> tuple[float, float]:
    """Focal length that all pairs share (mean of logarithms near the median), and its relative standard deviation."""
    logs = focal_px.clamp_min(1e-9).log()
    off = (logs - logs.median()).abs()
    near = logs[off <= FOCAL_SIGMAS * 1.4826 * off.median()].double()
    spread = float(near.std()) if len(near) > 1 else 1.0
    return float(near.mean().exp()), max(spread / len(near) ** 0.5, MIN_FOCAL_SIGMA)


def own_depth(grid: PairGrid) -> Float[Tensor, "frames samples"]:
    """Depth of every frame in a scale of its own (median 1), from the pairs in which it is the first view."""
    rows = []
    for frame in range(grid.num_frames):
        mine = grid.edges[:, 0] == frame
        depth, weight = grid.source_points[mine, 2], grid.source_weight[mine]
        wanted = torch.ones_like(depth)
        for _ in range(2):
            factor = align_scale(depth, wanted, weight)
            log_depth = (depth * factor[:, None]).clamp_min(1e-12).log()
            fused = fuse(log_depth, weight, torch.full_like(weight, INLIER**2))
            wanted = (fused.log_depth - fused.log_depth.median()).exp().expand_as(depth)
        rows.append(wanted[0])
    return torch.stack(rows)


def frame_scales(
    edges: Int64[Tensor, "edges 2"],
    ratio: Float[Tensor, " edges"],
    quality: Float[Tensor, " edges"],
    num_frames: int,
) -> Float[Tensor, " frames"]:
    """Factor of every frame's own depth that makes all agree: least squares of logarithms, robust, first factor 1.

    Args:
        edges: (n, m).
        ratio: Scale of the similarity from the camera of n to that of m, each in its own scale.
        quality: Weights.
        num_frames: N.
    """
    count = torch.arange(len(edges), device=edges.device)
    difference = ratio.new_zeros((len(edges), num_frames))
    difference[count, edges[:, 0]] = 1
    difference[count, edges[:, 1]] = -1
    kernel = quality.to(ratio)
    for _ in range(5):
        weighted = difference * kernel[:, None]
        normal = weighted.T @ difference
        normal[0, 0] += 1  # the gauge
        log_gain = torch.linalg.solve(normal, weighted.T @ ratio.log())
        off = difference @ log_gain - ratio.log()
        kernel = quality.to(ratio) / (1 + (off / INLIER) ** 2)
    gain: Tensor = (log_gain - log_gain[0]).exp()
    return gain


def spanning_tree(
    edges: Int64[np.ndarray, "edges 2"], quality: Float[np.ndarray, " edges"], num_frames: int
) -> list[tuple[int, int, int]]:
    """(parent, child, pair) from frame 0 outwards along the maximum spanning tree; a pair may point either way."""
    best: dict[tuple[int, int], int] = {}
    for e, (n, m) in enumerate(edges.tolist()):
        key = (min(n, m), max(n, m))
        if key not in best or quality[e] > quality[best[key]]:
            best[key] = e
    ends = np.array(list(best))
    cost = 1 + quality.max() - quality[list(best.values())]  # positive: 0 means no link to scipy
    tree = minimum_spanning_tree(coo_array((cost, ends.T), shape=(num_frames, num_frames)).tocsr())
    order, before = breadth_first_order(tree, 0, directed=False)
    return [
        (int(before[f]), int(f), best[(min(int(before[f]), int(f)), max(int(before[f]), int(f)))])
        for f in order[1:]
    ]


def chain(
    edges: Int64[Tensor, "edges 2"],
    relative: Float[Tensor, "edges 4 4"],
    quality: Float[Tensor, " edges"],
    num_frames: int,
) -> Float[Tensor, "frames 4 4"]:
    """Compose relative poses along the spanning tree; float64.

    Args:
        edges: (n, m).
        relative: `target_from_source` of every pair.
        quality: The tree has the best pairs.
        num_frames: N.
    """
    poses = torch.eye(4, dtype=torch.float64, device=edges.device).repeat(num_frames, 1, 1)
    tree = spanning_tree(edges.cpu().numpy(), quality.double().cpu().numpy(), num_frames)
    for parent, child, e in tree:
        step = relative[e] if int(edges[e, 1]) == child else invert_rigid(relative[e])
        poses[child] = step @ poses[parent]
    return poses


def outliers(error: Float[Tensor, " edges"], floor: float, factor: float) -> Bool[Tensor, " edges"]:
    """Pairs whose error is `factor` times the median one, and above a floor."""
    return ~(error <= max(floor, factor * float(error.nanmedian())))
