"""Self-calibration: the focal length of an uncalibrated video, under which its best part fits together best.

Numbers here that name no source were set by hand.
"""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64

from recon4d.core.scene import Video
from recon4d.optim.objective.normal_equations import SolveOptions, objective
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.unknowns import Freedom
from recon4d.optim.setting import AlignOptions, usual_focal
from recon4d.optim.solve.solver import solve
from recon4d.optim.start.grow import initialise
from recon4d.optim.start.parallax import NO_PARALLAX_PX, residual_px
from recon4d.optim.start.seed import best_seed, pair_geometry

logger = logging.getLogger(__name__)

FOCAL_STARTS = (0.65, 1.0, 1.6)
"""Focal lengths over the one expected from which the search starts; between them the optimizer finds its way."""
SEARCH_FRAMES = 10
"""Frames on both sides of the best pair on which the focal length is searched."""


def usual_intrinsics(video: Video, focal: float) -> Float64[np.ndarray, "4"]:
    """Pixels that are square in the input, a centred principal point or that found, and a focal length in pixels."""
    found = video.found_intrinsics
    cx, cy = np.array(video.size) / 2 if found is None else found[2:]
    return np.array([focal, focal * video.fy_over_fx, cx, cy])


def search_focal(
    problem: Problem,
    pairs: Int64[np.ndarray, "pairs 2"],
    slots: Int64[np.ndarray, " pairs"],
    usual: Float64[np.ndarray, "4"],
    options: AlignOptions,
) -> Float64[np.ndarray, "4"]:
    """Intrinsics under which the best-conditioned part of the video fits together best (self-calibration).

    The window around the best pair is reconstructed from several focal lengths, each then optimised; the lowest cost
    wins. From some of them nothing has parallax and the camera only turns, from others the same motion is a step past
    a plane: the simpler is right where it fits as well. Where every frame has its own, that of the best pair is found.
    """
    geometry = pair_geometry(problem, pairs, slots, usual, options)
    nothing = np.zeros(problem.num_frames, bool)
    seed = best_seed(pairs, geometry, nothing, nothing)
    if seed is None:
        return usual
    middle = (seed.source + seed.target) // 2
    first = max(0, middle - SEARCH_FRAMES)
    last = min(problem.num_frames, middle + SEARCH_FRAMES + 1)
    inside = (pairs >= first).all(1) & (pairs < last).all(1)
    window = problem.window(first, last)
    tried = [
        _calibrate(window, pairs[inside] - first, slots[inside], usual, ratio, options)
        for ratio in FOCAL_STARTS
    ]
    return np.asarray(_simplest(tried).intrinsics[seed.source - first])


def _simplest(tried: list["_Fit"]) -> "_Fit":
    """The best fit with depth, unless the best that only turns leaves hardly more than the noise of the flow."""
    turning = [fit for fit in tried if fit.turns_only]
    moving = [fit for fit in tried if not fit.turns_only]
    if not turning:
        return min(moving, key=lambda fit: fit.cost)
    best_turning = min(turning, key=lambda fit: fit.residual_px)
    if not moving:
        return best_turning
    best_moving = min(moving, key=lambda fit: fit.cost)
    more = best_turning.residual_px**2 - best_moving.residual_px**2
    return best_turning if more < NO_PARALLAX_PX**2 else best_moving


@dataclass(frozen=True)
class _Fit:
    """A window reconstructed from one focal length."""

    cost: float
    residual_px: float
    intrinsics: Float64[np.ndarray, "frames 4"]
    turns_only: bool


def _calibrate(
    window: Problem,
    pairs: Int64[np.ndarray, "pairs 2"],
    slots: Int64[np.ndarray, " pairs"],
    usual: Float64[np.ndarray, "4"],
    ratio: float,
    options: AlignOptions,
) -> _Fit:
    """What one start ends in."""
    guess = usual.copy()
    guess[:2] *= ratio
    geometry = pair_geometry(window, pairs, slots, guess, options)
    start = initialise(window, pairs, geometry, guess, own_focals=options.own_focals)
    problem = window.connected(np.where(start.components == 0, 0, -1)).with_static_weight(
        start.static
    )
    problem = problem.with_terms(
        usual_focal(problem, start.state, float(usual[0]), shared=not options.own_focals)
    )
    free = SolveOptions(
        kernel_px=1.0,
        max_steps=20,
        free_focal=True,
        shared_focal=not options.own_focals,
    )
    freedom, state = free_but_first(start.components == 0), start.state
    if not start.has_parallax:
        freedom, state = freedom.turning(), state.centred()
    state = solve(problem, state, freedom, free)
    share = float(problem.weight.sum() / window.weight.sum())
    cost = objective(problem, state, free) / max(share, 1e-6) ** 2
    left = residual_px(problem, state)
    logger.debug(
        "focal from %.0f to %.1f: cost %.5g, residual %.3f px, parallax %s",
        guess[0],
        float(state.shared_intrinsics[0]),
        cost,
        left,
        start.has_parallax,
    )
    return _Fit(cost, left, np.asarray(state.intrinsics.cpu()), not start.has_parallax)


def free_but_first(is_posed: Bool[np.ndarray, " frames"]) -> Freedom:
    """Everything that is posed may move, but the first such pose."""
    pose = torch.from_numpy(is_posed.copy())
    depth = pose.clone()
    pose[int(np.argmax(is_posed))] = False
    return Freedom(pose, depth)
