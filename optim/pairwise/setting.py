"""One set-up of every optimization of the pairs: a stage, what the pointmaps say of the focal length, given poses.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass, replace

import torch

from recon4d.core.scene import KnownPoses
from recon4d.optim.given_poses import held_poses, pose_prior, unpulling_scale
from recon4d.optim.objective.camera_terms import CameraTerm, focal_term
from recon4d.optim.objective.normal_equations import SolveOptions
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.unknowns import Freedom, State
from recon4d.optim.pairwise.start import PairStart
from recon4d.optim.setting import Task

GAIN_SIGMA = 0.02
"""Scales of the frames' pointmaps may differ by this much, relative, in one optimisation."""
TOLERANCE = 2e-3
"""A stage ends when a step lowers the cost by less than this part of it."""


@dataclass(frozen=True)
class Stage:
    """One optimisation of the loop; masks are found anew after each."""

    kernel_sigmas: float
    """Scale of the robust kernel on flow, standard deviations of the flow."""
    free_depth: bool
    """Whether depth moves, too, or the cameras alone."""
    free_focal: bool
    fine: bool
    """On which grid."""
    correlated: float
    """Pointmap errors count this many times: high while movers may be taken for static and bend the cameras, because a
    strong prior would hold what is wrong; low at the end, for depth and focal length."""
    max_steps: int = 6
    """Levenberg-Marquardt steps: the next stage goes on from there."""


@dataclass(frozen=True)
class PairSetting:
    """An optimization of the pairs but for its problem and where it starts."""

    stage: Stage
    start: PairStart
    """What the pointmaps say alone."""
    sigma_px: float
    """Standard deviation of the flow per axis."""
    known: KnownPoses | None = None
    """Given poses that are used."""

    def solve(self, problem: Problem, state: State) -> State:
        """The minimum near a state; scales of the frames' pointmaps are free where depth is."""
        if self.stage.free_depth:
            frames, device = problem.num_frames, problem.weight.device
            state = replace(state, log_gain=torch.zeros(frames, dtype=torch.float64, device=device))
        else:
            state = replace(state, inverse_depth=problem.prior_inverse_depth)
        task = self.task(problem, state)
        return replace(task.solve(state, task.options.kernel_px), log_gain=None)

    def task(self, problem: Problem, state: State) -> Task:
        """The optimization from a state, in the scale of the given poses; without any the first camera is the world."""
        device = problem.weight.device
        freedom = Freedom.all_but_first(problem.num_frames, device)
        problem = problem.with_terms(*self._focal_terms())
        if not self.stage.free_depth:
            freedom = replace(freedom, depth=torch.zeros_like(freedom.depth))
        if self.known is not None:
            scale = unpulling_scale(state.inverse_depth / problem.prior_inverse_depth)
            problem = problem.with_prior_scaled(scale)
            problem = problem.with_terms(*pose_prior(self.known, state))
            free = torch.from_numpy(~held_poses(self.known)).to(device)
            freedom = replace(freedom, pose=free)
        return Task(problem, freedom, self._solve_options(), str(device))

    @property
    def _frees_focal(self) -> bool:
        return self.stage.free_focal and not self.start.is_focal_known

    def _solve_options(self) -> SolveOptions:
        return SolveOptions(
            kernel_px=self.stage.kernel_sigmas * self.sigma_px,
            max_steps=self.stage.max_steps,
            relative_tolerance=TOLERANCE,
            free_focal=self._frees_focal,
            shared_focal=not self.start.has_own_focals,
            gain_px=self.sigma_px / GAIN_SIGMA,
        )

    def _focal_terms(self) -> tuple[CameraTerm, ...]:
        """What pointmaps say of the focal length, where the stage finds it."""
        if not self._frees_focal:
            return ()
        start, weight_px = self.start, self.start.focal_prior_px(self.sigma_px)
        return (focal_term(start.focal_px, weight_px, shared=not start.has_own_focals),)
