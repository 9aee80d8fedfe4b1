"""The part of a video that is reconstructed while it grows, and one frame more: its pose, depth and agreement.

Numbers here that name no source were set by hand.
"""

import logging
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from recon4d.core.geometry import invert_rigid, orthonormal
from recon4d.optim.objective.flow_term import flow_term, relative_poses
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.terms import cauchy_weight
from recon4d.optim.objective.unknowns import State
from recon4d.optim.start.one_camera import Seen, Sightings, fit_depth, fit_pose

logger = logging.getLogger(__name__)

MIN_SUPPORT = 0.3
"""A frame counts as posed when at least this part of its sightings agrees."""
MIN_AGREEING = 0.02
"""... and if the weights of those that agree sum to at least this part of what all its sightings can weigh at most.

Across cuts between real videos up to .0024 agrees by chance; the least of all frames of fourteen videos is .07.
"""
AGREEMENT_PX = 1.0
"""Residual at which a sample's vote for being static has fallen to a half, pixels."""
NO_EVIDENCE = 0.1
"""Weight of flow below which a sample is as likely to move as not."""


@dataclass
class Growth:
    """The part of the video that is reconstructed so far. Mutable: it grows."""

    problem: Problem
    intrinsics: Float[Tensor, "frames 4"]
    cam_from_world: Float[Tensor, "frames 4 4"]
    inverse_depth: Float[Tensor, "frames samples"]
    posed: Bool[Tensor, " frames"]
    static: Float[Tensor, "frames samples"]
    """How well each sample obeys the cameras so far, in [0, 1]: movers that were seen once do not vote again."""
    min_sightings: float
    """Sum of the agreeing weights from which on a frame's sightings can pose it."""
    own_focals: bool
    """Every frame has a focal length of its own."""

    @classmethod
    def of(
        cls,
        problem: Problem,
        state: State,
        posed: Bool[Tensor, " frames"],
        min_sightings: float = 0.0,
        *,
        own_focals: bool = False,
    ) -> "Growth":
        """From the posed frames of a state; nothing is known yet of what moves."""
        return cls(
            problem=problem,
            intrinsics=state.intrinsics,
            cam_from_world=state.cam_from_world,
            inverse_depth=state.inverse_depth,
            posed=posed,
            static=torch.ones_like(state.inverse_depth),
            min_sightings=min_sightings,
            own_focals=own_focals,
        )

    def state(self, first: int, last: int) -> State:
        """The unknowns of a window of frames."""
        return State(
            self.cam_from_world[first:last],
            self.inverse_depth[first:last],
            self.intrinsics[first:last],
        )

    def keep(self, first: int, last: int, state: State) -> None:
        """Take over what an optimization of a window found."""
        self.cam_from_world[first:last] = state.cam_from_world
        self.inverse_depth[first:last] = state.inverse_depth
        self.intrinsics[first:last] = state.intrinsics

    def restrict(self, first: int, last: int) -> Problem:
        """The window's measurements between posed frames, on samples that do not move."""
        window = self.problem.window(first, last)
        posed = self.posed[first:last].to(window.weight.dtype)
        weight = window.weight * posed[:, None, None] * posed[window.partners][..., None]
        weight = weight * self.static[first:last, None]
        return replace(window, weight=weight)


def add_frame(growth: Growth, frame: int) -> bool:
    """Pose one more frame from the posed ones, then its depth; False (and untouched) where the flow does not agree."""
    sightings = _sightings(growth, frame)
    if sightings is None:
        return False
    guesses, intrinsics = _guesses(growth, frame)
    fit = fit_pose(sightings, guesses, intrinsics, free_focal=growth.own_focals)
    logger.debug("frame %d: support %.2f of %.0f", frame, fit.support, fit.total)
    needed = max(growth.min_sightings, MIN_AGREEING * sightings.weight.numel())
    if fit.support < MIN_SUPPORT or fit.support * fit.total < needed:
        return False
    growth.cam_from_world[frame] = orthonormal(fit.cam_from_world)
    growth.intrinsics[frame] = fit.intrinsics
    growth.posed[frame] = True
    growth.inverse_depth[frame] = depth_of(growth, frame)
    growth.static[frame] = agreement(growth, frame)
    return True


def _sources(growth: Growth, frame: int) -> Int64[Tensor, " sources"]:
    """Posed partners of a frame."""
    partners = growth.problem.partners[frame]
    return partners[growth.posed[partners] & (partners != frame)]


def _sightings(growth: Growth, frame: int) -> Sightings | None:
    """What the posed partners of a frame see of it."""
    sources = _sources(growth, frame)
    if len(sources) == 0:
        return None
    problem = growth.problem
    slot = (problem.partners[sources] == frame).to(torch.int64).argmax(1)
    return Sightings(
        samples_px=problem.samples_px[sources],
        targets_px=problem.targets_px[sources, slot],
        inverse_depth=growth.inverse_depth[sources],
        weight=problem.weight[sources, slot] * growth.static[sources],
        cam_from_world=growth.cam_from_world[sources],
        intrinsics=growth.intrinsics[sources],
    )


def _guesses(growth: Growth, frame: int) -> tuple[Float[Tensor, "starts 4 4"], Float[Tensor, "4"]]:
    """The nearest posed frames' poses, and constant velocity; the nearest one's intrinsics."""
    posed = torch.nonzero(growth.posed)[:, 0]
    near = posed[(posed - frame).abs().argsort()[:2]]
    poses = growth.cam_from_world
    guesses = [poses[near[0]]]
    if len(near) == 2:
        a, b = near[0], near[1]
        guesses.append(poses[b])
        if abs(int(a - b)) == abs(int(frame - a)):
            guesses.append(poses[a] @ invert_rigid(poses[b]) @ poses[a])
    return torch.stack(guesses), growth.intrinsics[near[0]]


def depth_of(growth: Growth, frame: int, prior_scale: float = 1.0) -> Float[Tensor, " samples"]:
    """Depth of a posed frame's samples from all its posed partners and the prior."""
    problem = growth.problem
    partners = problem.partners[frame]
    use = growth.posed[partners] & (partners != frame)
    relative = relative_poses(problem, growth.state(0, problem.num_frames), frame)
    seen = Seen(
        problem.samples_px[frame],
        problem.targets_px[frame][use],
        problem.weight[frame][use],
        relative[use],
        growth.intrinsics[frame],
        growth.intrinsics[partners[use]],
    )
    prior = problem.prior_inverse_depth[frame] * prior_scale
    return fit_depth(seen, prior, problem.prior_weight[frame])


def agreement(growth: Growth, frame: int) -> Float[Tensor, " samples"]:
    """Confidence-weighted mean of the kernel's weights of a posed frame's samples over its posed partners."""
    problem = growth.problem
    partners = problem.partners[frame]
    use = growth.posed[partners] & (partners != frame)
    term = flow_term(problem, growth.state(0, problem.num_frames), frame)
    agrees = cauchy_weight(term.squared(), AGREEMENT_PX)[1] * term.in_front
    weight = problem.weight[frame] * use[:, None]
    return ((weight * agrees).sum(0) + 0.5 * NO_EVIDENCE) / (weight.sum(0) + NO_EVIDENCE)
