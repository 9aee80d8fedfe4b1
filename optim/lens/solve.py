"""Levenberg-Marquardt on cameras, depth, focal length and lens together.

The reduced system is dense: it is solved for at most some sixty frames, where that costs nothing beside the flow.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from recon4d.core.distortion import Bending
from recon4d.core.geometry import exp_se3, orthonormal
from recon4d.optim.lens.objective import (
    MIN_RELATIVE_INVERSE_DEPTH,
    Equations,
    Lensed,
    linearise,
)
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.unknowns import State
from recon4d.optim.solve.band import MAX_FOCAL_STEP
from recon4d.optim.solve.solver import MAX_ATTEMPTS

TOLERANCE = 3e-4
"""An optimization ends when a step lowers the cost by less than this part of it."""
MOST_STEPS = 15
"""Steps at most of one kernel: from twice the focal length and no lens it takes some twelve (k1 = -.3), and two
kernels follow."""


@dataclass(frozen=True)
class Free:
    """What may move besides depth."""

    pose: Bool[Tensor, " frames"]
    turns_only: bool = False
    """Poses turn but do not translate, and depth stays."""
    focal: bool = True
    terms: bool = True
    centre: bool = False

    def columns(self, terms: int) -> Bool[Tensor, " unknowns"]:
        """Which unknowns of the whole system may move."""
        pose = self.pose[:, None].repeat(1, 6)
        pose[:, 3:] &= not self.turns_only
        shared = torch.tensor([self.focal, *[self.terms] * terms, self.centre, self.centre])
        return torch.cat((pose.flatten(), shared))

    @property
    def depth(self) -> bool:
        """Whether the samples' depth moves."""
        return not self.turns_only


@dataclass(frozen=True)
class Whole:
    """The reduced system of all frames: depth is eliminated."""

    matrix: Float64[Tensor, "unknowns unknowns"]
    rhs: Float64[Tensor, " unknowns"]
    diagonal: Float64[Tensor, " unknowns"]
    """Before depth is eliminated: what steps are damped by."""

    def minus(self, part: "Whole") -> "Whole":
        """What is left without a part of the measurements."""
        return Whole(self.matrix - part.matrix, self.rhs - part.rhs, self.diagonal - part.diagonal)

    def plus(self, part: "Whole") -> "Whole":
        """With more measurements."""
        return Whole(self.matrix + part.matrix, self.rhs + part.rhs, self.diagonal + part.diagonal)

    def step(self, free: Bool[Tensor, " unknowns"], damping: float) -> Float64[Tensor, " unknowns"]:
        """A damped step; 0 where nothing may move."""
        chosen = torch.nonzero(free)[:, 0]
        matrix = self.matrix[chosen][:, chosen]
        added = damping * self.diagonal[chosen] + 1e-9
        out = torch.zeros_like(self.rhs)
        out[chosen] = -torch.linalg.solve(matrix + torch.diag(added), self.rhs[chosen])
        return out


def whole_system(
    equations: Equations, problem: Problem, free: Free, damping: float = 0.0
) -> tuple[Whole, Float[Tensor, "frames samples"], Int64[Tensor, "frames block"]]:
    """The reduced system, the inverse of the depths' Hessian, and the column of each unknown of a frame's block."""
    inverse = 1 / (equations.depth_hessian * (1 + damping)).clamp_min(1e-20)
    inverse = inverse if free.depth else torch.zeros_like(inverse)
    scaled = equations.coupling * inverse[:, None]
    hessian = equations.hessian - (scaled @ equations.coupling.transpose(1, 2)).double()
    taken = (scaled @ equations.depth_gradient[..., None])[..., 0]
    gradient = equations.gradient - taken.double()
    frames, slots = problem.partners.shape
    shared = gradient.shape[1] - 6 * (slots + 1)
    touched = torch.cat((torch.arange(frames)[:, None], problem.partners), dim=1)
    own = (6 * touched[..., None] + torch.arange(6)).flatten(1)
    rest = (6 * frames + torch.arange(shared)).expand(frames, shared)
    columns, size = torch.cat((own, rest), dim=1), 6 * frames + shared
    places = columns[:, :, None] * size + columns[:, None]
    matrix = hessian.new_zeros(size * size).index_add_(0, places.flatten(), hessian.flatten())
    rhs = hessian.new_zeros(size).index_add_(0, columns.flatten(), gradient.flatten())
    diagonal = equations.hessian.diagonal(dim1=1, dim2=2)
    diagonal = hessian.new_zeros(size).index_add_(0, columns.flatten(), diagonal.flatten())
    return Whole(matrix.view(size, size), rhs, diagonal), inverse, columns


def solve_lens(
    problem: Problem, start: Lensed, free: Free, kernel_px: float
) -> tuple[Lensed, float]:
    """The minimum near a start, and its cost."""
    at, damping = start, 1e-4
    equations = linearise(problem, at, kernel_px)
    for _ in range(MOST_STEPS):
        for _ in range(MAX_ATTEMPTS):
            trial = _moved(problem, at, equations, free, damping)
            tried = linearise(problem, trial, kernel_px)
            if tried.cost <= equations.cost:  # not so where it is NaN
                break
            damping *= 10
        else:
            break
        gain = (equations.cost - tried.cost) / max(equations.cost, 1e-12)
        at, equations, damping = trial, tried, max(damping * 0.2, 1e-7)
        if gain < TOLERANCE:
            break
    return at, equations.cost


def _moved(
    problem: Problem, at: Lensed, equations: Equations, free: Free, damping: float
) -> Lensed:
    """The state after a damped Gauss-Newton step."""
    system, inverse, columns = whole_system(equations, problem, free, damping)
    step = system.step(free.columns(len(at.lens.terms)), damping)
    frames, state = problem.num_frames, at.state
    twists, shared = step[: 6 * frames].view(frames, 6), step[6 * frames :]
    push = (step[columns][:, None].to(inverse.dtype) @ equations.coupling)[:, 0]
    depth = state.inverse_depth - (equations.depth_gradient + push) * inverse
    floor = MIN_RELATIVE_INVERSE_DEPTH * problem.prior_inverse_depth
    intrinsics = state.intrinsics.clone()
    intrinsics[:, :2] *= shared[0].clamp(-MAX_FOCAL_STEP, MAX_FOCAL_STEP).exp()
    intrinsics[:, 2:] += shared[-2:]
    moved = State(
        orthonormal(exp_se3(twists) @ state.cam_from_world),
        torch.maximum(depth, floor) if free.depth else state.inverse_depth,
        intrinsics,
    )
    terms = zip(at.lens.terms, shared[1:-2].tolist(), strict=True)
    return Lensed(moved, replace(at.lens, terms=tuple(term + more for term, more in terms)))


def as_fisheye(lensed: Lensed) -> Lensed:
    """The same cameras behind an equidistant fisheye."""
    return replace(lensed, lens=Bending((), is_fisheye=True))
