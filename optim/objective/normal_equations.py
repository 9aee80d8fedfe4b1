"""The objective and its normal equations, frame by frame.

Every frame n has its own local block of unknowns: its camera, those of its partners, and what all share. A camera is a
pose (6 numbers), and all share one log focal; or each camera has a seventh number, its own log focal. Samples couple
only the unknowns of their frame's block. Residuals and Jacobians are computed in the dtype of the problem (float32),
the sums that meet other frames in float64; memory is bounded by chunks of frames.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recon4d.core.geometry import adjoint_se3
from recon4d.core.parallel import each
from recon4d.optim.objective.camera_terms import Linear
from recon4d.optim.objective.flow_term import FlowTerm, flow_term, relative_poses
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.sample_terms import DepthPriorTerm, Gain, OfDepth
from recon4d.optim.objective.terms import cauchy_weight
from recon4d.optim.objective.unknowns import Freedom, State

CHUNK_RESIDUALS = 100_000
"""Flow residuals that are linearised at once: about 25 MB of temporaries per thread, mostly in cache."""
BEHIND_PX = 20.0
"""Residual charged to a sample that lies behind its partner's camera, pixels: large, but it gives no step."""


@dataclass(frozen=True, kw_only=True)
class SolveOptions:
    """How one optimization runs."""

    kernel_px: float
    """Scale of the Cauchy kernel on flow residuals, pixels."""
    max_steps: int = 15
    relative_tolerance: float = 1e-4
    """Stop when a step lowers the cost by less than this part of it."""
    free_focal: bool = False
    shared_focal: bool = True
    """All frames share one focal length; otherwise, where it is free, each has its own."""
    gain_px: float = 1.0
    """Cost of a depth prior that is e times too far, as one residual in pixels; used with `State.log_gain`."""
    initial_damping: float = 1e-4
    threads: int = 1
    """Chunks of frames that are linearised at the same time."""

    @property
    def has_own_focals(self) -> bool:
        """Whether every frame's focal length is an unknown of its own."""
        return self.free_focal and not self.shared_focal

    @property
    def has_shared_focal(self) -> bool:
        """Whether one focal length of all frames is an unknown."""
        return self.free_focal and self.shared_focal


@dataclass(frozen=True)
class Local:
    """Normal equations of every frame's local block: own camera, partners' cameras, log focal where it is shared."""

    hessian: Float[Tensor, "frames block block"]
    gradient: Float[Tensor, "frames block"]
    coupling: Float[Tensor, "frames block samples"]
    depth_hessian: Float[Tensor, "frames samples"]
    depth_gradient: Float[Tensor, "frames samples"]
    gain: Gain
    terms: tuple[Linear, ...]
    """The camera terms of the problem; they are no part of the blocks."""
    cost: Float[Tensor, ""]
    """float64; a tensor, so that the host does not wait for the device."""


def objective(problem: Problem, state: State, options: SolveOptions) -> float:
    """Value of the robust objective at a state."""
    freedom = Freedom.all_but_first(problem.num_frames, problem.weight.device)
    return float(linearise(problem, state, freedom, options).cost)


def depth_information(
    problem: Problem, state: State, options: SolveOptions
) -> Float[Tensor, "frames samples"]:
    """What the flow says of each inverse depth with the cameras fixed: sum of w (d px / d rho)^2."""
    freedom = Freedom.all_but_first(problem.num_frames, problem.weight.device)
    nothing = torch.zeros_like(problem.prior_weight)
    without_prior = replace(problem, prior_weight=nothing, terms=())
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
    terms = tuple(term.linear(state) for term in problem.camera_terms)
    return Local(
        hessian=torch.cat([p.hessian for p in parts]),
        gradient=torch.cat([p.gradient for p in parts]),
        coupling=torch.cat([p.coupling for p in parts]),
        depth_hessian=torch.cat([p.depth_hessian for p in parts]),
        depth_gradient=torch.cat([p.depth_gradient for p in parts]),
        gain=Gain(
            torch.cat([p.gain.hessian for p in parts]),
            torch.cat([p.gain.gradient for p in parts]),
            torch.cat([p.gain.coupling for p in parts]),
        ),
        terms=terms,
        cost=sum((term.cost for term in terms), torch.stack([p.cost for p in parts]).sum()),
    )


def _of_chunk(
    problem: Problem, state: State, freedom: Freedom, options: SolveOptions, frames: slice
) -> Local:
    term = flow_term(problem, state, frames)
    kernel, slope = cauchy_weight(term.squared(), options.kernel_px)
    behind = cauchy_weight(kernel.new_full((), BEHIND_PX**2), options.kernel_px)[0]
    base = problem.weight[frames]
    cost = (base * torch.where(term.in_front > 0, kernel, behind)).sum(dtype=torch.float64)
    prior = DepthPriorTerm(problem.prior_inverse_depth, problem.prior_weight, options.gain_px)
    depth, gain = prior.linear(state, frames)
    for more in problem.sample_terms:
        depth = depth.plus(more.linear(state, frames))
    own_focal = options.has_own_focals
    free = freedom.cameras(own_focal)
    return _assemble(
        term,
        base * slope * term.in_front,
        by_own=_by_own(problem, state, frames, own_focal) * free[frames, None, None],
        free=free[problem.partners[frames]],
        depth=replace(depth, cost=cost + depth.cost),
        gain=gain,
    )


