"""The objective and its normal equations, frame by frame.

Every frame n has its own local block of unknowns: its pose, the poses of its partners, and the shared log focal. Its
samples couple only those. Residuals and Jacobians are computed in the dtype of the problem (float32), the sums that
meet other frames in float64; memory is bounded by chunks of frames.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recon4d.geometry import adjoint_se3
from recon4d.optim.problem import PosePrior, Problem
from recon4d.optim.state import State, flow_term, relative_poses
from recon4d.optim.terms import FlowTerm, cauchy_weight, depth_prior, known_pose
from recon4d.parallel import each

CHUNK_RESIDUALS = 100_000
"""Flow residuals that are linearised at once: about 25 MB of temporaries per thread, mostly in cache."""
BEHIND_PX = 20.0
"""Residual charged to a sample that lies behind its partner's camera, pixels: large, but it gives no step."""
PRIOR_KERNEL_PX = 2.0
"""Scale of the Cauchy kernel on the weighted depth prior: sensors are far off at depth edges."""
FLOW_SIGMA_PX = 0.2
"""Standard deviation of a good flow measurement, pixels (DIS on textured surfaces)."""
POSE_KERNEL_PX = 0.6
"""Scale of the Cauchy kernel on given poses: three standard deviations, which weigh as much as those of the flow."""
FOCAL_PRIOR_PX = 1.0
"""Cost of a focal length that is e times the usual one, as one residual in pixels: decides only where data does not."""


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
    """Focal length that a free focal is drawn to."""
    focal_px: float = FOCAL_PRIOR_PX
    """Cost of a focal length that is e times the usual one, as one residual in pixels."""
    smoothness: float = 0.0
    """Weight of the camera's acceleration (second difference of its centre), pixels per median depth of the prior: the
    same motion in a scene of another size costs the same."""
    gain_px: float = 1.0
    """Cost of a depth prior that is e times too far, as one residual in pixels; used with `State.log_gain`."""
    initial_damping: float = 1e-4
    threads: int = 1
    """Chunks of frames that are linearised at the same time."""


@dataclass(frozen=True)
class Freedom:
    """Which unknowns may move."""

    pose: Bool[Tensor, " frames"]
    depth: Bool[Tensor, " frames"]
    turns_only: bool = False
    """Poses turn but do not translate."""

    def turning(self) -> "Freedom":
        """The same, for cameras that turn about one centre."""
        return Freedom(self.pose, torch.zeros_like(self.depth), turns_only=True)

    def twists(self) -> Bool[Tensor, "frames 6"]:
        """Which components of each pose's twist (rotation, translation) may move."""
        free = self.pose[:, None].repeat(1, 6)
        free[:, 3:] &= not self.turns_only
        return free

    @classmethod
    def all_but_first(cls, num_frames: int, device: torch.device) -> "Freedom":
        """Everything but the first pose, which holds the world frame."""
        pose = torch.ones(num_frames, dtype=torch.bool, device=device)
        pose[0] = False
        return cls(pose, torch.ones_like(pose))


@dataclass(frozen=True)
class Local:
    """Normal equations of every frame's local block: own pose, partners' poses, log focal."""

    hessian: Float[Tensor, "frames block block"]
    gradient: Float[Tensor, "frames block"]
    coupling: Float[Tensor, "frames block samples"]
    depth_hessian: Float[Tensor, "frames samples"]
    depth_gradient: Float[Tensor, "frames samples"]
    gain: "Gain"
    cost: float


@dataclass(frozen=True)
class Gain:
    """Normal equations of the log gain of every frame's depth prior; it meets nothing but the frame's own depths."""

    hessian: Float[Tensor, " frames"]
    """float64; infinite where the gain is not free."""
    gradient: Float[Tensor, " frames"]
    coupling: Float[Tensor, "frames samples"]

    @classmethod
    def none(cls, like: Float[Tensor, "frames samples"]) -> "Gain":
        """No freedom."""
        zero = torch.zeros(len(like), dtype=torch.float64, device=like.device)
        return cls(zero + torch.inf, zero, torch.zeros_like(like))


def objective(problem: Problem, state: State, options: SolveOptions) -> float:
    """Value of the robust objective at a state."""
    freedom = Freedom.all_but_first(problem.num_frames, problem.weight.device)
    return linearise(problem, state, freedom, options).cost


