"""From video and flow to a `Scene`, and from a `Scene` and motion masks to a better `Scene`.

Numbers here that name no source were set by hand.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64

from recon4d.core.progress import Progress, no_progress
from recon4d.core.sampling import cell_of
from recon4d.core.scene import Flow, KnownPoses, MotionMasks, Notice, Scene, Video
from recon4d.optim.assemble import assemble, main_piece, sanely_scaled
from recon4d.optim.given_poses import place, regained, snapped, trusted_poses
from recon4d.optim.objective.depth_prior import prior_at
from recon4d.optim.objective.noise import noise_kernel_px
from recon4d.optim.objective.problem import (
    Problem,
    Term,
    build_problem,
    sample_positions,
)
from recon4d.optim.objective.unknowns import State
from recon4d.optim.setting import START_KERNEL_PX, AlignOptions, Setting, expected_focal_px
from recon4d.optim.shutter_moves import with_readout
from recon4d.optim.solve.jackknife import Moves
from recon4d.optim.start.focal import search_focal, usual_intrinsics
from recon4d.optim.start.grow import Start, initialise
from recon4d.optim.start.kind import DEPTH_ORDER, explain, with_zoom
from recon4d.optim.start.parallax import NO_PARALLAX_PX, unexplained_parallax_px
from recon4d.optim.start.seed import pair_geometry, seed_pairs
from recon4d.optim.unrelated import unrelated_frames

SURELY_STATIC, SURELY_MOVING = 0.25, 0.75
"""Probabilities of motion at which a pixel has its whole weight, and none."""
TURNED_PARALLAX_PX = 2 * NO_PARALLAX_PX
"""The same as `NO_PARALLAX_PX` of cameras that were found to turn."""
LITTLE_PARALLAX_PX = 4 * NO_PARALLAX_PX
"""Parallax, after the best rotation, below which cameras are also found from turning ones, pixels."""


def initial_scene(
    video: Video, flow: Flow, options: AlignOptions, progress: Progress = no_progress
) -> Scene:
    """First cameras and sparse depth, without masks: grown from the best pair, then optimised together.

    Raises:
        DegenerateError: The flow connects no two frames (black or textureless video).
    """
    with progress("initialise", total=video.num_frames) as counter:
        return _first_scene(video, flow, options, counter.advance)


def _first_scene(
    video: Video, flow: Flow, options: AlignOptions, advance: Callable[[int], None]
) -> Scene:
    """As `initial_scene`; told how many frames have grown."""
    samples = sample_positions(video.images, options.grid_px)
    problem = _measurements(video, flow, samples, options)
    pairs, slots = seed_pairs(problem)
    intrinsics = video.intrinsics
    if intrinsics is None:
        intrinsics = _first_intrinsics(problem, pairs, slots, video, options)
    geometry = pair_geometry(problem, pairs, slots, intrinsics, options)
    start = initialise(problem, pairs, geometry, intrinsics, advance, own_focals=options.own_focals)
    if not start.is_posed.any():
        raise unrelated_frames(video)
    setting, state = _polished(problem, start, video, options)
    notices: tuple[Notice, ...] = ()
    if _only_flow_tells(video):
        explained = explain(setting, state, problem)
        setting, state, notices = explained.setting, explained.state, explained.notices
        if options.finds_zoom and video.intrinsics is None:

            def zooming() -> tuple[Setting, State]:
                own = replace(options, own_focals=True, finds_zoom=False)
                grown = initialise(problem, pairs, geometry, intrinsics, own_focals=True)
                return _polished(problem, grown, video, own)

            setting, state = with_zoom(setting, state, problem, zooming)
    scene = _placed(setting, state)
    return replace(scene, notices=(*scene.notices, *notices), is_order_unsure=bool(notices))


def _polished(
    problem: Problem, start: Start, video: Video, options: AlignOptions
) -> tuple[Setting, State]:
    """A start of all frames, optimised on what agrees with it."""
    agreeing = problem.with_static_weight(start.static)
    setting = Setting(agreeing, start.components, video, options)
    return setting, setting.task(start.state).solve(start.state, START_KERNEL_PX)


def _first_intrinsics(
    problem: Problem,
    pairs: Int64[np.ndarray, "pairs 2"],
    slots: Int64[np.ndarray, " pairs"],
    video: Video,
    options: AlignOptions,
) -> Float64[np.ndarray, "4"]:
    """Those that were found with the lens, that the depth prior implies, or that make the flow fit together best."""
    if video.found_intrinsics is not None:
        return video.found_intrinsics
    prior = video.depth_prior
    if prior is not None and prior.focal_px is not None and video.stated_focal_px is None:
        return usual_intrinsics(video, prior.focal_px)
    usual = usual_intrinsics(video, expected_focal_px(video))
    return search_focal(problem, pairs, slots, usual, options)


def optimise(
    video: Video,
    flow: Flow,
    scene: Scene,
    motion: MotionMasks,
    options: AlignOptions,
    progress: Progress = no_progress,
    terms: tuple[Term, ...] = (),
) -> Scene:
    """Optimise all cameras and sparse depths together on the pixels that the masks call static.

    Given poses that did not fit to the scene (before there were masks, say) are used if they fit now.

    Args:
        video: The frames, and what is known of them.
        flow: Between them.
        scene: Where to start.
        motion: What moves.
        options: Of the optimizer.
        progress: Told about both runs.
        terms: More terms of the objective, in the frame and scale of the scene.

    Raises:
        DegenerateError: The masks leave no measurement.
    """
    state = State.of(scene)
    setting = replace(static_setting(video, flow, scene, motion, options), terms=terms)
    problem, known = setting.problem, setting.known
    with progress("optimise", total=2) as counter:
        state = _nearest_minimum(setting, state, 3 * options.kernel_px)
        counter.advance()
        kernel_px = noise_kernel_px(problem, state, options.kernel_px)
        state = setting.task(state).solve(state, kernel_px)
        counter.advance()
    more = known and regained(state, video, known, main_piece(scene.component))
    if more:
        state, setting = snapped(state, more), replace(setting, known=more)
        state = setting.task(state).solve(state, kernel_px)
    return _with_lasting(_finish(setting, state, is_final=True), scene)


def static_setting(
    video: Video, flow: Flow, scene: Scene, motion: MotionMasks, options: AlignOptions
) -> Setting:
    """The optimization of a scene's cameras and sparse depth on the pixels that the masks call static."""
    return Setting(
        static_problem(video, flow, scene, motion, options),
        scene.component,
        video,
        options.following(scene),
        trusted_poses(video, scene),
        turns_only=_only_flow_tells(video) and scene.turns_only and scene.zooms,
        least_parallax_px=_least_parallax_px(video, scene),
    )


