"""The flow term of a video as its lens shows it, and the normal equations of cameras, depth and lens.

Residuals are in pixels of the distorted images, as they were measured, so that costs of different lenses compare. What
all frames share is one small vector: the log focal length, the lens's coefficients, and the principal point.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from recon4d.core.distortion import Bending, Bent, Straight
from recon4d.core.geometry import MIN_DEPTH_RATIO, adjoint_se3, normalised
from recon4d.core.pinhole import view_angle
from recon4d.optim.objective.flow_term import relative_poses
from recon4d.optim.objective.normal_equations import BEHIND_PX
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.terms import cauchy_weight
from recon4d.optim.objective.unknowns import State

MIN_RELATIVE_INVERSE_DEPTH = 1e-3
"""Inverse depth stays above this part of the prior's, as in `recon4d.optim.solve.solver`."""


@dataclass(frozen=True)
class Lensed:
    """What is varied: cameras and depth as in `State`, whose frames share their intrinsics, and the lens."""

    state: State
    lens: Bending

    @property
    def focal_px(self) -> float:
        """Of all frames."""
        return float(self.state.intrinsics[0, 0])

    @property
    def shared(self) -> int:
        """How many numbers all frames share: log focal length, coefficients, principal point."""
        return 3 + len(self.lens.terms)

    def of(self, samples: Tensor) -> "Lensed":
        """The same with some of the samples of every frame."""
        depth = self.state.inverse_depth[:, samples].contiguous()
        return self.with_depth(depth)

    def with_depth(self, inverse_depth: Float[Tensor, "frames samples"]) -> "Lensed":
        """The same with other depth."""
        return replace(self, state=replace(self.state, inverse_depth=inverse_depth))

    def with_term(self) -> "Lensed":
        """The same with one coefficient more, 0 so far."""
        return replace(self, lens=replace(self.lens, terms=(*self.lens.terms, 0.0)))


@dataclass(frozen=True)
class Seen:
    """The residuals of all measurements, and what their derivatives are made of."""

    residual_px: Float[Tensor, "frames slots 2 samples"]
    counts: Float[Tensor, "frames slots samples"]
    """1 where the target sees the point through its lens, else 0."""
    planar: Float[Tensor, "frames slots 2 samples"]
    """On the plane z = 1 of the target."""
    inverse_z: Float[Tensor, "frames slots samples"]
    target_from_source: Float[Tensor, "frames slots 4 4"]
    straight: Straight
    """Of the samples in their own frames."""
    bent: Bent
    """Of the points in the targets."""
    focal_px: Float[Tensor, "2 1"]


def seen_through(problem: Problem, lensed: Lensed) -> Seen:
    """Flow consistency of all measurements through a lens."""
    state = lensed.state
    intrinsics = state.intrinsics[:1].to(problem.weight.dtype)
    focal_px, centre = intrinsics[0, :2, None], intrinsics[0, 2:, None]
    straight = lensed.lens.straightened(normalised(problem.samples_px, intrinsics))
    relative = relative_poses(problem, state, slice(None)).to(problem.weight.dtype)
    ray = torch.cat((straight.planar, torch.ones_like(straight.planar[:, :1])), dim=1)
    point = relative[..., :3, :3] @ ray[:, None]
    point = point + relative[..., :3, 3:] * state.inverse_depth[:, None, None]
    z = point[..., 2, :]
    in_front = z > MIN_DEPTH_RATIO
    inverse_z = 1 / torch.where(in_front, z, 1.0)
    planar = point[..., :2, :] * inverse_z[..., None, :]
    bent = lensed.lens.bent(planar)
    counts = in_front & bent.is_seen & straight.is_seen[:, None]
    residual = focal_px * bent.seen + (centre - problem.targets_px)
    return Seen(residual, counts.to(z.dtype), planar, inverse_z, relative, straight, bent, focal_px)


