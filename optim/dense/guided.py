"""Depth of the user's own where nothing is measured: its shapes, brought to what is measured around them.

Such a map is right in its details and off by a factor that changes slowly over the picture; what is measured tells that
factor. At depth edges it is blurred, so that it says nothing there: image edges do (`recon4d.optim.dense.complete`).

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from recon4d.core.sampling import ONE_PER_CELL
from recon4d.core.scene import Video
from recon4d.core.tensors import depth_at_samples
from recon4d.optim.dense.geodesic import Barriers, geodesic_sums
from recon4d.optim.dense.known import DISAGREE, FLOW_STD
from recon4d.optim.dense.observed import Observed, flatness

SHAPED = 0.08
"""Least trust of a pixel whose depth such a map tells ..."""
FILLED = 0.2
"""... and the most, inside of a surface."""
REACH = 0.08
"""Distance over which its factor changes, parts of the picture's width."""
IDLE = 0.5
"""Sum of trust, around a pixel, at which the factor is half of what is measured there."""
MISSED = 0.1
"""Logarithm of the difference at which a measurement counts half: the other side of an edge, or a wrong one."""
INSIDE = 0.01
"""Distance from a mover's outline, parts of the picture's width, from which on a map does not mix it with what is
behind: networks work at half to a quarter of the resolution."""

IN_FRONT = 1.1
"""A mover's inverse depth over that of what is behind, from which on the map tells where its outline is."""


@dataclass(frozen=True)
class Guide:
    """The map of some frames, in the unit of the poses."""

    depth: Float[Tensor, "frames height width"]
    """0 = unknown."""
    relative_sigma: Float[Tensor, "frames height width"]

    @classmethod
    def of(cls, video: Video, frames: list[int], device: torch.device) -> "Guide | None":
        """That of some frames; None where the user gave none."""
        prior = video.depth_prior
        if prior is None or not prior.is_guide or prior.relative_sigma is None:
            return None
        sigma = np.asarray(prior.relative_sigma[frames], np.float32)
        depth = np.ascontiguousarray(prior.depth[frames])
        return cls(torch.from_numpy(depth).to(device), torch.from_numpy(sigma).to(device))

    def following(self, observed: Observed, static: Bool[Tensor, "frames rows cols"]) -> "Guide":
        """The same, times a smooth factor that brings it to what is measured of static things."""
        depth = depth_at_samples(self.depth)
        is_known = (depth > 0) & static
        off = torch.where(is_known, -(observed.inverse_depth * depth.clamp_min(1e-12)).log(), 0.0)
        inverse = 1 / depth.where(depth > 0, depth.amax().clamp_min(1e-12))
        trust = torch.where(is_known, observed.confidence, 0.0) * flatness(inverse)
        change, none = torch.zeros_like(off), torch.zeros_like(off)
        for _ in range(2):
            weight = trust / (1 + ((off - change) / MISSED) ** 2)
            sums = geodesic_sums(
                torch.stack((weight, weight * off)), Barriers(none, none), REACH * off.shape[2]
            )
            change = sums[1] / (sums[0] + IDLE)
        size = self.depth.shape[1:]
        smooth = F.interpolate(change[:, None], size=size, mode="bilinear", align_corners=False)
        return replace(self, depth=self.depth * smooth[:, 0].exp())

    def joined(self, observed: Observed, static: Bool[Tensor, "frames rows cols"]) -> Observed:
        """What is measured, and the map where that is little, by their variances.

        Where both are far apart on a surface, what is measured is doubted: a mover that no mask shows, say.
        """
        depth = depth_at_samples(self.depth)
        is_known = (depth > 0) & static
        shape = torch.where(is_known, 1 / depth.clamp_min(1e-12), observed.inverse_depth)
        smooth = flatness(shape)
        sigma = self.relative_sigma[ONE_PER_CELL]
        weight = torch.where(is_known, FLOW_STD**2 / sigma**2, 0.0)
        weight = weight * smooth
        apart = (observed.inverse_depth / shape).log() / (DISAGREE * sigma)
        seen = observed.confidence * (1 - smooth + smooth / (1 + apart**4))
        total = (weight + seen).clamp_min(1e-12)
        mean = (weight * shape + seen * observed.inverse_depth) / total
        least = torch.where(is_known, SHAPED + (FILLED - SHAPED) * smooth, 0.0)
        return Observed(
            torch.where(is_known, mean, observed.inverse_depth),
            torch.maximum(seen, least),
        )

    def on_movers(
        self,
        inverse_depth: Float[Tensor, "frames height width"],
        moving: Bool[Tensor, "frames rows cols"],
    ) -> Float[Tensor, "frames height width"]:
        """Moving pixels have the map's depth, those at outlines that of the nearest ones inside.

        So have those beside an outline that the map takes for the mover rather than for what is behind.
        """
        size = self.depth.shape[1:]
        moves = F.interpolate(moving[:, None].float(), size=size, mode="nearest")[:, 0] > 0
        every = zip(
            self.depth.cpu().numpy(),
            moves.cpu().numpy(),
            inverse_depth.cpu().numpy(),
            strict=True,
        )
        placed = [_placed(depth, region, surface) for depth, region, surface in every]
        return torch.from_numpy(np.stack(placed)).to(inverse_depth)


def _placed(
    depth: Float32[np.ndarray, "height width"],
    region: Bool[np.ndarray, "height width"],
    surface: Float32[np.ndarray, "height width"],
) -> Float32[np.ndarray, "height width"]:
    """The inverse depth of a surface with the moving region of a map; thin parts of it as they are."""
    is_known = depth > 0
    own = np.divide(1, depth, out=np.ones_like(depth), where=is_known)
    margin = max(1, round(INSIDE * depth.shape[1]))
    window = np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)
    inside = cv2.erode((region & is_known).astype(np.uint8), window, borderValue=1)
    result = np.where(region & is_known, own, surface)
    if not inside.any():
        return result
    away, labels = cv2.distanceTransformWithLabels(
        1 - inside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    values = np.ones(int(labels.max()) + 1, np.float32)
    values[labels[inside > 0]] = own[inside > 0]
    nearest, is_near = values[labels], away <= 2 * margin
    takes = np.abs(own - nearest) < np.abs(own - surface)
    takes &= is_known & (nearest > IN_FRONT * surface)
    return np.where(is_near & (region | takes), nearest, result)
