"""The flow term of single frames at a state."""

from jaxtyping import Float
from torch import Tensor

from recon4d.core.geometry import invert_rigid
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.terms import FlowTerm, flow_consistency
from recon4d.optim.objective.unknowns import State


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
