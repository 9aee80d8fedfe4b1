"""The last steps of the cameras: more samples of flow, all depth of the pointmaps as prior, and the given poses.

The loop of masks and optimisation needs few samples to find what is static. The focal length and the directions of
short paths need many: flow of 768 samples per frame tells the focal length of a short path to 0.2 %, that of all pixels
to 0.05 %, while the pointmaps of 190 pairs, whose lateral scales are off by 1.5 % each, tell it to 0.1 %. Errors of
pointmaps, though, are smooth over the image, and do not average over samples.

Numbers here that name no source were set by hand.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from recon4d.core.scene import KnownPoses, Notice
from recon4d.optim.given_poses import place, pose_notices
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.unknowns import State
from recon4d.optim.pairwise.depth import FusedDepth
from recon4d.optim.pairwise.grid import PairGrid, consistency, pixel_centres, thin_flow
from recon4d.optim.pairwise.pairs import Pairs
from recon4d.optim.pairwise.problem import (
    correlation,
    crease_weight,
    enlarge_map,
    slot_problem,
    used_flow_sigma_px,
)
from recon4d.optim.pairwise.setting import PairSetting, Stage
from recon4d.optim.pairwise.start import PairStart
from recon4d.optim.pairwise.types import PairOptions, PairsInUse, SceneView
from recon4d.optim.solve.uncertainty import relative_pose_covariance

SHARP_SAMPLES = 3072
"""Samples per frame: 64 x 48. They halve the error of the cameras that 32 x 24 leave, at twice the time of a stage."""
HALO = 4 / 128
"""Flow is blurred across the outline of movers: pixels nearer to one than this part of the width have no weight."""
SHARP = Stage(3.0, free_depth=True, free_focal=True, fine=True, correlated=1.0, max_steps=2)
"""The last steps start within a few standard deviations, where the objective is nearly quadratic: two are enough."""


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
    flat = crease_weight(inverse_depth, halo_px(width))
    problem = sharp_problem(pairs, graph.keep, grid, fused, static, flat, sigma_px)
    setting = PairSetting(SHARP, start, sigma_px)
    state = replace(view.state, inverse_depth=problem.prior_inverse_depth)
    state, known = setting.solve(problem, state), None
    if options.poses is not None:
        everything = np.ones(pairs.num_frames, bool)

        def refine(state: State, known: KnownPoses) -> State:
            return replace(setting, known=known).solve(problem, state)

        state, known = place(state, options.poses, everything, refine, is_metric=False)
    final = replace(setting, known=known).task(problem, state)
    covariance = relative_pose_covariance(
        final.problem, state, final.freedom, final.options, known is not None
    )
    shift = float((problem.prior_inverse_depth / final.problem.prior_inverse_depth).median())
    return Sharpened(
        replace(view, state=replace(state, inverse_depth=view.state.inverse_depth / shift)),
        FusedDepth(fused.log_depth + float(np.log(shift)), fused.sigma),
        covariance,
        pose_notices(options.poses, known, turns_only=False),
    )


def halo_px(width: int) -> int:
    """Reach of the blur of flow, pixels."""
    return max(1, round(HALO * width / 2))


def sharp_step(size: tuple[int, int]) -> int:
    """Which pixels of an image are taken: every so-manieth."""
    return max(1, round(math.sqrt(size[0] * size[1] / SHARP_SAMPLES)))


def sharp_problem(
    pairs: Pairs,
    keep: Bool[np.ndarray, " edges"],
    grid: PairGrid,
    fused: FusedDepth,
    static: Float[Tensor, "frames samples"],
    flat: Float[Tensor, "frames height width"],
    sigma_px: float,
) -> Problem:
    """Flow on static pixels away from depth edges, and the depth of the pointmaps as prior.

    Args:
        pairs: The predictions.
        keep: Pairs that are used.
        grid: The same ones on the grid of the loop.
        fused: Depth of every pixel of every frame.
        static: Weight 1 - M on the grid; a pixel counts where all samples around it do.
        flat: Weight of flow where surfaces bend.
        sigma_px: Of the flow that is used.
    """
    (width, height), step = pairs.size, sharp_step(pairs.size)
    every = slice(step // 2, None, step)

    def taken(maps: Tensor) -> Tensor:
        return maps.reshape(-1, height, width)[:, every, every].flatten(1)

    uv = pixel_centres(width, height, step, static.device)
    moved, back, inside = thin_flow(pairs, keep, uv, step, static.device)
    certain = enlarge_map(grid.maps(static), (height, width)) > 0.999  # 1 but for rounding
    prior = FusedDepth(taken(fused.log_depth), taken(fused.sigma))
    return slot_problem(
        grid.edges,
        uv,
        moved + uv,
        consistency(moved, back, inside, grid.flow_sigma_px),
        taken(certain.to(flat) * flat),
        prior,
        sigma_px / correlation(uv.shape[1]),
    )