def _least_parallax_px(video: Video, scene: Scene) -> float:
    """`Setting.least_parallax_px`: what was decided when cameras were first found is not taken back for nothing."""
    if scene.turns_only:
        return TURNED_PARALLAX_PX
    return 0.0 if _only_flow_tells(video) else NO_PARALLAX_PX


def _with_lasting(scene: Scene, before: Scene) -> Scene:
    """A scene with what was found of the former one when cameras were first found."""
    if scene.turns_only:
        return scene
    lasting = tuple(notice for notice in before.notices if notice.code == DEPTH_ORDER)
    notices = (*scene.notices, *lasting)
    return replace(scene, notices=notices, is_order_unsure=before.is_order_unsure)


def _nearest_minimum(setting: Setting, state: State, kernel_px: float) -> State:
    """The minimum near a state; where it has little parallax, that near turning cameras if it is lower.

    Without masks a mover may have led to the state (see `recon4d.optim.start.kind`); with them the cost tells.
    """
    ends = [setting.task(state).solve(state, kernel_px)]
    moves = setting.least_parallax_px == 0 and not setting.turns_only
    main = main_piece(setting.component)
    if moves and unexplained_parallax_px(setting.problem, state, main) < LITTLE_PARALLAX_PX:
        ends.append(setting.task(state.centred()).solve(state.centred(), kernel_px))
    costs = [setting.task(end).cost(end, kernel_px) for end in ends] if len(ends) > 1 else [0.0]
    return ends[int(np.argmin(costs))]


