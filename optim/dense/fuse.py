"""What one frame sees, and what its neighbours saw of the same surfaces.

Numbers here that name no source were set by hand.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from recon4d.core.geometry import MIN_DEPTH_RATIO, depth_ratio_plane
from recon4d.core.scene import Flow, Scene
from recon4d.core.tensors import flow_targets, nearest_cells
from recon4d.optim.dense.observed import Observed, flatness
from recon4d.optim.triangulate import triangulate

GOOD_STD = 0.01
"""Relative standard deviation of the inverse depth below which a triangulation earns full trust."""
KERNELS = (0.2, 0.1, 0.03, 0.03)
"""Scale of the robust kernel per iteration, relative to the mean: wide first, then 3 %."""
FAR = 0.3
"""Inverse depth over the median of what is measured below which a point is far away."""
DOUBT = 0.3
"""Weight of an imaginary frame that contradicts: one agreeing frame alone is not certain."""
NO_WEIGHT = 1e-6
"""Sum of trust below which nothing is known."""


def observe(
    flow: Flow,
    frame: int,
    scene: Scene,
    static: Float32[np.ndarray, "rows cols"],
    device: torch.device,
) -> Observed:
    """Triangulate one frame and judge each pixel by the spread, the agreement of its edges and its surroundings."""
    found = triangulate(flow, frame, scene, static, device)
    far = _far(scene)
    surely_far = found.inverse_depth + 2 * found.inverse_depth_std < far
    relative = found.inverse_depth_std / found.inverse_depth
    relative = torch.where(surely_far, GOOD_STD, relative)
    agreement = found.weight.sum(0) / max(len(found.weight), 1)
    trust = agreement**2 * (GOOD_STD / relative).clamp_max(1) ** 2
    depths = found.inverse_depth[None]
    return Observed(depths, trust[None] * flatness(depths.clamp_min(far)))


def _far(scene: Scene) -> float:
    """Inverse depth below which a point is far: that it is so, surely, is all that needs to be known."""
    measured = np.isfinite(scene.inverse_depth_std)
    return FAR * float(np.median(scene.inverse_depth[measured])) if measured.any() else 0.0


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
    estimate = own.inverse_depth.reshape(1, -1)
    weight = own.confidence.reshape(1, -1)
    if len(edges):
        others, trust = _carried_over(flow, edges, scene, views)
        estimate, weight = torch.cat((estimate, others)), torch.cat((weight, trust))
    kept, mean, far = weight, _mean(estimate, weight), _far(scene)
    for kernel in KERNELS:
        apart = (estimate - mean).div_(mean.clamp_min(far))
        kept = apart.square_().mul_(kernel**-2).add_(1).square_().reciprocal_()
        mean = _mean(estimate, kept.mul_(weight))
    depths = mean.reshape(own.inverse_depth.shape)
    trust = kept.sum(0).div_(weight.sum(0).add_(DOUBT)).reshape(depths.shape)
    return Observed(depths, trust.mul_(flatness(depths.clamp_min(far))))


def _mean(
    estimate: Float[Tensor, "views pixels"], weight: Float[Tensor, "views pixels"]
) -> Float[Tensor, " pixels"]:
    """Weighted mean; the first view's value where nothing has weight."""
    total = weight.sum(0)
    mean = (weight * estimate).sum(0).div_(total.clamp_min(NO_WEIGHT))
    return torch.where(total > NO_WEIGHT, mean, estimate[0])


def _carried_over(
    flow: Flow, edges: Int64[np.ndarray, " edges"], scene: Scene, views: Mapping[int, Observed]
) -> tuple[Float[Tensor, "edges pixels"], Float[Tensor, "edges pixels"]]:
    """Inverse depths of the targets, moved along the flow into the source frame, with their weights."""
    source, targets = int(flow.edges[edges[0], 0]), flow.edges[edges, 1]
    device = views[source].inverse_depth.device
    rows, cols = flow.confidence.shape[1:]
    u, v = flow_targets(flow, edges, device)
    index = nearest_cells(u, v, rows, cols)
    seen = [views[int(target)] for target in targets]
    depths = torch.stack(
        [x.inverse_depth.view(-1).index_select(0, i) for x, i in zip(seen, index, strict=True)]
    )
    trust = torch.stack(
        [x.confidence.view(-1).index_select(0, i) for x, i in zip(seen, index, strict=True)]
    )
    ratio = _depth_ratio(scene, source, targets, (u, v), depths)
    confidence = torch.from_numpy(flow.confidence[edges]).to(device).reshape(index.shape)
    weight = trust.mul_(confidence).mul_(1 / 255).masked_fill_(ratio <= MIN_DEPTH_RATIO, 0)
    return depths.div_(ratio.clamp_min_(MIN_DEPTH_RATIO)), weight


def _depth_ratio(
    scene: Scene,
    source: int,
    targets: Int64[np.ndarray, " edges"],
    uv: tuple[Float[Tensor, "edges pixels"], Float[Tensor, "edges pixels"]],
    inverse_depth: Float[Tensor, "edges pixels"],
) -> Float[Tensor, "edges pixels"]:
    """Depth in the source over that in the target, of points given in the target; `uv` is overwritten."""
    by_u, by_v, constant, by_inverse_depth = depth_ratio_plane(scene, source, targets).to(
        inverse_depth
    )
    ratio = uv[0].mul_(by_u).addcmul_(uv[1], by_v).add_(constant)
    return ratio.addcmul_(inverse_depth, by_inverse_depth)
