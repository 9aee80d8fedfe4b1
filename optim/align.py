"""From video and flow to a `Scene`, and from a `Scene` and motion masks to a better `Scene`."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64

from recon4d.errors import DegenerateError
from recon4d.optim.assemble import assemble, main_piece
from recon4d.optim.calibrate import (
    USUAL_FOCAL,
    AlignOptions,
    connected,
    pair_geometry,
    search_focal,
    seed_pairs,
    usual_intrinsics,
)
from recon4d.optim.camera_terms import CameraTerm, Smoothness, focal_term
from recon4d.optim.initialise import initialise
from recon4d.optim.kernel import noise_kernel_px
from recon4d.optim.known import held, place, pose_prior, regained, snapped, trusted_poses
from recon4d.optim.moves import Moves
from recon4d.optim.normal import SolveOptions
from recon4d.optim.parallax import NO_PARALLAX_PX, unexplained_parallax_px
from recon4d.optim.prior import prior_at
from recon4d.optim.problem import Problem, build_problem, px_to_samples, sample_positions
from recon4d.optim.solver import solve
from recon4d.optim.tensors import on_device
from recon4d.optim.uncertainty import camera_moves
from recon4d.optim.unknowns import Freedom, State
from recon4d.progress import Progress, no_progress
from recon4d.scene import Flow, KnownPoses, MotionMasks, Scene, Video

SMOOTHNESS_PX = 10.0
"""Weight of the camera's acceleration, pixels per median depth: nothing beside a frame with texture (thousands of
samples), enough to carry a nearly blank one. Not used across cuts."""
SURELY_STATIC, SURELY_MOVING = 0.25, 0.75
"""Probabilities of motion at which a pixel has its whole weight, and none."""
START_KERNEL_PX = 1.0
"""Scale of the robust kernel while the start is polished, pixels: three times the final one."""


def initial_scene(
    video: Video, flow: Flow, options: AlignOptions, progress: Progress = no_progress
) -> Scene:
    """First cameras and sparse depth, without masks: grown from the best pair, then optimised together.

    Raises:
        DegenerateError: The flow connects no two frames (black or textureless video).
    """
    samples = sample_positions(video.images, options.grid_px)
    problem = _measurements(video, flow, samples, options)
    pairs, slots = seed_pairs(problem)
    intrinsics = video.intrinsics
    if intrinsics is None:
        intrinsics = _first_intrinsics(problem, pairs, slots, video, options)
    geometry = pair_geometry(problem, pairs, slots, intrinsics, options)
    with progress("initialise", total=video.num_frames) as counter:
        start = initialise(
            problem, pairs, geometry, intrinsics, counter.advance, own_focals=options.own_focals
        )
    if not start.is_posed.any():
        raise DegenerateError(
            f"no two of the {video.num_frames} frames could be related by optical flow; recon4d needs frames with "
            "texture and overlap: check that the video is not black, blank, or too fast"
        )
    problem = problem.with_static_weight(start.static)
    component = start.components
    state = _solve(problem, start.state, component, video, options, START_KERNEL_PX)
    return _placed(problem, state, component, video, options)


def _first_intrinsics(
    problem: Problem,
    pairs: Int64[np.ndarray, "pairs 2"],
    slots: Int64[np.ndarray, " pairs"],
    video: Video,
    options: AlignOptions,
) -> Float64[np.ndarray, "4"]:
    """Those that the depth prior implies, or else what makes the flow fit together best."""
    prior = video.depth_prior
    if prior is not None and prior.focal_px is not None:
        return usual_intrinsics(video.size, prior.focal_px / max(video.size))
    usual = usual_intrinsics(video.size, USUAL_FOCAL)
    return search_focal(problem, pairs, slots, usual, options)


def optimise(
    video: Video,
    flow: Flow,
    scene: Scene,
    motion: MotionMasks,
    options: AlignOptions,
    progress: Progress = no_progress,
) -> Scene:
    """Optimise all cameras and sparse depths together on the pixels that the masks call static.

    Given poses that did not fit to the scene (before there were masks, say) are used if they fit now.

    Raises:
        DegenerateError: The masks leave no measurement.
    """
    problem = static_problem(video, flow, scene, motion, options)
    state, known = State.of(scene), trusted_poses(video, scene)
    component = scene.component
    with progress("optimise", total=2) as counter:
        coarse_px = 3 * options.kernel_px
        state = _solve(problem, state, component, video, options, coarse_px, known=known)
        counter.advance()
        kernel_px = noise_kernel_px(problem, state, options.kernel_px)
        state = _solve(problem, state, component, video, options, kernel_px, known=known)
        counter.advance()
    more = known and regained(state, video, known, main_piece(component))
    if more:
        state, known = snapped(state, more), more
        state = _solve(problem, state, component, video, options, kernel_px, known=known)
    return _finish(problem, state, component, video, options, known, is_final=True)


def place_by_poses(
    video: Video, flow: Flow, scene: Scene, motion: MotionMasks, options: AlignOptions
) -> Scene:
    """Bring a scene that was found without the given poses to their frame and scale, and judge which of them fit.

    Raises:
        InputError: The given poses contradict the video.
    """
    problem = static_problem(video, flow, scene, motion, options)
    return _placed(problem, State.of(scene), scene.component, video, options)


def _placed(
    problem: Problem,
    state: State,
    component: Int64[np.ndarray, " frames"],
    video: Video,
    options: AlignOptions,
) -> Scene:
    """The scene, in the frame of the given poses where there are any."""
    known = None
    if video.poses is not None and not _turns_only(problem, state, component, video):

        def refine(state: State, known: KnownPoses) -> State:
            return _solve(problem, state, component, video, options, START_KERNEL_PX, known=known)

        state, known = place(
            state, video.poses, main_piece(component), refine, is_metric=video.is_metric
        )
    return _finish(problem, state, component, video, options, known, is_final=False)


def static_problem(
    video: Video, flow: Flow, scene: Scene, motion: MotionMasks, options: AlignOptions
) -> Problem:
    """Flow at a scene's samples, weighted by how surely the masks call them static."""
    samples = px_to_samples(scene.samples_px)
    frames = np.arange(video.num_frames)[:, None]
    static = static_weight(motion.probability[frames, samples[..., 0], samples[..., 1]])
    problem = _measurements(video, flow, samples, options)
    return problem.with_static_weight(
        torch.from_numpy(static.astype(np.float32)).to(problem.weight)
    )


