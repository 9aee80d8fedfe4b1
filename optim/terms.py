"""The terms of the objective: residuals with analytic Jacobians, one function each, in the dtype of their inputs."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from recon4d.geometry import rays


@dataclass(frozen=True)
class FlowTerm:
    """Residual of the static-region flow consistency and its derivatives."""

    residual_px: Float[Tensor, "*edges samples 2"]
    by_pose: Float[Tensor, "*edges samples 2 6"]
    """By a left twist (rotation, translation) of `target_from_source`."""
    by_inverse_depth: Float[Tensor, "*edges samples 2"]
    by_log_focal: Float[Tensor, "*edges samples 2"]
    """By the logarithm of the focal length that source and target share."""
    in_front: Float[Tensor, "*edges samples"]
    """1 where the point lies in front of the target camera, else 0."""


MIN_DEPTH_RATIO = 0.05
"""A point nearer to the target camera than this part of its depth in the source is treated as behind it."""


def flow_consistency(
    uv_px: Float[Tensor, "*#edges samples 2"],
    targets_px: Float[Tensor, "*edges samples 2"],
    inverse_depth: Float[Tensor, "*#edges samples"],
    target_from_source: Float[Tensor, "*edges 4 4"],
    intrinsics: Float[Tensor, "4"],
) -> FlowTerm:
    """Camera-induced flow minus estimated flow (MuBe4D Eq. 2, before masking and the robust kernel).

    The point is `ray + inverse_depth * translation` after rotation, i.e. scaled by the inverse depth, so that points at
    infinity are regular.
    """
    focal, centre = intrinsics[:2], intrinsics[2:]
    rotation, translation = target_from_source[..., :3, :3], target_from_source[..., None, :3, 3]
    ray = rays(uv_px, intrinsics)
    rotated = ray @ rotation.transpose(-1, -2)
    x, y, z = (rotated + inverse_depth[..., None] * translation).unbind(-1)
    in_front = z > MIN_DEPTH_RATIO
    iz = 1 / torch.where(in_front, z, torch.ones_like(z))
    xn, yn = x * iz, y * iz  # normalised image coordinates in the target
    fx, fy = focal[0], focal[1]
    residual = torch.stack((fx * xn, fy * yn), dim=-1) + centre - targets_px

    def chain(dx: Tensor, dy: Tensor, dz: Tensor) -> Tensor:
        """Pixels by a derivative of the scaled point."""
        return torch.stack((fx * iz * (dx - xn * dz), fy * iz * (dy - yn * dz)), dim=-1)

    rho_iz = (inverse_depth * iz).expand_as(xn)
    zero, one = torch.zeros_like(xn), torch.ones_like(xn)
    u_row = torch.stack((-xn * yn, one + xn * xn, -yn, rho_iz, zero, -xn * rho_iz), dim=-1) * fx
    v_row = torch.stack((-one - yn * yn, xn * yn, xn, zero, rho_iz, -yn * rho_iz), dim=-1) * fy
    tx, ty, tz = translation.unbind(-1)
    bent = (ray * ray.new_tensor((-1.0, -1.0, 0.0))) @ rotation.transpose(-1, -2)
    by_focal = chain(*bent.unbind(-1)) + torch.stack((fx * xn, fy * yn), dim=-1)
    return FlowTerm(
        residual_px=residual,
        by_pose=torch.stack((u_row, v_row), dim=-2),
        by_inverse_depth=chain(tx.expand_as(xn), ty.expand_as(xn), tz.expand_as(xn)),
        by_log_focal=by_focal,
        in_front=in_front.to(xn.dtype),
    )


def depth_prior(
    inverse_depth: Float[Tensor, "frames samples"], prior: Float[Tensor, "frames samples"]
) -> tuple[Float[Tensor, "frames samples"], Float[Tensor, "frames samples"]]:
    """Relative error of the inverse depth against the backbone's, and its derivative.

    For small errors this is the difference of the log-depths, but it stays finite for points at infinity.
    """
    scale = 1 / prior
    return inverse_depth * scale - 1, scale


def cauchy_weight(
    squared: Float[Tensor, "*batch"], scale: float
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Cauchy kernel: cost `s^2/2 log(1 + r^2/s^2)` and the weight of r^2/2 that has the same gradient."""
    ratio = squared / scale**2
    return 0.5 * scale**2 * torch.log1p(ratio), 1 / (1 + ratio)