@dataclass(frozen=True)
class Equations:
    """Normal equations of every frame's local block: own pose, partners' poses, what all share."""

    hessian: Float64[Tensor, "frames block block"]
    gradient: Float64[Tensor, "frames block"]
    coupling: Float[Tensor, "frames block samples"]
    depth_hessian: Float[Tensor, "frames samples"]
    depth_gradient: Float[Tensor, "frames samples"]
    cost: float


@dataclass(frozen=True)
class _Weighed:
    """The root of every measurement's weight, the cost, and what the prior says of depth."""

    root: Float[Tensor, "frames slots samples"]
    cost: float
    prior_hessian: Float[Tensor, "frames samples"]
    prior_gradient: Float[Tensor, "frames samples"]

    @classmethod
    def of(
        cls,
        problem: Problem,
        seen: Seen,
        inverse_depth: Float[Tensor, "frames samples"],
        kernel_px: float,
    ) -> "_Weighed":
        """Under a robust kernel; the cost of a lens that does not see its own samples is infinite."""
        kernel, slope = cauchy_weight(seen.residual_px.square().sum(-2), kernel_px)
        behind = cauchy_weight(kernel.new_full((), BEHIND_PX**2), kernel_px)[0]
        charged = problem.weight * torch.where(seen.counts > 0, kernel, behind)
        scale = problem.prior_weight / problem.prior_inverse_depth
        error = scale * (inverse_depth - problem.prior_inverse_depth)
        cost = float(charged.sum(dtype=torch.float64) + 0.5 * error.square().sum())
        return cls(
            root=(problem.weight * slope * seen.counts).sqrt(),
            cost=cost if bool(seen.straight.is_seen.all()) else float("inf"),
            prior_hessian=scale.square(),
            prior_gradient=scale * error,
        )


def with_best_depth(
    problem: Problem, lensed: Lensed, kernel_px: float, steps: int
) -> tuple[Lensed, float]:
    """The same cameras and lens with the depth that suits them after some steps, and the cost before the last."""
    floor = MIN_RELATIVE_INVERSE_DEPTH * problem.prior_inverse_depth
    cost = float("inf")
    for _ in range(steps):
        seen, depth = seen_through(problem, lensed), lensed.state.inverse_depth
        weighed = _Weighed.of(problem, seen, depth, kernel_px)
        root, cost = weighed.root[:, :, None], weighed.cost
        by_depth = _by_depth(seen) * root
        hessian = by_depth.square().sum((1, 2)) + weighed.prior_hessian
        gradient = (by_depth * seen.residual_px * root).sum((1, 2)) + weighed.prior_gradient
        lensed = lensed.with_depth(
            torch.maximum(depth - gradient / hessian.clamp_min(1e-20), floor)
        )
    return lensed, cost


def linearise(problem: Problem, lensed: Lensed, kernel_px: float) -> Equations:
    """Normal equations at a state, with the prior of the depth."""
    seen = seen_through(problem, lensed)
    weighed = _Weighed.of(problem, seen, lensed.state.inverse_depth, kernel_px)
    root = weighed.root
    by_depth = _by_depth(seen) * root[:, :, None]
    rows = torch.stack(_columns(seen, lensed.state.inverse_depth), dim=2) * root[:, :, None, None]
    flat = rows.flatten(3)
    normal = (flat @ flat.transpose(2, 3)).double()
    cross = (rows[:, :, :-1] * by_depth[:, :, None]).sum(-2)
    chain = _chain(problem, lensed)
    turned = chain.transpose(2, 3) @ normal[:, :, :-1, :-1]
    slots = chain.flatten(1, 2).transpose(1, 2).to(cross.dtype)
    return Equations(
        hessian=(turned @ chain).sum(1),
        gradient=(chain.transpose(2, 3) @ normal[:, :, :-1, -1:]).sum(1)[..., 0],
        coupling=slots @ cross.flatten(1, 2),
        depth_hessian=by_depth.square().sum((1, 2)) + weighed.prior_hessian,
        depth_gradient=(by_depth * rows[:, :, -1]).sum((1, 2)) + weighed.prior_gradient,
        cost=weighed.cost,
    )


