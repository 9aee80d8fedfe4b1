"""Flow without what a shutter adds that rolls, and what the flow says of how long it takes.

What it adds follows from poses, depth and readout (`recon4d.core.shutter`) and is taken off the measurements. The
readout is the unknown of a profile: the cost at three readouts, poses and depth found anew at each, is a parabola whose
lowest point is the next readout. Regions of the image have parabolas of their own; what the readout would be without
each of them tells its standard deviation (`recon4d.optim.solve.jackknife`).

Numbers here that name no source were set by hand.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from scipy.special import stdtrit
from torch import Tensor

from recon4d.core.geometry import invert_rigid
from recon4d.core.shutter import CameraPair, RowMotion
from recon4d.optim.objective.flow_term import flow_term, relative_poses
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.terms import cauchy_weight
from recon4d.optim.objective.unknowns import State
from recon4d.optim.setting import Setting
from recon4d.optim.solve.jackknife import MIN_REGIONS, ONE_SIGMA, REGIONS
from recon4d.optim.solve.uncertainty import region_names

PROBE_S = 2e-3
"""Readouts so far apart give the parabola, seconds."""
PROBE_STEPS = 3
"""Steps in which poses and depth follow a probe: they are a probe away from where they were."""


@dataclass(frozen=True)
class Profile:
    """The cost of every region of the image as a function of the readout, with the best poses and depth for each."""

    cost: Float64[np.ndarray, " regions"]
    slope: Float64[np.ndarray, " regions"]
    """Per second."""
    bend: Float64[np.ndarray, " regions"]
    """Per square second."""

    @property
    def is_used(self) -> Bool[np.ndarray, " regions"]:
        """Regions that measure anything."""
        return np.asarray(self.cost > 0)

    @property
    def step_s(self) -> float:
        """From where it was taken to the lowest point; 0 where there is none."""
        bend = float(self.bend.sum())
        return -float(self.slope.sum()) / bend if bend > 0 else 0.0

    @property
    def without_s(self) -> Float64[np.ndarray, " regions"]:
        """The same without each region in turn, seconds."""
        bend = self.bend.sum() - self.bend
        slope = self.slope.sum() - self.slope
        return np.asarray(-slope / np.where(bend > 0, bend, np.inf))

    @property
    def sigma_s(self) -> float:
        """Standard deviation of the readout, enlarged as poses' are; infinite where it is not told."""
        used = self.is_used
        count = int(used.sum())
        if count < MIN_REGIONS or self.bend.sum() <= 0:
            return float("inf")
        apart = self.without_s[used] - self.without_s[used].mean()
        widened = float(stdtrit(count - 1, ONE_SIGMA))
        return widened * float(np.sqrt((count - 1) / count * (apart**2).sum()))


@dataclass(frozen=True)
class Unrolling:
    """An optimization from flow as a shutter shows it that reads its rows in one direction."""

    setting: Setting
    """With flow as it was measured."""
    is_upwards: bool
    """The last row is read first."""

    def shift_px(self, state: State, readout_s: float) -> Float[Tensor, "frames slots 2 samples"]:
        """What a readout adds to the flow of every sample, pixels."""
        problem = self.setting.problem
        intrinsics = state.intrinsics.to(problem.targets_px)
        pair = CameraPair(
            torch.arange(problem.num_frames)[:, None].expand_as(problem.partners),
            problem.partners,
            relative_poses(problem, state, slice(None)).to(problem.targets_px),
            intrinsics[:, None],
            intrinsics[problem.partners],
        )
        return self._motion(state, readout_s).shift_px(
            problem.samples_px[:, None],
            state.inverse_depth[:, None],
            problem.targets_px[:, :, 1],
            pair,
        )

    def corrected(self, state: State, readout_s: float) -> Setting:
        """The setting with the flow that a shutter would have seen that is open at once."""
        problem, motion = self.setting.problem, self._motion(state, readout_s)
        moved = problem.targets_px - self.shift_px(state, readout_s)
        frames = torch.arange(problem.num_frames)[:, None]
        trust = motion.trust(frames, problem.samples_px[:, None, 1])
        trust = trust * motion.trust(problem.partners, problem.targets_px[:, :, 1])
        problem = replace(problem, targets_px=moved, weight=problem.weight * trust)
        return replace(self.setting, problem=problem)

    def solved(self, state: State, readout_s: float, kernel_px: float) -> State:
        """Poses and depth from flow that is corrected by those before."""
        return self.corrected(state, readout_s).task(state).solve(state, kernel_px)

    def profile(self, state: State, readout_s: float, kernel_px: float) -> Profile:
        """The parabola around a readout."""
        return probed(lambda apart: self.corrected(state, readout_s + apart), state, kernel_px)[0]

    def _motion(self, state: State, readout_s: float) -> RowMotion:
        return RowMotion.of(
            invert_rigid(state.cam_from_world),
            torch.from_numpy(np.array(self.setting.video.timestamps_s)),
            torch.from_numpy(np.array(self.setting.component)),
            readout_s,
            self.setting.video.size[1],
            self.is_upwards,
        )


def probed(
    at: Callable[[float], Setting], state: State, kernel_px: float
) -> tuple[Profile, tuple[State, State]]:
    """The parabola through three readouts, and poses and depth at the first and the last of them.

    Args:
        at: The setting, with corrected flow, for a readout that is so many seconds longer.
        state: Poses and depth to start from.
        kernel_px: Scale of the robust kernel.
    """
    costs, states = [], []
    for apart in (-PROBE_S, 0.0, PROBE_S):
        there = at(apart)
        quick = replace(there, options=replace(there.options, max_steps=PROBE_STEPS)).task(state)
        states.append(quick.solve(state, kernel_px))
        costs.append(region_costs(quick.problem, states[-1], kernel_px))
    low, middle, high = costs
    bend = (high + low - 2 * middle) / PROBE_S**2
    return Profile(middle, (high - low) / (2 * PROBE_S), bend), (states[0], states[2])


def region_costs(
    problem: Problem, state: State, kernel_px: float
) -> Float64[np.ndarray, " regions"]:
    """Cost of the flow by regions of the image."""
    names = region_names(problem)
    out = torch.zeros(REGIONS[0] * REGIONS[1], dtype=torch.float64)
    for frame in range(problem.num_frames):
        kernel = cauchy_weight(flow_term(problem, state, frame).squared(), kernel_px)[0]
        out.index_add_(0, names, (problem.weight[frame] * kernel).sum(0).double())
    return out.numpy()
