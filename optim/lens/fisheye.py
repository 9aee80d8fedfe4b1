"""A start for a fisheye, whose flow no pinhole explains: grown from flow that is straightened for several lenses.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from recon4d.core.distortion import Bending
from recon4d.core.geometry import normalised
from recon4d.core.pinhole import view_angle
from recon4d.core.scene import Video
from recon4d.optim.lens.objective import Lensed
from recon4d.optim.lens.solve import Free, solve_lens
from recon4d.optim.objective.problem import Problem
from recon4d.optim.setting import START_KERNEL_PX, AlignOptions
from recon4d.optim.start.focal import SEARCH_FRAMES, free_but_first, usual_intrinsics
from recon4d.optim.start.grow import Start, initialise
from recon4d.optim.start.seed import best_seed, pair_geometry, seed_pairs

CORNER_DEG = (40.0, 50.0, 60.0, 72.0, 84.0)
"""Angles of the picture's corner from the axis that are tried; between them the optimizer finds its way."""
EQUIDISTANT = Bending((), is_fisheye=True)
WIDE_KERNEL_PX = 3.0
"""Scale of the first robust kernel: what a pinhole leaves of the flow of a strong lens, pixels."""


def fisheye_start(problem: Problem, video: Video, options: AlignOptions) -> Lensed | None:
    """Cameras, depth and focal length behind an equidistant fisheye; None where nothing fits together.

    Args:
        problem: Flow as it was measured.
        video: Whose it is.
        options: Of the optimizer.
    """
    corner_px = float(np.hypot(*video.size)) / 2
    tried = []
    for angle in CORNER_DEG:
        focal_px = view_angle(corner_px, float(np.radians(angle)))
        fit = _fit(problem, _camera(video, focal_px), options, near_seed=True)
        if fit is not None:
            tried.append(fit)
    if not tried:
        return None
    best = min(tried, key=lambda fit: fit.cost)
    whole = _fit(problem, _camera(video, best.lensed.focal_px), options, near_seed=False)
    return None if whole is None else whole.lensed


def straightened(problem: Problem, lens: Bending, intrinsics: np.ndarray) -> Problem:
    """The measurements as a pinhole camera of the same intrinsics would have made them."""
    camera = torch.from_numpy(intrinsics).float()
    samples = lens.straightened(normalised(problem.samples_px, camera))
    targets = lens.straightened(normalised(problem.targets_px, camera))
    focal, centre = camera[:2, None], camera[2:, None]
    is_seen = samples.is_seen[:, None] & targets.is_seen
    return replace(
        problem,
        samples_px=samples.planar * focal + centre,
        targets_px=targets.planar * focal + centre,
        weight=problem.weight * is_seen,
    )


def bent(
    problem: Problem, lens: Bending, lens_intrinsics: np.ndarray, intrinsics: np.ndarray
) -> Problem:
    """Measurements between undistorted images as the lens would have shown them.

    Args:
        problem: Between undistorted images.
        lens: Its distortion.
        lens_intrinsics: fx, fy, cx, cy of images as it shows them.
        intrinsics: The same of the undistorted images.
    """
    camera, shown = (torch.from_numpy(each).float() for each in (intrinsics, lens_intrinsics))
    samples = lens.bent(normalised(problem.samples_px, camera))
    targets = lens.bent(normalised(problem.targets_px, camera))
    focal, centre = shown[:2, None], shown[2:, None]
    is_seen = samples.is_seen[:, None] & targets.is_seen
    return replace(
        problem,
        samples_px=samples.seen * focal + centre,
        targets_px=targets.seen * focal + centre,
        weight=problem.weight * is_seen,
    )


@dataclass(frozen=True)
class _Fit:
    lensed: Lensed
    cost: float
    """Over the squared share of the measurements that take part."""


def _camera(video: Video, focal_px: float) -> np.ndarray:
    return usual_intrinsics(video, focal_px)


def _fit(
    problem: Problem, intrinsics: np.ndarray, options: AlignOptions, *, near_seed: bool
) -> _Fit | None:
    """What one focal length ends in, of frames near the best pair or of all."""
    straight = straightened(problem, EQUIDISTANT, intrinsics)
    pairs, slots = seed_pairs(straight)
    geometry = pair_geometry(straight, pairs, slots, intrinsics, options)
    nothing = np.zeros(problem.num_frames, bool)
    seed = best_seed(pairs, geometry, nothing, nothing)
    if seed is None:
        return None
    if near_seed:
        middle = (seed.source + seed.target) // 2
        first = max(0, middle - SEARCH_FRAMES)
        last = min(problem.num_frames, middle + SEARCH_FRAMES + 1)
        inside = np.flatnonzero((pairs >= first).all(1) & (pairs < last).all(1))
        geometry = [geometry[at] for at in inside]
        pairs = pairs[inside] - first
        problem, straight = problem.window(first, last), straight.window(first, last)
    start = initialise(straight, pairs, geometry, intrinsics)
    return _polished(problem, start)


def _polished(problem: Problem, start: Start) -> _Fit | None:
    """A start, with its focal length optimised on the flow as it was measured."""
    if not start.is_posed.any():
        return None
    agreeing = problem.connected(start.components).with_static_weight(start.static)
    share = float(agreeing.weight.sum() / problem.weight.sum())
    free = Free(free_but_first(start.is_posed).pose)
    lensed, cost = Lensed(start.state, EQUIDISTANT), 0.0
    for kernel_px in (WIDE_KERNEL_PX, START_KERNEL_PX):
        lensed, cost = solve_lens(agreeing, lensed, free, kernel_px)
    return _Fit(lensed, cost / max(share, 1e-6) ** 2)
