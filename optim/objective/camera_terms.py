"""Terms of the objective that touch cameras alone, one class each: given poses, a smooth path, the usual focal length.

A new term is one more class: `linear` says its cost at a state and its residuals with their Jacobians, `of` what is
left of it for some of the frames. The solver, windows of frames, clips and the stated uncertainty know no term by name.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from recon4d.optim.objective.terms import cauchy_weight, known_pose
from recon4d.optim.objective.unknowns import State

TWIST, TURN, MOVE, FOCAL = slice(0, 6), slice(0, 3), slice(3, 6), slice(6, 7)
"""Unknowns of a camera: its left twist (rotation vector, translation), each half of it, its log focal length."""
POSE_KERNEL_PX = 0.6
"""Scale of the Cauchy kernel on given poses: three standard deviations, which weigh as much as those of the flow."""
FOCAL_WALK_PX = 30.0
"""Cost of a focal length of a frame's own that is e times that of the frame before, as one residual in pixels: a change
of 1 % costs as much as 1.5 standard deviations of one flow measurement, of which a frame has thousands."""
FOCAL_PRIOR_PX = 1.0
"""Cost of a focal length that is e times the usual one, as one residual in pixels: decides only where data does not."""


@dataclass(frozen=True)
class Rows:
    """Linearised residuals that each touch one kind of unknown of a few frames; float64, in pixels."""

    frames: Int64[Tensor, "groups touched"]
    """The frames that the residuals of a group touch, ascending."""
    residual: Float[Tensor, "groups rows"]
    jacobian: Float[Tensor, "groups touched rows unknowns"]
    """Derivative of a group's residuals by the unknowns of each touched frame."""
    unknowns: slice
    """`TWIST`, `TURN`, `MOVE` or `FOCAL`."""
    weight: Float[Tensor, "*groups"]
    """Of each group's squared residuals (of a robust kernel: its slope), or one for all."""


@dataclass(frozen=True)
class Linear:
    """A term at a state."""

    cost: Float[Tensor, ""]
    """float64, pixels^2 / 2."""
    rows: tuple[Rows, ...]


@runtime_checkable
class CameraTerm(Protocol):
    """What is measured or expected of cameras."""

    reach: ClassVar[int]
    """Frames apart that it ties together at most; 0: each frame alone. The band of the reduced system is as wide."""
    is_measured: ClassVar[bool]
    """A measurement, which takes part in the damping of steps, or what is expected beforehand."""

    def linear(self, state: State) -> Linear:
        """The cost at a state, and the residuals with their Jacobians; nothing may make the host wait for a device."""
        ...

    def of(self, frames: Int64[Tensor, " some"]) -> "CameraTerm | None":
        """The term for some frames alone, which are renumbered from 0; None where nothing is left of it."""
        ...


@dataclass(frozen=True)
class GivenPoses:
    """Given poses that draw the cameras to themselves, in the frame and scale of the state; float64."""

    reach: ClassVar[int] = 0
    is_measured: ClassVar[bool] = True
    world_from_cam: Float[Tensor, "frames 4 4"]
    centre_px: Float[Tensor, " frames"]
    """Cost of a centre that is off by one scene unit, as one residual in pixels; 0 where no pose is given."""
    turn_px: Float[Tensor, " frames"]
    """The same for one radian."""

    def linear(self, state: State) -> Linear:
        """Residuals of every frame's twist, under a Cauchy kernel: one given pose in ten may be wrong."""
        error, jacobian = known_pose(state.cam_from_world, self.world_from_cam)
        root = torch.stack((self.turn_px, self.centre_px), 1).repeat_interleave(3, dim=1)
        error, jacobian = error * root, jacobian * root[..., None]
        cost, slope = cauchy_weight(error.square().sum(1), POSE_KERNEL_PX)
        frames = torch.arange(len(error), device=error.device)[:, None]
        return Linear(cost.sum(), (Rows(frames, error, jacobian[:, None], TWIST, slope),))

    def of(self, frames: Int64[Tensor, " some"]) -> "GivenPoses":
        """Those of some frames."""
        return GivenPoses(self.world_from_cam[frames], self.centre_px[frames], self.turn_px[frames])


