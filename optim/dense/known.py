"""Known depth as an observation: a camera's fixes what it sees, a network's fills in where flow is unsure.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from recon4d.core.sampling import ONE_PER_CELL
from recon4d.core.scene import Scene, Video
from recon4d.core.tensors import depth_at_samples
from recon4d.optim.dense.observed import Observed, flatness
from recon4d.optim.objective.depth_prior import relative_sigma

FLOW_STD = 0.01
"""Relative standard deviation of a fully trusted triangulation."""
DISAGREE = 3.0
"""Standard deviations from which on flow and prior do not see the same surface; a depth camera then wins."""

KNOWN = 0.8
"""Least confidence of depth that is known: the rest says how exactly, and how far from edges."""


@dataclass(frozen=True)
class KnownDepth:
    """The prior of some frames in the unit of the poses."""

    depth: Float[Tensor, "frames rows cols"]
    """0 = unknown."""
    relative_sigma: Float[Tensor, "frames rows cols"]
    is_measured: bool
    """By a depth camera."""

    def at_samples(self) -> "KnownDepth":
        """At the sampling of `Flow`."""
        sigma = self.relative_sigma[ONE_PER_CELL]
        return KnownDepth(depth_at_samples(self.depth), sigma, self.is_measured)

    def where(self, keep: Tensor) -> "KnownDepth":
        """Unknown elsewhere."""
        return KnownDepth(torch.where(keep, self.depth, 0.0), self.relative_sigma, self.is_measured)


def known_depth(
    video: Video, scene: Scene, frames: list[int], device: torch.device
) -> KnownDepth | None:
    """The prior of some frames, brought to the scale of the scene; None where there is none."""
    prior = video.depth_prior
    if prior is None or prior.is_guide or (prior.is_metric and not scene.is_metric):
        return None
    depth = torch.from_numpy(np.ascontiguousarray(prior.depth[frames])).to(device)
    sigma = torch.from_numpy(relative_sigma(prior, frames)).to(device)
    if not prior.is_metric:
        depth = depth * _scale(scene, prior.depth)
    return KnownDepth(depth, sigma, video.sensor_depth is not None)


def _scale(scene: Scene, depth: Float[np.ndarray, "frames height width"]) -> float:
    """Depth of the scene over that of its prior: median over all samples that something measures."""
    ratios = []
    for frame in range(len(depth)):
        u, v = scene.samples_px[frame].astype(int).T
        there = depth[frame][v, u]
        seen = (there > 0) & np.isfinite(scene.inverse_depth_std[frame])
        ratios.append(1 / (scene.inverse_depth[frame][seen] * there[seen]))
    joined = np.concatenate(ratios)
    return float(np.median(joined)) if len(joined) else 1.0


def join_known(observed: Observed, known: KnownDepth) -> Observed:
    """Weighted mean of inverse depth from flow and prior by their variances.

    Args:
        observed: From flow; the trust divides its variance.
        known: The prior on the same grid.
    """
    is_known = known.depth > 0
    depth = torch.where(is_known, known.depth, 1.0)
    precision, flow_precision = known.relative_sigma**-2, observed.confidence / FLOW_STD**2
    if known.is_measured:
        gap = (observed.inverse_depth * depth - 1).abs()
        flow_precision = torch.where(gap > DISAGREE * known.relative_sigma, 0.0, flow_precision)
    total = precision + flow_precision
    joined = (precision / depth + flow_precision * observed.inverse_depth) / total
    return Observed(
        torch.where(is_known, joined, observed.inverse_depth),
        torch.where(is_known, torch.ones_like(depth), observed.confidence),
    )


def known_confidence(
    depths: Float[Tensor, "frames rows cols"],
    flow_trust: Float[Tensor, "frames rows cols"],
    known: KnownDepth,
) -> Float[Tensor, "frames rows cols"]:
    """Confidence of the joined inverse depth where there is a prior: its certainty, and less at edges.

    Cameras and networks alike mix the two sides of an edge.
    """
    precision = known.relative_sigma**-2 + flow_trust / FLOW_STD**2
    exact = (precision * (FLOW_STD**2 / 2)).sqrt().clamp_max(1) * flatness(depths)
    return KNOWN + (1 - KNOWN) * exact
