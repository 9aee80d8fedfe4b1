"""The scale of the robust kernel, from the noise that the flow shows itself."""

import torch

from recon4d.optim.objective.flow_term import flow_term
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.unknowns import State

CAUCHY_SIGMAS = 2.385
"""Kernel over standard deviation at which Cauchy's estimate keeps 95 % of the efficiency of least squares on normal
errors (Rey, Introduction to Robust and Quasi-Robust Statistical Methods, 1983)."""
RAYLEIGH_MEDIAN = 1.1774
"""Median length of a residual in the plane over the standard deviation of each of its coordinates."""
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
