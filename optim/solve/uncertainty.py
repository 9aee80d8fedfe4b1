"""How far the pose of a frame relative to the one before may be off: a jackknife over regions of the image.

Errors of optical flow are alike at neighbouring samples, in neighbouring pairs, and forth and back, so that the inverse
of the Hessian, which takes every sample for a new measurement, is many times too small. What repeats in time stays in
one place of the image, and regions of the image far larger than a patch of the flow hardly know of each other: the
solutions without one region at a time tell the covariance, whatever is correlated within the regions (delete-a-group
jackknife; Shao and Tu, The Jackknife and Bootstrap, 1995, section 2.3). Each is one step of Gauss-Newton away.

Numbers here that name no source were set by hand.
"""

import functools
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64

from recon4d.optim.objective.flow_term import flow_term
from recon4d.optim.objective.normal_equations import SolveOptions, linearise
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.terms import cauchy_weight
from recon4d.optim.objective.unknowns import Freedom, State
from recon4d.optim.solve.band import Layout, Reduced
from recon4d.optim.solve.jackknife import MIN_REGIONS, REGIONS, HeldMoves, Moves
from recon4d.optim.solve.solver import reduce

HOLD = 1e8
"""Weight that holds a camera where it is put, over the largest of the diagonal: rounding errors stay below 1e-7."""


def relative_pose_covariance(
    problem: Problem,
    state: State,
    freedom: Freedom,
    options: SolveOptions,
    keeps_scale: bool,
) -> Float64[np.ndarray, "frames 6 6"]:
    """Covariance of the pose of every frame relative to the one before; infinite where too little is measured.

    The first frame's, which has none before, is 0.

    The error of a relative pose is the twist (rotation vector in radians, translation in scene units; axes of the later
    camera) of `inv(true) @ found`, both the later camera's pose in the earlier camera.

    Args:
        problem: Measurements, with the weights of the optimum.
        state: The optimum.
        freedom: Which unknowns were free.
        options: Of the last optimisation.
        keeps_scale: Whether lengths are known (metric, or given poses); otherwise errors count after the similarity
            that fits the camera centres best.
    """
    moves = camera_moves(problem, state, freedom, options, keeps_scale)
    covariance = moves.covariance(np.asarray(state.cam_from_world.cpu()))
    covariance[0] = 0
    return covariance


def camera_moves(
    problem: Problem,
    state: State,
    freedom: Freedom,
    options: SolveOptions,
    keeps_scale: bool = False,
    held: HeldMoves | None = None,
) -> Moves:
    """Jackknife replicates of the cameras: leave out one region of the image at a time.

    Args:
        problem: See `relative_pose_covariance`.
        state: See there.
        freedom: See there; frames that were held are free.
        options: See there.
        keeps_scale: See there.
        held: Frames that were held. They are off as they are said to be, and take the others along, with a shared
            focal length and the scale of the whole.
    """
    layout = Layout.of(problem, options)
    alone = replace(problem, terms=problem.sample_terms), replace(state, log_gain=None)
    parts = {
        region: reduce(linearise(part, there, freedom, options), freedom, layout)[0]
        for region, part, there in _regions(*alone)
    }
    unknown = Moves.unknown(problem.num_frames)
    if len(parts) < MIN_REGIONS or (held is not None and not held.moves.is_used.any()):
        return unknown
    whole = functools.reduce(Reduced.plus, parts.values())
    linears = tuple(term.linear(state) for term in problem.camera_terms)
    whole = whole.with_terms(problem, linears, freedom, layout)
    fixed = ~freedom.cameras(options.has_own_focals).flatten()
    steepness = _steepness(problem, state, options)
    found = np.zeros((len(unknown.is_used), layout.size + 2))
    is_used = np.array([region in parts for region in range(len(found))])
    for region in range(len(found)):
        without = whole.plus(parts[region], -1.0) if region in parts else whole
        if held is not None:
            without = _taken_along(without, held, region, layout, steepness)
            is_used[region] |= held.moves.is_used[region]
        told = replace(without, expected=torch.zeros_like(without.expected))
        (cameras, focal), (_, told_focal) = (
            system.solved(fixed, 0.0, options.has_shared_focal, math.inf)
            for system in (without, told)
        )
        found[region] = (*cameras.cpu().numpy(), float(focal), float(told_focal))
    if not np.isfinite(found).all():  # one region alone holds some frame
        return unknown
    found = np.where(is_used[:, None], found - found[is_used].mean(0), 0.0) / steepness
    return _as_moves(found, is_used, layout, state, keeps_scale, held)


