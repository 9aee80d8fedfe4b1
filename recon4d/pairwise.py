"""From pairwise predictions to cameras, depth and motion masks: start, loop of masks and optimisation, full size."""

import logging
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Float64
from torch import Tensor

from recon4d.geometry import invert_rigid
from recon4d.masks.pairs import grid_log_odds
from recon4d.optim.normal import Freedom, SolveOptions
from recon4d.optim.pair_graph import PairStart, outliers, start_from_pairs
from recon4d.optim.pair_problem import (
    POINT_VARIANCE,
    align_pairs_to,
    build_pair_problem,
    depth_variance,
    enlarge_map,
    enlarge_state,
    measured_depth,
    refine_relative,
)
from recon4d.optim.pairs import (
    PairGrid,
    Pairs,
    check_connected,
    check_shapes,
    pair_notice,
    thin,
    usable_edges,
)
from recon4d.optim.solver import solve
from recon4d.optim.state import State
from recon4d.scene import Notice

logger = logging.getLogger(__name__)

FINE_SAMPLES = 768
"""Samples per frame on the fine grid: 32 x 24. More lower the error of the cameras less than they cost."""
PAIR_KERNELS = (2 / 128, 2 / 128, 1 / 128, 1 / 128, 0.5 / 128, 0.5 / 128)
"""Robust kernels of the pair-by-pair poses, parts of the image width: from the error of pointmaps down."""
FOCAL_SIGMA = 0.001
GAIN_SIGMA = 0.02
"""Scales of the frames' pointmaps may differ by this much, relative, in one optimisation."""


@dataclass(frozen=True)
class Stage:
    """One optimisation of the loop."""

    kernel_sigmas: float
    """Scale of the robust kernel on flow, standard deviations of the flow."""
    steps: int
    free: bool
    """Whether depth and focal length move, too, or the cameras alone."""
    fine: bool
    """On which grid."""
    correlated: float = 5.5
    focal: bool = True


STAGES = (
    Stage(20, 6, free=False, fine=False),
    Stage(5, 6, free=True, fine=False),
    Stage(5, 6, free=True, fine=False),
    Stage(5, 6, free=True, fine=True),
    Stage(3, 6, free=True, fine=True),
)
"""Masks are found anew before each."""


@dataclass(frozen=True)
class _Round:
    state: State
    log_odds: Float[Tensor, "frames samples"]
    variance: Float[Tensor, "2 2"]


def _static(grid: PairGrid, log_odds: Float[Tensor, "frames samples"]) -> Float[Tensor, "frames samples"]:
    """Weight 1 - M on the grid: a sample beside a moving one may lie in the halo of its flow."""
    moving = (log_odds > 0).to(log_odds).unflatten(1, (grid.rows, grid.cols))[:, None]
    return 1 - F.max_pool2d(moving, 3, 1, 1)[:, 0].flatten(1)


def _next(grid: PairGrid, now: _Round, stage: Stage, focal_px: float, width: int, masks: bool) -> _Round:
    static = _static(grid, now.log_odds)
    sigma = grid.flow_sigma_px
    aligned = align_pairs_to(grid, now.state, static)
    prior = measured_depth(grid, aligned, static, now.variance)
    problem = build_pair_problem(grid, prior, static, stage.correlated)
    every = Freedom.all_but_first(problem.num_frames, static.device)
    state = now.state
    if stage.free:
        state = replace(state, log_gain=torch.zeros(len(static), dtype=torch.float64, device=static.device))
        freedom = every
    else:
        state = replace(state, inverse_depth=problem.prior_inverse_depth)
        freedom = Freedom(every.pose, torch.zeros_like(every.depth))
    options = SolveOptions(
        kernel_px=stage.kernel_sigmas * sigma,
        max_steps=stage.steps,
        relative_tolerance=2e-3,
        free_focal=stage.focal,
        usual_focal_px=focal_px,
        focal_px=sigma / FOCAL_SIGMA,
        gain_px=sigma / GAIN_SIGMA,
    )
    state = replace(solve(problem, state, freedom, options), log_gain=None)
    aligned = align_pairs_to(grid, state, static)
    fused = measured_depth(grid, aligned, static, now.variance)
    variance = depth_variance(grid, aligned, fused, static)
    odds = now.log_odds
    if masks:
        poses = state.cam_from_world
        relative = poses[grid.edges[:, 1]] @ invert_rigid(poses)[grid.edges[:, 0]]
        odds = grid_log_odds(grid, fused.log_depth, relative, state.intrinsics, width)
    return _Round(state, odds, variance)