def depth_information(
    problem: Problem, state: State, options: SolveOptions
) -> Float[Tensor, "frames samples"]:
    """What the flow says of each inverse depth with the cameras fixed: sum of w (d px / d rho)^2."""
    freedom = Freedom.all_but_first(problem.num_frames, problem.weight.device)
    without_prior = replace(problem, prior_weight=torch.zeros_like(problem.prior_weight))
    return linearise(without_prior, state, freedom, options).depth_hessian


def linearise(problem: Problem, state: State, freedom: Freedom, options: SolveOptions) -> Local:
    """Normal equations of all local blocks at a state."""
    slots, samples = problem.weight.shape[1:]
    size = max(1, CHUNK_RESIDUALS // max(1, slots * samples))
    chunks = [slice(first, first + size) for first in range(0, problem.num_frames, size)]
    parts = list(
        each(
            lambda frames: _of_chunk(problem, state, freedom, options, frames),
            chunks,
            min(options.threads, len(chunks)),
        )
    )
    hessian, gradient, pose_cost = _with_known_poses(
        torch.cat([p.hessian for p in parts]),
        torch.cat([p.gradient for p in parts]),
        problem.poses,
        state,
        freedom,
    )
    return Local(
        hessian=hessian,
        gradient=gradient,
        coupling=torch.cat([p.coupling for p in parts]),
        depth_hessian=torch.cat([p.depth_hessian for p in parts]),
        depth_gradient=torch.cat([p.depth_gradient for p in parts]),
        gain=Gain(
            torch.cat([p.gain.hessian for p in parts]),
            torch.cat([p.gain.gradient for p in parts]),
            torch.cat([p.gain.coupling for p in parts]),
        ),
        cost=sum(p.cost for p in parts)
        + pose_cost
        + _smoothness_cost(problem, state, options)
        + 0.5 * (options.focal_px * focal_error(state, options)) ** 2,
    )


def _with_known_poses(
    hessian: Float[Tensor, "frames block block"],
    gradient: Float[Tensor, "frames block"],
    poses: PosePrior | None,
    state: State,
    freedom: Freedom,
) -> tuple[Float[Tensor, "frames block block"], Float[Tensor, "frames block"], float]:
    """Add what given poses say of their own frames (in place); also its cost."""
    if poses is None:
        return hessian, gradient, 0.0
    error, jacobian = known_pose(state.cam_from_world, poses.world_from_cam)
    root = torch.stack((poses.turn_px, poses.centre_px), 1).repeat_interleave(3, dim=1)
    error, jacobian = error * root, jacobian * root[..., None] * freedom.twists()[:, None]
    cost, slope = cauchy_weight(error.square().sum(1), POSE_KERNEL_PX)
    weighted = jacobian.transpose(1, 2) * slope[:, None, None]
    hessian[:, :6, :6] += weighted @ jacobian
    gradient[:, :6] += (weighted @ error[..., None])[..., 0]
    return hessian, gradient, float(cost.sum())


def _of_chunk(
    problem: Problem, state: State, freedom: Freedom, options: SolveOptions, frames: slice
) -> Local:
    term = flow_term(problem, state, frames)
    kernel, slope = cauchy_weight(term.squared(), options.kernel_px)
    behind = cauchy_weight(kernel.new_tensor(BEHIND_PX**2), options.kernel_px)[0]
    base = problem.weight[frames]
    cost = (base * torch.where(term.in_front > 0, kernel, behind)).sum(dtype=torch.float64)
    wanted = problem.prior_inverse_depth[frames]
    if state.log_gain is not None:
        wanted = wanted * state.log_gain[frames, None].exp().to(wanted)
    prior, prior_slope = depth_prior(state.inverse_depth[frames], wanted)
    information = problem.prior_weight[frames] ** 2
    prior_cost, prior_kernel = cauchy_weight(information * prior**2, PRIOR_KERNEL_PX)
    cost = cost + prior_cost.sum(dtype=torch.float64)
    information = information * prior_kernel * prior_slope
    gain = Gain.none(prior)
    if state.log_gain is not None:
        gain = _gain(state.log_gain[frames], information / prior_slope, prior, prior_slope, options)
        cost = cost + 0.5 * (options.gain_px * state.log_gain[frames]).square().sum()
    twists = freedom.twists()
    return _assemble(
        term,
        base * slope * term.in_front,
        by_own=-adjoint_se3(relative_poses(problem, state, frames)) * twists[frames, None, None],
        free=twists[problem.partners[frames]],
        prior=torch.stack((information * prior_slope, information * prior)),
        gain=gain,
        cost=float(cost),
    )


def _gain(
    log_gain: Float[Tensor, " frames"],
    weight: Float[Tensor, "frames samples"],
    prior: Float[Tensor, "frames samples"],
    slope: Float[Tensor, "frames samples"],
    options: SolveOptions,
) -> Gain:
    """The residual `inverse_depth / (prior * gain) - 1` by the log gain is `-(1 + residual)`."""
    by_gain, information = -(1 + prior), options.gain_px**2
    return Gain(
        (weight * by_gain**2).sum(1, dtype=torch.float64) + information,
        (weight * by_gain * prior).sum(1, dtype=torch.float64) + information * log_gain,
        weight * by_gain * slope,
    )


def _assemble(
    term: FlowTerm,
    weight: Float[Tensor, "frames slots samples"],
    *,
    by_own: Float[Tensor, "frames slots 6 6"],
    free: Bool[Tensor, "frames slots 6"],
    prior: Float[Tensor, "2 frames samples"],
    gain: Gain,
    cost: float,
) -> Local:
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
            (cross * free[..., None]).flatten(1, 2),
            (by_rho * focal).sum((1, 2))[:, None],
        ),
        dim=1,
    )
    return Local(
        hessian,
        gradient,
        coupling,
        by_rho.square().sum((1, 2)) + prior[0],
        (by_rho * residual).sum((1, 2)) + prior[1],
        gain,
        cost,
    )


