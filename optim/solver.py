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
from recon4d.geometry import adjoint_se3, exp_se3, invert_rigid, orthonormal
from recon4d.optim.problem import Problem
from recon4d.optim.terms import FlowTerm, cauchy_weight, depth_prior, flow_consistency
from recon4d.parallel import each

logger = logging.getLogger(__name__)

CHUNK_RESIDUALS = 100_000
"""Flow residuals that are linearised at once: about 25 MB of temporaries per thread, mostly in cache."""
BEHIND_PX = 20.0
"""Residual charged to a sample that lies behind its partner's camera, pixels: large, but it gives no step."""
PRIOR_KERNEL_PX = 2.0
"""Scale of the Cauchy kernel on the weighted depth prior: sensors are far off at depth edges."""
FOCAL_PRIOR_PX = 1.0
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
    """Weight of the camera's acceleration (second difference of its centre), pixels per median depth of the prior: the
    same motion in a scene of another size costs the same."""
    initial_damping: float = 1e-4
    threads: int = 1
    """Chunks of frames that are linearised at the same time."""


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
    coupling: Float[Tensor, "frames block samples"]
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
        raise DivergedError(
            "the flow term is not finite at step 0; the start of the optimization is broken"
        )
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
    local, layout = _linearise(problem, state, freedom, options), _Layout.of(problem)
    band, pose = layout.band(local.hessian), layout.vector(local.gradient)
    _add_smoothness(band, pose, problem, state, freedom, options)
    focal = float(local.gradient[:, -1].sum()) + FOCAL_PRIOR_PX**2 * _focal_error(state, options)
    return NormalEquations(pose, focal, local.depth_gradient)


def depth_information(
    problem: Problem, state: State, options: SolveOptions
) -> Float[Tensor, "frames samples"]:
    """What the flow says of each inverse depth with the cameras fixed: sum of w (d px / d rho)^2."""
    freedom = Freedom.all_but_first(problem.num_frames, problem.weight.device)
    without_prior = replace(problem, prior_weight=torch.zeros_like(problem.prior_weight))
    return _linearise(without_prior, state, freedom, options).depth_hessian


