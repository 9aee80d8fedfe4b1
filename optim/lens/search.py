"""One way of looking at a video's flow for its lens: which measurements count, fits to some of them, and their spread.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from recon4d.core.distortion import Bending
from recon4d.core.sampling import cell_of
from recon4d.core.scene import Flow, Scene
from recon4d.optim.lens.fisheye import WIDE_KERNEL_PX
from recon4d.optim.lens.objective import Lensed, linearise, seen_through, with_best_depth
from recon4d.optim.lens.solve import Free, Whole, solve_lens, whole_system
from recon4d.optim.objective.problem import Problem, build_problem
from recon4d.optim.objective.terms import cauchy_weight
from recon4d.optim.objective.unknowns import State
from recon4d.optim.setting import START_KERNEL_PX
from recon4d.optim.solve.jackknife import MIN_REGIONS, REGIONS
from recon4d.optim.start.focal import free_but_first

AGREES = 0.5, 0.8
"""Agreement of a sample with the first cameras and lens below which it has no weight, and above which its whole."""
MOST_FRAMES = 60
"""Frames that a lens is found from: more tell it hardly better. Of a longer piece, those in its middle."""
CHOICE_SAMPLES = 240
"""Samples per frame, about, by which lenses are compared; the one that is chosen is found from all."""
DEPTH_STEPS = 5
"""Gauss-Newton steps of the depth of samples that are held out."""


@dataclass(frozen=True)
class Search:
    """Measurements on what agrees with the first cameras, and what may move."""

    problem: Problem
    first: Lensed
    """Where fits start from."""
    free: Free
    kernel_px: float
    middle_px: Float64[np.ndarray, "2"]
    """Where a principal point is expected."""

    @classmethod
    def of(cls, flow: Flow, scene: Scene, kernel_px: float) -> "Search":
        """From cameras without a lens: those of the middle of the largest piece."""
        frames = _middle(scene)
        problem = build_problem(flow, cell_of(scene.samples_px)).connected(scene.component)
        problem = problem.window(int(frames[0]), int(frames[-1]) + 1)
        state = _part(State.of(scene), frames)
        intrinsics = state.intrinsics.median(0).values.repeat(len(frames), 1)
        first = Lensed(replace(state, intrinsics=intrinsics), Bending((0.0,)))
        free = _free(scene.component[frames] >= 0, turns_only=scene.turns_only)
        some = halves(problem)[0]
        every = replace(free, centre=not scene.turns_only)
        for kernel in (WIDE_KERNEL_PX, START_KERNEL_PX):
            fitted, _ = solve_lens(problem.chosen(some), first.of(some), every, kernel)
            first = fitted.with_depth(first.state.inverse_depth)
        return cls._agreeing(problem, first, free, kernel_px, scene)

    @classmethod
    def from_start(
        cls, problem: Problem, start: Lensed, scene: Scene, kernel_px: float
    ) -> "Search":
        """From cameras behind a lens."""
        frames = _middle(scene)
        problem = problem.window(int(frames[0]), int(frames[-1]) + 1)
        first = replace(start, state=_part(start.state, frames))
        free = _free(np.ones(len(frames), bool), turns_only=False)
        return cls._agreeing(problem, first, free, kernel_px, scene)

    @classmethod
    def _agreeing(
        cls, problem: Problem, first: Lensed, free: Free, kernel_px: float, scene: Scene
    ) -> "Search":
        """With weights that fall where a sample does not agree with cameras and lens."""
        if free.depth:
            first, _ = with_best_depth(problem, first, START_KERNEL_PX, DEPTH_STEPS)
        agreeing = problem.with_static_weight(_agreement(problem, first))
        return cls(agreeing, first, free, kernel_px, scene.intrinsics[0, 2:])

    def state_of(self, scene: Scene) -> State:
        """A scene's cameras and depth, of the frames that are looked at."""
        return _part(State.of(scene), _middle(scene))

    def start(self, terms: int, *, centre: bool) -> Lensed:
        """Where a fit with some coefficients starts, with the principal point that was found or in the middle."""
        found = self.first.lens.terms[:terms]
        lens = replace(self.first.lens, terms=found + (0.0,) * (terms - len(found)))
        intrinsics = self.first.state.intrinsics.clone()
        if not centre:
            intrinsics[:, 2:] = torch.from_numpy(self.middle_px)
        return Lensed(replace(self.first.state, intrinsics=intrinsics), lens)

    def fit(self, start: Lensed, samples: Int64[Tensor, " some"], *, centre: bool) -> Lensed:
        """The best cameras and lens for some of the samples; the depth of the others stays as it is."""
        free = replace(self.free, centre=centre)
        at, _ = solve_lens(self.problem.chosen(samples), start.of(samples), free, self.kernel_px)
        return at.with_depth(start.state.inverse_depth)

    def left(self, fitted: Lensed, samples: Int64[Tensor, " some"]) -> float:
        """What cameras and lens leave of some samples' flow, whose depth follows them."""
        problem, at = self.problem.chosen(samples), fitted.of(samples)
        steps = DEPTH_STEPS if self.free.depth else 1
        return with_best_depth(problem, at, self.kernel_px, steps)[1]

    def whole_fit(self, start: Lensed, *, centre: bool) -> tuple[Lensed, list[float]]:
        """The best cameras and lens for all samples, and the standard deviations of what all frames share."""
        every = torch.arange(self.problem.samples_px.shape[2])
        at = self.fit(start, every, centre=centre)
        return at, self.std(at, replace(self.free, centre=centre))

    def over(self, first: int, last: int, at: Lensed) -> "tuple[Search, Lensed]":
        """The same for frames first..last-1 alone, and cameras and lens of these frames."""
        is_posed = self.free.pose[first:last].numpy().copy()
        is_posed[0] = True
        part = replace(
            self,
            problem=self.problem.window(first, last),
            first=replace(self.first, state=_part(self.first.state, np.arange(first, last))),
            free=_free(is_posed, turns_only=self.free.turns_only),
        )
        return part, replace(at, state=_part(at.state, np.arange(first, last)))

    def std(self, at: Lensed, free: Free) -> list[float]:
        """Standard deviations of what all frames share, by a jackknife over regions of the image."""
        columns = free.columns(len(at.lens.terms))
        parts = [
            whole_system(
                linearise(self.problem.chosen(mine), at.of(mine), self.kernel_px),
                self.problem,
                free,
            )[0]
            for mine in _regions(self.problem)
        ]
        if len(parts) < MIN_REGIONS:
            return [float("inf")] * at.shared
        whole = _sum(parts)
        moves = torch.stack([whole.minus(part).step(columns, 0.0)[-at.shared :] for part in parts])
        moves = moves - moves.mean(0)
        count = len(parts)
        return [float(x) for x in ((count - 1) / count * moves.square().sum(0)).sqrt()]


