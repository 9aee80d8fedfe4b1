"""Terms of the objective that touch the inverse depth of single samples: the depth prior, and terms of one's own.

What ties samples to cameras is the flow (`recon4d.optim.objective.flow_term`); everything that speaks of depth alone is
one class here, which the solver, windows of frames, regions of the image and clips know as a `SampleTerm`, not by name.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from recon4d.optim.objective.terms import cauchy_weight, depth_prior
from recon4d.optim.objective.unknowns import State

PRIOR_KERNEL_PX = 2.0
"""Scale of the Cauchy kernel on the weighted depth prior: sensors are far off at depth edges."""


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


@dataclass(frozen=True)
class OfDepth:
    """A term at a state: its cost (pixels^2 / 2, float64), and its normal equations by inverse depth."""

    cost: Float[Tensor, ""]
    hessian: Float[Tensor, "frames samples"]
    gradient: Float[Tensor, "frames samples"]

    def plus(self, other: "OfDepth") -> "OfDepth":
        """Both terms."""
        return OfDepth(
            self.cost + other.cost, self.hessian + other.hessian, self.gradient + other.gradient
        )


@runtime_checkable
class SampleTerm(Protocol):
    """What is measured or expected of samples' depth."""

    def linear(self, state: State, frames: slice) -> OfDepth:
        """Cost and normal equations of some frames at a state; nothing may make the host wait for a device."""
        ...

    def of(self, frames: Int64[Tensor, " some"]) -> "SampleTerm | None":
        """The term for some frames alone, which are renumbered from 0; None where nothing is left of it."""
        ...

    def chosen(self, samples: Int64[Tensor, " chosen"] | slice) -> "SampleTerm":
        """The term for some of every frame's samples alone."""
        ...


@dataclass(frozen=True)
class DepthPriorTerm:
    """Relative error of the inverse depth against what a depth camera or a network says (`DepthPrior`)."""

    inverse_depth: Float[Tensor, "frames samples"]
    weight_px: Float[Tensor, "frames samples"]
    """Cost of a relative error of 1, as one residual in pixels."""
    gain_px: float
    """Cost of a prior that is e times too far in a whole frame, as one residual in pixels (`State.log_gain`)."""

    def linear(self, state: State, frames: slice) -> tuple[OfDepth, Gain]:
        """The term, and the normal equations of the frames' gains."""
        wanted = self.inverse_depth[frames]
        if state.log_gain is not None:
            wanted = wanted * state.log_gain[frames, None].exp().to(wanted)
        error, slope = depth_prior(state.inverse_depth[frames], wanted)
        information = self.weight_px[frames] ** 2
        kernel, weight = cauchy_weight(information * error**2, PRIOR_KERNEL_PX)
        cost = kernel.sum(dtype=torch.float64)
        information = information * weight * slope
        gain = Gain.none(error)
        if state.log_gain is not None:
            gain = self._gain(state.log_gain[frames], information / slope, error, slope)
            cost = cost + 0.5 * (self.gain_px * state.log_gain[frames]).square().sum()
        return OfDepth(cost, information * slope, information * error), gain

    def _gain(
        self,
        log_gain: Float[Tensor, " frames"],
        weight: Float[Tensor, "frames samples"],
        error: Float[Tensor, "frames samples"],
        slope: Float[Tensor, "frames samples"],
    ) -> Gain:
        """The residual `inverse_depth / (prior * gain) - 1` by the log gain is `-(1 + residual)`."""
        by_gain, information = -(1 + error), self.gain_px**2
        return Gain(
            (weight * by_gain**2).sum(1, dtype=torch.float64) + information,
            (weight * by_gain * error).sum(1, dtype=torch.float64) + information * log_gain,
            weight * by_gain * slope,
        )