def _linearise(problem: Problem, state: State, freedom: Freedom, options: SolveOptions) -> _Local:
    slots, samples = problem.weight.shape[1:]
    size = max(1, CHUNK_RESIDUALS // max(1, slots * samples))
    chunks = [slice(first, first + size) for first in range(0, problem.num_frames, size)]
    parts = list(
        each(
            lambda frames: _linearise_chunk(problem, state, freedom, options, frames),
            chunks,
            min(options.threads, len(chunks)),
        )
    )
    return _Local(
        hessian=torch.cat([p.hessian for p in parts]),
        gradient=torch.cat([p.gradient for p in parts]),
        coupling=torch.cat([p.coupling for p in parts]),
        depth_hessian=torch.cat([p.depth_hessian for p in parts]),
        depth_gradient=torch.cat([p.depth_gradient for p in parts]),
        cost=sum(p.cost for p in parts)
        + _smoothness_cost(problem, state, options)
        + 0.5 * (FOCAL_PRIOR_PX * _focal_error(state, options)) ** 2,
    )


def _linearise_chunk(
    problem: Problem, state: State, freedom: Freedom, options: SolveOptions, frames: slice
) -> _Local:
    partners = problem.partners[frames]
    rho = state.inverse_depth[frames]
    world_from_own = invert_rigid(state.cam_from_world[frames])
    target_from_source = state.cam_from_world[partners] @ world_from_own[:, None]
    term = flow_consistency(
        problem.samples_px[frames][:, None],
        problem.targets_px[frames],
        rho[:, None],
        target_from_source.to(rho.dtype),
        state.intrinsics.to(rho.dtype),
    )
    kernel, slope = cauchy_weight(term.squared(), options.kernel_px)
    behind = cauchy_weight(kernel.new_tensor(BEHIND_PX**2), options.kernel_px)[0]
    base = problem.weight[frames]
    cost = (base * torch.where(term.in_front > 0, kernel, behind)).sum(dtype=torch.float64)
    prior, prior_slope = depth_prior(rho, problem.prior_inverse_depth[frames])
    information = problem.prior_weight[frames] ** 2
    prior_cost, prior_kernel = cauchy_weight(information * prior**2, PRIOR_KERNEL_PX)
    cost = cost + prior_cost.sum(dtype=torch.float64)
    information = information * prior_kernel * prior_slope
    return _assemble(
        term,
        base * slope * term.in_front,
        by_own=-adjoint_se3(target_from_source) * freedom.pose[frames, None, None, None],
        free=freedom.pose[partners],
        prior=torch.stack((information * prior_slope, information * prior)),
        cost=float(cost),
    )


def _assemble(
    term: FlowTerm,
    weight: Float[Tensor, "frames slots samples"],
    *,
    by_own: Float[Tensor, "frames slots 6 6"],
    free: Bool[Tensor, "frames slots"],
    prior: Float[Tensor, "2 frames samples"],
    cost: float,
) -> _Local:
    """Local blocks of one chunk of frames.

    Per slot, the normal equations of the twist of `target_from_source`, the log focal and the inverse depth; then the
    chain rule: that twist is the partner's twist plus `by_own` times the own one.
    """
    root = weight.sqrt()[:, :, None]
    residual, focal = term.residual_px * root, term.by_log_focal() * root
    by_rho = term.by_inverse_depth() * root
    pose = (term.by_pose() * root[:, :, None]).transpose(2, 3)  # frames slots 6 2 samples
    stacked = torch.cat((pose, focal[:, :, None], residual[:, :, None]), dim=2).flatten(3)
    normal = (stacked @ stacked.transpose(2, 3)).to(torch.float64)  # frames slots 8 8
    cross = (pose * by_rho[:, :, None]).sum(3)  # frames slots 6 samples
    hessian, gradient = _chain(normal, by_own, free.to(torch.float64))
    to_own = (
        by_own.to(cross.dtype).permute(0, 3, 1, 2).flatten(2)
    )  # frames 6 slots*6, transposed blocks
    coupling = torch.cat(
        (
            to_own @ cross.flatten(1, 2),
            (cross * free[:, :, None, None]).flatten(1, 2),
            (by_rho * focal).sum((1, 2))[:, None],
        ),
        dim=1,
    )
    return _Local(
        hessian,
        gradient,
        coupling,
        by_rho.square().sum((1, 2)) + prior[0],
        (by_rho * residual).sum((1, 2)) + prior[1],
        cost,
    )


def _chain(
    normal: Float[Tensor, "frames slots 8 8"],
    by_own: Float[Tensor, "frames slots 6 6"],
    free: Float[Tensor, "frames slots"],
) -> tuple[Float[Tensor, "frames block block"], Float[Tensor, "frames block"]]:
    """Hessian and gradient by (own pose, partners' poses, log focal) from those of relative twist and log focal."""
    frames, slots = free.shape
    to_own = by_own.transpose(2, 3)
    relative, rest = normal[:, :, :6, :6], normal[:, :, :6, 6:]
    own_rest, partner_rest = (to_own @ rest).sum(1), (rest * free[..., None, None]).flatten(1, 2)
    block = 6 * (slots + 1) + 1
    hessian = normal.new_zeros((frames, block, block))
    hessian[:, :6, :6] = (to_own @ relative @ by_own).sum(1)
    hessian[:, :6, 6:-1] = (to_own @ relative * free[..., None, None]).transpose(1, 2).flatten(2)
    hessian[:, 6:-1, :6] = hessian[:, :6, 6:-1].transpose(1, 2)
    blocks = hessian[:, 6:-1, 6:-1].unflatten(1, (slots, 6)).unflatten(3, (slots, 6))
    index = torch.arange(slots, device=free.device)
    blocks[:, index, :, index, :] = (relative * free[..., None, None]).transpose(0, 1)
    hessian[:, :-1, -1] = torch.cat((own_rest[..., 0], partner_rest[..., 0]), dim=1)
    hessian[:, -1, :-1] = hessian[:, :-1, -1]
    hessian[:, -1, -1] = normal[:, :, 6, 6].sum(1)
    gradient = torch.cat(
        (own_rest[..., 1], partner_rest[..., 1], normal[:, :, 6, 7].sum(1, keepdim=True)), dim=1
    )
    return hessian, gradient


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
    inverse = torch.where(
        free_depth & (damped > 0), 1 / damped.clamp_min(1e-30), torch.zeros_like(damped)
    )
    scaled = local.coupling * inverse[:, None]
    reduced = local.hessian - (scaled @ local.coupling.transpose(1, 2)).to(torch.float64)
    gradient = local.gradient - (scaled @ local.depth_gradient[..., None])[..., 0].to(torch.float64)
    band, rhs = layout.band(reduced), layout.vector(gradient)
    diagonal = layout.vector(
        torch.cat((local.hessian.diagonal(dim1=1, dim2=2)[:, :-1], gradient[:, -1:]), 1)
    )
    _add_smoothness(band, rhs, problem, state, freedom, options)
    fixed = np.repeat(~freedom.pose.cpu().numpy(), 6)
    band[0] += damping * diagonal + np.where(fixed | (band[0] <= 0), 1.0, 1e-9)
    pose_step, focal_step = _solve_bordered(
        band, rhs, layout, reduced, gradient, options, damping, _focal_error(state, options)
    )

    delta = torch.from_numpy(pose_step.reshape(-1, 6)).to(state.cam_from_world)
    block = delta[layout.columns // 6].flatten(1)
    block = torch.cat((block, block.new_full((len(block), 1), focal_step)), dim=1).to(
        local.coupling.dtype
    )
    depth_step = -(local.depth_gradient + (block[:, None] @ local.coupling)[:, 0]) * inverse
    floor = MIN_RELATIVE_INVERSE_DEPTH * problem.prior_inverse_depth
    scale = torch.ones(4, dtype=torch.float64, device=delta.device)
    scale[:2] = float(np.exp(focal_step))
    return replace(
        state,
        cam_from_world=orthonormal(exp_se3(delta) @ state.cam_from_world),
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


def _smoothness_cost(problem: Problem, state: State, options: SolveOptions) -> float:
    if options.smoothness == 0 or len(state.cam_from_world) < 3:
        return 0.0
    weight, acceleration = _acceleration(problem, state, options)
    return float(0.5 * weight * (acceleration**2).sum())


def _acceleration(
    problem: Problem, state: State, options: SolveOptions
) -> tuple[float, Float[Tensor, "triples 3"]]:
    """Squared weight per squared scene unit, and the second differences of the camera centres."""
    centres = -(state.cam_from_world[:, :3, :3].transpose(1, 2) @ state.cam_from_world[:, :3, 3:])[
        ..., 0
    ]
    per_unit = float(problem.prior_inverse_depth.median())
    return (options.smoothness * per_unit) ** 2, centres[2:] - 2 * centres[1:-1] + centres[:-2]


def _add_smoothness(band, rhs, problem, state, freedom, options) -> None:
    if options.smoothness == 0 or len(state.cam_from_world) < 3:
        return
    weight, acceleration = _acceleration(problem, state, options)
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
