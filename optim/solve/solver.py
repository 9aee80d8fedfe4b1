"""Levenberg-Marquardt on cameras, focal length and inverse depth, with the depth eliminated sample by sample.

The Schur complement of a frame's depths is one small dense product in its local block
(`recon4d.optim.objective.normal_equations`). The blocks add up to a banded reduced camera system (frames are coupled
only with frames nearby), bordered by the focal length where it is shared, so that the cost of a step grows linearly
with the number of frames.

Numbers here that name no source were set by hand.
"""

import logging
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from recon4d.core.errors import DegenerateError, DivergedError
from recon4d.core.geometry import exp_se3, orthonormal
from recon4d.optim.objective.normal_equations import Local, SolveOptions, linearise
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.unknowns import Freedom, State
from recon4d.optim.solve.band import MAX_FOCAL_STEP, Layout, Reduced

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 8
"""Dampings that are tried for one step, each ten times the one before."""
MIN_RELATIVE_INVERSE_DEPTH = 1e-3
"""Inverse depth stays above this part of the prior's median: farther is infinity for every purpose here."""


def solve(problem: Problem, start: State, freedom: Freedom, options: SolveOptions) -> State:
    """Minimise the robust objective from a start, on the device of the problem.

    The host waits for the device once per attempt: for its cost, which decides what happens next.

    Raises:
        DegenerateError: No measurement has any weight.
        DivergedError: The cost of the start is not finite.
    """
    if float(problem.weight.sum()) <= 0:
        raise DegenerateError(
            "no flow measurement on static pixels is left to align the cameras; use a video with more texture, "
            "or masks that leave a part of every frame static"
        )
    layout = Layout.of(problem, options)
    state, damping = start, options.initial_damping
    local = linearise(problem, state, freedom, options)
    cost = float(local.cost)
    if not np.isfinite(cost):
        raise DivergedError(
            "the flow term is not finite at step 0; the start of the optimization is broken"
        )
    for step in range(options.max_steps):
        for _ in range(MAX_ATTEMPTS):  # raise the damping until the step lowers the cost
            trial, tried = attempt(problem, local, state, freedom, options, damping, layout)
            tried_cost = float(tried.cost)
            if tried_cost <= cost:  # not so where it is NaN
                break
            damping *= 10
        else:
            break
        gain = (cost - tried_cost) / max(cost, 1e-12)
        state, local, cost, damping = trial, tried, tried_cost, max(damping * 0.2, 1e-7)
        logger.debug("step %d: cost %.6g, damping %.1g", step, cost, damping)
        if gain < options.relative_tolerance:
            break
    return state


def attempt(
    problem: Problem,
    local: Local,
    state: State,
    freedom: Freedom,
    options: SolveOptions,
    damping: float,
    layout: Layout,
) -> tuple[State, Local]:
    """One iteration: a damped Gauss-Newton step, and the normal equations where it leads.

    Nothing in it makes the host wait for the device. Where rounding (float32) leaves the reduced system indefinite, the
    cost is NaN.
    """
    trial = _step(problem, local, state, freedom, options, damping, layout)
    return trial, linearise(problem, trial, freedom, options)


def _step(
    problem: Problem,
    local: Local,
    state: State,
    freedom: Freedom,
    options: SolveOptions,
    damping: float,
    layout: Layout,
) -> State:
    system, inverse, gains = reduce(local, freedom, layout, damping)
    system = system.with_terms(problem, local.terms, freedom, layout)
    fixed = ~freedom.cameras(options.has_own_focals).flatten()
    camera_step, shared_step = system.solved(fixed, damping, options.has_shared_focal)
    block = camera_step[layout.columns]
    shared = shared_step.expand(len(block), 7 - layout.camera)
    block = torch.cat((block, shared), dim=1).to(local.coupling.dtype)
    delta = camera_step.reshape(-1, layout.camera)
    focal_step = shared_step + delta[:, 6:].sum(1, keepdim=True).clamp(
        -MAX_FOCAL_STEP, MAX_FOCAL_STEP
    )
    gain_step = gains.step(block.to(torch.float64))
    push = (block[:, None] @ local.coupling)[:, 0]
    push = push + gain_step[:, None].to(push) * local.gain.coupling
    depth_step = -(local.depth_gradient + push) * inverse
    floor = MIN_RELATIVE_INVERSE_DEPTH * problem.prior_inverse_depth
    scale = torch.ones_like(state.intrinsics)
    scale[:, :2] = focal_step.exp()
    return replace(
        state,
        cam_from_world=orthonormal(exp_se3(delta[:, :6]) @ state.cam_from_world),
        inverse_depth=torch.maximum(state.inverse_depth + depth_step, floor),
        intrinsics=state.intrinsics * scale,
        log_gain=None if state.log_gain is None else state.log_gain + gain_step,
    )


def reduce(
    local: Local, freedom: Freedom, layout: Layout, damping: float = 0.0
) -> tuple[Reduced, Float[Tensor, "frames samples"], "_Gains"]:
    """Schur complement of the cameras: depths and gains are eliminated.

    Returns:
        What measurements say of the cameras, the inverse of the depths' damped Hessian (0 where they are held), and
        what gives the gains back.
    """
    damped = local.depth_hessian * (1 + damping)
    inverse = torch.where(
        freedom.depth[:, None] & (damped > 0), 1 / damped.clamp_min(1e-30), torch.zeros_like(damped)
    )
    scaled = local.coupling * inverse[:, None]
    hessian = local.hessian - (scaled @ local.coupling.transpose(1, 2)).to(torch.float64)
    gradient = local.gradient - (scaled @ local.depth_gradient[..., None])[..., 0].to(torch.float64)
    gains = _Gains.of(local, scaled, inverse, damping)
    hessian, gradient = gains.eliminated(hessian, gradient)
    diagonal = local.hessian.diagonal(dim1=1, dim2=2)
    return Reduced.of(hessian, gradient, diagonal, layout), inverse, gains


@dataclass(frozen=True)
class _Gains:
    """The log gains of the depth priors after the depths are eliminated: one scalar in every frame's local block."""

    pivot: Float[Tensor, " frames"]
    slope: Float[Tensor, " frames"]
    row: Float[Tensor, "frames block"]

    @classmethod
    def of(
        cls,
        local: Local,
        scaled: Float[Tensor, "frames block samples"],
        inverse: Float[Tensor, "frames samples"],
        damping: float,
    ) -> "_Gains":
        coupling = local.gain.coupling
        through = coupling * inverse
        taken = (through * coupling).sum(1, dtype=torch.float64)
        return cls(
            pivot=local.gain.hessian * (1 + damping) - taken,
            slope=local.gain.gradient
            - (through * local.depth_gradient).sum(1, dtype=torch.float64),
            row=-(scaled @ coupling[..., None])[..., 0].to(torch.float64),
        )

    def eliminated(
        self, hessian: Float[Tensor, "frames block block"], gradient: Float[Tensor, "frames block"]
    ) -> tuple[Float[Tensor, "frames block block"], Float[Tensor, "frames block"]]:
        """Local blocks without the gains."""
        part = self.row / self.pivot[:, None]
        return (
            hessian - part[:, :, None] * self.row[:, None],
            gradient - part * self.slope[:, None],
        )

    def step(self, block: Float[Tensor, "frames block"]) -> Float[Tensor, " frames"]:
        """Steps of the gains that belong to those of the local blocks."""
        return -(self.slope + (self.row * block).sum(1)) / self.pivot
