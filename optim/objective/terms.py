"""The terms of the objective: residuals with analytic Jacobians, one function each, in the dtype of their inputs."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from recon4d.core.geometry import MIN_DEPTH_RATIO, log_so3, rays_by_column, skew


@dataclass(frozen=True)
class FlowTerm:
    """Residual of the static-region flow consistency, and what its derivatives are made of.

    Samples are the last axis, so that every operation runs over contiguous memory; each derivative is computed only
    where it is asked for.
    """

    residual_px: Float[Tensor, "*edges 2 samples"]
    in_front: Float[Tensor, "*edges samples"]
    """1 where the point lies in front of the target camera, else 0."""
    normalised: Float[Tensor, "*edges 2 samples"]
    """Image coordinates in the target on the plane z = 1."""
    inverse_z: Float[Tensor, "*edges samples"]
    """Depth in the source over depth in the target."""
    inverse_depth: Float[Tensor, "*#edges samples"]
    ray: Float[Tensor, "*#edges 3 samples"]
    target_from_source: Float[Tensor, "*edges 4 4"]
    focal_px: Float[Tensor, "*#edges 2 1"]
    """Of the target."""

    def squared(self) -> Float[Tensor, "*edges samples"]:
        """Squared length of the residual, pixels^2."""
        return self.residual_px.square().sum(-2)

    def by_pose(self) -> Float[Tensor, "*edges 2 6 samples"]:
        """Derivative by a left twist (rotation, translation) of `target_from_source`."""
        out = self.inverse_z.new_empty((*self.inverse_z.shape[:-1], 6, 2, self.inverse_z.shape[-1]))
        self.put_by_pose(out, torch.ones_like(self.inverse_z))
        return out.transpose(-3, -2)

    def put_by_pose(
        self, out: Float[Tensor, "*edges 6 2 samples"], factor: Float[Tensor, "*edges samples"]
    ) -> None:
        """`by_pose` times a factor, written once to where it is needed: memory is what it costs."""
        x, y = self.normalised.unbind(-2)
        fx, fy = (self.focal_px[..., axis, :] * factor for axis in (0, 1))
        fx_x, fy_y = fx * x, fy * y
        near = self.inverse_depth * self.inverse_z
        torch.mul(fx_x, y, out=out[..., 0, 0, :]).neg_()
        torch.addcmul(fy, fy_y, y, out=out[..., 0, 1, :]).neg_()
        torch.addcmul(fx, fx_x, x, out=out[..., 1, 0, :])
        torch.mul(fy_y, x, out=out[..., 1, 1, :])
        torch.mul(fx, y, out=out[..., 2, 0, :]).neg_()
        torch.mul(fy, x, out=out[..., 2, 1, :])
        torch.mul(fx, near, out=out[..., 3, 0, :])
        out[..., 3, 1, :] = 0
        out[..., 4, 0, :] = 0
        torch.mul(fy, near, out=out[..., 4, 1, :])
        torch.mul(fx_x, near, out=out[..., 5, 0, :]).neg_()
        torch.mul(fy_y, near, out=out[..., 5, 1, :]).neg_()

    def by_inverse_depth(self) -> Float[Tensor, "*edges 2 samples"]:
        """Derivative by the inverse depth in the source."""
        return self._chain(self.target_from_source[..., :3, 3:])

    def by_source_focal(self) -> Float[Tensor, "*edges 2 samples"]:
        """Derivative by the logarithm of the source's focal length."""
        bent = self.ray.clone()
        bent[..., :2, :] *= -1
        bent[..., 2, :] = 0
        return self._chain(self.target_from_source[..., :3, :3] @ bent)

    def by_target_focal(self) -> Float[Tensor, "*edges 2 samples"]:
        """Derivative by the logarithm of the target's focal length."""
        return self.focal_px * self.normalised

    def _chain(self, by: Float[Tensor, "*edges 3 #samples"]) -> Float[Tensor, "*edges 2 samples"]:
        """Pixels by a derivative of the scaled point."""
        planar = by[..., :2, :] - self.normalised * by[..., 2:, :]
        return planar * self.inverse_z[..., None, :] * self.focal_px


def flow_consistency(
    uv_px: Float[Tensor, "*#edges 2 samples"],
    targets_px: Float[Tensor, "*edges 2 samples"],
    inverse_depth: Float[Tensor, "*#edges samples"],
    target_from_source: Float[Tensor, "*edges 4 4"],
    intrinsics: Float[Tensor, "*#edges 4"],
    target_intrinsics: Float[Tensor, "*#edges 4"] | None = None,
) -> FlowTerm:
    """Camera-induced flow minus estimated flow (MuBe4D Eq. 2, before masking and the robust kernel).

    The intrinsics of the target are those of the source where they are not given.

    The point is `rotation @ ray + inverse_depth * translation`, i.e. scaled by the inverse depth, so that points at
    infinity are regular.
    """
    there = intrinsics if target_intrinsics is None else target_intrinsics
    focal_px, centre_px = there[..., :2, None], there[..., 2:, None]
    ray = rays_by_column(uv_px, intrinsics)
    point = target_from_source[..., :3, :3] @ ray
    point = point + target_from_source[..., :3, 3:] * inverse_depth[..., None, :]
    z = point[..., 2, :]
    in_front = z > MIN_DEPTH_RATIO
    inverse_z = 1 / torch.where(in_front, z, 1.0)
    normalised = point[..., :2, :] * inverse_z[..., None, :]
    return FlowTerm(
        residual_px=normalised * focal_px + (centre_px - targets_px),
        in_front=in_front.to(z.dtype),
        normalised=normalised,
        inverse_z=inverse_z,
        inverse_depth=inverse_depth,
        ray=ray,
        target_from_source=target_from_source,
        focal_px=focal_px,
    )


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
