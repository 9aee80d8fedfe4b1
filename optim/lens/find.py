"""Which lens a video was taken with: fitted to one half of the samples, judged by the other.

Numbers here that name no source were set by hand.
"""

import logging
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from recon4d.core.distortion import Bending
from recon4d.core.sampling import cell_of
from recon4d.core.scene import Flow, Scene, Video
from recon4d.optim.lens.fisheye import WIDE_KERNEL_PX, fisheye_start
from recon4d.optim.lens.objective import Lensed, linearise, seen_through, with_best_depth
from recon4d.optim.lens.solve import Free, Whole, solve_lens, whole_system
from recon4d.optim.objective.normal_equations import SolveOptions, objective
from recon4d.optim.objective.problem import Problem, build_problem
from recon4d.optim.objective.terms import cauchy_weight
from recon4d.optim.objective.unknowns import State
from recon4d.optim.setting import START_KERNEL_PX, AlignOptions
from recon4d.optim.solve.jackknife import MIN_REGIONS, REGIONS
from recon4d.optim.start.focal import free_but_first

logger = logging.getLogger(__name__)

LEAST_GAIN = 0.003
"""Part of what a pinhole leaves of the flow that was held out, that a lens must explain. Rendered pinholes: at most
.0012 (movers or none, 30 frames); k1 = -.02, a weak lens, with and without movers: .01."""
SECOND_GAIN = 0.01
"""The same of a second coefficient over one. Rendered lenses that have one: at most .0018; apple.mp4: .0035."""
LEAST_SIGMAS = 3.0
"""A coefficient must be this many standard deviations from 0."""
AGREES = 0.5, 0.8
"""Agreement of a sample with the first cameras and lens below which it has no weight, and above which its whole."""
MOST_FRAMES = 60
"""Frames that a lens is found from: more tell it hardly better. Of a longer piece, those in its middle."""
CHOICE_SAMPLES = 400
"""Samples per frame, about, by which lenses are compared; the one that is chosen is found from all."""
DEPTH_STEPS = 5
"""Gauss-Newton steps of the depth of samples that are held out."""


@dataclass(frozen=True)
class FoundLens:
    """The lens of a video."""

    model: str
    """`pinhole`, `radial` or `fisheye`."""
    focal_px: float = 0.0
    """Pixels of the working size."""
    terms: tuple[float, ...] = ()
    """Coefficients k1, k2 of the model."""
    focal_std: float = 0.0
    """Standard deviation of its logarithm."""
    terms_std: tuple[float, ...] = ()
    gain: float = 0.0
    """Part of what a pinhole leaves of the flow that was held out, that the lens explains."""

    @property
    def is_bent(self) -> bool:
        """Whether there is anything to undo."""
        return self.model != "pinhole"


PINHOLE = FoundLens("pinhole")


def find_lens(
    video: Video, flow: Flow, scene: Scene, options: AlignOptions, asked: str
) -> FoundLens:
    """The lens under which the flow of static samples fits together best, if it is better than a pinhole.

    Args:
        video: The images as they came.
        flow: Between them.
        scene: First cameras and depth, found as if a pinhole had taken them.
        options: Of the optimizer.
        asked: `auto`, or the model whose best lens is taken, `radial` or `fisheye`.
    """
    if not (scene.component >= 0).any():
        return PINHOLE
    if asked == "fisheye":
        return _fisheye(video, flow, scene, options)
    search = Search.of(flow, scene, options.kernel_px)
    even, odd = halves(search.problem)
    bent = search.fit(search.start(1), even)
    gain = 1 - search.left(bent, odd) / _left_by_pinhole(search, scene, even, odd)
    logger.debug("lens: %s, f %.1f px, gain %.4f", bent.lens, bent.focal_px, gain)
    if asked == "auto" and not gain >= LEAST_GAIN:
        return replace(PINHOLE, gain=gain)
    found = _with_second(search, bent, search.found(bent, gain))
    sure = zip(found.terms, found.terms_std, strict=True)
    is_sure = any(abs(term) >= LEAST_SIGMAS * std for term, std in sure)
    return found if is_sure or asked != "auto" else replace(PINHOLE, gain=gain)


def _fisheye(video: Video, flow: Flow, scene: Scene, options: AlignOptions) -> FoundLens:
    """The equidistant fisheye; a pinhole where nothing fits together behind one."""
    problem = build_problem(flow, cell_of(scene.samples_px))
    start = fisheye_start(problem, video.size, options)
    if start is None:
        return PINHOLE
    search = Search.from_start(problem, start, scene, options.kernel_px)
    return search.found(search.first, gain=0.0)


def _left_by_pinhole(
    search: "Search", scene: Scene, even: Int64[Tensor, " even"], odd: Int64[Tensor, " odd"]
) -> float:
    """What cameras without a lens leave of the samples that are held out; those that zoom as they were found."""
    if not scene.zooms:
        return search.left(search.fit(search.start(0), even), odd)
    state = search.state_of(scene)
    state = replace(state, inverse_depth=state.inverse_depth[:, odd].contiguous())
    return objective(search.problem.chosen(odd), state, SolveOptions(kernel_px=search.kernel_px))


