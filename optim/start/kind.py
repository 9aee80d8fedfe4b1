"""What kind of motion a video shows: cameras that turn, turn and zoom, or move; and which of several starts is right.

Every start is judged by how well it explains most of the flow, not by its cost: a mover that is explained beside the
static world lowers the cost. Where turning cameras explain the flow as well as its own errors allow, they are right
(Torr, Fitzgibbon and Zisserman, IJCV 1999).

Numbers here that name no source were set by hand.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64

from recon4d.core.scene import Notice
from recon4d.optim.objective.flow_term import flow_term
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.unknowns import State
from recon4d.optim.setting import (
    START_KERNEL_PX,
    USUAL_LENSES,
    AlignOptions,
    Setting,
    expected_focal_px,
)
from recon4d.optim.start.focal import usual_intrinsics
from recon4d.optim.start.grow import with_all_samples
from recon4d.optim.start.growth import Growth
from recon4d.optim.start.relief import from_relief
from recon4d.optim.start.turning import fit_turning, stands_still, turn_between

logger = logging.getLogger(__name__)

NEAR_BELOW = "near below"
DEPTH_ORDER = "depth_order_unsure"
"""Code of what is said where it is."""

SAMPLES = 190
"""Samples per frame, about, that explanations are found and judged on."""
EXPLAINED_SHARE = 0.75
"""Part of the measurements whose residual judges a start: movers may fill the rest."""
SAME = 0.02
"""Starts whose residuals differ by less than this part are the same."""
ALIKE = 1.15
"""Starts that leave up to this many times the least cannot be told apart: errors of lens and shutter are as large."""
EXPLAINED_PX, MISSED_PX = 1.0, 2.0
"""A measurement is explained below the one, and surely not above the other, pixels."""
MISSED_SHARE = 0.1
"""Turning cameras may miss this part of what moving ones explain: one object that seems to be static."""
NOISIER = 2.5
"""... and leave so much more of the flow, times: less parallax than twice the flow's own error is not measured."""
NEARLY_TURNS_PX = 1.0
"""Median flow, of frames at most `SHORT` apart, that turning cameras leave where both orders of depth are tried."""
MEASURED = 0.3
"""Measurements of at least this weight, of 1, count."""
MEANINGFUL = 100
"""Fewer measurements than this say nothing."""
QUIET_PX = 0.1
"""Errors of the flow are never taken to be smaller than this, pixels."""
MOSTLY = 0.5
"""Flow of frames so far apart counts where moving cameras explain at least this part of it."""
HELPED = 0.9
"""Zoom is found where it leaves less than this part of the residual."""
ZOOMED = 1.05
"""... and the longest focal length is at least so many times the shortest."""
HARDLY_TURNS_PX = {False: (1, 1.5), True: (5, 3.0)}
"""Frames apart, and the median flow that turning, or turning with zoom, leaves there at a usual focal length above
which cameras surely move, pixels: next to each other zoom explains most motion."""
SHORT = 2
"""Frames apart."""
FEW = 10
"""Fewer frames than this tell no order of depth from another, nor a zoom from a step forwards."""


@dataclass(frozen=True)
class Explanation:
    """Cameras, and depth unless they only turn, on some of the samples."""

    name: str
    setting: Setting
    state: State
    residual_px: Float32[np.ndarray, " measurements"]
    """Of every measurement that has weight, in the order of the problem."""

    @property
    def level_px(self) -> float:
        """Residual that judges it."""
        return float(np.quantile(self.residual_px, EXPLAINED_SHARE))

    @property
    def nearness_below(self) -> float:
        """Logarithm of the inverse depth of the picture's bottom third over its middle's: above 0 where it is near."""
        row = self.setting.problem.samples_px[:, 1] * (3 / self.setting.video.size[1])
        thirds = (self.state.inverse_depth[row.floor() == third].median() for third in (2, 1))
        bottom, middle = thirds
        return float((bottom / middle).log())

    @property
    def noise_px(self) -> float:
        """Residual of its better half."""
        return max(float(np.median(self.residual_px)), QUIET_PX)


@dataclass(frozen=True)
class Explained:
    """What explains a video's flow, on all samples."""

    setting: Setting
    state: State
    notices: tuple[Notice, ...] = ()
    """What could not be told."""


