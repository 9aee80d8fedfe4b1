"""Cameras that only turn, or turn and zoom: right where nothing has parallax, and a start where little has.

Numbers here that name no source were set by hand.
"""

from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float64
from scipy.spatial.transform import Rotation

from recon4d.core.geometry import log_so3
from recon4d.core.pinhole import project_array, rays_array
from recon4d.optim.objective.normal_equations import SolveOptions
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.unknowns import Freedom, State
from recon4d.optim.setting import usual_focal
from recon4d.optim.solve.solver import solve

MIN_WEIGHT = 0.3
"""Flow below this weight takes no part in the turn of a pair."""
MIN_SAMPLES = 20
"""Fewer samples than this tell no turn between two frames."""
STEPS = 8
"""Reweighted Gauss-Newton steps of each pair."""
KERNELS_PX = (6.0, 2.0, 1.0)
"""Scales of the robust kernel, one solution of all frames after the other: wide at first, as the chain drifts."""
SOLVER_STEPS = 8
"""Most steps of each of them."""
STILL_PX = 1.0
"""Turn of a camera that stands still, at most, pixels."""


def fit_turning(
    problem: Problem,
    intrinsics: Float64[np.ndarray, "4"],
    posed: Bool[np.ndarray, " frames"],
    usual_px: float | None,
    *,
    zooms: bool,
) -> State:
    """Rotations about one centre that explain the flow best, with the focal length where it is free; depth is 1.

    Each frame is turned against the one before it, then all are optimised together.

    Args:
        problem: Measurements between the posed frames, without terms.
        intrinsics: (fx, fy, cx, cy) that are known or begun with, pixels.
        posed: Frames to find.
        usual_px: Focal length that is expected where it is an unknown; None: it is known.
        zooms: Every frame has a focal length of its own.
    """
    turns, focals = _chained(problem, intrinsics, posed, zooms)
    frames = problem.num_frames
    poses = torch.eye(4, dtype=torch.float64).repeat(frames, 1, 1)
    poses[:, :3, :3] = torch.from_numpy(turns)
    cameras = torch.from_numpy(np.tile(intrinsics, (frames, 1)))
    cameras[:, :2] *= torch.from_numpy(focals)[:, None]
    state = State(poses, torch.ones_like(problem.prior_inverse_depth), cameras)
    free = torch.from_numpy(posed.copy())
    pose = free.clone()
    pose[int(np.argmax(posed))] = False
    for kernel_px in KERNELS_PX:
        options = SolveOptions(
            kernel_px=kernel_px,
            max_steps=SOLVER_STEPS,
            free_focal=usual_px is not None,
            shared_focal=not zooms,
        )
        seen = problem
        if usual_px is not None:
            seen = problem.with_terms(usual_focal(problem, state, usual_px, shared=not zooms))
        state = solve(seen, state, Freedom(pose, free).turning(), options)
    return state


def stands_still(turning: State) -> bool:
    """Whether only movers move in the picture: hands never hold a camera that still."""
    turns = turning.cam_from_world[:, :3, :3]
    largest = float(log_so3(turns @ turns[0].T).norm(dim=-1).max())
    return largest * float(turning.intrinsics[0, 0]) < STILL_PX


def _chained(
    problem: Problem,
    intrinsics: Float64[np.ndarray, "4"],
    posed: Bool[np.ndarray, " frames"],
    zooms: bool,
) -> tuple[Float64[np.ndarray, "frames 3 3"], Float64[np.ndarray, " frames"]]:
    """Rotation from the first camera, and focal length over the first one's: from the nearest posed frame before."""
    turns = np.repeat(np.eye(3)[None], problem.num_frames, axis=0)
    focals = np.ones(problem.num_frames)
    frames = np.flatnonzero(posed)
    for before, frame in pairwise(frames):
        camera = intrinsics.copy()
        camera[:2] *= focals[before]
        turn, zoom, _ = turn_between(problem, (int(before), int(frame)), camera, zooms)
        turns[frame], focals[frame] = turn @ turns[before], zoom * focals[before]
    return turns, focals


def turn_between(
    problem: Problem, pair: tuple[int, int], intrinsics: Float64[np.ndarray, "4"], zooms: bool
) -> tuple[Float64[np.ndarray, "3 3"], float, Float64[np.ndarray, " samples"]]:
    """Rotation and change of the focal length between two frames, by least absolute distance.

    Args:
        problem: The measurements.
        pair: Source and target frame.
        intrinsics: (fx, fy, cx, cy) of the source, pixels.
        zooms: The target's focal length is not the same.

    Returns:
        Target from source, the target's focal length over the source's, and what is left of the samples that count,
        pixels; nothing is left and nothing turns where too few do.
    """
    before, frame = pair
    slot = np.flatnonzero(np.asarray(problem.partners[before] == frame))
    if not len(slot):
        return np.eye(3), 1.0, np.zeros(0)
    use = problem.weight[before, slot[0]].numpy() > MIN_WEIGHT
    if use.sum() < MIN_SAMPLES:
        return np.eye(3), 1.0, np.zeros(0)
    source_px = problem.samples_px[before].numpy().T[use].astype(np.float64)
    target_px = problem.targets_px[before, slot[0]].numpy().T[use].astype(np.float64)
    rays = rays_array(source_px, intrinsics)
    turn, log_zoom, distance = np.eye(3), 0.0, np.zeros(len(rays))
    for _ in range(STEPS):
        camera = intrinsics.copy()
        camera[:2] *= np.exp(log_zoom)
        turned = rays @ turn.T
        seen = project_array(turned, camera)
        error = seen - target_px
        jacobian = _by_turn_and_zoom(turned, camera)
        if not zooms:
            jacobian[..., 3] = 0
        distance = np.linalg.norm(error, axis=1)
        weight = 1 / (distance + 0.1 * np.median(distance) + 1e-3)
        hessian = np.einsum("n,nki,nkj->ij", weight, jacobian, jacobian)
        gradient = np.einsum("n,nki,nk->i", weight, jacobian, error)
        hessian[np.diag_indices(4)] += 1e-9 * np.trace(hessian) + 1e-12
        step = -np.linalg.solve(hessian, gradient)
        turn = Rotation.from_rotvec(step[:3]).as_matrix() @ turn
        log_zoom += float(step[3]) if zooms else 0.0
    return turn, float(np.exp(log_zoom)), distance


def _by_turn_and_zoom(
    turned: Float64[np.ndarray, "samples 3"], intrinsics: Float64[np.ndarray, "4"]
) -> Float64[np.ndarray, "samples 2 4"]:
    """Derivative of the projection by a left rotation vector and the logarithm of the focal length, pixels."""
    x, y = (turned[:, :2] / turned[:, 2:]).T
    one = np.ones_like(x)
    by_u = intrinsics[0] * np.stack((-x * y, one + x * x, -y, x), axis=1)
    by_v = intrinsics[1] * np.stack((-one - y * y, x * y, x, y), axis=1)
    return np.stack((by_u, by_v), axis=1)