def static_weight(
    probability: Float32[np.ndarray, "*shape"],
) -> Float32[np.ndarray, "*shape"]:
    """Weight 1 - M of pixels in every term from their probability of motion.

    Between `SURELY_STATIC` and `SURELY_MOVING` it falls linearly. A tenth of the weight of each pixel of a large mover
    is a consistent wrong vote, while a static pixel that is doubted a little is as exact as any other: on `exact_heavy`
    the plain complement costs a factor of 2.3 in ATE.
    """
    sure = (probability - SURELY_STATIC) / (SURELY_MOVING - SURELY_STATIC)
    return np.asarray(1 - np.clip(sure, 0, 1), np.float32)


def _finish(
    problem: Problem,
    state: State,
    component: Int64[np.ndarray, " frames"],
    video: Video,
    options: AlignOptions,
    known: KnownPoses | None,
    *,
    is_final: bool,
) -> Scene:
    """The scene; where rotations explain the flow as well, with cameras that turn about one centre.

    Only the final optimization's relative poses are given a covariance.
    """
    turns_only = known is None and _turns_only(problem, state, component, video)
    kernel_px = options.kernel_px
    if turns_only:
        state = _solve(
            problem, state.centred(), component, video, options, kernel_px, turns_only=True
        )
    scene = assemble(problem, state, component, video, turns_only, known)
    if not is_final or video.num_frames < 2:
        return scene
    moves = _moves(problem, state, scene, video, options, turns_only, known)
    return replace(scene, pose_covariance=pose_covariance(moves, scene))


def pose_covariance(moves: Moves, scene: Scene) -> Float64[np.ndarray, "frames 6 6"]:
    """Covariance of every pose relative to the one before (`Scene.pose_covariance`); the first frame's is 0."""
    covariance = moves.widened(np.linalg.inv(scene.world_from_cam))
    covariance[1:][~(scene.is_posed[1:] & scene.is_posed[:-1])] = np.inf
    covariance[0] = 0
    return covariance


def scene_moves(
    video: Video, flow: Flow, scene: Scene, motion: MotionMasks, options: AlignOptions
) -> Moves:
    """How the cameras of an optimised scene may be off, region of the image by region."""
    problem = static_problem(video, flow, scene, motion, options)
    state, known = State.of(scene), trusted_poses(video, scene)
    turns_only = known is None and _turns_only(problem, state, scene.component, video)
    return _moves(problem, state, scene, video, options, turns_only, known)


def _moves(
    problem: Problem,
    state: State,
    scene: Scene,
    video: Video,
    options: AlignOptions,
    turns_only: bool,
    known: KnownPoses | None,
) -> Moves:
    kernel_px = noise_kernel_px(problem, state, options.kernel_px)
    task = _task(problem, state, scene.component, video, options, kernel_px, turns_only, known)
    keeps_scale = known is not None or scene.is_metric
    return camera_moves(task.problem, state, task.freedom, task.options, keeps_scale)