def _with_second(search: "Search", bent: Lensed, found: FoundLens) -> FoundLens:
    """The lens with a second coefficient, where that explains more."""
    even, odd = halves(search.problem)
    more = search.fit(bent.with_term(), even)
    second = 1 - search.left(more, odd) / search.left(bent, odd)
    logger.debug("second coefficient: %s, gain %.4f", more.lens, second)
    if second < SECOND_GAIN:
        return found
    finer = search.found(more, 1 - (1 - found.gain) * (1 - second))
    is_sure = abs(finer.terms[1]) >= LEAST_SIGMAS * finer.terms_std[1]
    return finer if is_sure else found


@dataclass(frozen=True)
class Search:
    """Measurements on what agrees with the first cameras, and what may move."""

    problem: Problem
    first: Lensed
    """Where fits start from."""
    free: Free
    kernel_px: float

    @classmethod
    def of(cls, flow: Flow, scene: Scene, kernel_px: float) -> "Search":
        """From cameras without a lens: those of the middle of the largest piece, with one coefficient."""
        frames = _middle(scene)
        problem = build_problem(flow, cell_of(scene.samples_px)).connected(scene.component)
        problem = problem.window(int(frames[0]), int(frames[-1]) + 1)
        state = _part(State.of(scene), frames)
        intrinsics = state.intrinsics.median(0).values.repeat(len(frames), 1)
        first = Lensed(replace(state, intrinsics=intrinsics), Bending((0.0,)))
        free = _free(scene.component[frames] >= 0, turns_only=scene.turns_only)
        some = halves(problem)[0]
        for kernel in (WIDE_KERNEL_PX, START_KERNEL_PX):
            fitted, _ = solve_lens(problem.chosen(some), first.of(some), free, kernel)
            first = fitted.with_depth(first.state.inverse_depth)
        return cls._agreeing(problem, first, free, kernel_px)

    @classmethod
    def from_start(
        cls, problem: Problem, start: Lensed, scene: Scene, kernel_px: float
    ) -> "Search":
        """From cameras behind a lens."""
        frames = _middle(scene)
        problem = problem.window(int(frames[0]), int(frames[-1]) + 1)
        first = replace(start, state=_part(start.state, frames))
        free = _free(np.ones(len(frames), bool), turns_only=False)
        return cls._agreeing(problem, first, free, kernel_px)

    @classmethod
    def _agreeing(cls, problem: Problem, first: Lensed, free: Free, kernel_px: float) -> "Search":
        """With weights that fall where a sample does not agree with cameras and lens."""
        if free.depth:
            first, _ = with_best_depth(problem, first, START_KERNEL_PX, DEPTH_STEPS)
        agreeing = problem.with_static_weight(_agreement(problem, first))
        return cls(agreeing, first, free, kernel_px)

    def state_of(self, scene: Scene) -> State:
        """A scene's cameras and depth, of the frames that are looked at."""
        return _part(State.of(scene), _middle(scene))

    def start(self, terms: int) -> Lensed:
        """Where a fit with some coefficients starts."""
        found = self.first.lens.terms[:terms]
        return replace(self.first, lens=Bending(found + (0.0,) * (terms - len(found))))

    def fit(self, start: Lensed, samples: Int64[Tensor, " some"]) -> Lensed:
        """The best cameras and lens for some of the samples; the depth of the others stays as it is."""
        problem, at = self.problem.chosen(samples), start.of(samples)
        kernels = (self.kernel_px,) if start.lens.terms else (WIDE_KERNEL_PX, self.kernel_px)
        for kernel_px in kernels:
            at, _ = solve_lens(problem, at, self.free, kernel_px)
        return at.with_depth(start.state.inverse_depth)

    def left(self, fitted: Lensed, samples: Int64[Tensor, " some"]) -> float:
        """What cameras and lens leave of some samples' flow, whose depth follows them."""
        problem, at = self.problem.chosen(samples), fitted.of(samples)
        steps = DEPTH_STEPS if self.free.depth else 1
        return with_best_depth(problem, at, self.kernel_px, steps)[1]

    def found(self, start: Lensed, gain: float) -> FoundLens:
        """The lens that all samples tell, with its uncertainty."""
        every = torch.arange(self.problem.samples_px.shape[2])
        at = self.fit(start, every)
        std = self._std(at)
        model = "fisheye" if at.lens.is_fisheye else "radial"
        return FoundLens(model, at.focal_px, at.lens.terms, std[0], tuple(std[1:-2]), gain)

    def _std(self, at: Lensed) -> list[float]:
        """Standard deviations of what all frames share, by a jackknife over regions of the image."""
        free = self.free.columns(len(at.lens.terms))
        parts = [
            whole_system(
                linearise(self.problem.chosen(mine), at.of(mine), self.kernel_px),
                self.problem,
                self.free,
            )[0]
            for mine in _regions(self.problem)
        ]
        if len(parts) < MIN_REGIONS:
            return [float("inf")] * at.shared
        whole = _sum(parts)
        moves = torch.stack([whole.minus(part).step(free, 0.0)[-at.shared :] for part in parts])
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
