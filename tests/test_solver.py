"""The solver's normal equations against finite differences, and its laws."""

import numpy as np
import pytest
import torch

from recon4d.geometry import exp_se3
from recon4d.optim.normal import Freedom, SolveOptions, objective
from recon4d.optim.problem import Problem
from recon4d.optim.solver import normal_equations
from recon4d.optim.state import State
from recon4d.optim.terms import cauchy_weight, depth_prior, flow_consistency

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
        intrinsics=torch.tensor([60.0, 55.0, 32.0, 31.0], dtype=WIDE),
    )
    return problem, state


def moved(state: State, pose: torch.Tensor, depth: torch.Tensor, focal: float) -> State:
    scale = torch.tensor([np.exp(focal), np.exp(focal), 1.0, 1.0], dtype=WIDE)
    return State(
        exp_se3(pose) @ state.cam_from_world, state.inverse_depth + depth, state.intrinsics * scale
    )


def test_the_gradient_matches_finite_differences() -> None:
    problem, state = random_problem()
    options = SolveOptions(kernel_px=1.5, smoothness=0.3, free_focal=True, usual_focal_px=50.0)
    freedom = Freedom(torch.ones(4, dtype=torch.bool), torch.ones(4, dtype=torch.bool))
    equations = normal_equations(problem, state, freedom, options)
    step = 1e-6  # central differences in float64: error about step^2 plus rounding 1e-16 / step

    def cost(pose: torch.Tensor, depth: torch.Tensor, focal: float) -> float:
        return objective(problem, moved(state, pose, depth, focal), options)

    zero_pose, zero_depth = torch.zeros((4, 6), dtype=WIDE), torch.zeros((4, 7), dtype=WIDE)
    for index in range(24):
        d = zero_pose.clone().view(-1)
        d[index] = step
        numeric = (cost(d.view(4, 6), zero_depth, 0) - cost(-d.view(4, 6), zero_depth, 0)) / (
            2 * step
        )
        assert equations.pose_gradient[index] == pytest.approx(numeric, rel=1e-5, abs=1e-5)
    for index in range(28):
        d = zero_depth.clone().view(-1)
        d[index] = step
        numeric = (cost(zero_pose, d.view(4, 7), 0) - cost(zero_pose, -d.view(4, 7), 0)) / (
            2 * step
        )
        assert float(equations.depth_gradient.view(-1)[index]) == pytest.approx(
            numeric, rel=1e-5, abs=1e-5
        )
    numeric = (cost(zero_pose, zero_depth, step) - cost(zero_pose, zero_depth, -step)) / (2 * step)
    assert equations.focal_gradient == pytest.approx(numeric, rel=1e-5, abs=1e-5)


def test_jacobians_of_the_flow_term_match_finite_differences() -> None:
    g = torch.Generator().manual_seed(1)
    uv = torch.rand((3, 2, 5), generator=g, dtype=WIDE) * 60
    target = uv + 1
    rho = 0.3 + torch.rand((3, 5), generator=g, dtype=WIDE)
    pose = exp_se3(0.1 * torch.randn((3, 6), generator=g, dtype=WIDE))
    k = torch.tensor([70.0, 65.0, 31.0, 33.0], dtype=WIDE)
    term, step = flow_consistency(uv, target, rho, pose, k), 1e-6

    def residual(twist: torch.Tensor, drho: float = 0.0, focal: float = 0.0) -> torch.Tensor:
        scaled = k * torch.tensor([np.exp(focal), np.exp(focal), 1, 1], dtype=WIDE)
        return flow_consistency(uv, target, rho + drho, exp_se3(twist) @ pose, scaled).residual_px

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
    close(term.by_log_focal(), numeric)


def test_kernel_and_prior_have_the_derivatives_they_claim() -> None:
    squared = torch.tensor([0.0, 0.1, 4.0, 100.0], dtype=WIDE, requires_grad=True)
    cost, weight = cauchy_weight(squared, 0.7)
    (slope,) = torch.autograd.grad(cost.sum(), squared)
    torch.testing.assert_close(2 * slope, weight)
    rho = torch.rand((2, 3), dtype=WIDE).requires_grad_()
    value, derivative = depth_prior(rho, torch.full((2, 3), 0.4, dtype=WIDE))
    (numeric,) = torch.autograd.grad(value.sum(), rho)
    torch.testing.assert_close(numeric, derivative)
