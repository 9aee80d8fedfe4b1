"""Resection and triangulation, robust: one pose from known depth in other frames, and depth from known poses.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from recon4d.core.geometry import (
    MIN_DEPTH_RATIO,
    exp_se3,
    invert_rigid,
    normalised,
    rays_by_column,
)
from recon4d.optim.objective.camera_terms import FOCAL_WALK_PX
from recon4d.optim.objective.flow_term import FlowTerm, flow_consistency
from recon4d.optim.objective.terms import cauchy_weight

ANNEALING_PX = (12.0, 12.0, 6.0, 6.0, 3.0, 3.0, 1.5, 1.0, 1.0, 1.0)
"""Scale of the Cauchy kernel in each step of a pose-only fit: wide at first, to forgive a poor start."""
BEHIND_PX2 = 1e4
"""Squared residual charged to a sample behind the camera, pixels^2."""
GOOD_PX = 2.0
"""A sample supports a pose when its residual is below this, pixels."""


@dataclass(frozen=True)
class Sightings:
    """Samples with known depth in frames with known poses, and where a new frame sees them."""

    samples_px: Float[Tensor, "sources 2 samples"]
    targets_px: Float[Tensor, "sources 2 samples"]
    inverse_depth: Float[Tensor, "sources samples"]
    weight: Float[Tensor, "sources samples"]
    cam_from_world: Float[Tensor, "sources 4 4"]
    intrinsics: Float[Tensor, "sources 4"]


@dataclass(frozen=True)
class PoseFit:
    """A camera and how well the sightings support it."""

    cam_from_world: Float[Tensor, "4 4"]
    intrinsics: Float[Tensor, "4"]
    support: float
    """Part of the weight whose residual is below `GOOD_PX`."""
    total: float
    """Sum of the weights."""


def fit_pose(
    sightings: Sightings,
    starts: Float[Tensor, "starts 4 4"],
    intrinsics: Float[Tensor, "4"],
    annealing_px: tuple[float, ...] = ANNEALING_PX,
    *,
    free_focal: bool = False,
) -> PoseFit:
    """Robust Gauss-Newton from the best of several starts.

    Args:
        sightings: What is seen of the frame.
        starts: Poses.
        intrinsics: Of the frame; with `free_focal` only where the focal length starts.
        annealing_px: Scale of the robust kernel in each step.
        free_focal: Fit the focal length, too.
    """
    world_from_source = invert_rigid(sightings.cam_from_world)
    cameras = _Cameras(starts, intrinsics.repeat(len(starts), 1))
    if len(starts) > 1:  # the best start alone is worth refining
        best = _costs(sightings, cameras, world_from_source, annealing_px[0]).argmin()
        cameras = _Cameras(starts[best][None], intrinsics[None])
    usual_px = intrinsics[0] if free_focal else None
    for scale in annealing_px:
        cameras = _step(sightings, cameras, world_from_source, scale, usual_px)
    term = _term(sightings, cameras, world_from_source)
    good = (term.squared()[0] < GOOD_PX**2) & (term.in_front[0] > 0)
    total = float(sightings.weight.sum())
    support = float((sightings.weight * good).sum()) / max(total, 1e-9)
    return PoseFit(cameras.poses[0], cameras.intrinsics[0], support, total)


@dataclass(frozen=True)
class _Cameras:
    """Starts of a fit and what has become of them."""

    poses: Float[Tensor, "starts 4 4"]
    intrinsics: Float[Tensor, "starts 4"]


def _term(
    sightings: Sightings, cameras: _Cameras, world_from_source: Float[Tensor, "sources 4 4"]
) -> FlowTerm:
    dtype = sightings.samples_px.dtype
    return flow_consistency(
        sightings.samples_px,
        sightings.targets_px.expand(len(cameras.poses), -1, -1, -1),
        sightings.inverse_depth,
        (cameras.poses[:, None] @ world_from_source).to(dtype),
        sightings.intrinsics.to(dtype),
        cameras.intrinsics[:, None].to(dtype),
    )


def _costs(
    sightings: Sightings,
    cameras: _Cameras,
    world_from_source: Float[Tensor, "sources 4 4"],
    scale: float,
) -> Float[Tensor, " starts"]:
    term = _term(sightings, cameras, world_from_source)
    cost = cauchy_weight(term.squared() + BEHIND_PX2 * (1 - term.in_front), scale)[0]
    return (sightings.weight * cost).sum((1, 2))


def _step(
    sightings: Sightings,
    cameras: _Cameras,
    world_from_source: Float[Tensor, "sources 4 4"],
    scale: float,
    usual_px: Float[Tensor, ""] | None,
) -> _Cameras:
    """One Gauss-Newton step of every start with the kernel at the given scale; `usual_px` draws a free focal length."""
    term = _term(sightings, cameras, world_from_source)
    weight = cauchy_weight(term.squared(), scale)[1] * term.in_front * sightings.weight
    jacobian = term.by_pose()
    if usual_px is not None:
        jacobian = torch.cat((jacobian, term.by_target_focal()[..., None, :]), dim=-2)
    weighted = jacobian * weight[..., None, None, :]
    hessian = torch.einsum("skcip,skcjp->sij", weighted, jacobian).to(torch.float64)
    gradient = torch.einsum("skcip,skcp->si", weighted, term.residual_px).to(torch.float64)
    if usual_px is not None:
        hessian[:, 6, 6] += FOCAL_WALK_PX**2
        gradient[:, 6] += FOCAL_WALK_PX**2 * torch.log(cameras.intrinsics[:, 0] / usual_px)
    damping = 1e-3 * hessian.diagonal(dim1=1, dim2=2) + 1e-6
    step = torch.linalg.solve(hessian + torch.diag_embed(damping), gradient)
    scale_focal = torch.ones_like(cameras.intrinsics)
    scale_focal[:, :2] = torch.exp(-step[:, 6:].sum(1, keepdim=True))
    return _Cameras(exp_se3(-step[:, :6]) @ cameras.poses, cameras.intrinsics * scale_focal)


@dataclass(frozen=True)
class Seen:
    """Samples of one frame with a known pose, and where other frames with known poses see them."""

    samples_px: Float[Tensor, "2 samples"]
    targets_px: Float[Tensor, "slots 2 samples"]
    weight: Float[Tensor, "slots samples"]
    target_from_source: Float[Tensor, "slots 4 4"]
    intrinsics: Float[Tensor, "4"]
    target_intrinsics: Float[Tensor, "slots 4"]


def fit_depth(
    seen: Seen, prior: Float[Tensor, " samples"], prior_weight: Float[Tensor, " samples"]
) -> Float[Tensor, " samples"]:
    """Inverse depth of samples whose flow to posed frames is known.

    The projection `(a + rho b)_xy / (a + rho b)_z = q` is linear in rho after multiplying out, so each reweighted step
    is closed form. The prior (weight in pixels per unit of relative error) decides where there is no parallax.
    """
    uv, there = seen.samples_px, seen.target_intrinsics.to(seen.samples_px)
    relative = seen.target_from_source.to(uv)
    ray, focal = rays_by_column(uv, seen.intrinsics.to(uv)), there[:, :2, None]
    turned, step = relative[:, :3, :3] @ ray, relative[:, :3, 3:]
    wanted = normalised(seen.targets_px, there)
    c = (turned[:, :2] - wanted * turned[:, 2:]) * focal
    d = (step[:, :2] - wanted * step[:, 2:]) * focal
    cd, dd = (c * d).sum(1), (d * d).sum(1)
    rho, information = prior, (prior_weight / prior) ** 2
    for scale in (20.0, 5.0, 2.0, 1.0, 1.0):
        iz = 1 / (turned[:, 2] + rho * step[:, 2]).clamp_min(MIN_DEPTH_RATIO)
        squared = (c + rho * d).square().sum(1) * iz**2
        w = seen.weight * cauchy_weight(squared, scale)[1] * iz**2
        rho = (information * prior - (w * cd).sum(0)) / ((w * dd).sum(0) + information)
        rho = torch.maximum(rho, 0.01 * prior)
    return rho
