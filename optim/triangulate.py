"""Inverse depth of every pixel from the flow of all edges that leave its frame; the cameras are fixed.

The projection of a pixel's ray into another camera is linear in the inverse depth after multiplying out the
denominator (Hartley and Zisserman, Multiple View Geometry, 12.2), so each edge gives one estimate along its epipolar
line, how many pixels the projection moves per unit of inverse depth (`slope`), and how far the flow lies off the line
(`offline`). What remains per pixel is a robust weighted mean of a handful of numbers, for all pixels at once.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from recon4d.core.geometry import MIN_DEPTH_RATIO, relative_cameras, scene_rays
from recon4d.core.scene import Flow, Scene
from recon4d.core.tensors import flow_targets, sample_grid_px
from recon4d.optim.objective.noise import AGREES_PX, MEAN_SIGMA_PX, STATIC_SIGMA_PX

KERNELS_PX = (4.0, 2.0, 1.0, 0.6, 0.4, 0.4)
"""Scale of the robust kernel per iteration, pixels: wide first, so that the start does not decide; last DIS' noise."""
MIN_PARALLAX_PX = 0.05
"""Inverse depths that move no pixel by more than this are infinity for all that the flow can tell."""
RATIO_STEPS = 3
"""Iterations in which the depth ratios are updated; after these they have settled."""
TINY = 1e-30
"""Keeps sums of weights from being zero in a division."""
UNHEARD = 0.5
"""Edges that count as if they disagreed: one that agrees alone is no more than two thirds."""
BEHIND_PX = 1e3
"""Residual of a point behind the target camera, pixels."""


@dataclass(frozen=True)
class Triangulation:
    """Depth of the pixels of one frame at the sampling of `Flow`, and how well each edge agrees with it."""

    inverse_depth: Float[Tensor, "rows cols"]
    """Positive; tiny where the point is at infinity or behind the camera."""
    inverse_depth_std: Float[Tensor, "rows cols"]
    """Infinite where no edge has both weight and parallax."""
    residual_px: Float[Tensor, "edges rows cols"]
    """Distance of the projection from the flow's target; `BEHIND_PX` where the point is behind the target camera."""
    weight: Float[Tensor, "edges rows cols"]
    """Confidence times the weight of the robust kernel, in [0, 1]."""
    edge_index: Int64[Tensor, " edges"]
    """Row of `Flow.edges` of each entry."""
    agreeing: Float[Tensor, "rows cols"]
    """Number of usable edges whose flow the inverse depth meets within `AGREES_PX`."""


@dataclass(frozen=True)
class _Lines:
    """What every edge says about every pixel: residual^2 = offline^2 + slope^2 (inverse depth - estimate)^2.

    Lengths are in pixels times the ratio of the point's depths in target and source, which is nearly 1 and depends on
    the inverse depth; see `inverse_ratio2`.
    """

    estimate: Float[Tensor, "edges pixels"]
    slope2: Float[Tensor, "edges pixels"]
    offline2: Float[Tensor, "edges pixels"]
    turned_z: Float[Tensor, "edges pixels"]
    moved_z: Float[Tensor, "edges 1"]
    confidence: Float[Tensor, "edges pixels"]

    def ratio(self, rho: Float[Tensor, " pixels"]) -> Float[Tensor, "edges pixels"]:
        """Depth of the point in the target over that in the source; <= 0 is behind."""
        return torch.addcmul(self.turned_z, self.moved_z, rho)

    def inverse_ratio2(self, rho: Float[Tensor, " pixels"]) -> Float[Tensor, "edges pixels"]:
        """What turns squared lengths into square pixels; large behind the target, so that such edges lose weight."""
        return self.ratio(rho).clamp_min_(MIN_DEPTH_RATIO).square_().reciprocal_()


