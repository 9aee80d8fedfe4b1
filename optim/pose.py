"""One camera at a time: pose from known depth in other frames, and depth from known poses, both robust."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from recon4d.geometry import exp_se3, rays
from recon4d.optim.terms import cauchy_weight, flow_consistency

ANNEALING_PX = (12.0, 12.0, 6.0, 6.0, 3.0, 3.0, 1.5, 1.0, 1.0, 1.0)
"""Scale of the Cauchy kernel in each step of a pose-only fit: wide at first, to forgive a poor start."""
GOOD_PX = 2.0
"""A sample supports a pose when its residual is below this, pixels."""


@dataclass(frozen=True)
class Sightings:
    """Samples with known depth in frames with known poses, and where a new frame sees them."""

    samples_px: Float[Tensor, "sources samples 2"]
    targets_px: Float[Tensor, "sources samples 2"]
    inverse_depth: Float[Tensor, "sources samples"]
    weight: Float[Tensor, "sources samples"]
    cam_from_world: Float[Tensor, "sources 4 4"]


@dataclass(frozen=True)
class PoseFit:
    """A pose and how well the sightings support it."""

    cam_from_world: Float[Tensor, "4 4"]
    support: float
    """Part of the weight whose residual is below `GOOD_PX`."""
    total: float
    """Sum of the weights."""


def fit_pose(
    sightings: Sightings,
    starts: Float[Tensor, "starts 4 4"],
    intrinsics: Float[Tensor, "4"],
    annealing_px: tuple[float, ...] = ANNEALING_PX,
) -> PoseFit:
    """Robust Gauss-Newton from several starts at once; the one with the lowest final cost wins."""
    world_from_source = torch.linalg.inv(sightings.cam_from_world)
    poses = starts
    for scale in annealing_px:
        poses = _pose_step(sightings, poses, world_from_source, intrinsics, scale)
    squared, in_front = _residuals(sightings, poses, world_from_source, intrinsics)
    cost = (sightings.weight * cauchy_weight(squared + 1e4 * (1 - in_front), annealing_px[-1])[0]).sum((1, 2))
    best = int(cost.nan_to_num(float("inf")).argmin())
    good = (squared[best] < GOOD_PX**2) & (in_front[best] > 0)
    total = float(sightings.weight.sum())
    support = float((sightings.weight * good).sum()) / max(total, 1e-9)
    return PoseFit(poses[best], support, total)


def _residuals(sightings, poses, world_from_source, intrinsics):
    relative = (poses[:, None] @ world_from_source).to(sightings.samples_px.dtype)
    term = flow_consistency(
        sightings.samples_px,
        sightings.targets_px.expand(len(poses), -1, -1, -1),
        sightings.inverse_depth,
        relative,
        intrinsics.to(sightings.samples_px.dtype),
    )
    return (term.residual_px**2).sum(-1), term.in_front


def _pose_step(sightings, poses, world_from_source, intrinsics, scale):
    relative = (poses[:, None] @ world_from_source).to(sightings.samples_px.dtype)
    term = flow_consistency(
        sightings.samples_px,
        sightings.targets_px.expand(len(poses), -1, -1, -1),
        sightings.inverse_depth,
        relative,
        intrinsics.to(sightings.samples_px.dtype),
    )
    weight = cauchy_weight((term.residual_px**2).sum(-1), scale)[1] * term.in_front * sightings.weight
    jac = term.by_pose.flatten(1, 3)
    weighted = jac * weight[..., None].expand(*weight.shape, 2).flatten(1)[..., None]
    hessian = (weighted.transpose(1, 2) @ jac).to(torch.float64)
    gradient = (weighted.transpose(1, 2) @ term.residual_px.flatten(1)[..., None]).to(torch.float64)
    damping = 1e-3 * hessian.diagonal(dim1=1, dim2=2) + 1e-6
    step = torch.linalg.solve(hessian + torch.diag_embed(damping), gradient)[..., 0]
    return exp_se3(-step) @ poses


def fit_depth(
    samples_px: Float[Tensor, "samples 2"],
    targets_px: Float[Tensor, "slots samples 2"],
    weight: Float[Tensor, "slots samples"],
    target_from_source: Float[Tensor, "slots 4 4"],
    intrinsics: Float[Tensor, "4"],
    prior: Float[Tensor, " samples"],
    prior_weight: Float[Tensor, " samples"],
) -> Float[Tensor, " samples"]:
    """Inverse depth of samples whose flow to posed frames is known.

    The projection `(a + rho b)_xy / (a + rho b)_z = q` is linear in rho after multiplying out, so each reweighted step
    is closed form. The prior (weight in pixels per unit of relative error) decides where there is no parallax.
    """
    focal, centre = intrinsics[:2].to(samples_px), intrinsics[2:].to(samples_px)
    relative = target_from_source.to(samples_px)
    turned = rays(samples_px, intrinsics.to(samples_px)) @ relative[:, :3, :3].transpose(1, 2)
    step = relative[:, None, :3, 3]
    wanted = (targets_px - centre) / focal
    c = (turned[..., :2] - wanted * turned[..., 2:]) * focal
    d = (step[..., :2] - wanted * step[..., 2:]) * focal
    rho, information = prior, (prior_weight / prior) ** 2
    for scale in (20.0, 5.0, 2.0, 1.0, 1.0):
        z = turned[..., 2] + rho * step[..., 2]
        iz = 1 / z.clamp_min(0.05)
        squared = ((c + rho[:, None] * d) ** 2).sum(-1) * iz**2
        w = weight * cauchy_weight(squared, scale)[1] * iz**2
        top = -(w * (c * d).sum(-1)).sum(0) + information * prior
        rho = (top / ((w * (d * d).sum(-1)).sum(0) + information)).clamp_min(0.01 * prior)
    return rho