def _by_own(
    problem: Problem, state: State, frames: slice, own_focal: bool
) -> Float[Tensor, "frames slots slot_unknowns camera"]:
    """Derivative of a slot's unknowns (see `_assemble`) by the camera of the source."""
    by_twist = -adjoint_se3(relative_poses(problem, state, frames))
    camera = 7 if own_focal else 6
    by_own = by_twist.new_zeros((*by_twist.shape[:2], camera + 1, camera))
    by_own[..., :6, :6] = by_twist
    if own_focal:
        by_own[..., 7, 6] = 1
    return by_own


def _assemble(
    term: FlowTerm,
    weight: Float[Tensor, "frames slots samples"],
    *,
    by_own: Float[Tensor, "frames slots slot_unknowns camera"],
    free: Bool[Tensor, "frames slots camera"],
    depth: OfDepth,
    gain: Gain,
) -> Local:
    """Local blocks of one chunk of frames.

    Per slot, the normal equations of the slot's unknowns and the inverse depth. A slot's unknowns are the twist of
    `target_from_source` and the log focal of both frames where it is shared, else that of the target, then that of the
    source. Then the chain rule: they are the target's camera, plus `by_own` times the source's, plus what is shared.
    """
    camera, root = by_own.shape[3], weight.sqrt()
    by_rho = term.by_inverse_depth() * root[:, :, None]
    rows = _weighted_rows(term, root, camera)
    stacked = rows.flatten(3)
    normal = (stacked @ stacked.transpose(2, 3)).to(torch.float64)
    cross = rows[:, :, :-1, 0] * by_rho[:, :, None, 0]
    cross.addcmul_(rows[:, :, :-1, 1], by_rho[:, :, None, 1])
    hessian, gradient = _chain(normal, by_own, free.to(torch.float64))
    to_own = (
        by_own.to(cross.dtype).permute(0, 3, 1, 2).flatten(2)
    )  # transposed blocks, side by side
    coupling = torch.cat(
        (
            to_own @ cross.flatten(1, 2),
            (cross[:, :, :camera] * free[..., None]).flatten(1, 2),
            cross[:, :, camera:7].sum(1),
        ),
        dim=1,
    )
    return Local(
        hessian,
        gradient,
        coupling,
        by_rho.square().sum((1, 2)) + depth.hessian,
        (by_rho * rows[:, :, -1]).sum((1, 2)) + depth.gradient,
        gain,
        (),
        depth.cost,
    )


def _weighted_rows(
    term: FlowTerm, root: Float[Tensor, "frames slots samples"], camera: int
) -> Float[Tensor, "frames slots columns 2 samples"]:
    """The Jacobian by a slot's unknowns (see `_assemble`), and the residual as last column, times roots of weights."""
    rows = term.residual_px.new_empty((*root.shape[:2], camera + 2, 2, root.shape[2]))
    term.put_by_pose(rows[:, :, :6], root)
    by_focals = [term.by_target_focal(), term.by_source_focal()]
    if camera == 6:
        by_focals = [by_focals[0] + by_focals[1]]
    for place, row in enumerate((*by_focals, term.residual_px), start=6):
        torch.mul(row, root[:, :, None], out=rows[:, :, place])
    return rows


def _chain(
    normal: Float[Tensor, "frames slots n n"],
    by_own: Float[Tensor, "frames slots slot_unknowns camera"],
    free: Float[Tensor, "frames slots camera"],
) -> tuple[Float[Tensor, "frames block block"], Float[Tensor, "frames block"]]:
    """Hessian and gradient of local blocks from those of the slots' unknowns, whose last column is the residual."""
    frames, slots, camera = free.shape
    to_own = by_own.transpose(2, 3)
    inner, last = normal[:, :, :-1, :-1], normal[:, :, :-1]
    rest = torch.cat((last[..., camera:7], last[..., -1:]), dim=-1)
    own_rest = (to_own @ rest).sum(1)
    partner_rest = (rest[:, :, :camera] * free[..., None]).flatten(1, 2)
    cameras = camera * (slots + 1)
    hessian = normal.new_zeros((frames, cameras + 7 - camera, cameras + 7 - camera))
    hessian[:, :camera, :camera] = (to_own @ inner @ by_own).sum(1)
    by_partner = to_own @ inner[..., :camera] * free[:, :, None]
    hessian[:, :camera, camera:cameras] = by_partner.transpose(1, 2).flatten(2)
    hessian[:, camera:cameras, :camera] = hessian[:, :camera, camera:cameras].transpose(1, 2)
    both = inner[:, :, :camera, :camera] * free[..., None] * free[:, :, None]
    for slot in range(slots):
        own = slice(camera * (slot + 1), camera * (slot + 2))
        hessian[:, own, own] = both[:, slot]
    hessian[:, :cameras, cameras:] = torch.cat((own_rest, partner_rest), dim=1)[..., :-1]
    hessian[:, cameras:, :cameras] = hessian[:, :cameras, cameras:].transpose(1, 2)
    shared = normal[:, :, camera:7].sum(1)
    hessian[:, cameras:, cameras:] = shared[..., camera:7]
    gradient = torch.cat((own_rest[..., -1], partner_rest[..., -1], shared[..., -1]), dim=1)
    return hessian, gradient
