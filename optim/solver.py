"""Levenberg-Marquardt on cameras, focal length and inverse depth, with the depth eliminated sample by sample.

Every frame n has its own local block of unknowns: its pose, the poses of its partners, and the shared log focal. Its
samples couple only those, so the Schur complement of its depths is one small dense product per frame. The local blocks
add up to a banded reduced camera system (frames are coupled only with frames nearby), bordered by the focal length.
Residuals and Jacobians are computed in float32, sums in float64; memory is bounded by chunks of frames.
"""

import logging
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from scipy.linalg import cho_solve_banded, cholesky_banded
from torch import Tensor

from recon4d.errors import DegenerateError, DivergedError
from recon4d.geometry import adjoint_se3, exp_se3, invert_rigid
from recon4d.optim.problem import Problem
from recon4d.optim.terms import cauchy_weight, depth_prior, flow_consistency

logger = logging.getLogger(__name__)

CHUNK_RESIDUALS = 400_000
"""Flow residuals that are linearised at once: about 100 MB of temporaries."""
BEHIND_PX = 20.0
"""Residual charged to a sample that lies behind its partner's camera, pixels: large, but it gives no step."""
PRIOR_KERNEL_PX = 2.0
"""Scale of the Cauchy kernel on the weighted depth prior: sensors are far off at depth edges."""
FOCAL_PRIOR_PX = 10.0
"""Cost of a focal length that is e times the usual one, as one residual in pixels: decides only where data does not."""
MIN_RELATIVE_INVERSE_DEPTH = 1e-3
"""Inverse depth stays above this part of the prior's median: farther is infinity for every purpose here."""


@dataclass(frozen=True)
class State:
    """What the optimizer varies."""

    cam_from_world: Float[Tensor, "frames 4 4"]
    """float64."""
    inverse_depth: Float[Tensor, "frames samples"]
    intrinsics: Float[Tensor, "4"]
    """float64 (fx, fy, cx, cy) in pixels; fx and fy vary by a common factor, the centre is fixed."""


@dataclass(frozen=True, kw_only=True)
class SolveOptions:
    """How one optimization runs."""

    kernel_px: float
    """Scale of the Cauchy kernel on flow residuals, pixels."""
    max_steps: int = 15
    relative_tolerance: float = 1e-4
    """Stop when a step lowers the cost by less than this part of it."""
    free_focal: bool = False
    usual_focal_px: float = 0.0
    """Focal length that a free focal is weakly drawn to."""
    smoothness: float = 0.0
    """Weight of the camera's acceleration, seen at the median depth, in pixels per pixel."""
    initial_damping: float = 1e-4


@dataclass(frozen=True)
class Freedom:
    """Which unknowns may move."""

    pose: Bool[Tensor, " frames"]
    depth: Bool[Tensor, " frames"]

    @classmethod
    def all_but_first(cls, num_frames: int, device: torch.device) -> "Freedom":
        """Everything but the first pose, which holds the world frame."""
        pose = torch.ones(num_frames, dtype=torch.bool, device=device)
        pose[0] = False
        return cls(pose, torch.ones_like(pose))


@dataclass(frozen=True)
class _Local:
    """Normal equations of every frame's local block: own pose, partners' poses, log focal."""

    hessian: Float[Tensor, "frames block block"]
    gradient: Float[Tensor, "frames block"]
    coupling: Float[Tensor, "frames samples block"]
    depth_hessian: Float[Tensor, "frames samples"]
    depth_gradient: Float[Tensor, "frames samples"]
    cost: float


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
    local = _linearise(problem, state, freedom, options)
    if not np.isfinite(local.cost):
        raise DivergedError("the flow term is not finite at step 0; the start of the optimization is broken")
    for step in range(options.max_steps):
        trial, better = state, None
        for _ in range(8):  # raise the damping until the step lowers the cost
            trial = _step(problem, local, state, freedom, options, damping, layout)
            tried = _linearise(problem, trial, freedom, options)
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


def objective(problem: Problem, state: State, options: SolveOptions) -> float:
    """Value of the robust objective at a state."""
    freedom = Freedom.all_but_first(problem.num_frames, problem.weight.device)
    return _linearise(problem, state, freedom, options).cost


