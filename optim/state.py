"""What the optimizer varies, and the flow term of single frames at it."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from recon4d.geometry import invert_rigid
from recon4d.optim.problem import Problem
from recon4d.optim.terms import FlowTerm, flow_consistency
from recon4d.scene import Scene


@dataclass(frozen=True)
class State:
    """What the optimizer varies."""

    cam_from_world: Float[Tensor, "frames 4 4"]
    """float64."""
    inverse_depth: Float[Tensor, "frames samples"]
    intrinsics: Float[Tensor, "frames 4"]
    """float64 (fx, fy, cx, cy) in pixels; fx and fy vary by a common factor, the centre is fixed."""
    log_gain: Float[Tensor, " frames"] | None = None
    """float64 logarithm of the factor of each frame's depth prior, whose scale is then known only as well as
    `SolveOptions.gain_px` says; None: the prior's scale is right."""

    @classmethod
    def of(cls, scene: Scene) -> "State":
        """The cameras and the sparse depth of a scene, on the CPU."""
        return cls(
            invert_rigid(torch.from_numpy(np.array(scene.world_from_cam))),
            torch.from_numpy(np.array(scene.inverse_depth)),
            torch.from_numpy(np.array(scene.intrinsics)),
        )

    @property
    def shared_intrinsics(self) -> Float[Tensor, "4"]:
        """Those of all frames, where they share them."""
        return self.intrinsics[0]

    def centred(self) -> "State":
        """The same rotations about one centre; depth, which then has no effect, is 1."""
        poses = self.cam_from_world.clone()
        poses[:, :3, 3] = 0
        return State(poses, torch.ones_like(self.inverse_depth), self.intrinsics)


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