def _as_moves(
    found: Float64[np.ndarray, "regions unknowns"],
    is_used: Bool[np.ndarray, " regions"],
    layout: Layout,
    state: State,
    keeps_scale: bool,
    held: HeldMoves | None,
) -> Moves:
    """The replicates' steps, frame by frame; focal length and scale are those of held frames where there are any."""
    moves = found[:, :-2].reshape(len(found), -1, layout.camera)
    if held is not None:
        of_held = held.moves
        return Moves(moves, of_held.log_focal, of_held.told_focal, of_held.growth, is_used)
    growth = np.zeros(len(found))
    if not keeps_scale:
        growth = scale_growth(moves[..., :6], np.asarray(state.cam_from_world.cpu()))
    return Moves(moves, found[:, -2], found[:, -1], growth, is_used)


def _taken_along(
    system: Reduced, held: HeldMoves, region: int, layout: Layout, steepness: float
) -> Reduced:
    """The system of a replicate with held cameras, and the focal length, where that replicate of theirs puts them.

    All moves are divided by the steepness later.
    """
    target = np.zeros((len(held.is_held), layout.camera))
    target[held.is_held] = held.moves.cameras[region] * steepness
    is_held = torch.from_numpy(np.repeat(held.is_held, layout.camera)).to(system.band.device)
    pull = torch.where(is_held, HOLD * system.band[0].max(), 0.0)
    band, rhs = system.band.clone(), system.rhs - pull * torch.from_numpy(target.ravel()).to(pull)
    band[0] += pull
    rhs = rhs + system.column * float(held.moves.log_focal[region] * steepness)
    return replace(system, band=band, rhs=rhs)


def _regions(problem: Problem, state: State) -> Iterator[tuple[int, Problem, State]]:
    """The samples of every region of the image alone, with its number."""
    weight, name = problem.weight.sum((0, 1)), region_names(problem)
    for region in range(REGIONS[0] * REGIONS[1]):
        mine = torch.nonzero((name == region) & (weight > 0))[:, 0]
        if len(mine):
            yield (
                region,
                problem.chosen(mine),
                replace(state, inverse_depth=state.inverse_depth[:, mine]),
            )


def region_names(problem: Problem) -> Int64[torch.Tensor, " samples"]:
    """Number of the region of the image in which each sample lies; a sample is where it is in most frames."""
    place = problem.samples_px.mean(0)
    low, high = place.amin(1, keepdim=True), place.amax(1, keepdim=True)
    part = (place - low) / (high - low).clamp_min(1e-9)
    rows, cols = REGIONS
    col = (part[0] * cols).long().clamp_max(cols - 1)
    row = (part[1] * rows).long().clamp_max(rows - 1)
    return row * cols + col


def scale_growth(
    twists: Float64[np.ndarray, "regions frames 6"], poses: Float64[np.ndarray, "frames 4 4"]
) -> Float64[np.ndarray, " regions"]:
    """Logarithm of the scale of the moved camera centres relative to the others, by least squares."""
    turned = poses[:, :3, :3].transpose(0, 2, 1)
    centres = -(turned @ poses[:, :3, 3:])[..., 0]
    centres = centres - centres.mean(0)
    moves = -(turned @ twists[..., 3:, None])[..., 0]
    extent = max(float((centres**2).sum()), 1e-30)
    return np.asarray((moves * centres).sum((1, 2)) / extent)


def _steepness(problem: Problem, state: State, options: SolveOptions) -> float:
    """Mean second derivative of the robust cost over the weight that stands for it in the normal equations.

    Both meet where residuals are small against the kernel. A Cauchy kernel of weight w has, averaged over the
    directions of a residual, the second derivative w^2 (Huber and Ronchetti, Robust Statistics, 2009, section 7.6: the
    covariance of an M-estimate has the mean derivative of its influence function below).
    """
    weighed = squared = 0.0
    for frame in range(problem.num_frames):
        term = flow_term(problem, state, frame)
        slope = cauchy_weight(term.squared(), options.kernel_px)[1]
        base = problem.weight[frame] * term.in_front
        weighed += float((base * slope).sum())
        squared += float((base * slope.square()).sum())
    return squared / max(weighed, 1e-30)
