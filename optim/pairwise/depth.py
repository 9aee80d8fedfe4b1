"""Depth from pointmaps: every pair's two views aligned to the scene in closed form, then fused robustly per pixel.

The frame of a pair (n, m) is the camera of n, so the first view has depth up to one factor; the second view is moved
into the camera of m by the similarity that aligns it best (the pairwise transform of DUSt3R Eq. 4, eliminated). Every
pixel thus has one measurement of its log-depth per pair and view. Their errors are relative, smooth over the image and
different from pair to pair: the mean of many is good, and their spread says how good.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from recon4d.optim.objective.terms import cauchy_weight, pointmap_alignment
from recon4d.optim.pairwise.grid import length

INLIER = 0.05
"""Relative error of a point at which its vote in an alignment has fallen to a half."""
ALIGN_STEPS = 3
"""Reweightings of an alignment; the first is plain least squares, two more settle it to 1e-3 of the inlier error."""
SPREAD_STEPS = 2
"""Reweightings of the fusion."""
ROBUST_LOSS = 1.18
"""Standard deviation of the mean of normal errors under the kernel of `fuse` (Cauchy, at two standard deviations), over
what their spread and effective number under its weights tell: the square root of E[psi^2] / E[psi']^2 over
E[w r^2] E[w^2] / E[w]^3, by integration."""
MIN_SPREAD = 0.003
"""Relative error below which measurements are not told apart."""


@dataclass(frozen=True)
class PairFits:
    """A similarity per pair: `x -> scale * rotation @ x + translation`."""

    scale: Float[Tensor, " edges"]
    rotation: Float[Tensor, "edges 3 3"]
    translation: Float[Tensor, "edges 3"]

    def depth(self, points: Float[Tensor, "edges 3 samples"]) -> Float[Tensor, "edges samples"]:
        """Third coordinate of the moved points alone."""
        row = self.scale[:, None] * self.rotation[:, 2]
        return (row[:, None] @ points)[:, 0] + self.translation[:, 2:]


def align_similarity(
    points: Float[Tensor, "edges 3 samples"],
    wanted: Float[Tensor, "edges 3 samples"],
    weight: Float[Tensor, "edges samples"],
) -> tuple[PairFits, Float[Tensor, "edges samples"]]:
    """Robust weighted Procrustes (Umeyama, PAMI 1991) of every pair's points to wanted ones.

    The similarity is found from the wanted points to the pair's and inverted: errors of the points that are moved make
    least squares shrink them, and wanted ones, which are the mean of many pairs, have the smaller errors. Depth that is
    too flat makes the focal length too long.

    Returns:
        The similarities, and what remains of each point's error, relative to its wanted distance.
    """
    distance = length(wanted).clamp_min(1e-9)
    # relative errors: a point twice as far may be twice as wrong
    base = weight / distance**2
    kernel = torch.ones_like(base)
    for _ in range(ALIGN_STEPS):
        turned, moved, scale = roma.rigid_points_registration(
            wanted.transpose(1, 2),
            points.transpose(1, 2),
            base * kernel + 1e-12,
            compute_scaling=True,
        )
        back, scale = turned.transpose(1, 2), 1 / scale.clamp_min(1e-9)
        fit = PairFits(scale, back, -scale[:, None] * (back @ moved[..., None])[..., 0])
        off = pointmap_alignment(points, wanted, fit.scale, fit.rotation, fit.translation)
        error = length(off) / distance
        kernel = cauchy_weight(error**2, INLIER)[1]
    return fit, error


def align_scale(
    depth: Float[Tensor, "edges samples"],
    wanted: Float[Tensor, "edges samples"],
    weight: Float[Tensor, "edges samples"],
) -> Float[Tensor, " edges"]:
    """Robust factor that takes every pair's depth to the wanted one."""
    usable = weight * (depth > 0)
    log_ratio = torch.where(usable > 0, wanted / depth, 1.0).log()
    ratios = torch.where(usable > 0, log_ratio, torch.nan)
    shift = torch.nan_to_num(ratios.nanmedian(1, keepdim=True).values)
    for _ in range(ALIGN_STEPS):
        kernel = usable * cauchy_weight((log_ratio - shift) ** 2, INLIER)[1]
        shift = (kernel * log_ratio).sum(1, keepdim=True) / kernel.sum(1, keepdim=True).clamp_min(
            1e-12
        )
    return shift[:, 0].exp()


@dataclass(frozen=True)
class FusedDepth:
    """Depth of pixels from several measurements."""

    log_depth: Float[Tensor, "*batch samples"]
    sigma: Float[Tensor, "*batch samples"]
    """Standard deviation of `log_depth` as the spread of the kept measurements tells it, which the kernel makes
    `ROBUST_LOSS` times too small; infinite where nothing was measured."""


def fuse(
    log_depth: Float[Tensor, "measurements samples"],
    weight: Float[Tensor, "measurements samples"],
    variance: Float[Tensor, "measurements samples"],
) -> FusedDepth:
    """Robust mean of the measurements of every pixel.

    Args:
        log_depth: Measurements; finite also where the weight is 0.
        weight: 0 where there is none.
        variance: Expected variance of each.
    """
    known = weight > 0
    start = torch.where(known, log_depth, torch.nan).nanmedian(0).values
    start = torch.nan_to_num(start)
    base = torch.where(known, weight / variance, 0.0)
    mean, kernel = start, base
    for _ in range(SPREAD_STEPS):
        kernel = base / (1 + (log_depth - mean) ** 2 / (4 * variance))
        mean = (kernel * log_depth).sum(0) / kernel.sum(0).clamp_min(1e-12)
    total = kernel.sum(0)
    spread = (kernel * (log_depth - mean) ** 2).sum(0) / total.clamp_min(1e-12)
    effective = total**2 / (kernel**2).sum(0).clamp_min(1e-12)
    sigma = ((spread + MIN_SPREAD**2) / effective.clamp_min(1.0)).sqrt()
    return FusedDepth(mean, torch.where(known.any(0), sigma, torch.inf))