def _turns_only(
    problem: Problem, state: State, component: Int64[np.ndarray, " frames"], video: Video
) -> bool:
    """Whether rotations alone explain the flow; a prior tells depth all the same."""
    if video.depth_prior is not None:
        return False
    return unexplained_parallax_px(problem, state, main_piece(component)) < NO_PARALLAX_PX


def _measurements(
    video: Video, flow: Flow, samples: Int64[np.ndarray, "frames samples 2"], options: AlignOptions
) -> Problem:
    """Flow at the samples, with the depth that is known as prior where there is one."""
    problem = build_problem(flow, samples)
    if video.depth_prior is None:
        return problem
    inverse, weight = prior_at(video.depth_prior, samples)
    return replace(
        problem,
        prior_inverse_depth=torch.from_numpy(inverse).to(problem.weight),
        prior_weight=torch.from_numpy(weight).to(problem.weight),
    )


def _solve(
    problem: Problem,
    state: State,
    component: Int64[np.ndarray, " frames"],
    video: Video,
    options: AlignOptions,
    kernel_px: float,
    *,
    turns_only: bool = False,
    known: KnownPoses | None = None,
) -> State:
    """One batch optimization of every piece; the first pose of each is fixed, unless given poses hold the piece.

    This is what runs on the device of the options; all else is on the CPU.
    """
    task = _task(problem, state, component, video, options, kernel_px, turns_only, known)
    device = torch.device(options.device)
    found = solve(
        on_device(task.problem, device),
        on_device(state, device),
        on_device(task.freedom, device),
        task.options,
    )
    return on_device(found, torch.device("cpu"))


@dataclass(frozen=True)
class _Task:
    """All that one optimization needs besides a start."""

    problem: Problem
    freedom: Freedom
    options: SolveOptions


def _task(
    problem: Problem,
    state: State,
    component: Int64[np.ndarray, " frames"],
    video: Video,
    options: AlignOptions,
    kernel_px: float,
    turns_only: bool,
    known: KnownPoses | None,
) -> _Task:
    if not video.is_metric:  # the prior follows the scene's own scale
        problem = problem.with_prior_scaled(prior_scale(problem, state, component, known))
    freedom = _freedom(component, known)
    terms = (*pose_prior(known, state), *usual_terms(problem, component, video, options))
    if turns_only:
        freedom = freedom.turning()
    solve_options = SolveOptions(
        kernel_px=kernel_px,
        max_steps=options.max_steps,
        relative_tolerance=5e-4,
        free_focal=video.intrinsics is None,
        shared_focal=not options.own_focals,
        threads=options.threads,
    )
    return _Task(connected(problem, component).with_terms(*terms), freedom, solve_options)


def usual_terms(
    problem: Problem,
    component: Int64[np.ndarray, " frames"],
    video: Video,
    options: AlignOptions,
) -> tuple[CameraTerm, ...]:
    """What is expected of every video: a smooth path where nothing cuts it, and a usual focal length if unknown."""
    terms: list[CameraTerm] = []
    if video.num_frames > 2 and (component == component[0]).all():
        terms.append(Smoothness(SMOOTHNESS_PX, problem.prior_inverse_depth.median()))
    if video.intrinsics is None:
        usual_px = USUAL_FOCAL * max(video.size)
        terms.append(focal_term(usual_px, shared=not options.own_focals))
    return tuple(terms)


def prior_scale(
    problem: Problem,
    state: State,
    component: Int64[np.ndarray, " frames"],
    known: KnownPoses | None,
) -> float:
    """What a prior that is not metric is multiplied by: the median, or, with given poses, what does not pull at them.

    A prior g costs the sum of (rho / g - 1)^2; scaling all rho changes that to first order by
    the sum of rho / g (rho / g - 1).
    """
    posed = component >= 0
    ratio = state.inverse_depth[posed] / problem.prior_inverse_depth[posed]
    if known is None:
        return float(ratio.median())
    return float(ratio.square().sum() / ratio.sum())


def _freedom(component: Int64[np.ndarray, " frames"], known: KnownPoses | None) -> Freedom:
    """All posed frames are free but the first of each piece, or those poses that are known exactly."""
    free = component >= 0
    pose = free.copy()
    for piece in np.unique(component[free]):
        own = component == piece
        if known is None or not known.is_given[own].any():
            pose[int(np.argmax(own))] = False
    if known is not None:
        pose &= ~held(known)
    return Freedom(torch.from_numpy(pose), torch.from_numpy(free))
