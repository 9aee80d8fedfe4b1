"""The solver's normal equations against finite differences, and its laws."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from recon4d.core.geometry import exp_se3, invert_rigid
from recon4d.optim.objective.camera_terms import GivenPoses, OwnFocals, Smoothness, focal_term
from recon4d.optim.objective.flow_term import flow_consistency
from recon4d.optim.objective.normal_equations import SolveOptions, linearise, objective
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.terms import cauchy_weight, depth_prior
from recon4d.optim.objective.unknowns import Freedom, State
from recon4d.optim.solve import band
from recon4d.optim.solve.band import Layout, Reduced, solve_bordered
from recon4d.optim.solve.solver import solve

WIDE = torch.float64


def random_problem(seed: int = 0, frames: int = 4, samples: int = 7) -> tuple[Problem, State]:
    """Small float64 problem with residuals of a few pixels, away from any kink."""
    g = torch.Generator().manual_seed(seed)
    partners = torch.stack(
        [torch.tensor([j for j in range(frames) if j != i]) for i in range(frames)]
    )
    uv = torch.rand((frames, 2, samples), generator=g, dtype=WIDE) * 60 + 2
    problem = Problem(
        samples_px=uv,
        partners=partners,
        targets_px=uv[:, None]
        + torch.randn((frames, frames - 1, 2, samples), generator=g, dtype=WIDE),
        weight=torch.rand((frames, frames - 1, samples), generator=g, dtype=WIDE),
        prior_inverse_depth=torch.full((frames, samples), 0.5, dtype=WIDE),
        prior_weight=torch.full((frames, samples), 0.7, dtype=WIDE),
    )
    state = State(
        cam_from_world=exp_se3(0.05 * torch.randn((frames, 6), generator=g, dtype=WIDE)),
        inverse_depth=0.4 + 0.2 * torch.rand((frames, samples), generator=g, dtype=WIDE),
        intrinsics=torch.tensor([60.0, 55.0, 32.0, 31.0], dtype=WIDE).repeat(frames, 1),
    )
    return problem, state


@dataclass(frozen=True)
class NormalEquations:
    """The gradient of the objective: what a step is computed from."""

    pose_gradient: torch.Tensor
    focal_gradient: torch.Tensor
    """Of every frame, or of the one that all share."""
    depth_gradient: torch.Tensor


def normal_equations(
    problem: Problem, state: State, freedom: Freedom, options: SolveOptions
) -> NormalEquations:
    """Gradient of the objective by pose twists, log focal and inverse depth, depths not eliminated."""
    local, layout = linearise(problem, state, freedom, options), Layout.of(problem, options)
    diagonal = local.hessian.diagonal(dim1=1, dim2=2)
    system = Reduced.of(local.hessian, local.gradient, diagonal, layout)
    system = system.with_terms(problem, local.terms, freedom, layout)
    cameras = system.rhs.reshape(-1, layout.camera)
    focal = cameras[:, 6] if options.has_own_focals else system.slope[None]
    return NormalEquations(cameras[:, :6].flatten(), focal, local.depth_gradient)


def moved(state: State, pose: torch.Tensor, depth: torch.Tensor, focal: torch.Tensor) -> State:
    """The state after a step; `focal` has one number, or one per frame."""
    scale = torch.ones_like(state.intrinsics)
    scale[:, :2] = focal.exp()[:, None]
    return State(
        exp_se3(pose) @ state.cam_from_world, state.inverse_depth + depth, state.intrinsics * scale
    )


@pytest.mark.parametrize("shared_focal", [True, False])
@pytest.mark.parametrize("with_poses", [False, True])
def test_the_gradient_matches_finite_differences(shared_focal: bool, with_poses: bool) -> None:
    problem, state = random_problem()
    state = replace(state, intrinsics=state.intrinsics * torch.tensor([[1.0], [1.1], [0.9], [1]]))
    if shared_focal:
        state = replace(state, intrinsics=state.intrinsics[:1].repeat(4, 1))
    if with_poses:
        problem = problem.with_terms(some_poses(state))
    problem = problem.with_terms(
        Smoothness(0.3, torch.tensor(0.5)), focal_term(50.0, shared=shared_focal)
    )
    options = SolveOptions(kernel_px=1.5, free_focal=True, shared_focal=shared_focal)
    freedom = Freedom(torch.ones(4, dtype=torch.bool), torch.ones(4, dtype=torch.bool))
    equations = normal_equations(problem, state, freedom, options)
    analytic = (
        equations.pose_gradient,
        equations.depth_gradient.flatten(),
        equations.focal_gradient,
    )
    zeros = [torch.zeros_like(gradient) for gradient in analytic]
    step = 1e-6  # central differences in float64: error about step^2 plus rounding 1e-16 / step

    def cost(pose: torch.Tensor, depth: torch.Tensor, focal: torch.Tensor) -> float:
        there = moved(state, pose.view(4, 6), depth.view(4, 7), focal)
        return objective(problem, there, options)

    for part, gradient in enumerate(analytic):
        for index in range(len(gradient)):
            ahead = [zero.clone() for zero in zeros]
            ahead[part][index] = step
            numeric = (cost(*ahead) - cost(*(-x for x in ahead))) / (2 * step)
            assert float(gradient[index]) == pytest.approx(numeric, rel=1e-5, abs=1e-5)


def some_poses(state: State) -> GivenPoses:
    """Two frames have given poses, which are near."""
    g = torch.Generator().manual_seed(2)
    near = exp_se3(0.02 * torch.randn((4, 6), generator=g, dtype=WIDE)) @ state.cam_from_world
    weight = torch.tensor([0.0, 8.0, 0.0, 3.0], dtype=WIDE)
    return GivenPoses(invert_rigid(near), centre_px=weight, turn_px=2 * weight)


def test_a_focal_length_that_all_share_is_the_sum_of_each_frames_own() -> None:
    """One implementation: the shared gradient is that of the single ones, tied."""
    problem, state = random_problem()
    freedom = Freedom(torch.ones(4, dtype=torch.bool), torch.ones(4, dtype=torch.bool))
    found = [
        normal_equations(
            problem,
            state,
            freedom,
            SolveOptions(kernel_px=1.5, free_focal=True, shared_focal=shared),
        ).focal_gradient.sum()
        for shared in (True, False)
    ]
    assert float(found[0]) == pytest.approx(float(found[1]), rel=1e-12)


def test_frames_that_are_held_keep_their_own_focal_length() -> None:
    problem, state = random_problem()
    held = torch.tensor([True, False, True, False])
    options = SolveOptions(kernel_px=1.5, free_focal=True, shared_focal=False, max_steps=3)
    found = solve(problem.with_terms(OwnFocals(50.0)), state, Freedom(~held, ~held), options)
    assert torch.equal(found.intrinsics[held], state.intrinsics[held])
    assert (found.intrinsics[~held, 0] != state.intrinsics[~held, 0]).all()


def test_a_system_that_rounding_made_indefinite_is_damped_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem, state = random_problem()
    freedom, options = Freedom.all_but_first(4, torch.device("cpu")), SolveOptions(kernel_px=1.5)
    before, failures = objective(problem, state, options), iter([True, True])

    def fails_twice(*args: Any) -> tuple[torch.Tensor, torch.Tensor]:
        step, focal = solve_bordered(*args)
        return (step * torch.nan, focal) if next(failures, False) else (step, focal)

    monkeypatch.setattr(band, "solve_bordered", fails_twice)
    found = solve(problem, state, freedom, options)
    assert objective(problem, found, options) < 0.9 * before
    failures = iter([True] * 100)
    assert solve(problem, state, freedom, options) is state


def test_jacobians_of_the_flow_term_match_finite_differences() -> None:
    g = torch.Generator().manual_seed(1)
    uv = torch.rand((3, 2, 5), generator=g, dtype=WIDE) * 60
    target = uv + 1
    rho = 0.3 + torch.rand((3, 5), generator=g, dtype=WIDE)
    pose = exp_se3(0.1 * torch.randn((3, 6), generator=g, dtype=WIDE))
    k = torch.tensor([70.0, 65.0, 31.0, 33.0], dtype=WIDE)
    there = torch.tensor([[50.0, 55.0, 31.0, 33.0]], dtype=WIDE).repeat(3, 1)
    term, step = flow_consistency(uv, target, rho, pose, k, there), 1e-6

    def residual(
        twist: torch.Tensor, drho: float = 0.0, own: float = 0.0, other: float = 0.0
    ) -> torch.Tensor:
        source, target_k = (
            intrinsics * torch.tensor([np.exp(by), np.exp(by), 1, 1], dtype=WIDE)
            for intrinsics, by in ((k, own), (there, other))
        )
        moved_pose = exp_se3(twist) @ pose
        return flow_consistency(uv, target, rho + drho, moved_pose, source, target_k).residual_px

    zero = torch.zeros(6, dtype=WIDE)

    def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
        # central differences: step^2 and rounding / step
        torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)

    for axis in range(6):
        d = zero.clone()
        d[axis] = step
        close(term.by_pose()[:, :, axis], (residual(d) - residual(-d)) / (2 * step))
    numeric = (residual(zero, step) - residual(zero, -step)) / (2 * step)
    close(term.by_inverse_depth(), numeric)
    numeric = (residual(zero, 0, step) - residual(zero, 0, -step)) / (2 * step)
    close(term.by_source_focal(), numeric)
    numeric = (residual(zero, 0, 0, step) - residual(zero, 0, 0, -step)) / (2 * step)
    close(term.by_target_focal(), numeric)


def test_kernel_and_prior_have_the_derivatives_they_claim() -> None:
    squared = torch.tensor([0.0, 0.1, 4.0, 100.0], dtype=WIDE, requires_grad=True)
    cost, weight = cauchy_weight(squared, 0.7)
    (slope,) = torch.autograd.grad(cost.sum(), squared)
    torch.testing.assert_close(2 * slope, weight)
    rho = torch.rand((2, 3), dtype=WIDE).requires_grad_()
    value, derivative = depth_prior(rho, torch.full((2, 3), 0.4, dtype=WIDE))
    (numeric,) = torch.autograd.grad(value.sum(), rho)
    torch.testing.assert_close(numeric, derivative)
