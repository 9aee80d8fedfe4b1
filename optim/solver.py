"""Levenberg-Marquardt on cameras, focal length and inverse depth, with the depth eliminated sample by sample.

The Schur complement of a frame's depths is one small dense product in its local block (`recon4d.optim.normal`). The
blocks add up to a banded reduced camera system (frames are coupled only with frames nearby), bordered by the focal
length, so that the cost of a step grows linearly with the number of frames.
"""

import logging
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy.linalg import cho_solve_banded, cholesky_banded
from torch import Tensor

from recon4d.errors import DegenerateError, DivergedError
from recon4d.geometry import exp_se3, orthonormal
from recon4d.optim.normal import (
    Freedom,
    Local,
    SolveOptions,
    acceleration,
    focal_error,
    linearise,
)
from recon4d.optim.problem import Problem
from recon4d.optim.state import State

logger = logging.getLogger(__name__)

MAX_FOCAL_STEP = 0.2
"""Largest change of the log focal in one step."""

MIN_RELATIVE_INVERSE_DEPTH = 1e-3
"""Inverse depth stays above this part of the prior's median: farther is infinity for every purpose here."""


def solve(problem: Problem, start: State, freedom: Freedom, options: SolveOptions) -> State:
    """Minimise the robust objective from a start.

    Raises:
        DegenerateError: No measurement has any weight.
        DivergedError: The cost of the start, or every damped step from a state, is not finite.
    """
    if float(problem.weight.sum()) <= 0:
        raise DegenerateError(
            "no flow measurement on static pixels is left to align the cameras; use a video with more texture, "
            "or masks that leave a part of every frame static"
        )
    layout = _Layout.of(problem)
    state, damping = start, options.initial_damping
    local = linearise(problem, state, freedom, options)
    if not np.isfinite(local.cost):
        raise DivergedError(
            "the flow term is not finite at step 0; the start of the optimization is broken"
        )
    for step in range(options.max_steps):
        trial, better = state, None
        for _ in range(8):  # raise the damping until the step lowers the cost
            trial = _step(problem, local, state, freedom, options, damping, layout)
            tried = linearise(problem, trial, freedom, options)
            if np.isfinite(tried.cost) and tried.cost <= local.cost:
                better = tried
                break
            damping *= 10
        if better is None:
            break
        gain = (local.cost - better.cost) / max(local.cost, 1e-12)
        state, local, damping = trial, better, max(damping * 0.2, 1e-7)
        logger.debug("step %d: cost %.6g, damping %.1g", step, local.cost, damping)
        if gain < options.relative_tolerance:
            break
    return state


@dataclass(frozen=True)
class NormalEquations:
    """The gradient of the objective, for checks: what a step is computed from."""

    pose_gradient: Float[np.ndarray, " twists"]
    focal_gradient: float
    depth_gradient: Float[Tensor, "frames samples"]


def normal_equations(
    problem: Problem, state: State, freedom: Freedom, options: SolveOptions
) -> NormalEquations:
    """Gradient of the objective by pose twists, log focal and inverse depth."""
    local, layout = linearise(problem, state, freedom, options), _Layout.of(problem)
    band, pose = layout.band(local.hessian), layout.vector(local.gradient)
    _add_smoothness(band, pose, problem, state, freedom, options)
    focal = float(local.gradient[:, -1].sum()) + options.focal_px**2 * focal_error(state, options)
    return NormalEquations(pose, focal, local.depth_gradient)


@dataclass(frozen=True)
class _Layout:
    """Where the local blocks go in the banded matrix."""

    columns: Int64[Tensor, "frames block_poses"]
    """First column of the pose of each local slot (own, partners)."""
    bandwidth: int
    """Sub-diagonals of the reduced camera system."""
    size: int

    @classmethod
    def of(cls, problem: Problem) -> "_Layout":
        own = torch.arange(problem.num_frames, device=problem.partners.device)[:, None]
        frames = torch.cat((own, problem.partners), dim=1)
        span = int((frames.amax(1) - frames.amin(1)).max())
        return cls(columns=frames * 6, bandwidth=6 * span + 5, size=6 * problem.num_frames)

    def band(
        self, blocks: Float[Tensor, "frames block block"]
    ) -> Float[np.ndarray, "rows columns"]:
        """Sum of the pose parts of local matrices, in LAPACK's lower banded storage."""
        index = (self.columns[..., None] + torch.arange(6, device=blocks.device)).flatten(1)
        block = index.shape[1]
        row = index[:, :, None].expand(-1, -1, block)
        column = index[:, None, :].expand(-1, block, -1)
        keep = row >= column
        flat = (row - column)[keep] * self.size + column[keep]
        band = blocks.new_zeros((self.bandwidth + 1) * self.size)
        band.index_add_(0, flat, blocks[:, :-1, :-1][keep])
        return np.asarray(band.reshape(self.bandwidth + 1, self.size).cpu())

    def vector(self, blocks: Float[Tensor, "frames block"]) -> Float[np.ndarray, " columns"]:
        """Sum of the pose parts of local vectors."""
        index = (self.columns[..., None] + torch.arange(6, device=blocks.device)).flatten(1)
        out = blocks.new_zeros(self.size)
        out.index_add_(0, index.flatten(), blocks[:, :-1].flatten())
        return np.asarray(out.cpu())


