"""A start for the batch optimization: from the best-conditioned pair, grown frame by frame in both directions.

Numbers here that name no source were set by hand.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from recon4d.optim.objective.camera_terms import OwnFocals
from recon4d.optim.objective.normal_equations import SolveOptions
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.unknowns import Freedom, State
from recon4d.optim.solve.solver import solve
from recon4d.optim.start.growth import Growth, add_frame, agreement, depth_of
from recon4d.optim.start.seed import Seed, best_seed
from recon4d.optim.start.two_view import RelativePose

logger = logging.getLogger(__name__)

MIN_SIGHTINGS = 20.0
"""A frame counts as posed when the weights of its agreeing sightings sum to at least this, of all samples."""
GROWTH_SAMPLES = 450
"""Samples per frame, about, that the reconstruction grows on: the solve of all frames that follows uses all."""
WINDOW = 12
"""Frames that are optimised together while the reconstruction grows; the oldest third is held fixed."""
REFINE_EVERY = 3
"""Frames that are added between two local optimizations."""
MAX_GAP = 8
"""Frames that may be lost in a row: the longest offset of `recon4d.flow.WINDOW_OFFSETS` bridges no more."""
MIN_SEED_PARALLAX_PX = 3.0
"""A pair with less parallax than this cannot start a reconstruction with depth."""
FAR = 1e-2
"""Inverse depth, in units of the prior, of a piece without parallax: its depth cannot matter, so it is far."""
FIRST_DEPTH_PRIOR = 0.1
"""Inverse depth, in units of the prior, around which a seed is triangulated: ten baselines away."""


@dataclass(frozen=True)
class Start:
    """First estimate of cameras and depth."""

    state: State
    is_posed: Bool[np.ndarray, " frames"]
    components: Int64[np.ndarray, " frames"]
    """Which connected piece each frame belongs to; pieces are placed by guess. -1 = not posed."""
    static: Float[Tensor, "frames samples"]
    """How well each sample obeys the cameras, in [0, 1]."""
    has_parallax: bool
    """False where no pair of frames has enough parallax: depth is then a guess."""


def initialise(
    problem: Problem,
    pairs: Int64[np.ndarray, "pairs 2"],
    geometry: list[RelativePose | None],
    intrinsics: Float64[np.ndarray, "4"],
    advance: Callable[[int], None] = lambda _: None,
    *,
    own_focals: bool = False,
) -> Start:
    """Pose every frame that the flow connects to others.

    Args:
        problem: Measurements; weights already carry what is known about moving pixels.
        pairs: (source, target) of each entry of `geometry`.
        geometry: Two-view geometry of these pairs.
        intrinsics: Known or assumed (fx, fy, cx, cy).
        advance: Told the number of frames that were added.
        own_focals: Find every frame's focal length; the given one is where the seed starts.
    """
    num_frames, num_samples = problem.prior_weight.shape
    step = max(1, round(num_samples / GROWTH_SAMPLES))
    growth = _begin(problem.thinned(step), intrinsics, MIN_SIGHTINGS / step, own_focals)
    components = np.full(num_frames, -1)
    depth_scale = np.ones(num_frames)
    tried = np.zeros(num_frames, bool)
    has_parallax = False
    for component in range(num_frames):
        seed = best_seed(pairs, geometry, components >= 0, tried)
        if seed is None:
            break
        piece = replace(growth, posed=torch.zeros_like(growth.posed))
        is_deep = _plant(piece, seed, geometry[seed.index])
        has_parallax |= is_deep
        _grow(piece, seed, components >= 0, advance)
        new = piece.posed.cpu().numpy()
        depth_scale[new] = 1.0 if is_deep else FAR
        tried[[seed.source, seed.target]] = True
        if new.sum() >= 2:
            components[new] = component
            growth.posed |= piece.posed
            tried |= new
    whole = with_all_samples(growth, problem, depth_scale)
    return Start(
        whole.state(0, num_frames), components >= 0, components, whole.static, has_parallax
    )


def _begin(
    problem: Problem,
    intrinsics: Float64[np.ndarray, "4"],
    min_sightings: float,
    own_focals: bool,
) -> Growth:
    """No frame is posed yet."""
    num_frames, device = problem.num_frames, problem.samples_px.device
    eye = torch.eye(4, dtype=torch.float64, device=device)
    state = State(
        eye.repeat(num_frames, 1, 1),
        problem.prior_inverse_depth.clone(),
        torch.from_numpy(intrinsics.copy()).to(device).repeat(num_frames, 1),
    )
    posed = torch.zeros(num_frames, dtype=torch.bool, device=device)
    return Growth.of(problem, state, posed, min_sightings, own_focals=own_focals)


def with_all_samples(
    growth: Growth, problem: Problem, depth_scale: Float64[np.ndarray, " frames"]
) -> Growth:
    """The same cameras, with depth and agreement of every sample of the whole problem.

    Args:
        growth: On some of the samples.
        problem: All of them.
        depth_scale: Factor of the prior inverse depth of each frame's piece.
    """
    frames, samples = problem.prior_weight.shape
    whole = replace(
        growth,
        problem=problem,
        inverse_depth=problem.prior_inverse_depth.clone(),
        static=problem.weight.new_ones((frames, samples)),
    )
    for frame in torch.nonzero(growth.posed)[:, 0].tolist():
        whole.inverse_depth[frame] = depth_of(whole, frame, depth_scale[frame])
        whole.static[frame] = agreement(whole, frame)
    return whole


def _plant(growth: Growth, seed: Seed, geometry: RelativePose | None) -> bool:
    """Pose the two frames of a seed and give them depth; False where nothing tells their depth."""
    assert geometry is not None
    growth.posed[seed.source] = True
    growth.cam_from_world[seed.source] = torch.eye(4, dtype=torch.float64)
    if growth.problem.measures_depth(seed.source):
        growth.posed[seed.target] = add_frame(growth, seed.target)
        return True
    growth.posed[seed.target] = True
    relative = torch.from_numpy(geometry.target_from_source).to(growth.cam_from_world)
    growth.cam_from_world[seed.target] = relative
    if geometry.parallax_px < MIN_SEED_PARALLAX_PX or not bool(relative[:3, 3].any()):
        growth.cam_from_world[seed.target] = torch.eye(4)
        growth.cam_from_world[seed.target, :3, :3] = torch.from_numpy(geometry.rotation)
        growth.problem = growth.problem.with_prior_scaled(FAR)
        growth.inverse_depth[:] = growth.problem.prior_inverse_depth
        return False
    for frame in (seed.source, seed.target):
        growth.inverse_depth[frame] = depth_of(growth, frame, FIRST_DEPTH_PRIOR)
    # the first depth sets the scale: median inverse depth 1, where the prior is
    scale = growth.inverse_depth[seed.source].median()
    growth.inverse_depth[[seed.source, seed.target]] /= scale
    growth.cam_from_world[seed.target, :3, 3] *= scale
    return True


def _grow(
    growth: Growth, seed: Seed, taken: Bool[np.ndarray, " frames"], advance: Callable[[int], None]
) -> None:
    """Add the frames inside the seed, then outwards on both sides in turn."""
    for frame in range(seed.source + 1, seed.target):
        add_frame(growth, frame)
    first, last = seed.source, seed.target
    _refine(growth, first, last + 1, hold=False)
    advance(last - first + 1)
    lost = {-1: 0, 1: 0}
    edge = {-1: first, 1: last}
    added = {-1: 0, 1: 0}
    active = {-1, 1}
    while active:
        for side in sorted(active, reverse=True):
            frame = edge[side] + side
            if not 0 <= frame < growth.problem.num_frames or taken[frame] or lost[side] >= MAX_GAP:
                active.discard(side)
                continue
            edge[side] = frame
            advance(1)
            if not add_frame(growth, frame):
                lost[side] += 1
                continue
            lost[side] = 0
            added[side] += 1
            if added[side] % REFINE_EVERY == 0:
                low = frame if side < 0 else max(frame - WINDOW + 1, edge[-1])
                high = min(frame + WINDOW, edge[1] + 1) if side < 0 else frame + 1
                _refine(growth, low, high, hold=True, newest_first=side < 0)


def _refine(
    growth: Growth, first: int, last: int, *, hold: bool, newest_first: bool = False
) -> None:
    """Optimise a window of frames; with `hold`, its oldest third stays fixed."""
    count = last - first
    posed = growth.posed[first:last]
    free = torch.ones(count, dtype=torch.bool, device=posed.device)
    if hold:
        third = max(2, count // 3)
        free[slice(count - third, count) if newest_first else slice(0, third)] = False
    else:
        free[0] = False
    options = SolveOptions(
        kernel_px=1.0,
        max_steps=8 if not hold else 4,
        relative_tolerance=1e-3,
        free_focal=growth.own_focals,
        shared_focal=False,
    )
    window = growth.restrict(first, last)
    if growth.own_focals:
        window = window.with_terms(OwnFocals(float(growth.intrinsics[first, 0])))
    freedom = Freedom(pose=free & posed, depth=(free if hold else torch.ones_like(free)) & posed)
    growth.keep(first, last, solve(window, growth.state(first, last), freedom, options))
    for frame in range(first, last):
        if growth.posed[frame]:
            growth.static[frame] = agreement(growth, frame)