@dataclass(frozen=True)
class Smoothness:
    """The camera's acceleration: second differences of its centre from frame to frame."""

    reach: ClassVar[int] = 2
    is_measured: ClassVar[bool] = False
    weight_px: float
    """Cost of one median depth, as one residual in pixels: the same motion in a scene of another size costs the
    same."""
    inverse_depth: Float[Tensor, ""]
    """Median inverse depth of the scene, 1 / scene unit."""

    def linear(self, state: State) -> Linear:
        """Residuals in scene units, weighted to pixels."""
        rotation = state.cam_from_world[:, :3, :3]
        centres = -(rotation.transpose(1, 2) @ state.cam_from_world[:, :3, 3:])[..., 0]
        bends = centres[2:] - 2 * centres[1:-1] + centres[:-2]
        weight = (self.weight_px * self.inverse_depth.to(centres)) ** 2
        by_twist = -rotation.transpose(
            1, 2
        )  # the centre moves by -R^T v for the part v of a left twist
        count = len(bends)
        jacobian = torch.stack(
            [factor * by_twist[at : at + count] for at, factor in enumerate((1.0, -2.0, 1.0))], 1
        )
        frames = torch.arange(count, device=centres.device)[:, None]
        frames = frames + torch.arange(3, device=centres.device)
        cost = 0.5 * weight * bends.square().sum()
        return Linear(cost, (Rows(frames, bends, jacobian, MOVE, weight),))

    def of(self, frames: Int64[Tensor, " some"]) -> "Smoothness | None":
        """The same where there are three frames to differ."""
        return self if len(frames) > 2 else None


@dataclass(frozen=True)
class SharedFocal:
    """The focal length that all frames share is drawn to a usual one."""

    reach: ClassVar[int] = 0
    is_measured: ClassVar[bool] = False
    usual_px: float
    weight_px: float = FOCAL_PRIOR_PX
    """Cost of a focal length that is e times the usual one, as one residual in pixels."""

    def linear(self, state: State) -> Linear:
        """One residual, the logarithm of the ratio."""
        error = torch.log(state.shared_intrinsics[:2].mean() / self.usual_px)
        one = error.new_ones((1, 1, 1, 1))
        frames = torch.zeros((1, 1), dtype=torch.int64, device=error.device)
        rows = Rows(frames, error[None, None], one, FOCAL, self.weight_px**2 * one[0, 0, 0, 0])
        return Linear(0.5 * (self.weight_px * error) ** 2, (rows,))

    def of(self, frames: Int64[Tensor, " some"]) -> "SharedFocal":
        """The same: any frame's focal length is that of all."""
        return self


@dataclass(frozen=True)
class OwnFocals:
    """Every frame's own focal length is drawn to a usual one, and to that of the frame before."""

    reach: ClassVar[int] = 1
    is_measured: ClassVar[bool] = False
    usual_px: float
    weight_px: float = FOCAL_PRIOR_PX
    """Cost of focal lengths that are all e times the usual one, as one residual in pixels."""

    def linear(self, state: State) -> Linear:
        """Residuals in pixels: of every frame, and of every step from one to the next."""
        focals = torch.log(state.intrinsics[:, :2].mean(1) / self.usual_px)
        count, one = len(focals), focals.new_ones(())
        usual_px = self.weight_px / count**0.5
        usual, steps = usual_px * focals, FOCAL_WALK_PX * focals.diff()
        frames = torch.arange(count, device=focals.device)[:, None]
        alone = one.expand(count, 1, 1, 1) * usual_px
        ahead = FOCAL_WALK_PX * torch.stack((-one, one)).view(1, 2, 1, 1).expand(count - 1, 2, 1, 1)
        rows = (
            Rows(frames, usual[:, None], alone, FOCAL, one),
            Rows(torch.cat((frames[:-1], frames[1:]), 1), steps[:, None], ahead, FOCAL, one),
        )
        return Linear(0.5 * (usual.square().sum() + steps.square().sum()), rows)

    def of(self, frames: Int64[Tensor, " some"]) -> "OwnFocals":
        """The same, for fewer frames."""
        return self


def focal_term(usual_px: float, weight_px: float = FOCAL_PRIOR_PX, *, shared: bool) -> CameraTerm:
    """What is expected of a focal length that is not known: one for all frames, or each frame's own."""
    return SharedFocal(usual_px, weight_px) if shared else OwnFocals(usual_px, weight_px)