def explain(setting: Setting, state: State, problem: Problem) -> Explained:
    """The right one of several explanations of a video's flow, the one that was grown among them.

    Args:
        setting: Of the grown start; no poses or depth are given.
        state: The grown start.
        problem: Its measurements, not weighted by what moves.

    Returns:
        Where that is another than the grown one, its problem is weighted by what agrees.
    """
    judged = _Judge.of_problem(setting, problem)
    thin = replace(setting, problem=judged.problem)
    grown = judged.of("grown", thin, judged.thinned(state))
    turning = _turning(judged, thin)
    notices: tuple[Notice, ...] = ()
    best = next((x for x in turning if judged.explains_as_well(x, grown)), None)
    if best is None:
        reliefs = _reliefs(judged, turning, setting.options.own_focals)
        best = _likeliest(grown, reliefs)
        notices = _order_notices(best, [grown, *reliefs])
        best = next((x for x in turning if reliefs and judged.explains_as_well(x, best)), best)
    logger.debug("motion: %s", best.name)
    if best is grown:
        return Explained(setting, state, notices)
    said = () if best.setting.turns_only else notices
    return Explained(*_with_all_samples(best, setting, problem), said)


def _order_notices(best: Explanation, others: list[Explanation]) -> tuple[Notice, ...]:
    """What to say where the reverse order of depth explains the flow about as well."""
    for other in others:
        is_as_good = other.level_px < ALIKE * best.level_px
        if is_as_good and other.nearness_below * best.nearness_below < 0:
            message = (
                "Both orders of depth explain the video about as well (little parallax): what is near may be far; "
                "more of the camera's motion, or known poses (--poses), would tell."
            )
            return (Notice(DEPTH_ORDER, message),)
    return ()


def with_zoom(
    setting: Setting, state: State, problem: Problem, zooming: Callable[[], tuple[Setting, State]]
) -> tuple[Setting, State]:
    """Moving cameras that zoom, where that explains the flow better.

    Args:
        setting: Of cameras that share a focal length.
        state: They.
        problem: The measurements, not weighted by what moves.
        zooming: Finds moving cameras with focal lengths of their own; called where freeing those of `state` helps.
    """
    if setting.turns_only or setting.options.own_focals or problem.num_frames < FEW:
        return setting, state
    judged = _Judge.of_problem(setting, problem)
    start = judged.thinned(state)
    own = replace(setting, problem=judged.problem, options=_zooming(setting.options, True))
    shared = judged.of("shared focal", own, start)
    freed = judged.of("freed focals", own, own.task(start).solve(start, START_KERNEL_PX))
    if freed.level_px > HELPED * shared.level_px or not _zooms(freed.state):
        return setting, state
    found, cameras = zooming()
    grown = judged.of("grown with zoom", found, judged.thinned(cameras))
    is_better = grown.level_px < HELPED * shared.level_px and _zooms(grown.state)
    return (replace(found, least_parallax_px=0.0), cameras) if is_better else (setting, state)


def _zooms(state: State) -> bool:
    """Whether focal lengths differ by more than what flow's errors make of them."""
    focals = state.intrinsics[:, 0]
    return float(focals.max() / focals.min()) > ZOOMED


@dataclass(frozen=True)
class _Judge:
    """Measures how well cameras explain a problem's flow."""

    problem: Problem
    step: int
    """Every so-manieth sample of the whole is looked at."""

    @classmethod
    def of_problem(cls, setting: Setting, problem: Problem) -> "_Judge":
        """For the posed frames of a setting, on some of the samples of its problem."""
        step = max(1, round(problem.samples_px.shape[2] / SAMPLES))
        return cls(problem.connected(setting.component).thinned(step), step)

    def thinned(self, state: State) -> State:
        """A state of all samples, of those that are looked at."""
        return replace(state, inverse_depth=state.inverse_depth[:, :: self.step].contiguous())

    @property
    def apart(self) -> np.ndarray:
        """Frames apart of every measurement that has weight."""
        problem = self.problem
        own = torch.arange(problem.num_frames)[:, None]
        apart = (problem.partners - own).abs()[..., None].expand_as(problem.weight)
        return np.asarray(apart[problem.weight > MEASURED])

    def of(self, name: str, setting: Setting, state: State) -> Explanation:
        """An explanation with its residuals."""
        found = []
        for frame in range(self.problem.num_frames):
            term = flow_term(self.problem, state, frame)
            residual = torch.where(term.in_front > 0, term.squared().sqrt(), torch.inf)
            found.append(residual[self.problem.weight[frame] > MEASURED])
        made = Explanation(name, setting, state, torch.cat(found).numpy())
        logger.debug("%s: %.3f px", name, made.level_px)
        return made

    def nearly_turns(self, turning: Explanation) -> bool:
        """Whether turning cameras explain most of the flow between neighbours."""
        short = turning.residual_px[self.apart <= SHORT]
        return len(short) > 0 and float(np.median(short)) < NEARLY_TURNS_PX

    def explains_as_well(self, simple: Explanation, moving: Explanation) -> bool:
        """Whether turning cameras miss hardly anything of what moving ones explain, however far frames are apart."""
        apart = self.apart
        most = 1.0 if stands_still(simple.state) else MISSED_SHARE
        for offset in np.unique(apart):
            these = apart == offset
            explained = these & (moving.residual_px < EXPLAINED_PX)
            if explained.sum() < max(MEANINGFUL, MOSTLY * these.sum()):
                continue
            left, noise = simple.residual_px[explained], moving.residual_px[explained]
            missed = float((left > MISSED_PX).mean())
            louder = float(np.median(left) / max(np.median(noise), QUIET_PX))
            if missed > most or louder > NOISIER:
                return False
        return True