def _chain(
    normal: Float[Tensor, "frames slots 8 8"],
    by_own: Float[Tensor, "frames slots 6 6"],
    free: Float[Tensor, "frames slots 6"],
) -> tuple[Float[Tensor, "frames block block"], Float[Tensor, "frames block"]]:
    """Hessian and gradient by (own pose, partners' poses, log focal) from those of relative twist and log focal."""
    frames, slots = free.shape[:2]
    to_own = by_own.transpose(2, 3)
    relative, rest = normal[:, :, :6, :6], normal[:, :, :6, 6:]
    own_rest, partner_rest = (to_own @ rest).sum(1), (rest * free[..., None]).flatten(1, 2)
    block = 6 * (slots + 1) + 1
    hessian = normal.new_zeros((frames, block, block))
    hessian[:, :6, :6] = (to_own @ relative @ by_own).sum(1)
    hessian[:, :6, 6:-1] = (to_own @ relative * free[:, :, None]).transpose(1, 2).flatten(2)
    hessian[:, 6:-1, :6] = hessian[:, :6, 6:-1].transpose(1, 2)
    for slot in range(slots):
        own = slice(6 * (slot + 1), 6 * (slot + 2))
        hessian[:, own, own] = relative[:, slot] * free[:, slot, :, None] * free[:, slot, None]
    hessian[:, :-1, -1] = torch.cat((own_rest[..., 0], partner_rest[..., 0]), dim=1)
    hessian[:, -1, :-1] = hessian[:, :-1, -1]
    hessian[:, -1, -1] = normal[:, :, 6, 6].sum(1)
    gradient = torch.cat(
        (own_rest[..., 1], partner_rest[..., 1], normal[:, :, 6, 7].sum(1, keepdim=True)), dim=1
    )
    return hessian, gradient


def focal_error(state: State, options: SolveOptions) -> float:
    """Logarithm of the focal length over the usual one; 0 where the focal length is known."""
    if not options.free_focal:
        return 0.0
    return float(torch.log(state.intrinsics[:2].mean() / options.usual_focal_px))


def _smoothness_cost(problem: Problem, state: State, options: SolveOptions) -> float:
    if options.smoothness == 0 or len(state.cam_from_world) < 3:
        return 0.0
    weight, second_differences = acceleration(problem, state, options)
    return float(0.5 * weight * (second_differences**2).sum())


def acceleration(
    problem: Problem, state: State, options: SolveOptions
) -> tuple[float, Float[Tensor, "triples 3"]]:
    """Squared weight per squared scene unit, and the second differences of the camera centres."""
    centres = -(state.cam_from_world[:, :3, :3].transpose(1, 2) @ state.cam_from_world[:, :3, 3:])[
        ..., 0
    ]
    per_unit = float(problem.prior_inverse_depth.median())
    return (options.smoothness * per_unit) ** 2, centres[2:] - 2 * centres[1:-1] + centres[:-2]