def triangulate(
    flow: Flow,
    frame: int,
    scene: Scene,
    static: Float32[np.ndarray, "rows cols"] | None = None,
    device: torch.device | None = None,
) -> Triangulation:
    """Find the inverse depth of every `Flow` sample of one frame that best explains its flow to all other frames.

    Args:
        flow: Only the edges that leave `frame` are read.
        frame: The source frame.
        scene: Its cameras are used; its depth is not. Edges to frames without a measured pose carry no weight.
        static: Probability that a pixel is static; multiplies the flow's confidence. All static if not given.
        device: Where to compute; CPU if not given.
    """
    device = device or torch.device("cpu")
    edges = np.flatnonzero(flow.edges[:, 0] == frame)
    rows, cols = flow.confidence.shape[1:]
    if len(edges) == 0:
        return _nothing(rows, cols, device)
    lines = _epipolar_lines(flow, edges, scene, device)
    if static is not None:
        lines.confidence.mul_(torch.from_numpy(np.ascontiguousarray(static)).to(device).reshape(-1))
    floor = _smallest_inverse_depth(scene, flow.edges[edges])
    rho, weight, slope2, residual2 = _robust_mean(lines, floor)
    std = _spread(residual2, weight, slope2)
    is_behind = lines.ratio(rho) <= MIN_DEPTH_RATIO
    weight.masked_fill_(is_behind, 0)
    residual = residual2.sqrt_().masked_fill_(is_behind, BEHIND_PX)
    agreeing = (residual < AGREES_PX).float().mul_(lines.confidence).sum(0)
    shape = (len(edges), rows, cols)
    return Triangulation(
        inverse_depth=rho.reshape(rows, cols),
        inverse_depth_std=std.reshape(rows, cols),
        residual_px=residual.reshape(shape),
        weight=weight.reshape(shape),
        edge_index=torch.from_numpy(edges).to(device),
        agreeing=agreeing.reshape(rows, cols),
    )


def confirmed(
    flow: Flow,
    frame: int,
    scene: Scene,
    static: Float32[np.ndarray, "rows cols"],
    inverse_depth: Float[Tensor, "rows cols"],
) -> tuple[Float[Tensor, "rows cols"], Float[Tensor, "rows cols"]]:
    """How far the flow of one frame bears out a depth that was found in another way.

    Args:
        flow: Only the edges that leave `frame` are read.
        frame: The source frame.
        scene: Its cameras are used.
        static: Probability that a pixel is static; multiplies the flow's confidence.
        inverse_depth: What is to be judged. Positive.

    Returns:
        What part of the measured flow meets the depth, in [0, 1), and the relative standard deviation that follows from
        what it leaves, infinite where no parallax tells. Edges err alike: their number does not make it smaller.
    """
    edges = np.flatnonzero(flow.edges[:, 0] == frame)
    if len(edges) == 0:
        return torch.zeros_like(inverse_depth), torch.full_like(inverse_depth, torch.inf)
    device = inverse_depth.device
    lines = _epipolar_lines(flow, edges, scene, device)
    lines.confidence.mul_(torch.from_numpy(np.ascontiguousarray(static)).to(device).reshape(-1))
    rho = inverse_depth.reshape(-1)
    ratio2 = lines.inverse_ratio2(rho)
    residual2 = (
        (rho - lines.estimate).square_().mul_(lines.slope2).add_(lines.offline2).mul_(ratio2)
    )
    weight = (residual2 / AGREES_PX**2).add_(1).square_().reciprocal_().mul_(lines.confidence)
    weight.masked_fill_(lines.ratio(rho) <= MIN_DEPTH_RATIO, 0)
    total = weight.sum(0)
    parallax2 = lines.slope2.mul_(ratio2).mul_(rho.square())
    pulls = weight * parallax2
    typical2 = (pulls * parallax2).sum(0).div_(pulls.sum(0).clamp_min_(TINY))
    left2 = (weight * residual2).sum(0).div_(total.clamp_min(TINY)).clamp_min_(STATIC_SIGMA_PX**2)
    agreement = total / lines.confidence.sum(0).add_(UNHEARD)
    return agreement.view_as(inverse_depth), (left2 / typical2).sqrt_().view_as(inverse_depth)


def _nothing(rows: int, cols: int, device: torch.device) -> Triangulation:
    empty = torch.zeros((0, rows, cols), device=device)
    return Triangulation(
        inverse_depth=torch.ones((rows, cols), device=device),
        inverse_depth_std=torch.full((rows, cols), torch.inf, device=device),
        residual_px=empty,
        weight=empty,
        edge_index=torch.zeros(0, dtype=torch.int64, device=device),
        agreeing=torch.zeros((rows, cols), device=device),
    )