def _columns(seen: Seen, inverse_depth: Float[Tensor, "frames samples"]) -> list[Tensor]:
    """Derivatives of the residual by the twist of `target_from_source` and by what is shared; last, the residual."""
    x, y = seen.planar[..., 0, :], seen.planar[..., 1, :]
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    near = inverse_depth[:, None] * seen.inverse_z
    twist = (
        (-x * y, -(one + y * y)),
        (one + x * x, x * y),
        (-y, x),
        (near, zero),
        (zero, near),
        (-x * near, -y * near),
    )
    columns = [_through_lens(seen, torch.stack(pair, dim=-2)) for pair in twist]
    focal_px, straight, bent = seen.focal_px, seen.straight, seen.bent
    across = straight.across[..., None, :]
    along = straight.along[..., None, :]
    outward = straight.planar / across
    columns.append(_from_source(seen, -outward * along) + focal_px * bent.seen)
    for by_source, by_target in zip(straight.by_terms, bent.by_terms, strict=True):
        columns.append(_from_source(seen, by_source) + focal_px * by_target)
    squared = outward.square().sum(-2, keepdim=True).clamp_min(1e-18)
    for axis in (0, 1):
        step = torch.zeros_like(outward)
        step[..., axis, :] = 1
        radial = outward * outward[..., axis : axis + 1, :] / squared
        moved = across * step + (along - across) * radial
        columns.append(
            _from_source(seen, -moved * view_angle(1.0, float(focal_px[axis, 0]))) + step[:, None]
        )
    return [*columns, seen.residual_px]


def _by_depth(seen: Seen) -> Float[Tensor, "frames slots 2 samples"]:
    step = seen.target_from_source[..., :3, 3:]
    planar = step[..., :2, :] - seen.planar * step[..., 2:, :]
    return _through_lens(seen, planar * seen.inverse_z[..., None, :])


def _from_source(
    seen: Seen, planar: Float[Tensor, "frames 2 samples"]
) -> Float[Tensor, "frames slots 2 samples"]:
    """Derivative that goes through where a sample lies on the plane z = 1 of its own frame, pixels."""
    turn, moved = seen.target_from_source[..., :3, :2], planar[:, None]
    point = turn @ moved
    there = point[..., :2, :] - seen.planar * point[..., 2:, :]
    return _through_lens(seen, there * seen.inverse_z[..., None, :])


def _through_lens(
    seen: Seen, planar: Float[Tensor, "frames slots 2 samples"]
) -> Float[Tensor, "frames slots 2 samples"]:
    """Pixels by a derivative on the plane z = 1 of the target."""
    outward = (planar * seen.planar).sum(-2, keepdim=True) * seen.bent.stretch[..., None, :]
    return seen.focal_px * (planar * seen.bent.across[..., None, :] + seen.planar * outward)


def _chain(problem: Problem, lensed: Lensed) -> Float64[Tensor, "frames slots slot_unknowns block"]:
    """A slot's unknowns (twist of `target_from_source`, then what is shared) by those of the frame's block."""
    frames, slots = problem.partners.shape
    shared = lensed.shared
    out = torch.zeros((frames, slots, 6 + shared, 6 * (slots + 1) + shared), dtype=torch.float64)
    out[:, :, :6, :6] = -adjoint_se3(relative_poses(problem, lensed.state, slice(None)))
    eye = torch.eye(6, dtype=torch.float64)
    for slot in range(slots):
        out[:, slot, :6, 6 * (slot + 1) : 6 * (slot + 2)] = eye
    out[:, :, 6:, -shared:] = torch.eye(shared, dtype=torch.float64)
    return out
