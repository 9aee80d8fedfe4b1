"""Levenberg-Marquardt on cameras, focal length and inverse depth, with the depth eliminated sample by sample.

The Schur complement of a frame's depths is one small dense product in its local block (`recon4d.optim.normal`). The
blocks add up to a banded reduced camera system (frames are coupled only with frames nearby), bordered by the focal
length where it is shared, so that the cost of a step grows linearly with the number of frames.
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
    FOCAL_WALK_PX,
    Freedom,
    Local,
    SolveOptions,
    acceleration,
    focal_error,
    focal_walk,
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
    layout = _Layout.of(problem, options)
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
    focal_gradient: Float[np.ndarray, " focals"]
    """Of every frame, or of the one that all share."""
    depth_gradient: Float[Tensor, "frames samples"]


def normal_equations(
    problem: Problem, state: State, freedom: Freedom, options: SolveOptions
) -> NormalEquations:
    """Gradient of the objective by pose twists, log focal and inverse depth."""
    local, layout = linearise(problem, state, freedom, options), _Layout.of(problem, options)
    band, cameras = layout.band(local.hessian), layout.vector(local.gradient)
    _add_smoothness(band, cameras, layout, problem, state, freedom, options)
    focal = local.gradient[:, -1:].sum(0) + options.focal_px**2 * focal_error(state, options)
    if options.has_own_focals:
        _add_focal_walk(band, cameras, state, freedom, options)
        focal = torch.from_numpy(cameras.reshape(-1, 7)[:, 6])
    twists = cameras.reshape(-1, layout.camera)[:, :6].flatten()
    return NormalEquations(twists, np.asarray(focal), local.depth_gradient)


@dataclass(frozen=True)
class _Layout:
    """Where the local blocks go in the banded matrix."""

    columns: Int64[Tensor, "frames block"]
    """Column of each unknown of the cameras of a local block (own, partners)."""
    camera: int
    """Unknowns per camera."""
    bandwidth: int
    """Sub-diagonals of the reduced camera system."""
    size: int

    @classmethod
    def of(cls, problem: Problem, options: SolveOptions) -> "_Layout":
        camera = 7 if options.has_own_focals else 6
        own = torch.arange(problem.num_frames, device=problem.partners.device)[:, None]
        frames = torch.cat((own, problem.partners), dim=1)
        span = int((frames.amax(1) - frames.amin(1)).max())
        unknowns = torch.arange(camera, device=frames.device)
        return cls(
            columns=(camera * frames[..., None] + unknowns).flatten(1),
            camera=camera,
            bandwidth=camera * span + camera - 1,
            size=camera * problem.num_frames,
        )

    def band(
        self, blocks: Float[Tensor, "frames block block"]
    ) -> Float[np.ndarray, "rows columns"]:
        """Sum of the cameras' parts of local matrices, in LAPACK's lower banded storage."""
        block = self.columns.shape[1]
        row = self.columns[:, :, None].expand(-1, -1, block)
        column = self.columns[:, None, :].expand(-1, block, -1)
        keep = row >= column
        flat = (row - column)[keep] * self.size + column[keep]
        band = blocks.new_zeros((self.bandwidth + 1) * self.size)
        band.index_add_(0, flat, blocks[:, :block, :block][keep])
        return np.asarray(band.reshape(self.bandwidth + 1, self.size).cpu())

    def vector(self, blocks: Float[Tensor, "frames block"]) -> Float[np.ndarray, " columns"]:
        """Sum of the cameras' parts of local vectors."""
        out = blocks.new_zeros(self.size)
        out.index_add_(0, self.columns.flatten(), blocks[:, : self.columns.shape[1]].flatten())
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
    diagonal = layout.vector(local.hessian.diagonal(dim1=1, dim2=2))
    _add_smoothness(band, rhs, layout, problem, state, freedom, options)
    if options.has_own_focals:
        _add_focal_walk(band, rhs, state, freedom, options)
    fixed = ~freedom.cameras(options.has_own_focals).flatten().cpu().numpy()
    band[0] += damping * diagonal + np.where(fixed | (band[0] <= 0), 1.0, 1e-9)
    border = None
    if options.free_focal and options.shared_focal:
        information = options.focal_px**2
        border = _Border(
            column=layout.vector(reduced[:, :, -1]),
            corner=float(reduced[:, -1, -1].sum()) * (1 + damping) + information,
            slope=float(gradient[:, -1].sum()) + information * focal_error(state, options),
        )
    camera_step, shared_step = _solve_bordered(band, rhs, border)

    delta = torch.from_numpy(camera_step).to(state.cam_from_world)
    block = delta[layout.columns]
    shared = block.new_full((len(block), 7 - layout.camera), shared_step)
    block = torch.cat((block, shared), dim=1).to(local.coupling.dtype)
    delta = delta.reshape(-1, layout.camera)
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
    layout: _Layout,
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
            ja, at = factors[a] * jac[k + a], layout.camera * (k + a) + 3
            rhs[at : at + 3] += weight * ja.T @ second
            for b in range(a + 1):
                product = weight * ja.T @ (factors[b] * jac[k + b])
                left = layout.camera * (k + b) + 3
                row, column = np.mgrid[at : at + 3, left : left + 3]
                lower = row >= column
                band[(row - column)[lower], column[lower]] += product[lower]


def _add_focal_walk(
    band: Float[np.ndarray, "rows columns"],
    rhs: Float[np.ndarray, " columns"],
    state: State,
    freedom: Freedom,
    options: SolveOptions,
) -> None:
    """Add what is expected of frames' own focal lengths to the reduced system, in place."""
    usual, steps = (residuals.cpu().numpy() for residuals in focal_walk(state, options))
    free = freedom.cameras(own_focal=True)[:, 6].cpu().numpy().astype(np.float64)
    before, after = slice(6, -7, 7), slice(13, None, 7)
    usual_px = options.focal_px / len(usual) ** 0.5
    rhs[6::7] += usual_px * usual * free
    band[0, 6::7] += usual_px**2 * free
    rhs[before] -= FOCAL_WALK_PX * steps * free[:-1]
    rhs[after] += FOCAL_WALK_PX * steps * free[1:]
    band[0, before] += FOCAL_WALK_PX**2 * free[:-1]
    band[0, after] += FOCAL_WALK_PX**2 * free[1:]
    band[7, before] -= FOCAL_WALK_PX**2 * free[:-1] * free[1:]
