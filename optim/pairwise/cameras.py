"""The last steps of the cameras of aligned pairs, with the poses that are given for some of them."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float64

from recon4d.core.errors import InputError
from recon4d.core.scene import KnownPoses, Notice
from recon4d.optim.given_poses import held_poses, place, pose_notices, pose_prior, unpulling_scale
from recon4d.optim.objective.normal_equations import SolveOptions
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.unknowns import Freedom, State
from recon4d.optim.pairwise.depth import FusedDepth
from recon4d.optim.pairwise.pairs import Pairs
from recon4d.optim.pairwise.problem import flatness, used_flow_sigma_px
from recon4d.optim.pairwise.sharpen import sharp_problem
from recon4d.optim.pairwise.start import PairStart
from recon4d.optim.pairwise.types import (
    PairOptions,
    PairsInUse,
    SceneView,
    Stage,
    focal_terms,
    solve_options,
)
from recon4d.optim.solve.solver import solve
from recon4d.optim.solve.uncertainty import relative_pose_covariance

HALO = 4 / 128
"""Flow is blurred across the outline of movers: pixels nearer to one than this part of the width have no weight."""
SHARP = Stage(3.0, free_depth=True, free_focal=True, fine=True, correlated=1.0)
"""The last steps of the cameras."""
SHARP_STEPS = 2
"""They start within a few standard deviations, where the objective is nearly quadratic."""


@dataclass(frozen=True)
class Sharpened:
    """What is known after the last steps of the cameras."""

    view: SceneView
    fused: FusedDepth
    """Depth of every pixel from the pointmaps, in the scale of the cameras."""
    pose_covariance: Float64[np.ndarray, "frames 6 6"]
    """Of the relative poses of neighbouring frames."""
    notices: tuple[Notice, ...]
    """What became of the given poses."""


def check_poses(poses: KnownPoses | None, num_frames: int) -> None:
    """Refuse poses that do not belong to the frames.

    Raises:
        InputError: They are not one per frame, or not finite.
    """
    if poses is None:
        return
    if poses.world_from_cam.shape != (num_frames, 4, 4) or poses.is_given.shape != (num_frames,):
        raise InputError(
            f"poses have shape {poses.world_from_cam.shape} and is_given {poses.is_given.shape}; {num_frames} frames "
            f"need ({num_frames}, 4, 4) and ({num_frames},)"
        )
    if not np.isfinite(poses.world_from_cam[poses.is_given]).all():
        raise InputError("given poses are not finite; leave out (is_given) what is not known")


def sharpened(
    pairs: Pairs,
    graph: PairsInUse,
    view: SceneView,
    start: PairStart,
    fused: FusedDepth,
    options: PairOptions,
) -> Sharpened:
    """The last steps of the cameras, in the frame and scale of the given poses where there are some.

    Raises:
        InputError: The given poses contradict the pairs.
    """
    grid, (width, height) = graph.fine, pairs.size
    static = view.static(grid)
    sigma_px = used_flow_sigma_px(grid, view.state, static, view.relative(grid))
    inverse_depth = (-fused.log_depth).exp().reshape(-1, height, width)
    flat = flatness(inverse_depth, halo_px(width))
    problem = sharp_problem(pairs, graph.keep, grid, fused, static, flat, sigma_px)
    problem = problem.with_terms(*focal_terms(SHARP, start, sigma_px))
    steps = replace(solve_options(SHARP, start, sigma_px), max_steps=SHARP_STEPS)
    state = replace(view.state, inverse_depth=problem.prior_inverse_depth)
    state, _ = _solved(problem, state, None, steps)
    known = None
    if options.poses is not None:
        everything = np.ones(pairs.num_frames, bool)
        state, known = place(
            state,
            options.poses,
            everything,
            lambda s, k: _solved(problem, s, k, steps)[0],
            is_metric=False,
        )
    final, freedom = _task(problem, state, known)
    covariance = relative_pose_covariance(final, state, freedom, steps, known is not None)
    shift = float((problem.prior_inverse_depth / final.prior_inverse_depth).median())
    return Sharpened(
        replace(view, state=replace(state, inverse_depth=view.state.inverse_depth / shift)),
        FusedDepth(fused.log_depth + float(np.log(shift)), fused.sigma),
        covariance,
        pose_notices(options.poses, known, turns_only=False),
    )


def _solved(
    problem: Problem, state: State, known: KnownPoses | None, options: SolveOptions
) -> tuple[State, Freedom]:
    problem, freedom = _task(problem, state, known)
    zero = torch.zeros(problem.num_frames, dtype=torch.float64, device=problem.weight.device)
    state = solve(problem, replace(state, log_gain=zero), freedom, options)
    return replace(state, log_gain=None), freedom


def _task(problem: Problem, state: State, known: KnownPoses | None) -> tuple[Problem, Freedom]:
    """The problem in the scale of the given poses, and what may move; without any the first camera is the world."""
    device = problem.weight.device
    freedom = Freedom.all_but_first(problem.num_frames, device)
    if known is None:
        return problem, freedom
    ratio = state.inverse_depth / problem.prior_inverse_depth
    problem = problem.with_prior_scaled(unpulling_scale(ratio))
    free = torch.from_numpy(~held_poses(known)).to(device)
    return problem.with_terms(*pose_prior(known, state)), Freedom(free, freedom.depth)


def halo_px(width: int) -> int:
    """Reach of the blur of flow, pixels."""
    return max(1, round(HALO * width / 2))
