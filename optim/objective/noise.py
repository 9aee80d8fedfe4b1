"""How exact flow is: the numbers that say so, and the scale of the robust kernel from the noise that flow shows itself.

Each answers another question. How far is one good measurement off (`FLOW_SIGMA_PX`)? How exact can the mean of a
pixel's edges be at best (`MEAN_SIGMA_PX`)? How far may a static pixel be off a prediction that is itself in error
(`STATIC_SIGMA_PX`, `STATIC_SIGMA_SLOPE`)? Does an edge vote for a depth (`AGREES_PX`)? Do flow and reverse flow
contradict each other (`CONSISTENCY_PX` and `CONSISTENCY_SLOPE` of `recon4d.flow.dis`)? How wide is the robust kernel
(at most `kernel_px` of `recon4d.optim.setting`, which `noise_kernel_px` narrows)? Networks' pairs tell the noise of
their own flow (`flow_sigma_px` of `recon4d.optim.pairwise.grid`; `FLOW_FACTOR` and `FLOW_SLOPE` of
`recon4d.optim.pairwise.motion`).
"""

import torch

from recon4d.optim.objective.flow_term import flow_term
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.unknowns import State

FLOW_SIGMA_PX = 0.2
"""Standard deviation of one good flow measurement per axis, pixels (DIS on textured surfaces): the unit in which known
depth and given poses are weighed against the flow, and from which the samples' stated uncertainty follows. Set by
hand."""
MEAN_SIGMA_PX = 0.15
"""Least standard deviation of flow that a pixel's spread over its edges is taken for, pixels: smaller residuals add no
certainty. It bounds a mean from below, so it is less than `FLOW_SIGMA_PX`. Set by hand."""
STATIC_SIGMA_PX = 0.35
"""Standard deviation of the flow of static textured pixels around the static prediction, pixels ..."""
STATIC_SIGMA_SLOPE = 0.015
"""... and how it grows with the displacement. More than `FLOW_SIGMA_PX`: cameras and depth, which predict it, are off,
too, and what is less must be no evidence for motion. Set by hand."""
AGREES_PX = 1.0
"""An edge agrees with a pixel's inverse depth when its flow is met within this many pixels: five `FLOW_SIGMA_PX`, so
that it is right or grossly wrong. Set by hand."""
CAUCHY_SIGMAS = 2.385
"""Kernel over standard deviation at which Cauchy's estimate keeps 95 % of the efficiency of least squares on normal
errors (Rey, Introduction to Robust and Quasi-Robust Statistical Methods, 1983)."""
RAYLEIGH_MEDIAN = 1.1774
"""Median length of a residual in the plane over the standard deviation of each of its coordinates:
sqrt(2 log 2)."""
SURE = 0.5
"""Weight above which a measurement takes part in the estimate."""
SMALLEST_PX = 0.1
"""Flow is stored in half precision, in steps of up to 1/16 px: a finer kernel would fit to the rounding."""


def noise_kernel_px(problem: Problem, state: State, largest_px: float) -> float:
    """Scale of the kernel for the last optimization, pixels: that of the noise, where this is less than `largest_px`.

    A kernel as wide as the worst flow gives weight to residuals that good flow calls outliers.

    Args:
        problem: Measurements, with weights of static pixels.
        state: Near the minimum: its median residual is taken for noise.
        largest_px: Never more than this.
    """
    medians = []
    for frame in range(problem.num_frames):
        squared = flow_term(problem, state, frame).squared()
        sure = squared[problem.weight[frame] > SURE]
        if len(sure):
            medians.append(sure.median().sqrt())
    if not medians:
        return largest_px
    sigma_px = float(torch.stack(medians).median()) / RAYLEIGH_MEDIAN
    return min(largest_px, max(SMALLEST_PX, CAUCHY_SIGMAS * sigma_px))