def _epipolar_lines(
    flow: Flow, edges: Int64[np.ndarray, " edges"], scene: Scene, device: torch.device
) -> _Lines:
    rows, cols = flow.confidence.shape[1:]
    source, targets = int(flow.edges[edges[0], 0]), flow.edges[edges, 1]
    turned, moved = (x.to(device) for x in relative_cameras(scene, source, targets))
    uv = sample_grid_px(rows, cols, device)
    across, down, forward = torch.matmul(turned, scene_rays(scene, source, uv).T).unbind(1)
    there_u, there_v = flow_targets(flow, edges, device)
    c_u, c_v = (
        across.addcmul_(there_u, forward, value=-1),
        down.addcmul_(there_v, forward, value=-1),
    )
    d_u = there_u.mul_(-moved[:, 2:]).add_(moved[:, :1])
    d_v = there_v.mul_(-moved[:, 2:]).add_(moved[:, 1:2])
    slope2 = (d_u * d_u).addcmul_(d_v, d_v)
    inverse = slope2.clamp_min(TINY).reciprocal_()
    estimate = (c_u * d_u).addcmul_(c_v, d_v).mul_(inverse).neg_()
    offline2 = (c_u * d_v).addcmul_(c_v, d_u, value=-1).square_().mul_(inverse)
    is_still = (moved == 0).all(1)
    offline2[is_still] = c_u[is_still].square() + c_v[is_still].square()
    confidence = torch.from_numpy(flow.confidence[edges]).to(device).reshape(len(edges), -1).float()
    usable = _usable(scene, source, targets).astype(np.float32) / 255
    confidence.mul_(torch.from_numpy(usable).to(device)[:, None])
    return _Lines(estimate, slope2, offline2, forward, moved[:, 2:], confidence)


def _usable(
    scene: Scene, source: int, targets: Int64[np.ndarray, " edges"]
) -> Bool[np.ndarray, " edges"]:
    """Whether the relative pose is measured: same piece of the video, and the target is no worse posed."""
    same = (scene.component[targets] == scene.component[source]) & (scene.component[source] >= 0)
    return np.asarray(same & (scene.is_posed[targets] | ~scene.is_posed[source]))


def _smallest_inverse_depth(scene: Scene, edges: Int64[np.ndarray, "edges 2"]) -> float:
    centres = scene.world_from_cam[:, :3, 3]
    baseline = np.linalg.norm(centres[edges[:, 1]] - centres[edges[:, 0]], axis=-1)
    slope = float((baseline * scene.intrinsics[edges[:, 1], 0]).max())
    return MIN_PARALLAX_PX / slope if slope > 0 else 1.0


def _robust_mean(
    lines: _Lines, floor: float
) -> tuple[
    Float[Tensor, " pixels"],
    Float[Tensor, "edges pixels"],
    Float[Tensor, "edges pixels"],
    Float[Tensor, "edges pixels"],
]:
    """Geman-McClure mean with a shrinking kernel.

    Returns:
        Inverse depth, final weights, squared slopes in pixels, and squared residuals in pixels.
    """
    ratio2 = torch.ones_like(lines.slope2)
    slope2, offline2, weight = lines.slope2, lines.offline2, lines.confidence
    rho = _weighted(lines.estimate, weight * slope2, floor)
    for step, kernel in enumerate(KERNELS_PX):
        if step < RATIO_STEPS:
            ratio2 = lines.inverse_ratio2(rho)
            slope2, offline2 = lines.slope2 * ratio2, lines.offline2 * ratio2
        squared = (rho - lines.estimate).square_().mul_(slope2).add_(offline2)
        weight = squared.mul_(1 / kernel**2).add_(1).square_().reciprocal_().mul_(lines.confidence)
        rho = _weighted(lines.estimate, weight * slope2, floor)
    ratio2 = lines.inverse_ratio2(rho)
    slope2 = lines.slope2 * ratio2
    residual2 = (
        (rho - lines.estimate).square_().mul_(lines.slope2).add_(lines.offline2).mul_(ratio2)
    )
    return rho, weight, slope2, residual2


def _weighted(
    estimate: Float[Tensor, "edges pixels"], pull: Float[Tensor, "edges pixels"], floor: float
) -> Float[Tensor, " pixels"]:
    """Weighted mean, not below `floor`; `pull` is overwritten."""
    total = pull.sum(0).clamp_min_(TINY)
    return pull.mul_(estimate).sum(0).div_(total).clamp_min_(floor)


def _spread(
    residual2: Float[Tensor, "edges pixels"],
    weight: Float[Tensor, "edges pixels"],
    slope2: Float[Tensor, "edges pixels"],
) -> Float[Tensor, " pixels"]:
    """Standard deviation of the mean from the flow's noise or the residuals, whichever is larger."""
    total = weight.sum(0).clamp_min(1e-12)
    variance = ((weight * residual2).sum(0) / total).clamp_min(MEAN_SIGMA_PX**2)
    return (variance / (weight * slope2).sum(0)).sqrt()
