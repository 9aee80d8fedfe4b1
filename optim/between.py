"""Bundle adjustment of a clip between keyframes whose pose, depth and focal length are held exactly."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool

from recon4d.core.geometry import invert_rigid
from recon4d.core.progress import Progress, no_progress
from recon4d.core.scene import Flow, MotionMasks, Scene, Video
from recon4d.optim.align import static_problem
from recon4d.optim.assemble import interpolate_lost, inverse_depth_std
from recon4d.optim.objective.problem import Problem, Term
from recon4d.optim.objective.unknowns import State
from recon4d.optim.setting import AlignOptions, Setting
from recon4d.optim.solve.jackknife import HeldMoves, Moves


def optimise_between(
    video: Video,
    flow: Flow,
    scene: Scene,
    motion: MotionMasks,
    held: Bool[np.ndarray, " frames"],
    options: AlignOptions,
    progress: Progress = no_progress,
    terms: tuple[Term, ...] = (),
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
        terms: More terms of the objective, in the frame and scale of the scene.
    """
    problem = static_problem(video, flow, scene, motion, options)
    setting = _setting(problem, scene, video, options, held)
    state = start = State.of(scene)
    task = replace(setting, terms=terms).task(start)
    free = torch.from_numpy((scene.component >= 0) & ~held)
    with progress("align clip", total=2) as counter:
        # not narrowed to the noise: keyframes, held where they may be off by more, have to pull at what lies between
        for kernel_px in (3 * options.kernel_px, options.kernel_px):
            if bool(free.any()):
                starts = _starts(state, scene, held, video) if state is start else [state]
                ends = [_restored(task.solve(s, kernel_px), start, ~free) for s in starts]
                costs = [task.cost(end, kernel_px) for end in ends]
                state = ends[int(np.argmin(costs))]
            counter.advance()
    return _finish(problem, state, scene, ~free.numpy(), setting.turns_only)


def moves_between(
    video: Video,
    flow: Flow,
    scene: Scene,
    motion: MotionMasks,
    held: HeldMoves,
    options: AlignOptions,
    terms: tuple[Term, ...] = (),
) -> Moves:
    """Jackknife replicates of the cameras when held ones are off as they are said to be.

    Args:
        video: As for `optimise_between`.
        flow: As there.
        scene: What it found.
        motion: As there.
        held: The frames that it held.
        options: As there.
        terms: As there.
    """
    problem, state = static_problem(video, flow, scene, motion, options), State.of(scene)
    setting = _setting(problem, scene, video, options, held.is_held)
    task = replace(setting, terms=terms).task(state)
    return task.moves(state, options.kernel_px, keeps_scale=False, held=held)


def _setting(
    problem: Problem,
    scene: Scene,
    video: Video,
    options: AlignOptions,
    held: Bool[np.ndarray, " frames"],
) -> Setting:
    """Where no depth is measured (the camera stands or only turns), frames turn, nothing else."""
    turns_only = not np.isfinite(scene.inverse_depth_std[scene.component >= 0]).any()
    return Setting(problem, scene.component, video, options, held=held, turns_only=turns_only)


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
