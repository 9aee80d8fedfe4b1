"""Alignment of a clip between keyframes whose pose, depth and focal length are held exactly."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool

from recon4d.geometry import invert_rigid
from recon4d.optim.align import prior_scale, static_problem, usual_terms
from recon4d.optim.assemble import interpolate_lost, inverse_depth_std
from recon4d.optim.calibrate import AlignOptions, connected
from recon4d.optim.camera_terms import SharedFocal
from recon4d.optim.moves import HeldMoves, Moves
from recon4d.optim.normal import SolveOptions, objective
from recon4d.optim.problem import Problem
from recon4d.optim.solver import solve
from recon4d.optim.uncertainty import camera_moves
from recon4d.optim.unknowns import Freedom, State
from recon4d.progress import Progress, no_progress
from recon4d.scene import Flow, MotionMasks, Scene, Video


def optimise_between(
    video: Video,
    flow: Flow,
    scene: Scene,
    motion: MotionMasks,
    held: Bool[np.ndarray, " frames"],
    options: AlignOptions,
    progress: Progress = no_progress,
) -> Scene:
    """Optimise the frames that are not held; poses, depth and focal length of the others come back bit by bit.

    A focal length that all frames share is the keyframes': it is held throughout. Where every frame has its own, those
    of the frames that are not held are free.

    A clip without any measured depth (the camera stands or only turns) turns its free frames, nothing else.

    Args:
        video: The clip.
        flow: Of the clip.
        scene: Where to start, in the world of the held frames.
        motion: Of the clip.
        held: Keyframes.
        options: Of the optimizer.
        progress: Told about both runs.
    """
    problem = static_problem(video, flow, scene, motion, options)
    start = State.of(scene)
    posed = scene.component >= 0
    free = torch.from_numpy(posed & ~held)
    freedom = Freedom(free, free.clone())
    if not np.isfinite(scene.inverse_depth_std[posed]).any():
        freedom = freedom.turning()
    state = start
    with progress("align clip", total=2) as counter:
        # not narrowed to the noise: keyframes, held where they may be off by more, have to pull at what lies between
        for kernel_px in (3 * options.kernel_px, options.kernel_px):
            if bool(free.any()):
                run = _options(video, options, kernel_px)
                ready = _prepared(problem, start, video, scene, options)
                starts = _starts(state, scene, held, video) if state is start else [state]
                ends = [_restored(solve(ready, s, freedom, run), start, ~free) for s in starts]
                state = min(ends, key=lambda end: objective(ready, end, run))
            counter.advance()
    return _finish(problem, state, scene, ~free.numpy(), freedom.turns_only)


def moves_between(
    video: Video,
    flow: Flow,
    scene: Scene,
    motion: MotionMasks,
    held: HeldMoves,
    options: AlignOptions,
) -> Moves:
    """How the cameras may be off, region of the image by region, when held ones are off as they are said to be.

    Args:
        video: As for `optimise_between`.
        flow: As there.
        scene: What it found.
        motion: As there.
        held: The frames that it held.
        options: As there.
    """
    problem, state = static_problem(video, flow, scene, motion, options), State.of(scene)
    posed = torch.from_numpy(scene.component >= 0)
    freedom = Freedom(posed, posed.clone())
    if not np.isfinite(scene.inverse_depth_std[posed.numpy()]).any():
        freedom = freedom.turning()
    run = _options(video, options, options.kernel_px)
    return camera_moves(
        _prepared(problem, state, video, scene, options), state, freedom, run, held=held
    )


def _starts(
    state: State, scene: Scene, held: Bool[np.ndarray, " frames"], video: Video
) -> list[State]:
    """Where frames may be that are not held: as they came, or on the way from keyframe to keyframe.

    The second is right where the clip alone went wrong and the keyframes, which see farther, did not.
    """
    if held.sum() < 2 or not (scene.component == scene.component[0]).all():
        return [state]
    poses = interpolate_lost(np.array(scene.world_from_cam), held, video.timestamps_s)
    between = invert_rigid(torch.from_numpy(poses))
    keep = torch.from_numpy(held)[:, None, None]
    return [state, replace(state, cam_from_world=torch.where(keep, state.cam_from_world, between))]


def _prepared(
    problem: Problem, state: State, video: Video, scene: Scene, options: AlignOptions
) -> Problem:
    """Measurements within pieces; a prior that is not metric follows the scene's own scale."""
    if not video.is_metric:
        problem = problem.with_prior_scaled(prior_scale(problem, state, scene.component, None))
    terms = usual_terms(problem, scene.component, video, options)
    if not options.own_focals:  # a shared focal length is held
        terms = tuple(term for term in terms if not isinstance(term, SharedFocal))
    return connected(problem, scene.component).with_terms(*terms)


def _options(video: Video, options: AlignOptions, kernel_px: float) -> SolveOptions:
    return SolveOptions(
        kernel_px=kernel_px,
        max_steps=options.max_steps,
        free_focal=options.own_focals and video.intrinsics is None,
        shared_focal=not options.own_focals,
        relative_tolerance=5e-4,
        threads=options.threads,
    )


def _restored(state: State, start: State, held: Bool[torch.Tensor, " frames"]) -> State:
    """Undo what rounding did to held frames (poses are made orthonormal after every step)."""
    return replace(
        state,
        cam_from_world=torch.where(held[:, None, None], start.cam_from_world, state.cam_from_world),
        inverse_depth=torch.where(held[:, None], start.inverse_depth, state.inverse_depth),
        intrinsics=torch.where(held[:, None], start.intrinsics, state.intrinsics),
    )


def _finish(
    problem: Problem,
    state: State,
    scene: Scene,
    held: Bool[np.ndarray, " frames"],
    turns_only: bool,
) -> Scene:
    """The scene with held frames as they were; nothing is known of depth where the camera only turns."""
    poses = np.linalg.inv(np.asarray(state.cam_from_world.cpu()))
    poses[held] = scene.world_from_cam[held]
    rho = np.asarray(state.inverse_depth.cpu(), np.float32).copy()
    rho[held] = scene.inverse_depth[held]
    std = inverse_depth_std(problem, state).astype(np.float32)
    if turns_only:
        std[:] = np.inf
    std[scene.component < 0] = np.inf
    return replace(
        scene,
        world_from_cam=poses,
        intrinsics=np.asarray(state.intrinsics.cpu()),
        inverse_depth=rho,
        inverse_depth_std=std,
        notices=(),
    )
