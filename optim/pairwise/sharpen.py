"""The last steps of the cameras: more samples of flow, and the depth of the pointmaps at every pixel as prior.

The loop of masks and optimisation needs few samples to find what is static. The focal length and the directions of
short paths need many: flow of 768 samples per frame tells the focal length of a short path to 0.2 %, that of all pixels
to 0.05 %, while the pointmaps of 190 pairs, whose lateral scales are off by 1.5 % each, tell it to 0.1 %. Errors of
pointmaps, though, are smooth over the image, and do not average over samples.
"""

import math

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from recon4d.optim.objective.problem import Problem
from recon4d.optim.pairwise.depth import FusedDepth
from recon4d.optim.pairwise.grid import PairGrid, consistency, pixel_centres, thin_flow
from recon4d.optim.pairwise.pairs import Pairs
from recon4d.optim.pairwise.problem import correlation, enlarge_map, slot_problem

SHARP_SAMPLES = 3072
"""Samples per frame: 64 x 48. They halve the error of the cameras that 32 x 24 leave, at twice the time of a stage."""


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