def place_by_poses(
    video: Video, flow: Flow, scene: Scene, motion: MotionMasks, options: AlignOptions
) -> Scene:
    """Bring a scene that was found without the given poses to their frame and scale, and judge which of them fit.

    Raises:
        InputError: The given poses contradict the video.
    """
    problem = static_problem(video, flow, scene, motion, options)
    own = options.following(scene)
    return _placed(Setting(problem, scene.component, video, own), State.of(scene))


def _placed(setting: Setting, state: State) -> Scene:
    """The scene, in the frame of the given poses where there are any."""
    video = setting.video
    if video.poses is not None and not _turns_only(setting, state):

        def refine(state: State, known: KnownPoses) -> State:
            return replace(setting, known=known).task(state).solve(state, START_KERNEL_PX)

        main = main_piece(setting.component)
        state, known = place(state, video.poses, main, refine, is_metric=video.is_metric)
        setting = replace(setting, known=known)
    return _finish(setting, state, is_final=False)


def static_problem(
    video: Video, flow: Flow, scene: Scene, motion: MotionMasks, options: AlignOptions
) -> Problem:
    """Flow at a scene's samples, weighted by how surely the masks call them static."""
    samples = cell_of(scene.samples_px)
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


def _finish(setting: Setting, state: State, *, is_final: bool) -> Scene:
    """The scene; where rotations explain the flow as well, with cameras that turn about one centre.

    Only the final optimization's relative poses are given a covariance.
    """
    is_open = setting.known is None and not setting.turns_only
    if is_open and _turns_only(setting, state):
        setting, start = replace(setting, turns_only=True), state.centred()
        state = setting.task(start).solve(start, setting.options.kernel_px)
    video, known = setting.video, setting.known
    scene = assemble(setting.problem, state, setting.component, video, setting.turns_only, known)
    if not is_final:
        return sanely_scaled(scene)
    if video.num_frames < 2:
        return scene
    moves = _moves(setting, state, scene.is_metric)
    return replace(scene, pose_covariance=pose_covariance(moves, scene), focal_std=moves.focal_std)


def pose_covariance(moves: Moves, scene: Scene) -> Float64[np.ndarray, "frames 6 6"]:
    """Covariance of every pose relative to the one before (`Scene.pose_covariance`); the first frame's is 0."""
    covariance = moves.widened(np.linalg.inv(scene.world_from_cam))
    covariance[1:][~(scene.is_posed[1:] & scene.is_posed[:-1])] = np.inf
    covariance[0] = 0
    return covariance


def scene_moves(
    video: Video, flow: Flow, scene: Scene, motion: MotionMasks, options: AlignOptions
) -> Moves:
    """Jackknife replicates of the cameras of an optimised scene, region of the image by region."""
    problem = static_problem(video, flow, scene, motion, options)
    state, known = State.of(scene), trusted_poses(video, scene)
    setting = Setting(problem, scene.component, video, options.following(scene), known)
    turns_only = known is None and scene.turns_only and not scene.is_metric
    return _moves(replace(setting, turns_only=turns_only), state, scene.is_metric)


def _moves(setting: Setting, state: State, is_metric: bool) -> Moves:
    kernel_px = noise_kernel_px(setting.problem, state, setting.options.kernel_px)
    keeps_scale = setting.known is not None or is_metric
    moves = setting.task(state).moves(state, kernel_px, keeps_scale)
    return with_readout(moves, setting, state, kernel_px, keeps_scale)


def _only_flow_tells(video: Video) -> bool:
    """Whether neither poses nor depth are known of a video: then its cameras may turn only."""
    return video.poses is None and video.depth_prior is None


def _turns_only(setting: Setting, state: State) -> bool:
    """Whether rotations alone explain the flow, but for too little parallax; a prior tells depth all the same."""
    least_px = setting.least_parallax_px
    if setting.turns_only or least_px == 0 or setting.video.depth_prior is not None:
        return setting.turns_only
    main = main_piece(setting.component)
    return unexplained_parallax_px(setting.problem, state, main) < least_px


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
