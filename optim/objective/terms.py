"""Residuals with analytic Jacobians that are not flow, one function each, and the robust kernel; any dtype."""

import torch
from jaxtyping import Float
from torch import Tensor

from recon4d.core.geometry import log_so3, skew


def depth_prior(
    inverse_depth: Float[Tensor, "frames samples"], prior: Float[Tensor, "frames samples"]
) -> tuple[Float[Tensor, "frames samples"], Float[Tensor, "frames samples"]]:
    """Relative error of the inverse depth against the backbone's, and its derivative.

    For small errors this is the difference of the log-depths, but it stays finite for points at infinity.
    """
    scale = 1 / prior
    return inverse_depth * scale - 1, scale


def known_pose(
    cam_from_world: Float[Tensor, "*batch 4 4"], given_world_from_cam: Float[Tensor, "*batch 4 4"]
) -> tuple[Float[Tensor, "*batch 6"], Float[Tensor, "*batch 6 6"]]:
    """How far poses are from given ones, and the derivative by a left twist (rotation, translation) of the poses.

    The first three numbers are the rotation vector that leads from the given orientation to the pose's, in the
    camera's frame, the others the pose's centre minus the given one. The inverse of the left Jacobian of SO(3) is
    that of Sola, Deray and Atchuthan (A micro Lie theory, 2018), Eq. 146; poses half a turn apart have none.
    """
    rotation = cam_from_world[..., :3, :3]
    turned = log_so3(rotation @ given_world_from_cam[..., :3, :3])
    centre = -(rotation.transpose(-1, -2) @ cam_from_world[..., :3, 3:])[..., 0]
    residual = torch.cat((turned, centre - given_world_from_cam[..., :3, 3]), dim=-1)
    angle = turned.norm(dim=-1)[..., None, None]
    small = angle < 1e-4  # the next term of the series is below 1e-11
    safe = torch.where(small, torch.ones_like(angle), angle)
    bend = 1 / safe**2 - (1 + safe.cos()) / (2 * safe * safe.sin())
    bend = torch.where(small, torch.full_like(angle, 1 / 12), bend)
    cross, eye = skew(turned), torch.eye(3, dtype=turned.dtype, device=turned.device)
    jacobian = residual.new_zeros((*residual.shape, 6))
    jacobian[..., :3, :3] = eye - 0.5 * cross + bend * (cross @ cross)
    jacobian[..., 3:, 3:] = -rotation.transpose(-1, -2)
    return residual, jacobian


def pointmap_alignment(
    points: Float[Tensor, "*batch 3 samples"],
    wanted: Float[Tensor, "*batch 3 samples"],
    scale: Float[Tensor, "*batch"],
    rotation: Float[Tensor, "*batch 3 3"],
    translation: Float[Tensor, "*batch 3"],
) -> Float[Tensor, "*batch 3 samples"]:
    """Points of a pair, moved by its similarity, minus the scene's points (DUSt3R Eq. 5, CVPR 2024, before weights).

    Its derivative by the points is `scale * rotation`, by the translation 1, by the scene's points -1.
    """
    turned = (scale[..., None, None] * rotation) @ points
    return turned + translation[..., None] - wanted


def cauchy_weight(
    squared: Float[Tensor, "*batch"], scale: float
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Cauchy kernel: cost `s^2/2 log(1 + r^2/s^2)` and the weight of r^2/2 that has the same gradient."""
    ratio = squared / scale**2
    return 0.5 * scale**2 * torch.log1p(ratio), 1 / (1 + ratio)
