"""One set-up of every batch optimization: what it is given besides a start, and where it runs.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Int64

from recon4d.core.scene import KnownPoses, Scene, Video
from recon4d.core.tensors import on_device
from recon4d.optim.given_poses import held_poses, pose_prior, unpulling_scale
from recon4d.optim.objective.camera_terms import (
    FOCAL_PRIOR_PX,
    CameraTerm,
    Smoothness,
    focal_term,
)
from recon4d.optim.objective.normal_equations import SolveOptions, objective
from recon4d.optim.objective.problem import Problem, Term
from recon4d.optim.objective.unknowns import Freedom, State
from recon4d.optim.solve import uncertainty
from recon4d.optim.solve.jackknife import HeldMoves, Moves
from recon4d.optim.solve.solver import solve
from recon4d.optim.start.parallax import NO_PARALLAX_PX

START_KERNEL_PX = 1.0
"""Scale of the robust kernel while a start is polished, pixels: three times the final one."""
USUAL_FOCAL = 1.0
"""Focal length over the long side of the image, where nothing is known: 53 degrees of view, a phone's main camera."""
USUAL_LENSES = (0.35, 6.0)
"""Focal lengths over the long side of the image that lenses have: those for 35 mm film from 13 to 216 mm."""
SMOOTHNESS_PX = 10.0
"""Weight of the camera's acceleration, pixels per median depth: nothing beside a frame with texture (thousands of
samples), enough to carry a nearly blank one. Not used across cuts."""
FOCAL_PRIOR = 0.01
"""Cost of a focal length that is e times the usual one, over that of all the flow leaves: what lens, shutter and the
flow itself are off together is a part of the residual, however many measurements there are. Of no weight where cameras
explain the flow to its noise; a dashcam's focal length, which changes the residual by .5 % from 1 to 4 widths, stays
usual."""
TOLERANCE = 5e-4
"""An optimization ends when a step lowers the cost by less than this part of it."""


def expected_focal_px(video: Video) -> float:
    """Focal length before anything is measured, pixels: the stated one, or the usual one."""
    return video.stated_focal_px or USUAL_FOCAL * max(video.size)


def usual_focal(problem: Problem, state: State, usual_px: float, *, shared: bool) -> CameraTerm:
    """What is expected of a focal length that is not known.

    Args:
        problem: The measurements.
        state: What they are explained by so far.
        usual_px: Focal length that is expected, pixels.
        shared: It is that of all frames; or else each has its own.
    """
    left = objective(problem, state, SolveOptions(kernel_px=START_KERNEL_PX))
    weight_px = (FOCAL_PRIOR_PX**2 + FOCAL_PRIOR * left) ** 0.5
    return focal_term(usual_px, weight_px, shared=shared)


@dataclass(frozen=True, kw_only=True)
class AlignOptions:
    """Settings of the batch optimizer."""

    kernel_px: float = 0.3
    """Largest scale of the robust kernel in the last run, pixels of the working size; `noise_kernel_px` narrows it, and
    `recon4d.optim.objective.noise` has the other numbers of how exact flow is."""
    grid_px: int = 16
    """Distance between depth samples, pixels of the working size."""
    max_steps: int = 30
    """Most Levenberg-Marquardt steps per run."""
    threads: int = 2
    """Threads for work that is done pair by pair."""
    device: str = "cpu"
    """Torch device of the batch optimization."""
    own_focals: bool = False
    """Every frame has a focal length of its own, where intrinsics are not known."""
    finds_zoom: bool = False
    """Where intrinsics are not known, every frame gets a focal length of its own if zoom explains the flow."""

    def following(self, scene: Scene) -> "AlignOptions":
        """The same for a scene in which it is decided whether the camera zooms."""
        return replace(self, own_focals=self.own_focals or scene.zooms, finds_zoom=False)


