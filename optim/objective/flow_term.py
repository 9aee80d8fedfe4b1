"""The flow term: camera-induced against measured flow, with its Jacobian, and at a state of the unknowns."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from recon4d.core.geometry import MIN_DEPTH_RATIO, invert_rigid, rays_by_column
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.unknowns import State


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


def relative_poses(
    problem: Problem, state: State, frames: int | slice
) -> Float[Tensor, "*frames slots 4 4"]:
    """`target_from_source` of one frame or some, for the partner in every slot; float64."""
    world_from_own = invert_rigid(state.cam_from_world[frames])
    return state.cam_from_world[problem.partners[frames]] @ world_from_own[..., None, :, :]


def flow_term(problem: Problem, state: State, frames: int | slice) -> FlowTerm:
    """Flow consistency of one frame or some, for all their slots and samples."""
    rho = state.inverse_depth[frames]
    intrinsics = state.intrinsics.to(rho.dtype)
    return flow_consistency(
        problem.samples_px[frames][..., None, :, :],
        problem.targets_px[frames],
        rho[..., None, :],
        relative_poses(problem, state, frames).to(rho.dtype),
        intrinsics[frames][..., None, :],
        intrinsics[problem.partners[frames]],
    )