def halves(problem: Problem) -> tuple[Int64[Tensor, " even"], Int64[Tensor, " odd"]]:
    """Samples of a checkerboard's two colours, of many some alone."""
    count = problem.samples_px.shape[2]
    number = torch.arange(count)
    columns = max(1, int((problem.samples_px[0, 0].diff() < 0).float().argmax()) + 1)
    is_odd = (number // columns + number % columns) % 2 == 1
    step = max(1, round(count / CHOICE_SAMPLES))
    return torch.nonzero(~is_odd)[::step, 0], torch.nonzero(is_odd)[::step, 0]


def _part(state: State, frames: Int64[np.ndarray, " frames"]) -> State:
    return State(
        state.cam_from_world[frames], state.inverse_depth[frames], state.intrinsics[frames]
    )


def _free(is_posed: Bool[np.ndarray, " frames"], *, turns_only: bool) -> Free:
    """Posed frames move, but the first."""
    return Free(free_but_first(is_posed).pose, turns_only=turns_only)


def _sum(parts: list[Whole]) -> Whole:
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.plus(part)
    return whole


def _middle(scene: Scene) -> Int64[np.ndarray, " frames"]:
    """Consecutive frames around the middle of the largest piece."""
    names, counts = np.unique(scene.component[scene.component >= 0], return_counts=True)
    own = np.flatnonzero(scene.component == names[counts.argmax()])
    first, last = int(own[0]), int(own[-1])
    spare = max(0, last - first + 1 - MOST_FRAMES)
    return np.arange(first + spare // 2, last + 1 - (spare - spare // 2))


def _agreement(problem: Problem, at: Lensed) -> Float[Tensor, "frames samples"]:
    """Weight of every sample by how well it agrees with cameras and lens: movers do not."""
    seen = seen_through(problem, at)
    agrees = cauchy_weight(seen.residual_px.square().sum(-2), START_KERNEL_PX)[1] * seen.counts
    total = problem.weight.sum(1)
    share = (problem.weight * agrees).sum(1) / total.clamp_min(1e-6)
    low, high = AGREES
    return ((share - low) / (high - low)).clamp(0, 1)


def _regions(problem: Problem) -> list[Int64[Tensor, " some"]]:
    """The samples of every region of the image that measures anything."""
    place = problem.samples_px.mean(0)
    low, high = place.amin(1, keepdim=True), place.amax(1, keepdim=True)
    part = (place - low) / (high - low).clamp_min(1e-9)
    rows, cols = REGIONS
    name = (part[1] * rows).long().clamp_max(rows - 1) * cols
    name = name + (part[0] * cols).long().clamp_max(cols - 1)
    weighs = problem.weight.sum((0, 1)) > 0
    chosen = [torch.nonzero((name == at) & weighs)[:, 0] for at in range(rows * cols)]
    return [samples for samples in chosen if len(samples)]