@dataclass(frozen=True)
class Setting:
    """An optimization of a video but for its start and the scale of the kernel."""

    problem: Problem
    component: Int64[np.ndarray, " frames"]
    """Piece of every frame: measurements within pieces count; -1 = lost, which does not move."""
    video: Video
    options: AlignOptions
    known: KnownPoses | None = None
    """Given poses that are used."""
    held: Bool[np.ndarray, " frames"] | None = None
    """Frames whose pose, depth and focal length stay, and with them a focal length that all share."""
    turns_only: bool = False
    """Cameras turn about one centre, and nothing is known of depth."""
    least_parallax_px: float = NO_PARALLAX_PX
    """Unexplained parallax below which cameras are taken to turn only, pixels; 0: it is decided that they move."""
    terms: tuple[Term, ...] = ()
    """More terms of the objective, in the frame and scale of the start."""

    def task(self, start: State) -> "Task":
        """The optimization from a start, whose scale a prior that is not metric follows."""
        problem = self.problem
        if not self.video.is_metric:
            problem = problem.with_prior_scaled(self._prior_scale(start))
        problem = problem.connected(self.component)
        terms = (
            *pose_prior(self.known, start),
            *self._usual_terms(problem, start),
            *self.terms,
        )
        problem = problem.with_terms(*terms)
        return Task(problem, self._freedom(), self._solve_options(), self.options.device)

    def _prior_scale(self, start: State) -> float:
        """What a prior that is not metric is multiplied by."""
        posed = self.component >= 0
        ratio = start.inverse_depth[posed] / self.problem.prior_inverse_depth[posed]
        return float(ratio.median()) if self.known is None else unpulling_scale(ratio)

    @property
    def frees_focal(self) -> bool:
        """A focal length is an unknown: none is given, and no frame is held that shares it."""
        holds = self.held is not None and not self.options.own_focals
        return self.video.intrinsics is None and not holds

    def _usual_terms(self, problem: Problem, start: State) -> tuple[CameraTerm, ...]:
        """What is expected of every video: a smooth path where nothing cuts it, and a usual focal length if unknown."""
        terms: list[CameraTerm] = []
        if self.video.num_frames > 2 and (self.component == self.component[0]).all():
            terms.append(Smoothness(SMOOTHNESS_PX, problem.prior_inverse_depth.median()))
        if self.frees_focal:
            usual_px = expected_focal_px(self.video)
            terms.append(usual_focal(problem, start, usual_px, shared=not self.options.own_focals))
        return tuple(terms)

    def _freedom(self) -> Freedom:
        """Posed frames are free but what fixes the gauge: held frames, else the first of each piece, or exact poses."""
        free = self.component >= 0
        pose = free.copy()
        if self.held is not None:
            free = free & ~self.held
            pose = free.copy()
        else:
            for piece in np.unique(self.component[free]):
                own = self.component == piece
                if self.known is None or not self.known.is_given[own].any():
                    pose[int(np.argmax(own))] = False
        if self.known is not None:
            pose &= ~held_poses(self.known)
        freedom = Freedom(torch.from_numpy(pose), torch.from_numpy(free))
        return freedom.turning() if self.turns_only else freedom

    def _solve_options(self) -> SolveOptions:
        return SolveOptions(
            kernel_px=self.options.kernel_px,
            max_steps=self.options.max_steps,
            relative_tolerance=TOLERANCE,
            free_focal=self.frees_focal,
            shared_focal=not self.options.own_focals,
            threads=self.options.threads,
        )


@dataclass(frozen=True)
class Task:
    """An optimization that is ready for a state and a kernel."""

    problem: Problem
    freedom: Freedom
    options: SolveOptions
    device: str

    def solve(self, state: State, kernel_px: float) -> State:
        """The minimum near a state, and on its device; the search runs on the device of the options."""
        device = torch.device(self.device)
        found = solve(
            on_device(self.problem, device),
            on_device(state, device),
            on_device(self.freedom, device),
            self._with_kernel(kernel_px),
        )
        return on_device(found, state.cam_from_world.device)

    def cost(self, state: State, kernel_px: float) -> float:
        """The objective at a state."""
        return objective(self.problem, state, self._with_kernel(kernel_px))

    def moves(
        self, state: State, kernel_px: float, keeps_scale: bool, held: HeldMoves | None = None
    ) -> Moves:
        """Jackknife replicates of the cameras at a minimum; see `recon4d.optim.solve.uncertainty.camera_moves`."""
        freedom, options = self.freedom, self._with_kernel(kernel_px)
        if held is not None:  # held ones are off, too, and take the others along
            freedom = freedom.with_frames(torch.from_numpy(held.is_held))
        return uncertainty.camera_moves(self.problem, state, freedom, options, keeps_scale, held)

    def _with_kernel(self, kernel_px: float) -> SolveOptions:
        return replace(self.options, kernel_px=kernel_px)
