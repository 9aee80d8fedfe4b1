"""How much the optimised cameras see of depth: the parallax of their baselines.

Numbers here that name no source were set by hand.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recon4d.core.geometry import transfer
from recon4d.core.sampling import spread_evenly
from recon4d.optim.objective.flow_term import FlowTerm, flow_consistency, flow_term, relative_poses
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.unknowns import State

NO_PARALLAX_PX = 0.5
"""Median parallax, after the best rotation, below which depth is unknown: the largest of some ten flow errors."""
CONFIDENT = 0.3
"""Measurements of at least this weight, of 1, count."""
FRAMES = 24
"""Frames that are looked at: enough for a median."""
REWEIGHTINGS = 4
"""Reweighted least-squares fits of the rotation that explains the most of a baseline's parallax; few samples (movers)
do not count."""


def parallax_px(problem: Problem, state: State, use: Bool[np.ndarray, " frames"]) -> float:
    """How far the translation moves the median sample, in the partner where it moves most; median over frames, pixels.

    Args:
        problem: The measurements.
        state: Cameras and depth.
        use: Frames that count; of many, some spread evenly are looked at.
    """
    found = []
    for frame in _chosen(use):
        turned, seen = _parallax(problem, state, frame)
        found.append(_median_of_largest(turned.residual_px, seen))
    return float(np.median(found))


def unexplained_parallax_px(
    problem: Problem, state: State, use: Bool[np.ndarray, " frames"]
) -> float:
    """The same as `parallax_px`, of what no further rotation of the partner would explain as well.

    In a narrow view a step to the side and a turn look alike; what is left tells depth (Torr, Fitzgibbon and
    Zisserman, IJCV 1999).
    """
    found = []
    for frame in _chosen(use):
        turned, seen = _parallax(problem, state, frame)
        left = _without_rotation(turned.residual_px, turned.by_pose()[:, :, :3], seen)
        found.append(_median_of_largest(left, seen))
    return float(np.median(found))


def _chosen(use: Bool[np.ndarray, " frames"]) -> list[int]:
    """At most `FRAMES` of the frames, spread evenly."""
    frames = np.flatnonzero(use)
    return [int(frame) for frame in frames[spread_evenly(len(frames), FRAMES)]]


def residual_px(problem: Problem, state: State) -> float:
    """Median over frames of the flow residual of the median sample, in the partner where it is largest, pixels."""
    found = []
    for frame in range(problem.num_frames):
        residual = flow_term(problem, state, frame).residual_px
        seen = problem.weight[frame] > CONFIDENT
        if bool(seen.any()):
            found.append(_median_of_largest(residual, seen))
    return float(np.median(found)) if found else 0.0


def _parallax(
    problem: Problem, state: State, frame: int
) -> tuple[FlowTerm, Bool[Tensor, "slots samples"]]:
    """Where the translation moves a frame's samples, as residual of the rotation alone; which of them are seen."""
    relative = relative_poses(problem, state, frame).to(problem.weight.dtype)
    rho, intrinsics = state.inverse_depth[frame], state.intrinsics.to(problem.weight.dtype)
    slots = len(relative)
    uv = problem.samples_px[frame].T.expand(slots, -1, -1)
    there = intrinsics[problem.partners[frame]]
    moved, _ = transfer(
        uv, rho.expand(slots, -1), relative, intrinsics[frame].expand(slots, -1), there
    )
    turned = flow_consistency(
        problem.samples_px[frame],
        moved.transpose(1, 2),
        torch.zeros_like(rho),
        relative,
        intrinsics[frame],
        there,
    )
    seen = problem.weight[frame] > CONFIDENT
    return turned, seen


def _without_rotation(
    shift_px: Float[Tensor, "slots 2 samples"],
    by_rotation: Float[Tensor, "slots 2 3 samples"],
    seen: Bool[Tensor, "slots samples"],
) -> Float[Tensor, "slots 2 samples"]:
    """What remains of displacements after the rotation that explains most samples (least absolute distance)."""
    left = shift_px
    eye = 1e-6 * torch.eye(3, dtype=shift_px.dtype, device=shift_px.device)
    for _ in range(REWEIGHTINGS):
        weight = seen / (left.norm(dim=1) + 0.1)
        weighted = by_rotation * weight[:, None, None]
        hessian = torch.einsum("scip,scjp->sij", weighted, by_rotation)
        gradient = torch.einsum("scip,scp->si", weighted, shift_px)
        scale = hessian.diagonal(dim1=1, dim2=2).amax(1)[:, None, None].clamp_min(1e-12)
        step = torch.linalg.solve(hessian + scale * eye, gradient)
        left = shift_px - torch.einsum("scip,si->scp", by_rotation, step)
    return left


def _median_of_largest(
    shift_px: Float[Tensor, "slots 2 samples"], seen: Bool[Tensor, "slots samples"]
) -> float:
    largest = torch.where(seen, shift_px.norm(dim=1), 0.0).amax(0)[seen.any(0)]
    return float(largest.median()) if len(largest) else 0.0