def _turning(judged: _Judge, setting: Setting) -> list[Explanation]:
    """Cameras that turn, and that turn and zoom, the simpler first; none whose focal lengths no lens has."""
    video, options, thin = setting.video, setting.options, setting.problem
    usual = usual_intrinsics(video, expected_focal_px(video))
    known, found = video.intrinsics, []
    may_zoom = known is None and (options.own_focals or options.finds_zoom)
    kinds = [zooms for zooms in (False, True) if (may_zoom if zooms else not options.own_focals)]
    start, usual_px = (usual, float(usual[0])) if known is None else (known, None)
    posed = setting.component >= 0
    for zooms in kinds:
        apart, most_px = HARDLY_TURNS_PX[zooms]
        if _left_by_pairs(thin, posed, start, zooms, apart) > most_px:
            continue
        few = fit_turning(thin.thinned(2), start, posed, usual_px, zooms=zooms)
        state = replace(few, inverse_depth=torch.ones_like(thin.prior_inverse_depth))
        if known is None and not _is_usual(state, video.size):
            continue
        own = replace(setting, turns_only=True, options=_zooming(options, zooms))
        found.append(judged.of("turning and zooming" if zooms else "turning", own, state))
    return found


def _left_by_pairs(
    thin: Problem,
    posed: Bool[np.ndarray, " frames"],
    intrinsics: Float64[np.ndarray, "4"],
    zooms: bool,
    apart: int,
) -> float:
    """Median flow that is left between frames where each pair turns as it likes, pixels."""
    frames = np.flatnonzero(posed)
    left = [
        turn_between(thin, (int(a), int(b)), intrinsics, zooms)[2]
        for a, b in zip(frames[:-apart], frames[apart:], strict=True)
    ]
    together = np.concatenate([np.zeros(0), *left])
    return float(np.median(together)) if len(together) else 0.0


def _zooming(options: AlignOptions, zooms: bool) -> AlignOptions:
    return replace(options, own_focals=zooms, finds_zoom=False)


def _is_usual(state: State, size: tuple[int, int]) -> bool:
    """Whether lenses have such focal lengths."""
    low, high = (ratio * max(size) for ratio in USUAL_LENSES)
    focals = state.intrinsics[:, 0]
    return bool((focals > low).all() and (focals < high).all())


def _reliefs(judged: _Judge, turning: list[Explanation], own_focals: bool) -> list[Explanation]:
    """Both orders of depth, where there is little parallax; with focal lengths of their own or a shared one."""
    alike = [x for x in turning if x.setting.options.own_focals == own_focals]
    if judged.problem.num_frames < FEW or not alike or not judged.nearly_turns(alike[0]):
        return []
    base = alike[0]
    own = replace(base.setting, turns_only=False, least_parallax_px=0.0)
    return [
        judged.of(name, own, from_relief(own, base.state, near_below=below))
        for name, below in ((NEAR_BELOW, True), ("near above", False))
    ]


def _likeliest(grown: Explanation, reliefs: list[Explanation]) -> Explanation:
    """What leaves least, and near below of those that leave about as much; what was grown where another is the same."""
    others = [
        x
        for x in reliefs
        if abs(x.level_px / grown.level_px - 1) >= SAME and x.noise_px < NOISIER * grown.noise_px
    ]
    best = min((grown, *others), key=lambda x: x.level_px)
    below = next((x for x in others if x.name == NEAR_BELOW), best)
    return below if below.level_px < ALIKE * best.level_px else best


def _with_all_samples(
    found: Explanation, setting: Setting, problem: Problem
) -> tuple[Setting, State]:
    """The cameras of an explanation, with depth and agreement of every sample of the whole problem."""
    posed = torch.from_numpy(setting.component >= 0)
    usual = float(found.state.inverse_depth[posed].median())
    growth = with_all_samples(
        Growth.of(found.setting.problem, found.state, posed),
        problem.connected(setting.component),
        np.full(problem.num_frames, usual),
    )
    whole = replace(found.setting, problem=problem.with_static_weight(growth.static))
    state = growth.state(0, problem.num_frames)
    return whole, whole.task(state).solve(state, START_KERNEL_PX)