def _step(
    problem: Problem,
    local: Local,
    state: State,
    freedom: Freedom,
    options: SolveOptions,
    damping: float,
    layout: _Layout,
) -> State:
    """One damped Gauss-Newton step."""
    free_depth = freedom.depth[:, None]
    damped = local.depth_hessian * (1 + damping)
    inverse = torch.where(
        free_depth & (damped > 0), 1 / damped.clamp_min(1e-30), torch.zeros_like(damped)
    )
    scaled = local.coupling * inverse[:, None]
    reduced = local.hessian - (scaled @ local.coupling.transpose(1, 2)).to(torch.float64)
    gradient = local.gradient - (scaled @ local.depth_gradient[..., None])[..., 0].to(torch.float64)
    gains = _Gains.of(local, scaled, inverse, damping)
    reduced, gradient = gains.eliminated(reduced, gradient)
    band, rhs = layout.band(reduced), layout.vector(gradient)
    diagonal = layout.vector(
        torch.cat((local.hessian.diagonal(dim1=1, dim2=2)[:, :-1], gradient[:, -1:]), 1)
    )
    _add_smoothness(band, rhs, problem, state, freedom, options)
    fixed = ~freedom.twists().flatten().cpu().numpy()
    band[0] += damping * diagonal + np.where(fixed | (band[0] <= 0), 1.0, 1e-9)
    border = None
    if options.free_focal:
        information = options.focal_px**2
        border = _Border(
            column=layout.vector(torch.cat((reduced[:, :-1, -1], gradient[:, -1:]), 1)),
            corner=float(reduced[:, -1, -1].sum()) * (1 + damping) + information,
            slope=float(gradient[:, -1].sum()) + information * focal_error(state, options),
        )
    pose_step, focal_step = _solve_bordered(band, rhs, border)

    delta = torch.from_numpy(pose_step.reshape(-1, 6)).to(state.cam_from_world)
    block = delta[layout.columns // 6].flatten(1)
    block = torch.cat((block, block.new_full((len(block), 1), focal_step)), dim=1).to(
        local.coupling.dtype
    )
    gain_step = gains.step(block.to(torch.float64))
    push = (block[:, None] @ local.coupling)[:, 0]
    push = push + gain_step[:, None].to(push) * local.gain.coupling
    depth_step = -(local.depth_gradient + push) * inverse
    floor = MIN_RELATIVE_INVERSE_DEPTH * problem.prior_inverse_depth
    scale = torch.ones(4, dtype=torch.float64, device=delta.device)
    scale[:2] = float(np.exp(focal_step))
    return replace(
        state,
        cam_from_world=orthonormal(exp_se3(delta) @ state.cam_from_world),
        inverse_depth=torch.maximum(state.inverse_depth + depth_step, floor),
        intrinsics=state.intrinsics * scale,
        log_gain=None if state.log_gain is None else state.log_gain + gain_step,
    )


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


@dataclass(frozen=True)
class _Border:
    """Row and column of the log focal in the reduced system."""

    column: Float[np.ndarray, " columns"]
    corner: float
    slope: float


def _solve_bordered(
    band: Float[np.ndarray, "rows columns"],
    rhs: Float[np.ndarray, " columns"],
    border: _Border | None,
) -> tuple[Float[np.ndarray, " columns"], float]:
    """Steps of the poses and of the log focal (by block elimination; 0 where it is known)."""
    factor = cholesky_banded(band, lower=True, check_finite=False)
    if border is None:
        return np.asarray(-cho_solve_banded((factor, True), rhs, check_finite=False)), 0.0
    both = cho_solve_banded((factor, True), np.stack((rhs, border.column), 1), check_finite=False)
    pivot = max(border.corner - float(border.column @ both[:, 1]), 1e-12)
    focal = -(border.slope - float(border.column @ both[:, 0])) / pivot
    focal = float(np.clip(focal, -MAX_FOCAL_STEP, MAX_FOCAL_STEP))
    return np.asarray(-both[:, 0] - focal * both[:, 1]), focal


def _add_smoothness(
    band: Float[np.ndarray, "rows columns"],
    rhs: Float[np.ndarray, " columns"],
    problem: Problem,
    state: State,
    freedom: Freedom,
    options: SolveOptions,
) -> None:
    """Add the smoothness of the camera's path to the reduced system, in place."""
    if options.smoothness == 0 or len(state.cam_from_world) < 3:
        return
    weight, second_differences = acceleration(problem, state, options)
    rotation = state.cam_from_world[:, :3, :3]
    # the centre moves by -R^T v for the translation part v of a left twist
    free = freedom.twists()[:, None, 3:]
    jac = (-rotation.transpose(1, 2) * free).cpu().numpy()
    factors = (1.0, -2.0, 1.0)
    for k, second in enumerate(second_differences.cpu().numpy()):
        for a in range(3):
            ja = factors[a] * jac[k + a]
            rhs[6 * (k + a) + 3 : 6 * (k + a) + 6] += weight * ja.T @ second
            for b in range(a + 1):
                product = weight * ja.T @ (factors[b] * jac[k + b])
                row, column = np.mgrid[
                    6 * (k + a) + 3 : 6 * (k + a) + 6, 6 * (k + b) + 3 : 6 * (k + b) + 6
                ]
                lower = row >= column
                band[(row - column)[lower], column[lower]] += product[lower]