def depth_information(problem: Problem, state: State, options: SolveOptions) -> Float[Tensor, "frames samples"]:
    """What the flow says of each inverse depth with the cameras fixed: sum of w (d px / d rho)^2."""
    freedom = Freedom.all_but_first(problem.num_frames, problem.weight.device)
    without_prior = replace(problem, prior_weight=torch.zeros_like(problem.prior_weight))
    return _linearise(without_prior, state, freedom, options).depth_hessian


def _linearise(problem: Problem, state: State, freedom: Freedom, options: SolveOptions) -> _Local:
    slots, samples = problem.weight.shape[1:]
    size = max(1, CHUNK_RESIDUALS // max(1, slots * samples))
    parts = [
        _linearise_chunk(problem, state, freedom, options, slice(first, first + size))
        for first in range(0, problem.num_frames, size)
    ]
    return _Local(
        hessian=torch.cat([p.hessian for p in parts]),
        gradient=torch.cat([p.gradient for p in parts]),
        coupling=torch.cat([p.coupling for p in parts]),
        depth_hessian=torch.cat([p.depth_hessian for p in parts]),
        depth_gradient=torch.cat([p.depth_gradient for p in parts]),
        cost=sum(p.cost for p in parts)
        + _smoothness_cost(state, options)
        + 0.5 * (FOCAL_PRIOR_PX * _focal_error(state, options)) ** 2,
    )


def _linearise_chunk(
    problem: Problem, state: State, freedom: Freedom, options: SolveOptions, frames: slice
) -> _Local:
    partners = problem.partners[frames]
    rho = state.inverse_depth[frames]
    own = torch.arange(problem.num_frames, device=rho.device)[frames]
    target_from_source = state.cam_from_world[partners] @ invert_rigid(state.cam_from_world[own])[:, None]
    term = flow_consistency(
        problem.samples_px[frames][:, None],
        problem.targets_px[frames],
        rho[:, None],
        target_from_source.to(rho.dtype),
        state.intrinsics.to(rho.dtype),
    )
    squared = (term.residual_px**2).sum(-1)
    kernel, slope = cauchy_weight(squared, options.kernel_px)
    behind = cauchy_weight(squared.new_tensor(BEHIND_PX**2), options.kernel_px)[0]
    base = problem.weight[frames]
    cost = (base * torch.where(term.in_front > 0, kernel, behind)).sum(dtype=torch.float64)
    weight = base * slope * term.in_front

    prior, prior_slope = depth_prior(rho, problem.prior_inverse_depth[frames].clamp_min(1e-12))
    information = problem.prior_weight[frames] ** 2
    prior_cost, prior_kernel = cauchy_weight(information * prior**2, PRIOR_KERNEL_PX)
    cost = cost + prior_cost.sum(dtype=torch.float64)
    information = information * prior_kernel

    adjoint = adjoint_se3(target_from_source)
    return _assemble(term, weight, information, prior, prior_slope, adjoint, freedom, partners, own, float(cost))


def _assemble(
    term, weight, information, prior, prior_slope, adjoint, freedom, partners, own, cost
) -> _Local:
    frames, slots, samples = weight.shape
    rows = weight.new_tensor(())
    del rows
    wide = torch.float64
    pose = term.by_pose.flatten(2, 3)  # frames slots 2*samples 6
    weight2 = weight[..., None].expand(-1, -1, -1, 2).flatten(2)  # the two components share a weight
    weighted = (pose * weight2[..., None]).to(wide)
    residual = term.residual_px.flatten(2).to(wide)
    focal = term.by_log_focal.flatten(2).to(wide)
    pose = pose.to(wide)
    # per slot: twist of target_from_source
    h_rel = weighted.transpose(-1, -2) @ pose
    g_rel = (weighted.transpose(-1, -2) @ residual[..., None])[..., 0]
    f_rel = (weighted.transpose(-1, -2) @ focal[..., None])[..., 0]
    c_rel = (term.by_pose * (term.by_inverse_depth * weight[..., None])[..., None]).sum(-2)  # frames slots samples 6
    # to the poses of partner (identity) and own frame (-adjoint)
    free_partner = freedom.pose[partners].to(wide)
    free_own = freedom.pose[own].to(wide)
    block = 6 * (slots + 1) + 1
    hessian = weight.new_zeros((frames, block, block), dtype=wide)
    gradient = weight.new_zeros((frames, block), dtype=wide)
    coupling = weight.new_zeros((frames, samples, block))
    own_j = -adjoint * free_own[:, None, None, None]  # twist by own pose
    to_own = own_j.transpose(-1, -2)
    h_rel_p = h_rel * free_partner[..., None, None]
    hessian[:, :6, :6] = (to_own @ h_rel @ own_j).sum(1)
    cross = to_own @ h_rel_p  # own x partner
    gradient[:, :6] = (to_own @ g_rel[..., None])[..., 0].sum(1)
    hessian[:, :6, -1] = (to_own @ f_rel[..., None])[..., 0].sum(1)
    index = torch.arange(slots, device=weight.device)
    view = hessian[:, 6:-1, 6:-1].unflatten(1, (slots, 6)).unflatten(3, (slots, 6))
    view[:, index, :, index, :] = (h_rel_p * free_partner[..., None, None]).transpose(0, 1)
    hessian[:, :6, 6:-1] = cross.transpose(1, 2).flatten(2)
    hessian[:, 6:-1, :6] = hessian[:, :6, 6:-1].transpose(1, 2)
    gradient[:, 6:-1] = (g_rel * free_partner[..., None]).flatten(1)
    hessian[:, 6:-1, -1] = (f_rel * free_partner[..., None]).flatten(1)
    hessian[:, -1, :-1] = hessian[:, :-1, -1]
    hessian[:, -1, -1] = (focal**2 * weight2).sum((1, 2))
    gradient[:, -1] = (focal * residual * weight2).sum((1, 2))
    narrow = weight.dtype
    coupling[:, :, :6] = torch.einsum("fkpi,fkij->fpj", c_rel, own_j.to(narrow))
    coupling[:, :, 6:-1] = (c_rel * free_partner[..., None, None].to(narrow)).transpose(1, 2).flatten(2)
    by_rho = term.by_inverse_depth * weight[..., None]
    coupling[:, :, -1] = (by_rho * term.by_log_focal).sum((1, 3))
    depth_hessian = (by_rho * term.by_inverse_depth).sum((1, 3)) + information * prior_slope**2
    depth_gradient = (by_rho * term.residual_px).sum((1, 3)) + information * prior * prior_slope
    return _Local(hessian, gradient, coupling, depth_hessian, depth_gradient, cost)


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

    def band(self, blocks: Float[Tensor, "frames block block"]) -> Float[np.ndarray, "rows columns"]:
        """Sum of the pose parts of local matrices, in LAPACK's lower banded storage."""
        index = (self.columns[..., None] + torch.arange(6, device=blocks.device)).flatten(1)
        row, column = torch.broadcast_tensors(index[:, :, None], index[:, None, :])
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
    local: _Local,
    state: State,
    freedom: Freedom,
    options: SolveOptions,
    damping: float,
    layout: _Layout,
) -> State:
    """One damped Gauss-Newton step."""
    free_depth = freedom.depth[:, None]
    damped = local.depth_hessian * (1 + damping)
    inverse = torch.where(free_depth & (damped > 0), 1 / damped.clamp_min(1e-30), torch.zeros_like(damped))
    scaled = local.coupling * inverse[..., None]
    reduced = local.hessian - (scaled.transpose(1, 2) @ local.coupling).to(torch.float64)
    gradient = local.gradient - (scaled.transpose(1, 2) @ local.depth_gradient[..., None])[..., 0].to(
        torch.float64
    )
    band, rhs = layout.band(reduced), layout.vector(gradient)
    diagonal = layout.vector(torch.cat((local.hessian.diagonal(dim1=1, dim2=2)[:, :-1], gradient[:, -1:]), 1))
    _add_smoothness(band, rhs, state, freedom, options)
    fixed = np.repeat(~freedom.pose.cpu().numpy(), 6)
    band[0] += damping * diagonal + np.where(fixed | (band[0] <= 0), 1.0, 1e-9)
    pose_step, focal_step = _solve_bordered(
        band, rhs, layout, reduced, gradient, options, damping, _focal_error(state, options)
    )

    delta = torch.from_numpy(pose_step.reshape(-1, 6)).to(state.cam_from_world)
    block = delta[layout.columns // 6].flatten(1)
    block = torch.cat((block, block.new_full((len(block), 1), focal_step)), dim=1).to(local.coupling.dtype)
    depth_step = -(local.depth_gradient + (local.coupling @ block[..., None])[..., 0]) * inverse
    floor = MIN_RELATIVE_INVERSE_DEPTH * problem.prior_inverse_depth
    scale = torch.ones(4, dtype=torch.float64, device=delta.device)
    scale[:2] = float(np.exp(focal_step))
    return replace(
        state,
        cam_from_world=exp_se3(delta) @ state.cam_from_world,
        inverse_depth=torch.maximum(state.inverse_depth + depth_step, floor),
        intrinsics=state.intrinsics * scale,
    )


def _solve_bordered(band, rhs, layout, reduced, gradient, options, damping, focal_error):
    factor = cholesky_banded(band, lower=True, check_finite=False)
    if not options.free_focal:
        return -cho_solve_banded((factor, True), rhs, check_finite=False), 0.0
    border = layout.vector(torch.cat((reduced[:, :-1, -1], gradient[:, -1:]), 1))
    information = FOCAL_PRIOR_PX**2
    corner = float(reduced[:, -1, -1].sum()) * (1 + damping) + information
    slope = float(gradient[:, -1].sum()) + information * focal_error
    both = cho_solve_banded((factor, True), np.stack((rhs, border), 1), check_finite=False)
    focal = -(slope - border @ both[:, 0]) / max(corner - border @ both[:, 1], 1e-12)
    focal = float(np.clip(focal, -0.2, 0.2))
    return -both[:, 0] - focal * both[:, 1], focal


def _focal_error(state: State, options: SolveOptions) -> float:
    """Logarithm of the focal length over the usual one; 0 where the focal length is known."""
    if not options.free_focal:
        return 0.0
    return float(torch.log(state.intrinsics[:2].mean() / options.usual_focal_px))


def _smoothness_cost(state: State, options: SolveOptions) -> float:
    if options.smoothness == 0 or len(state.cam_from_world) < 3:
        return 0.0
    weight, acceleration = _acceleration(state, options)
    return float(0.5 * weight * (acceleration**2).sum())


def _acceleration(state: State, options: SolveOptions) -> tuple[float, Float[Tensor, "triples 3"]]:
    """Squared weight per squared scene unit, and the second differences of the camera centres."""
    centres = -(state.cam_from_world[:, :3, :3].transpose(1, 2) @ state.cam_from_world[:, :3, 3:])[..., 0]
    px_per_unit = float(state.intrinsics[0]) * float(state.inverse_depth.median())
    return (options.smoothness * px_per_unit) ** 2, centres[2:] - 2 * centres[1:-1] + centres[:-2]


def _add_smoothness(band, rhs, state, freedom, options) -> None:
    if options.smoothness == 0 or len(state.cam_from_world) < 3:
        return
    weight, acceleration = _acceleration(state, options)
    rotation = state.cam_from_world[:, :3, :3]
    # the centre moves by -R^T v for the translation part v of a left twist
    jac = (-rotation.transpose(1, 2) * freedom.pose[:, None, None]).cpu().numpy()
    factors = (1.0, -2.0, 1.0)
    for k, second in enumerate(acceleration.cpu().numpy()):
        for a in range(3):
            ja = factors[a] * jac[k + a]
            rhs[6 * (k + a) + 3 : 6 * (k + a) + 6] += weight * ja.T @ second
            for b in range(a + 1):
                product = weight * ja.T @ (factors[b] * jac[k + b])
                for i in range(3):
                    for j in range(3):
                        row, column = 6 * (k + a) + 3 + i, 6 * (k + b) + 3 + j
                        if row >= column:
                            band[row - column, column] += product[i, j]
